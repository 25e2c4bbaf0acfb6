import shutil
from pathlib import Path

import pytest

from fb_jax.errors import FreeBindError
from fb_jax.run import RunConfig, default, introduce, parse_config, preflight
from fb_jax.training import Training

FITTING = "training: {batch: 10, epochs: 2, hidden: 32}"
OTHER = "training: {batch: 12, epochs: 3}"
OWN = "{data: banks, training: {batch: 8}}"


@pytest.fixture(autouse=True)
def word_world(root, tmp_path, monkeypatch):
    """Let other banks and options stand in for what ships; runs start in an empty folder."""
    for name, options in {"word_world": FITTING, "class_world": OTHER}.items():
        home = tmp_path / "package" / name
        home.mkdir(parents=True)
        (home / "config.yaml").write_text(options)
    shutil.copytree(root, home / "banks")
    (tmp_path / "package/word_world/banks").symlink_to(root)
    monkeypatch.setattr(default, "PACKAGE", tmp_path / "package")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "package/word_world"


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


@pytest.mark.parametrize("args", [["--data", "class_world"], ["--data=class_world"], "own"])
def test_data_of_the_package_go_by_name_with_options_that_fit_them(word_world, args):
    Path("by_name.yaml").write_text("data: class_world")
    found = parse_config(["--config", "by_name.yaml"] if args == "own" else args)
    assert found.data == word_world.parent / "class_world/banks"
    assert found.training == Training(batch=12, epochs=3)
    assert found.home == Path("runs/class_world")
    assert "the class world (symbols" in introduce(found, ["imagebind"])


def test_a_folder_of_that_name_wins():
    Path("class_world").mkdir()
    found = parse_config(["--data", "class_world"])
    assert (found.data, found.training) == (Path("class_world"), Training())


def test_the_data_that_are_named_last_count(word_world):
    Path("own.yaml").write_text(OWN)
    found = parse_config(["--config", "own.yaml", "--data", "word_world"])
    assert found == RunConfig(
        data=word_world / "banks", config=Path("own.yaml"), training=Training(8, 2, hidden=32)
    )


def test_only_the_data_of_a_command_go_by_name():
    args = ["--run", "word_world", "--data", "other", "--data", "word_world", "--out=class_world"]
    changed = str(default.word_world())
    assert default.with_bank_roots(args) == [*args[:5], changed, args[-1]]
    assert default.with_bank_roots(["--data"]) == ["--data"]


@pytest.mark.parametrize("path", ["package/word_world/banks", "link"])
def test_the_word_world_is_known_by_whatever_path(word_world, path):
    Path("link").symlink_to(word_world / "banks")
    assert default.shipped(Path(path)) == "word_world"
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
