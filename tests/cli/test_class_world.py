"""The class world that comes with the package, by its name."""

import pytest

from fb_jax import files
from fb_jax.banks import open_banks, open_split, splits, verify_split
from fb_jax.evaluation.classes import labelled
from fb_jax.run import default

MOST_BYTES = 5_000_000
ROOT = default.home("class_world") / "banks"


def test_the_banks_that_ship_are_whole_and_small():
    assert splits(ROOT) == ["drawings", "pool", "scenes", "sounds", "test", "val"]
    for name in splits(ROOT):
        verify_split(open_split(ROOT, name))
    assert files.folder_bytes(default.home("class_world")) <= MOST_BYTES


@pytest.mark.parametrize(
    ("split", "modality"), [("sounds", "audio"), ("scenes", "audio"), ("drawings", "image")]
)
def test_splits_with_labels_can_be_classified_by_every_space(split, modality):
    spaces = ["imagebind", "internvl", "clap_general", "clap_music"]
    banks = open_banks(ROOT, split, spaces=spaces)
    assert labelled(banks) == [modality]
    templates = files.read_json(ROOT / split / "dataset.json")["templates"]
    assert len(banks.pairs("class", "text")) == 56 * len(templates)


def test_what_ships_says_what_it_was_made_from():
    about = files.read_json(default.home("class_world") / "about.json")
    assert about["made_by"] == f"python -m examples.class_world --seed {about['seed']}"
    for key in ("versions", "licences", "recipe", "voices"):
        assert about[key]
    for name, (low, high) in about["targets"]["ranges"].items():
        assert low <= about["scores"][name] <= high


@pytest.mark.slow
def test_a_bond_with_an_expert_of_sounds_classifies_them_better(python, tmp_path):
    args = ("--data", "class_world", "--expert", "clap_general", "--choose", "none")
    done = python("train.py", *args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Data: the class world (symbols drawn, named and described)" in done.stdout
    run = tmp_path / "runs/class_world/imagebind-combination-clap_general"
    figures = files.read_json(run / "metrics.json")["retrieval"]["sounds"]
    gain = [figures[m]["audio-class"]["top-1"] for m in ("versatile", "unified")]
    assert gain[0] >= gain[1] + 3
