"""``freebind``: one command, whose commands are imported only when they run."""

import re
import shlex
import subprocess
import sys
from functools import wraps
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from fb_jax.arguments import parse
from fb_jax.cli.ablate import AblateOptions
from fb_jax.cli.main import COMMANDS, main
from fb_jax.run import RunConfig
from fb_jax.run.ablation import ROWS
from fb_jax.run.parsing import parse_options

INTERNAL = re.compile(r"None|\[[PCO]\]|``|\bSTR\b|\bINT\b|\bFLOAT\b|fb_jax|default: \)")
TEXT_0 = ("--in", "text", "--like", "text", "--row", 0)


@pytest.fixture(autouse=True)
def narrow_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_for_people_and_ends_with_an_example(must, name):
    text = must(main, *name.split(), "--help")
    assert INTERNAL.findall(text) == []
    usage = text.index("usage: ")  # tyro does not wrap it
    body = text[:usage] + text[text.index("\n", usage) :]
    assert [line for line in body.splitlines() if len(line) > 80] == []
    assert f"\nExample:\n  freebind {name} " in text
    explained = re.findall(r"^│ +(--\S+).*?\n?│? +(.*)", text, re.MULTILINE)
    assert [option for option, first in explained if first.startswith("(default")] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_have_only_options_that_exist(name):
    command = COMMANDS[name]
    if command.parses:
        words = [word for word in shlex.split(command.example) if word not in ROWS]
        parse_options(AblateOptions if name == "ablate" else RunConfig, words, name)
        return
    module, function = command.home.split(":")
    target = getattr(import_module(f"fb_jax.cli.{module}"), function)
    parse(wraps(target)(lambda **options: options), shlex.split(command.example), name)


def test_errors_show_no_internals(invoke):
    done = invoke(main, "fuse", "--split", "val", "--preset", "x", "--sgma-audio", 0.3)
    assert "--sigma-audio NUMBER" in done.err
    assert INTERNAL.findall(done.err) == []


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"]])
def test_without_a_command_all_commands_are_listed(must, args):
    told = must(main, *args)
    for name, command in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(command.summary)}$", told, re.MULTILINE)


def test_the_module_is_the_command_too():
    done = subprocess.run(
        [sys.executable, "-m", "fb_jax.cli.main"], capture_output=True, text=True, check=True
    )
    assert "usage: freebind COMMAND" in done.stdout


def test_a_group_lists_its_commands(must):
    told = must(main, "bank")
    assert "bank import" in told
    assert "released" not in told


@pytest.mark.parametrize(
    ("args", "near"),
    [(["trian"], "train"), (["bank", "imprt"], "bank import"), (["released", "x"], "released")],
)
def test_a_misspelt_command_is_refused_with_the_nearest(invoke, args, near):
    done = invoke(main, *args)
    assert done.status == 2
    assert f"there is no command '{' '.join(args)}'" in done.err
    assert near in done.err


def test_a_misspelt_option_is_compared_with_those_of_its_command_alone(invoke, tmp_path):
    done = invoke(main, "bank", "info", tmp_path, "--sigma-audio", 0.3)
    assert done.status == 2
    assert "sigma" not in done.err.replace("--sigma-audio, 0.3", "")


@pytest.mark.parametrize(
    ("args", "twice"),
    [
        (["push", "a", "b/c", "--licence", "x", "MIT", "--licence", "y", "MIT"], "--licence"),
        (["fuse", "--sigma", "depth", 0.2, "--lambda", "video", 0.3], "--lambda"),
        (["search", "--root", "a", "--root", "b", "--split", "c", "--split=d"], "--split"),
        (["train", "--runtime.loggers", "csv", "--runtime.loggers", "x"], "--runtime.loggers"),
    ],
)
def test_of_an_option_with_several_values_none_is_dropped(invoke, args, twice):
    done = invoke(main, *args)
    assert (done.status, f"error: {twice} is there twice\n" in done.err) == (2, True), done.err
    assert f"give it once, with all values: {twice} VALUE VALUE ..." in done.err


IMPORTED = """
import sys
from fb_jax.cli.main import main
try:
    main()
except SystemExit as stop:
    print("status", stop.code)
print("heavy:", sorted({"jax", "torch", "flax", "matplotlib"} & set(sys.modules)))
"""
SPLIT = ("--root", "r", "--split", "s")


