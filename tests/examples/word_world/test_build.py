"""The tiny recipe from nothing to metrics. Its scores mean nothing."""

import runpy
import sys

import numpy as np
import pytest
import soundfile
from PIL import Image

from examples.word_world import report
from examples.word_world.build import BuildConfig, build
from examples.word_world.claims import CLAIMS, GOALS, PRODUCT_CLAIMS, TUNED_CLAIMS, judge
from examples.word_world.recipe import PRODUCTS, TINY, TUNED_PRODUCTS
from fb_jax import files
from fb_jax.banks import open_banks, open_split, splits, verify_split
from fb_jax.run import Run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(debian, tmp_path_factory):
    """The world of seed 0, built in this process, so that a second build compiles nothing again."""
    config = BuildConfig(out=tmp_path_factory.mktemp("word_world"), recipe="tiny")
    build(config)
    return config.folder


def test_the_command_shows_its_options(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["word_world", "--help"])
    runpy.run_module("examples.word_world", run_name="__main__")
    assert "--recipe {full,tiny}" in capsys.readouterr().out


def test_media_are_real_files(world):
    with Image.open(next((world / "corpus/test/image").iterdir())) as image:
        assert (image.size, image.mode, image.format) == ((96, 24), "L", "PNG")
    samples, rate = soundfile.read(next((world / "corpus/test/audio").iterdir()))
    assert 0.1 < len(samples) / rate < 3
    assert 0.01 < abs(samples).max() <= 1


def test_splits_share_no_word(world):
    words = {
        name: (world / "corpus" / name).read_text().split()
        for name in ("train/words.txt", "val/text.txt", "test/text.txt")
    }
    pool = [
        {item["id"][6:-4] for item in open_split(world / "banks", "pool").items(modality)}
        for modality in ("audio", "image")
    ]
    texts = {item["caption"] for item in open_split(world / "banks", "pool").items("text")}
    parts = [*map(set, words.values()), pool[0] | pool[1] | texts]
    assert len(set.union(*parts)) == sum(map(len, parts))
    assert pool[0] != pool[1] != texts  # unpaired


def test_the_banks_name_the_encoder_whose_part_each_space_plays(world):
    for root in ("banks", "domains"):
        for name in splits(world / root):
            verify_split(open_split(world / root, name))
    banks = open_banks(world / "banks", "test", spaces=TINY.spaces)
    assert len(banks.rows["text"]) == TINY.gallery
    for (space, _), bank in banks.banks.items():
        assert bank.encoder.name.startswith(f"word-world {space}: ")
        assert f"play the part of {TINY.spaces[space].plays}" in bank.encoder.name


def test_row_i_is_the_same_word_in_every_modality(world):
    split = open_split(world / "banks", "test")
    words = [item["caption"] for item in split.items("text")]
    assert [item["id"][6:-4] for item in split.items("audio")] == words
    assert [item["id"][6:-4] for item in split.items("image")] == words
    rows = np.tile(np.arange(len(words))[:, None], (1, 2))
    np.testing.assert_array_equal(split.read_pairs("audio", "text"), rows)


def test_products_and_bonds_are_ordinary_runs(world):
    runs = {path.name for path in (world / "runs").iterdir()}
    assert {*PRODUCTS, *TUNED_PRODUCTS, "imagebind-combination-clap_music"} <= runs
    run = Run(world / "runs" / "imagebind-displacement-internvl")
    assert (run.bond.kind, run.bond.expert, run.splits) == (
        "displacement",
        "internvl",
        ["test", "val"],
    )


def test_a_second_run_writes_only_figures_again(world):
    kept = [path for kind in ("npy", "wav", "safetensors") for path in world.rglob(f"*.{kind}")]
    kept += (world / "corpus").rglob("*.png")
    before = {path: path.stat().st_mtime_ns for path in kept}
    build(BuildConfig(out=world.parent, recipe="tiny"))
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_report_has_a_row_for_every_model_and_claim(world, tmp_path):
    files.write_json(tmp_path / "seed-0.json", files.read_json(world / "metrics.json"))
    text = report.report(report.ReportConfig(results=tmp_path))
    results = files.read_json(tmp_path / "seed-0.json")
    for claim in [*CLAIMS, *PRODUCT_CLAIMS, *TUNED_CLAIMS, *GOALS]:
        assert f"| {claim.says} | {claim.paper} |" in text
        assert judge(claim, [results])[0] in ("holds", "does not hold", "open")
    for model in ("imagebind_pp, versatile", "imagebind_pp, chosen on val", "clap_music"):
        figures = results["test"][model]["audio-text"]
        assert f"| {model} | {figures['R@1']:.1f} / {figures['R@5']:.1f} |" in text
    assert (world / "sweep.png").read_bytes().startswith(b"\x89PNG")
