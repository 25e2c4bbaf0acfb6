"""What the commands share: help, and the error without torch."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from encoders_torch import export, tune
from encoders_torch.explain import LONGEST, in_one_line

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
    invoke, monkeypatch, module
):
    monkeypatch.setenv("COLUMNS", "80")
    done = invoke(module.main, "--help")
    assert done.status == 0
    for internal in ("None", "{None}", "``", "[P]", "[C]", "[O]", "(default: )"):
        assert internal not in done.out
    text, example = done.out.split("\nExample:\n")
    assert all(len(line) <= 80 for line in text.splitlines())
    assert example.startswith(f"  python -m {module.__name__} --space ")


def test_an_error_in_an_option_comes_without_an_example(invoke):
    done = invoke(export.main, "--no-such-option")
    assert done.status == 2
    assert "Example:" not in done.out + done.err


@pytest.fixture
def refused(invoke, tmp_path):
    """Return what an export says that must not begin; its message in one line."""

    def refused(*args):
        (tmp_path / "c.txt").write_text("a caption\n")
        where = ("--text", tmp_path / "c.txt", "--out", tmp_path / "banks")
        done = invoke(export.main, *args, *where)
        assert done.status == 2
        assert not (tmp_path / "banks").exists()
        return re.sub(r"[\s│]+", " ", done.err)

    return refused


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ("--space c --device gpu", r"no device 'gpu' expected: auto, cpu, .* fix: leave --device"),
        ("--space c --device cuda:x", "no device 'cuda:x' expected"),
        ("--space c --device=", "no device '' expected"),
        ("--space c --precision fp16", "no precision 'fp16' expected: one of: bfloat16, float32"),
        (
            "--space c --encoder a=x b=y",
            "2 values, but there is one space expected: one value, for c",
        ),
        ("--space c d --encoder hf:X", "expected: SPACE=ENCODER, such as c=hf:X got: hf:X"),
        (
            "--space c d --weights c=1 c=2",
            "--weights has two values for c expected: one got: 1 and 2",
        ),
        ("--space", "--space names no space"),
        ("--space c c", "names a space twice got: c"),
        ("--space c --shard-id 1", "with --num-shards 1, export shard_id is out of range"),
        ("--space c --num-shards 3 --shard-id 3", "with --num-shards 3, .* 0 to 2 got: 3"),
        ("--space c --ray-actors 2", "--ray-actors needs a Ray cluster fix: add --ray"),
    ],
)
def test_an_option_that_is_refused_says_what_to_write(refused, args, says):
    said = refused(*args.split())
    assert re.search(says, said), said
    assert "None" not in said


def test_help_on_shards_is_one_paragraph(invoke, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = " ".join(invoke(export.main, "--help").out.replace("│", " ").split())
    assert "each with every num-shards-th shard; or 1 if each of any number" in text


def test_a_long_text_of_a_library_is_cut_after_a_word():
    text = in_one_line(ValueError("word " * LONGEST))
    assert text.endswith("word ...")
    assert len(text) <= LONGEST + len("ValueError:  ...")
    assert in_one_line(ValueError("short text")) == "ValueError: short text"
