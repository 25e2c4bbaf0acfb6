import numpy as np
import pytest
from made import random_bond, with_hubs

from fb_jax.banks import BankSet
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import evaluate, tabulate
from fb_jax.evaluation.memory import LEAST_BLOCK, block_bytes, bytes_for_rows
from fb_jax.evaluation.ranks import SCORE_BYTES
from fb_jax.fusion import FusedSpace

PAIR = [("audio", "text")]


@pytest.fixture(scope="module")
def banks():
    rng = np.random.default_rng(0)
    rows = lambda **dims: {m: rng.normal(size=(n, d)) for m, (n, d) in dims.items()}  # noqa: E731
    arrays = {
        "u": rows(audio=(10, 6), text=(30, 6), image=(5, 6)),
        "e": rows(audio=(10, 4), text=(30, 4)),
    }
    prompts = np.stack([np.arange(30) % 3, np.arange(30)], axis=1)
    tables = {("audio", "text"): np.stack([np.arange(10)] * 2, axis=1), ("class", "text"): prompts}
    tables[("audio", "class")] = np.stack([np.arange(10), np.arange(10) % 3], axis=1)
    return BankSet.from_arrays(arrays, tables, "test")


@pytest.fixture(scope="module")
def space():
    return FusedSpace.of(random_bond("combination", ("u", 6), ("e", 4), ("text", "audio")))


def test_the_bytes_are_those_of_the_largest_model(banks, space):
    native, fused = (
        bytes_for_rows({"u": "u"}, banks, PAIR),
        bytes_for_rows({"f": space}, banks, PAIR),
    )
    assert native == 4 * 6 * (10 + 30 + 30)
    assert fused == native + 4 * 2 * 6 * (10 + 30)
    mean = {"mean": ("u", "e"), "u": "u"}
    assert bytes_for_rows(mean, banks, PAIR) == 4 * 10 * (10 + 30 + 30)


def test_both_roles_of_a_space_with_hub_correction_count(banks, space):
    found = bytes_for_rows({"f": with_hubs(space)}, banks, PAIR)
    roles, plain, parts = 2 * (6 + 2 + 1), 6, 2 * 6
    assert found == 4 * (roles * (10 + 30 + 30) + (plain + parts) * (10 + 30))


def test_prompts_do_not_count(banks):
    assert bytes_for_rows({"u": "u"}, banks, [("audio", "class")]) == 4 * 6 * (10 + 3 + 10)


def test_what_is_left_is_for_scores(banks):
    needed = bytes_for_rows({"u": "u"}, banks, PAIR)
    assert block_bytes({"u": "u"}, banks, PAIR, needed + LEAST_BLOCK) == LEAST_BLOCK
    assert block_bytes({"u": "u"}, banks, PAIR, 1 << 50) == SCORE_BYTES


def test_resamples_of_labelled_items_count(banks):
    pairs = [("audio", "class")]
    needed = bytes_for_rows({"u": "u"}, banks, pairs) + 10 * 1000
    assert block_bytes({"u": "u"}, banks, pairs, needed + LEAST_BLOCK, 1000) == LEAST_BLOCK
    with pytest.raises(FreeBindError, match=r"1,001 resamples(.|\n)*lower --resamples"):
        block_bytes({"u": "u"}, banks, pairs, needed + LEAST_BLOCK, 1001)


def test_too_little_memory_is_refused_before_any_work(banks, space):
    for work in (
        lambda: evaluate(space, banks, memory=10**6),
        lambda: tabulate({"f": space}, {"test": banks}, memory=10**6),
    ):
        with pytest.raises(
            FreeBindError, match=r"33\.6 MB for the rows(.|\n)*1\.0 MB(.|\n)*--memory-gb"
        ):
            work()


def test_figures_do_not_depend_on_the_memory(banks, space, monkeypatch):
    whole = tabulate({"f": space, "u": "u"}, {"test": banks})
    monkeypatch.setattr("fb_jax.evaluation.memory.SCORE_BYTES", 4 * 30 * 2)
    assert tabulate({"f": space, "u": "u"}, {"test": banks}).cells == whole.cells
