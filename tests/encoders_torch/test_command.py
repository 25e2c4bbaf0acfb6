"""What the commands share: help, and the error without torch."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from encoders_torch import export, tune

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["export", "tune"])
def test_without_torch_a_command_ends_with_an_error(tmp_path, name):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['torch'] = None")
    path = os.pathsep.join([str(tmp_path), str(REPOSITORY)])
    done = subprocess.run(
        [sys.executable, "-m", f"encoders_torch.{name}", "--help"],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: encoders_torch needs torch: .*pip install.*\n", done.stderr)


@pytest.mark.parametrize("module", [export, tune])
def test_help_fits_80_columns_shows_no_internals_and_ends_with_an_example(
    command, monkeypatch, module
):
    monkeypatch.setenv("COLUMNS", "80")
    done = command(module.main, "--help")
    assert done.status == 0
    for internal in ("None", "{None}", "``", "[P]", "[C]", "[O]", "(default: )"):
        assert internal not in done.out
    text, example = done.out.split("\nExample:\n")
    assert all(len(line) <= 80 for line in text.splitlines())
    assert example.startswith(f"  python -m {module.__name__} --space ")


def test_an_error_in_an_option_comes_without_an_example(command):
    done = command(export.main, "--no-such-option")
    assert done.status == 2
    assert "Example:" not in done.out + done.err
