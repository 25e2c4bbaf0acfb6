import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import tyro

from encoders_torch.export_config import ExportConfig
from encoders_torch.sources import open_source
from fb_jax.banks import open_banks
from fb_jax.cli.main import main as freebind
from fb_jax.run import parse_config

ROOT = Path(__file__).parents[2]


@pytest.fixture
def own(tmp_path):
    """Run a command of the section on encoders of one's own, with the class that it names."""
    page = (ROOT / "docs/encoders.md").read_text()
    codes = re.findall(r"```python\n(.*?)```", page, re.DOTALL)

    def own(module, name, **places):
        (code,) = [code for code in codes if f"class {name}(" in code]
        (tmp_path / f"{module}.py").write_text(code)
        text = page.replace("\\\n", " ")
        (command,) = re.findall(
            rf"^python (-m encoders_torch.export .*{module}:{name}.*)$", text, re.M
        )
        done = subprocess.run(
            [sys.executable, *(places.get(word, word) for word in command.split())],
            cwd=tmp_path,
            env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert len([line for line in code.splitlines() if line]) <= 18
        (bank,) = open_banks(tmp_path / "BANKS", spaces=[name.lower()]).banks.values()
        return bank

    return own


def test_the_encoder_of_the_page_on_encoders_works_as_it_says(media, own):
    rows = own("my_encoder", "Colours", **{"photos/": str(media / "image")})[:]
    assert rows.shape == (5, 3)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-3)


def test_the_one_in_torch_takes_a_precision_as_it_says(own, tmp_path):
    model = torch.nn.Linear(3, 8)
    torch.save(model.state_dict(), tmp_path / "letters.pt")
    (tmp_path / "captions.txt").write_text("a cat\nbarbara\n")
    bank = own("my_letters", "Letters")
    assert bank.encoder.name == "letters, in bfloat16"
    with torch.no_grad():
        wanted = model(torch.tensor([[5.0, 2, 1], [7, 3, 1]])).numpy()
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(bank[:], wanted, atol=0.02)


# From nothing to four banks


@pytest.fixture(scope="module")
def four_banks():
    return (ROOT / "docs/four_banks.md").read_text()


def commands(page, name):
    """Return the arguments of every command of a name; variables of options are filled in."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", page, re.DOTALL | re.M)
    text = "".join(block for language, block in blocks if not language).replace("\\\n", " ")
    for variable, value in re.findall(r'^(\w+)="(.*)"$', text, re.M):
        text = text.replace(f"${variable} ", f"{value} ")
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    return [line[line.index(name) + 1 :] for line in lines if name in line]


def trainings(page):
    """Return the arguments of every training."""
    return [args for args in commands(page, ".venv/bin/freebind") if args[0] == "train"]


def test_the_exports_of_the_page_on_four_banks_are_commands_that_parse(four_banks):
    found = [tyro.cli(ExportConfig, args=a) for a in commands(four_banks, "encoders_torch.export")]
    assert {space for config in found for space in config.spaces()} == {
        "imagebind",
        "clap_general",
        "clap_music",
        "internvl",
    }
    assert {config.split or "pool" for config in found} == {"pool", "$split"}
    assert len(found) == 8


def test_its_trainings_are_commands_that_parse(four_banks):
    found = [parse_config(args[1:]) for args in trainings(four_banks)]
    assert [config.product for config in found] == [
        *("internvl_ib_pp", "imagebind_pp", "internvl_ib_pp")
    ]
    assert {config.data for config in found} == {Path("data/paper")}


def test_its_other_commands_have_only_options_that_there_are(four_banks, capsys, monkeypatch):
    found = commands(four_banks, ".venv/bin/freebind")
    found = [args for args in found if args not in trainings(four_banks)]
    for args in found:
        words = args[: 1 + (args[0] == "bank")]
        monkeypatch.setattr(sys, "argv", ["freebind", *words, "--help"])
        freebind()
        told = capsys.readouterr().out
        assert all(f"{word} " in told for word in args if word.startswith("--")), args
    assert len(found) == 5


def test_its_lists_of_several_captions_a_recording_are_what_the_commands_read(four_banks, tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", four_banks, re.DOTALL)
    made: dict = {}
    exec(code, made)
    names = ",".join(f"caption_{i}" for i in range(1, 6))
    (tmp_path / "t.csv").write_text(f'file_name,{names}\nb.wav,x,"y, z",c,d,e\na.wav,1,2,3,4,5\n')
    made["clotho"](tmp_path, "t.csv")
    audio = open_source("audio", tmp_path / "audio.csv")
    text = open_source("text", tmp_path / "captions.csv")
    assert [item["path"] for item in audio.items] == ["b.wav", "a.wav"]
    assert [item["caption"] for item in text.items] == ["x", "y, z", *"cde12345"]
    assert (tmp_path / "pairs.csv").read_text().split() == [f"{i // 5},{i}" for i in range(10)]
