from pathlib import Path

import pytest

from fb_jax.errors import FreeBindError
from fb_jax.run import RunConfig, default, introduce, parse_config, preflight
from fb_jax.training import Training

FITTING = "training: {batch: 10, epochs: 2, hidden: 32}"
OWN = "{data: banks, training: {batch: 8}}"


@pytest.fixture(autouse=True)
def word_world(root, tmp_path, monkeypatch):
    """Let other banks and options stand in for the word world; runs start in an empty folder."""
    home = tmp_path / "package" / "word_world"
    home.mkdir(parents=True)
    (home / "banks").symlink_to(root)
    (home / "config.yaml").write_text(FITTING)
    monkeypatch.setattr(default, "HOME", home)
    monkeypatch.chdir(tmp_path)
    return home


def test_a_run_without_data_is_one_of_the_word_world_at_options_that_fit_it(word_world):
    assert parse_config(["--bond", "displacement"]) == RunConfig(
        data=word_world / "banks",
        bond="displacement",
        training=Training(batch=10, epochs=2, hidden=32),
    )


def test_a_file_wins_over_the_options_that_fit_and_the_command_line_over_both():
    Path("my.yaml").write_text("training: {batch: 8, hidden: 16}")
    found = parse_config(["--config", "my.yaml", "--training.hidden", "64"])
    assert found.training == Training(batch=8, epochs=2, hidden=64)


@pytest.mark.parametrize(
    ("args", "training"),
    [
        (["--data", "banks"], Training()),
        (["--data=banks"], Training()),
        (["--config", "own.yaml"], Training(batch=8)),
    ],
)
def test_options_that_fit_the_word_world_are_not_those_of_other_data(args, training):
    Path("own.yaml").write_text(OWN)
    found = parse_config(args)
    assert (found.data, found.training) == (Path("banks"), training)


def test_runs_on_the_word_world_lie_apart_from_those_on_other_data():
    run, names = "house-combination-clap", ["--unified", "house", "--expert", "clap"]
    assert parse_config(names).folder == Path("runs/word_world") / run
    assert parse_config(["--data", "banks", *names]).folder == Path("runs") / run
    assert parse_config(["--out", "here"]).folder == Path("here")
    assert parse_config(["--out", "here", "--product", "imagebind_pp"]).home == Path("here")
    assert parse_config(["--out", "here"]).home == Path("runs/word_world")


def test_a_run_without_data_passes_every_check():
    job = preflight(parse_config(["--expert", "internvl"]))
    assert list(job.evaluation) == ["test", "val"]


@pytest.mark.parametrize("path", ["package/word_world/banks", "link"])
def test_the_word_world_is_known_by_whatever_path(word_world, path):
    Path("link").symlink_to(word_world / "banks")
    assert default.is_default(Path(path))
    assert introduce(RunConfig(data=Path(path)), ["imagebind", "internvl"])


def test_other_data_are_not_introduced(tmp_path):
    assert introduce(RunConfig(data=tmp_path), ["imagebind", "internvl"]) == ""


def test_the_word_world_is_introduced_for_what_it_is_with_batch_and_width(word_world):
    told = introduce(parse_config(["--training.batch", "20"]), ["imagebind", "internvl"])
    assert f"the word world (words written, drawn and spoken), in\n{word_world}.\n" in told
    assert "play the parts of imagebind, internvl.\n" in told
    assert "They are not ImageBind, CLAP or InternVL" in told
    assert "Batch 20, hidden width 32 (the paper: 4096, 2048)" in told


def test_a_package_without_its_data_is_refused(word_world):
    (word_world / "config.yaml").unlink()
    with pytest.raises(FreeBindError, match=r"word_world/config\.yaml"):
        parse_config([])