@pytest.mark.parametrize(
    ("args", "status"),
    [
        (["--help"], None),
        (["bank", "info", "ROOT"], None),
        (["bank", "import", "bad.npy", *SPLIT, "--space", "x"], 2),
        (["bank", "import", "bad.npy", *SPLIT, "--space", "x", "--modality", "m"], 2),
    ],
    ids=["help", "info", "option missing", "bad rows"],
)
def test_what_needs_no_jax_does_not_import_it(python, root, tmp_path, args, status):
    np.save(tmp_path / "bad.npy", np.full((4, 2), np.nan, np.float32))
    done = python(IMPORTED, *[root if arg == "ROOT" else arg for arg in args], cwd=tmp_path)
    assert done.stdout.endswith("heavy: []\n"), done.stderr
    assert (f"status {status}" in done.stdout) == (status is not None)


def test_the_version_is_printed(must):
    assert re.fullmatch(r"freebind \d+\.\d+\S*\n", must(main, "--version"))


def test_ones_own_loss_is_found_in_the_current_folder(root, tmp_path):
    (tmp_path / "mine.py").write_text("def loss(projected, target, **settings):\n    return 0.0\n")
    script = Path(sys.executable).parent / "freebind"
    options = ["--data", root, "--training.batch", "20", "--training.hidden", "16", "--dry-run"]
    for loss, status in (("mine:loss", 0), ("mine:lost", 2)):
        command = [script, "train", *options, "--training.loss", loss]
        assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == status


# Where a command finds its space


def test_a_run_is_found_by_its_folder_or_its_parents(must, run_folder, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").symlink_to(run_folder)
    (tmp_path / "runs" / "pairs").mkdir()
    for folder in ("runs", "runs/mine"):
        assert "val: imagebind+clap_general" in must(main, "eval", "--run", folder)


def test_several_runs_are_listed_rather_than_guessed(invoke, run_folder, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).symlink_to(run_folder)
        (tmp_path / f"{name} loop").symlink_to(tmp_path)
    done = invoke(main, "eval", "--run", tmp_path)
    assert done.status == 2
    assert "several runs or spaces are here" in done.err
    assert f"{tmp_path / 'a'}, {tmp_path / 'b'}" in done.err


def test_a_space_alone_needs_its_banks(must, invoke, run_folder, root):
    must(main, "export-space", "--run", run_folder, "--out", "kept")
    done = invoke(main, "eval", "--run", "kept")
    assert (done.status, "--data BANKS" in done.err) == (2, True)
    assert "test: imagebind+clap_general" in must(main, "eval", "--run", "kept", "--data", root)


def test_a_name_that_is_taken_is_refused_with_what_to_do(invoke, must, run_folder):
    args = ["fuse", "--run", run_folder, "--split", "val", "--out", "made", "--name", "best"]
    must(main, *args)
    must(main, *args)  # the same again
    done = invoke(main, *args, "--sigma-audio", 0.9)
    assert done.status == 2
    assert "`best` already exists: other weights, other factors" in done.err
    assert "choose another --name" in done.err


NO_DEVICE = """
import os
os.environ["JAX_PLATFORMS"] = "cuda"
from fb_jax.cli.main import main
main()
"""


@pytest.mark.parametrize(
    "args", [("export-space", "--run", "RUN", "--out", "made"), ("train", "--dry-run")]
)
def test_a_platform_that_is_not_there_is_named(python, run_folder, tmp_path, args):
    done = python(NO_DEVICE, *[run_folder if arg == "RUN" else arg for arg in args], cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no device to compute on\n")
    assert "unset JAX_PLATFORMS, which allows only cuda" in done.stderr


@pytest.mark.parametrize("command", ["eval", "fuse", "search"])
def test_a_device_that_is_not_there_is_refused(invoke, run_folder, root, command):
    args = {
        "eval": ["--run", run_folder],
        "fuse": ["--run", run_folder, "--split", "val", "--out", "made"],
        "search": ["--root", root, "--split", "val", "--space", "imagebind", *TEXT_0],
    }
    done = invoke(main, command, *args[command], "--device", "gpu")
    assert (done.status, "there is no gpu to compute on" in done.err) == (2, True)
