import json
import shutil

import jax
import numpy as np
import pytest
from disturb import REPOSITORY, At

from fb_jax import files
from fb_jax.cli.main import main as freebind
from fb_jax.process import AGAIN
from fb_jax.run import default
from fb_jax.training import load_bond

NO_SPACE = "error: a checkpoint could not be written"


@pytest.fixture
def again(run_folder, tmp_path):
    """Arguments of the finished run, into another folder."""
    pairs = shutil.copytree(run_folder.parent / "pairs", tmp_path / "pairs")
    return ["--config", run_folder / "config.yaml", "--out", "run", "--store", pairs]


@pytest.mark.parametrize("script", ["train.py", "eval.py"])
def test_the_scripts_are_short(script):
    assert len((REPOSITORY / script).read_text().splitlines()) < 100


# A run from the start


def test_training_ends_in_a_table_of_every_model(run_folder):
    told = (run_folder.parent / "log.txt").read_text()
    for split in ("val", "test"):
        assert f"{split}: imagebind + clap_general" in told
    assert "factors chosen on val, for the mean R@1 of all pairs: audio " in told
    for word in (
        "unified",
        "clap_general",
        "chosen",
        "versatile",
        "at_expertise",
        "mean_of_scores",
    ):
        assert told.count(f"│ {word} ") == 2
    for pair in ("audio-image", "audio-text", "image-text"):
        assert f" {pair} ┃" in told


def test_training_tells_how_long_every_stage_took_and_what_to_do_next(run_folder):
    told = (run_folder.parent / "log.txt").read_text()
    assert "pseudo pairs: 330 done in " in told
    assert "training: 66 done in " in told
    assert "freebind eval --run run --sigma-audio 0.3\n" in told
    assert "freebind fuse --run run --split test\n" in told


def test_metrics_are_filed_by_split_model_pair_and_metric(run_folder):
    found = files.read_json(run_folder / "metrics.json")
    assert list(found) == ["retrieval", "space", "chosen"]
    assert list(found["retrieval"]) == ["val", "test"]
    for by_model in found["retrieval"].values():
        assert list(by_model)[:2] == ["unified", "clap_general"]
        recall = by_model["versatile"]["audio-text"]["R@1"]
        assert by_model["unified"]["audio-text"]["R@1"] < recall <= 100


def test_the_table_shows_the_metrics(run_folder):
    told = (run_folder.parent / "log.txt").read_text()
    metrics = json.loads((run_folder / "metrics.json").read_text())["retrieval"]
    for by_model in metrics.values():
        cell = by_model["at_expertise"]["audio-text"]
        assert "/".join(f"{cell[f'R@{k}']:.1f}" for k in (1, 5, 10)) in told


# The same run again


def test_the_same_command_again_changes_no_byte_and_trains_nothing(
    run_folder, python, tmp_path, contents
):
    work = shutil.copytree(run_folder.parent, tmp_path / "work")
    before = contents(work)
    done = python("train.py", "--config", "run/config.yaml", cwd=work)
    assert done.returncode == 0, done.stderr
    after = contents(work)
    assert {name for name in before if after.get(name) != before[name]} == set()
    assert after.keys() == before.keys()
    assert "versatile" in done.stdout


# train.py itself, disturbed when a checkpoint's digests get their name


