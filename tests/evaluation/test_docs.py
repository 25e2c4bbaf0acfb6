"""What docs/evaluation.md says: its code runs, its tasks are those of the program."""

import re

import numpy as np
from disturb import REPOSITORY
from made import random_bond

from fb_jax.banks import BankSet
from fb_jax.evaluation.tasks import PAPER_TASKS
from fb_jax.fusion import FusedSpace
from fb_jax.registry import METRICS
from fb_jax.run.recipe import products

PAGE = (REPOSITORY / "docs/evaluation.md").read_text()


def test_the_code_runs(capsys):
    rng = np.random.default_rng(0)
    house = {m: rng.normal(size=(20, 8)) for m in ("text", "image", "audio")}
    phones = {m: rng.normal(size=(20, 6)) for m in ("text", "audio")}
    banks = BankSet.from_arrays(
        {"house": house, "phones": phones}, {("audio", "text"): None}, "test"
    )
    bond = random_bond("combination", ("house", 8), ("phones", 6), ("text", "audio"))
    names = {"space": FusedSpace.of(bond), "banks": banks}
    try:
        for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
            exec(block, names)
    finally:
        METRICS._methods.pop("all in 10", None)
    assert "| ours |" in capsys.readouterr().out


def test_the_tasks_and_products_are_those_of_the_program():
    named = {
        name for row in re.findall(r"^\| (.+?) \|", PAGE, re.MULTILINE) for name in row.split(", ")
    }
    assert set(PAPER_TASKS) <= named
    for product in re.findall(r"--product (\w+)", PAGE):
        assert product == "NAME" or product in products()
    counts = [int(n) for n in re.findall(r"\b\d{3,5}\b", PAGE.split("| metric |")[0])]
    assert {task.paper for task in PAPER_TASKS.values()} <= set(counts)
