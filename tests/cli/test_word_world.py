"""The embedded default: what ``make demo`` runs, and the claims' robust part on it."""

from pathlib import Path

import pytest

from fb_jax import files
from fb_jax.banks import open_split, splits, verify_split
from fb_jax.run import default

pytestmark = pytest.mark.slow
MOST_BYTES = 25_000_000


@pytest.fixture(scope="module")
def demo(python, tmp_path_factory):
    """What ``train.py`` prints without ``--data``, and its run folder."""
    cwd = tmp_path_factory.mktemp("demo")
    done = python("train.py", "--bond", "combination", "--expert", "clap_general", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout, cwd / "runs/word_world/imagebind-combination-clap_general"


def test_versatile_lifts_audio_text_and_keeps_image_text(demo):
    _, folder = demo
    test = files.read_json(folder / "metrics.json")["retrieval"]["test"]
    gain = {
        pair: test["versatile"][pair]["R@1"] - test["unified"][pair]["R@1"]
        for pair in ("audio-text", "image-text")
    }
    assert gain["audio-text"] >= 3
    assert gain["image-text"] >= -1


def test_it_begins_with_what_data_this_is_and_ends_in_where_to_look_next(demo):
    printed, folder = demo
    first, last = printed[:600], printed[-600:]
    for word in ("word world", "play the parts of imagebind, clap_general", "Batch", "width"):
        assert word in first
    assert str(Path(*folder.parts[-3:])) in last
    assert "freebind eval --run" in last
    assert "freebind fuse --run" in last
    assert "the space is chosen; points above mean_of_scores: audio-text" in printed
    assert "the same command with --hubs chosen" in last


def test_the_banks_that_ship_are_whole_and_small():
    root = default.word_world()
    assert splits(root) == ["pool", "test", "val"]
    for name in splits(root):
        found = verify_split(open_split(root, name))
        assert len([line for line in found if "word-world" in line]) == 10
    assert files.folder_bytes(default.home(default.DEFAULT)) <= MOST_BYTES


def test_what_ships_says_what_it_was_made_from():
    about = files.read_json(default.home(default.DEFAULT) / "about.json")
    assert about["made_by"] == f"python -m examples.word_world --seed {about['seed']}"
    for key in ("versions", "licences", "recipe", "voices", "scores"):
        assert about[key]
    for name, (low, high) in about["targets"]["ranges"].items():
        assert low <= about["scores"][name] <= high