@pytest.mark.parametrize(
    ("name", "step", "status", "kept", "told"),
    [
        ("SIGINT", 20, 130, {"20.json", "21.json"}, ["interrupted: training", AGAIN]),
        ("disturb.reader_gone", 20, 141, {"20.json", "21.json"}, ["interrupted: training", AGAIN]),
        ("SIGKILL", 40, -9, {"20.json"}, []),
        (
            "disturb.no_space",
            20,
            2,
            {"20.json"},
            ["JsonLines", "TensorBoard", NO_SPACE],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_disturbed_training_goes_on_to_the_bits_of_an_undisturbed_one(
    python, run_folder, again, tmp_path, name, step, status, kept, told
):
    often = ["--runtime.checkpoint-steps", 20]
    at = At("os.replace", do=name, on=rf"checkpoints/{step}\.json$")
    stopped = python("train.py", *again, *often, cwd=tmp_path, at=[at])
    assert stopped.returncode == status, stopped.stderr
    assert {path.name for path in tmp_path.glob("run/bond/checkpoints/*.json")} == kept
    assert [text for text in [*told, "Traceback"] if text in stopped.stderr] == told

    done = python("train.py", *again, *often, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    bonds = [load_bond(folder / "bond") for folder in (run_folder, tmp_path / "run")]
    jax.tree.map(np.testing.assert_array_equal, *(bond.variables for bond in bonds))
    metrics = [folder / "metrics.json" for folder in (run_folder, tmp_path / "run")]
    assert metrics[0].read_bytes() == metrics[1].read_bytes()


def test_a_run_is_for_one_process_alone(invoke, again, tmp_path):
    with files.locked(tmp_path / "run"):
        done = invoke(freebind, "train", *again)
    assert (done.status, "another process is writing here" in done.err) == (2, True), done.err
    assert {path.name for path in (tmp_path / "run").iterdir()} == {".lock"}


# An environment that would change the training

IN_X64 = """
import os
os.environ["JAX_ENABLE_X64"] = "1"
from fb_jax.cli.main import main
main("train")
"""


def test_the_environment_changes_no_bit_and_is_recorded(python, run_folder, tmp_path):
    work = shutil.copytree(run_folder.parent, tmp_path / "work")
    config = ["--config", run_folder / "config.yaml"]
    for out, count in (("new", 0), ("run", 1)):  # another training, and one that was done before
        done = python(IN_X64, *config, "--out", out, "--store", f"{out}-pairs", cwd=work)
        assert done.returncode == 0, done.stderr
        made = json.loads((work / out / "provenance.json").read_text())
        processes = [made, *made.get("later", [])]
        found = [process["environment"].get("JAX_ENABLE_X64") for process in processes]
        assert (found, made["x64"]) == ([None, "1"][-1 - count :], False)
    for name in ("metrics.json", "bond/bond.json"):
        assert (work / "new" / name).read_bytes() == (run_folder / name).read_bytes()
    assert load_bond(work / "new/bond") == load_bond(run_folder / "bond")


# A pool alone


def test_a_pool_alone_is_trained_on_and_no_table_is_promised(python, root, again, tmp_path):
    shutil.copytree(root / "pool", tmp_path / "alone" / "pool")
    done = python("train.py", *again, "--data", "alone", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("training only: no split has pairs, so no table is possible") == 2
    assert load_bond(tmp_path / "run" / "bond").shared == ("text", "audio")


# Without training


def test_a_dry_run_tells_pairs_steps_memory_and_disk_and_writes_nothing(invoke, again, tmp_path):
    shutil.rmtree(tmp_path / "pairs")
    done = invoke(freebind, "train", *again, "--dry-run")
    assert done.status == 0
    for label in ("pairs ", "steps ", "memory ", "disk ", "evaluation "):
        assert f"\n{label}" in done.out
    assert "dry run: everything checked, nothing written" in done.out
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_data_begins_with_what_the_word_world_is(invoke, root, tmp_path, monkeypatch):
    (tmp_path / "word_world").mkdir()
    (tmp_path / "word_world/banks").symlink_to(root)
    (tmp_path / "word_world/config.yaml").write_text("training: {batch: 10, hidden: 32}")
    monkeypatch.setattr(default, "PACKAGE", tmp_path)
    done = invoke(freebind, "train", "--bond", "displacement", "--expert", "internvl", "--dry-run")
    assert (done.status, done.err) == (0, "")
    assert "\nData: the word world " in done.out
    assert "play the parts of imagebind, internvl." in done.out
    assert "Batch 10, hidden width 32 (the paper: 4096, 2048)" in done.out
    assert not (tmp_path / "runs").exists()


def test_an_error_is_told_without_a_traceback_and_ends_in_status_2(python, again, tmp_path):
    done = python("train.py", *again, "--expert", "clap_genral", cwd=tmp_path)
    assert done.returncode == 2
    assert "error: there is no space 'clap_genral'\n" in done.stderr
    assert "did you mean 'clap_general'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert "error" not in done.stdout
    assert not (tmp_path / "run").exists()


def test_a_batch_of_nothing_is_told_like_any_error(invoke, again):
    done = invoke(freebind, "train", *again, "--training.batch", 0)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("error: training batch is out of range\n")


def test_help_names_every_option_with_its_default(invoke):
    done = invoke(freebind, "train", "--help")
    assert done.status == 0
    for option in ("--data BANK_ROOT", "--bond", "--dry-run", "--training.batch", "--config"):
        assert option in done.out
    words = " ".join(done.out.replace("│", " ").split())  # lines are broken anywhere
    assert "default: the word world" in words
    assert "default: 2048" in done.out
