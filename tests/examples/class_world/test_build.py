"""The tiny recipe from nothing to products. Its scores mean nothing."""

import pytest

from examples.class_world.build import BuildConfig, build
from examples.class_world.classes import CLASSES
from examples.class_world.corpus import LABELLED
from examples.class_world.prompts import tables
from examples.class_world.recipe import TINY
from fb_jax import files
from fb_jax.banks import open_banks, open_split, splits, verify_split
from fb_jax.evaluation.classes import labelled
from fb_jax.fusion import FusedSpace
from fb_jax.run import Run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(debian, tmp_path_factory):
    """The world of seed 0, built in this process, so that a second build compiles nothing again."""
    config = BuildConfig(out=tmp_path_factory.mktemp("class_world"), recipe="tiny")
    build(config)
    return config.folder


def test_splits_with_labels_can_be_classified_by_prompts(world):
    for name, (modality, templates) in LABELLED.items():
        split = open_split(world / "banks", name)
        verify_split(split)
        assert files.read_json(split.path / "dataset.json")["templates"] == list(templates)
        assert [item["caption"] for item in split.items("class")] == list(CLASSES)
        banks = open_banks(world / "banks", name, spaces=TINY.spaces)
        assert labelled(banks) == [modality]
        prompts = list(split.items("text"))
        for owner, text in banks.pairs("class", "text").tolist():
            assert prompts[text]["id"].split("#")[0] == CLASSES[owner]


def test_labels_are_what_was_said(world):
    split = open_split(world / "banks", "scenes")
    said = [set(item["id"][6:-4].split("-")) for item in split.items("audio")]
    found = [set() for _ in said]
    for row, number in split.read_pairs("audio", "class").tolist():
        found[row].add(CLASSES[number])
    assert found == said
    assert {len(own) for own in said} == {1, 2}


def test_pairs_are_of_one_scene(world):
    split = open_split(world / "banks", "test")
    audio, image, text = ([i["id"] for i in split.items(m)] for m in ("audio", "image", "text"))
    for row, other in split.read_pairs("audio", "text").tolist():
        assert text[other].split("#")[0] == audio[row][:-4]
    assert len(split.read_pairs("audio", "text")) == 2 * TINY.gallery
    assert [name[:-4] for name in audio] == [name[:-4] for name in image]


def test_the_banks_name_the_world_and_the_encoder_whose_part_each_space_plays(world):
    assert splits(world / "banks") == ["drawings", "pool", "scenes", "sounds", "test", "val"]
    for bank in open_banks(world / "banks", "test", spaces=TINY.spaces).banks.values():
        assert bank.encoder.name.startswith("class-world ")


def test_every_template_has_a_line_in_the_tables_of_prompts(world):
    space = FusedSpace.load(world / "runs/imagebind_pp/space")
    for (_, templates), table in zip(
        LABELLED.values(), tables(world / "banks", space), strict=True
    ):
        assert [row[0] for row in table[1:]] == [f"`{t}`" for t in (*templates, "all averaged")]
        assert table[0][1:] in (
            ["imagebind", "clap_general", "both"],
            ["imagebind", "internvl", "both"],
        )


def test_a_second_build_trains_nothing_again(world):
    kept = [path for kind in ("npy", "wav", "safetensors") for path in world.rglob(f"*.{kind}")]
    before = {path: path.stat().st_mtime_ns for path in kept}
    build(BuildConfig(out=world.parent, recipe="tiny"))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    splits = Run(world / "runs/imagebind-combination-clap_music").splits
    assert {"val", "test", "sounds", "scenes"} <= set(splits)
