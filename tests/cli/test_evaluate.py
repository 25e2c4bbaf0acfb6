import json
import shutil
from pathlib import Path

import pytest

from fb_jax import files
from fb_jax.cli.factors import ExpertFactors
from fb_jax.cli.main import main as freebind
from fb_jax.fusion.factors import as_text
from fb_jax.run import Run, default


@pytest.fixture
def recorded(run_folder):
    return files.read_json(run_folder / "metrics.json")["retrieval"]


@pytest.fixture
def damaged(run_folder, tmp_path):
    """A copy of the run with one byte of its checkpoint altered."""
    folder = shutil.copytree(run_folder, tmp_path / "damaged")
    largest = max(folder.glob("bond/checkpoints/**/d/*"), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    return folder


def test_the_figures_of_a_run_are_reproduced_and_another_point_is_added(
    python, run_folder, recorded, tmp_path
):
    factors = ["--sigma-audio", 0.3, "--sigma-text", 0.2]
    done = python("eval.py", "--run", run_folder, "--json", "out.json", *factors, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = files.read_json(tmp_path / "out.json")["retrieval"]
    points = {split: by_model.pop("audio 0.3, text 0.2") for split, by_model in found.items()}
    assert json.dumps(found) == json.dumps(recorded)
    mine = Run(run_folder).evaluate("test", {"mine": {"audio": 0.3, "text": 0.2}})["mine"]
    assert points["test"] == mine
    assert done.stdout.count("│ audio 0.3, text 0.2 ") == 2


def test_one_split_is_evaluated_when_it_is_named(invoke, run_folder, recorded, tmp_path):
    done = invoke(
        freebind, "eval", "--run", run_folder, "--split", "val", "--json", tmp_path / "out.json"
    )
    assert done.status == 0
    assert "test: imagebind" not in done.out
    assert files.read_json(tmp_path / "out.json")["retrieval"] == {"val": recorded["val"]}


def test_data_of_the_package_are_evaluated_by_name(must, run_folder, root, tmp_path, monkeypatch):
    monkeypatch.setattr(default, "PACKAGE", tmp_path / "package")
    shutil.copytree(root / "val", tmp_path / "package/class_world/banks/mine")
    out = must(freebind, "eval", "--run", run_folder, "--data", "class_world", "--split", "mine")
    assert "mine: imagebind+clap_general" in out


def test_other_banks_are_evaluated_when_they_are_named(invoke, run_folder, root, tmp_path):
    moved = shutil.copytree(root / "val", tmp_path / "moved" / "mine").parent
    args = ["--data", moved, "--split", "mine", "--metrics", "MRR", "--json", "out.json"]
    done = invoke(freebind, "eval", "--run", run_folder, *args)
    assert done.status == 0
    assert "mine: imagebind+clap_general" in done.out
    found = files.read_json(tmp_path / "out.json")["retrieval"]["mine"]["versatile"]["audio-text"]
    assert set(found) == {"MRR", "MRR audio->text", "MRR text->audio"}


@pytest.mark.parametrize(
    "factors",
    [["--sigma-audio", 0.5], ["--lambda-audio", 0.5], ["--sigma", "audio", 0.5]],
)
def test_a_factor_that_is_not_named_is_the_chosen_one(invoke, run_folder, tmp_path, factors):
    args = ["--split", "val", *factors, "--json", tmp_path / "out.json"]
    assert invoke(freebind, "eval", "--run", run_folder, *args).status == 0
    found = files.read_json(tmp_path / "out.json")["retrieval"]["val"]
    point = {"audio": 0.5, "text": Run(run_folder).chosen.factors["text"]}
    there = Run(run_folder).evaluate("val", {"here": point})["here"]
    assert found[as_text(point)] == there


@pytest.mark.parametrize(
    ("named", "option"),
    [
        (("audio",), "--sigma-audio"),
        (("depth",), "--sigma depth"),
        (("image", "lambda"), "--lambda-image"),
    ],
)
def test_the_option_of_a_factor_is_named(named, option):
    assert ExpertFactors.option(*named) == option


# What is refused


def test_an_altered_checkpoint_is_told_without_a_traceback(python, damaged, tmp_path):
    done = python("eval.py", "--run", damaged, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: a checkpoint was altered after it was written\n" in done.stderr
    assert "bond/checkpoints/66/state" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--sigma-image", 0.3], "no factor of clap_general for 'image'\n|audio, text"),
        (["--sigma", "depth", 0.3], "no factor of clap_general for 'depth'\n|audio, text"),
        (["--sigma-audio", 1.5], "the factor of audio is out of range\n|0 to 1\n|1.5"),
        (["--split", "tset"], "no split 'tset'\n|did you mean 'test'"),
        (["--data", "nowhere"], "no such bank root\n|nowhere"),
    ],
)
def test_what_cannot_be_evaluated_is_named(invoke, run_folder, args, says):
    done = invoke(freebind, "eval", "--run", run_folder, *args)
    assert done.status == 2
    assert [part for part in says.split("|") if part not in done.err] == []


def test_a_folder_that_is_no_run_is_named(invoke, tmp_path):
    done = invoke(freebind, "eval", "--run", tmp_path)
    assert done.status == 2
    assert done.err.startswith(f"error: no run and no fused space here\n  where:    {tmp_path}\n")


def test_an_unknown_option_is_refused_with_the_nearest_name(invoke, run_folder):
    done = invoke(freebind, "eval", "--run", run_folder, "--sigma-adio", 0.3)
    assert done.status == 2
    assert "--sigma-audio" in done.err


# An artefact, without its run


def test_an_artefact_is_evaluated_on_the_splits_of_a_root(must, run_folder, recorded, root):
    must(freebind, "export-space", "--run", run_folder, "--out", "kept", "--name", "mine")
    told = must(freebind, "eval", "--space", "kept", "--data", root, "--json", "out.json")
    assert "test: mine" in told
    assert files.read_json(Path("out.json"))["retrieval"] == recorded


@pytest.mark.parametrize("named", [[], ["--run", "run", "--space", "kept"]])
def test_what_to_evaluate_must_be_named_once(invoke, named):
    done = invoke(freebind, "eval", *named)
    assert (
        done.status,
        "--run FOLDER (a run, a product, or a fused space with --data BANKS)" in done.err,
    ) == (2, True)
