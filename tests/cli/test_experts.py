"""Either bond with any kind of expert, and a fourth modality, by the commands that a user types."""

import re
from pathlib import Path

import numpy as np
import pytest

from fb_jax import files
from fb_jax.banks import Synthetic, open_banks, write_synthetic
from fb_jax.banks.synthetic import NOISE
from fb_jax.cli.main import main as freebind
from fb_jax.fusion import FusedSpace, parts_of
from fb_jax.fusion.factors import as_text
from fb_jax.run import Run

BONDS = ("combination", "displacement")
UNIFIED, EXPERT = 64, 48
POOL = {"text": 83, "image": 82, "audio": 81}  # of 4 steps each: one program serves all steps
QUICK = ["--training.batch", 20, "--training.epochs", 2, "--training.hidden", 32]
GOOD = {"text": 0.3, "image": 0.3, "audio": 0.3, "depth": 0.3}
SPACES = NOISE | {
    "audio_image": {m: GOOD[m] for m in ("audio", "image")},
    "everything": {m: GOOD[m] for m in ("text", "image", "audio")},
}
WITH_DEPTH = {
    "imagebind": NOISE["imagebind"] | {"depth": 1.2},
    "depth_text": {m: GOOD[m] for m in ("depth", "text")},
}


def write(root, noise, **pool):
    dims = {space: UNIFIED if space == "imagebind" else EXPERT for space in noise}
    write_synthetic(root, Synthetic(pool=pool, evaluation={"val": 60}, dims=dims, noise=noise))
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three modalities and experts of every kind. Read only."""
    return write(tmp_path_factory.mktemp("kinds"), SPACES, **POOL)


def require_same_figures(must, run, *factors):
    """``eval.py`` gives the figures that training recorded, and one more row at some factors."""
    must(freebind, "eval", "--run", run, "--json", "again.json", *factors)
    found = files.read_json(Path("again.json"))["retrieval"]["val"]
    recorded = files.read_json(run / "metrics.json")["retrieval"]["val"]
    assert {name: found[name] for name in recorded} == recorded
    assert len(found) == len(recorded) + bool(factors)
    return found


@pytest.mark.parametrize(
    ("expert", "shared", "preset"),
    [
        ("clap_general", "audio-text", "at_expertise"),
        ("internvl", "image-text", "it_expertise"),
        ("audio_image", "audio-image", "halfway"),
        ("everything", "audio-text", "halfway"),
    ],
)
def test_both_bonds_with_any_kind_of_expert_end_in_fused_banks(
    must, data, tmp_path, expert, shared, preset
):
    for bond in BONDS:
        run = tmp_path / "runs" / f"imagebind-{bond}-{expert}"
        must(freebind, "train", "--data", data, "--expert", expert, "--bond", bond, *QUICK)
        found = require_same_figures(must, run)
        assert found[preset][shared]["R@1"] > found["unified"][shared]["R@1"]

        must(freebind, "fuse", "--run", run, "--split", "val", "--out", "made", "--name", bond)
        fused = open_banks("made", "val", spaces=[bond])
        assert fused.modalities(bond) == ("audio", "image", "text")
        assert fused.dim(bond) == (UNIFIED if bond == "combination" else EXPERT)
        assert (run / "sweep.png").exists()
    assert len(list((tmp_path / "runs/pairs").iterdir())) == 1


# A fourth modality


@pytest.fixture
def with_depth(must, tmp_path):
    """A root of three modalities into which embeddings of a fourth were imported."""
    made = write(tmp_path / "made", WITH_DEPTH, **POOL, depth=84)
    three = {"imagebind": NOISE["imagebind"]}
    root = write(tmp_path / "banks", three, **POOL)
    for split in ("pool", "val"):
        rows = open_banks(made, split, spaces=WITH_DEPTH)
        where = ["--root", root, "--split", split]
        for space, modality in (("imagebind", "depth"), *(("depth_text", m) for m in GOOD)):
            if (space, modality) in rows.banks:
                np.save("rows.npy", rows[space, modality][:])
                to = ["--space", space, "--modality", modality]
                must(freebind, "bank", "import", "rows.npy", *where, *to)
    for other in ("text", "image", "audio"):
        np.save("table.npy", np.repeat(np.arange(60)[:, None], 2, axis=1))
        sides = ["--left", "depth", "--right", other]
        must(freebind, "bank", "pairs", "table.npy", "--root", root, "--split", "val", *sides)
    return root


@pytest.mark.parametrize("bond", BONDS)
def test_a_fourth_modality_goes_through_a_bond(must, with_depth, tmp_path, bond):
    expert, run = ["--data", with_depth, "--expert", "depth_text"], tmp_path / "run"
    told = must(freebind, "train", *expert, "--bond", bond, "--out", run, *QUICK)
    symbol = "lambda" if bond == "displacement" else "sigma"
    assert f"{bond} of depth_text and imagebind; expert with depth, text; anchor im" in told
    assert "83 from text, 82 from image, 81 from audio, 84 from depth; " in told
    assert re.search(r"\nmixture +15 projectors of ", told)
    assert " 32, batch 20, " in told
    assert f"freebind eval --run {run} --{symbol} depth 0.3\n" in told

    found = require_same_figures(must, run, "--sigma", "depth", 0.3)
    assert set(found["halfway"]) == {
        *("audio-depth", "depth-image", "depth-text"),
        *("audio-image", "audio-text", "image-text"),
    }
    assert found["halfway"]["depth-text"]["R@1"] > found["unified"]["depth-text"]["R@1"]
    point = {**Run(run).chosen.factors, "depth": 0.3}
    assert found[as_text(point)] not in (found["halfway"], found["unified"])

    must(freebind, "fuse", "--run", run, "--split", "val", "--sigma", "depth", 0.3)
    space = FusedSpace.of(Run(run).bond, at=point)
    banks = open_banks(with_depth, "val", spaces=["imagebind", "depth_text"])
    fused = open_banks(with_depth, "val", spaces=["imagebind+depth_text"])
    for modality, parts in parts_of(space, banks).items():
        rows = fused["imagebind+depth_text", modality][:]
        np.testing.assert_allclose(rows, space.mix(modality, parts), atol=1e-3)
    query = ["--in", "depth", "--like", "audio", "--row", 3]
    where = ["--root", with_depth, "--split", "val", "--space", "imagebind+depth_text"]
    assert "┃ depth ┃" in must(freebind, "search", *where, *query)


def test_another_anchor_is_another_plan_and_pairs_of_its_own(must, data):
    folders = set()
    for anchor in ("text", "image", "audio"):
        told = must(
            freebind, "train", "--data", data, "--pairs.anchor", anchor, *QUICK, "--dry-run"
        )
        assert f"; anchor {anchor}\n" in re.sub(" +\n", "\n", told)
        folders |= set(re.findall(r"in (runs/pairs/\S+)", told))
    assert len(folders) == 3


@pytest.mark.parametrize("kind", ["cmcr", "exmcr"])
def test_an_expert_brings_a_modality_from_banks_to_search(must, data, tmp_path, kind):
    """Without a space that has all: internvl has image and text, audio_image audio and image."""
    names = ["--unified", "internvl", "--expert", "audio_image", "--bond", kind]
    run = tmp_path / "runs" / f"internvl-{kind}-audio_image"
    must(freebind, "train", "--data", data, *names, *QUICK, "--out", run)
    found = require_same_figures(must, run, "--sigma-image", 0.2)
    assert set(found["unified_alone"]) == {"audio-image", "audio-text", "image-text"}
    assert set(found["unified"]) == {"image-text"}
    must(freebind, "fuse", "--run", run, "--split", "val", "--out", "made", "--name", "all")
    fused = open_banks("made", "val", spaces=["all"])
    assert fused.modalities("all") == ("audio", "image", "text")
    like = ["--in", "audio", "--like", "text", "--row", 0]
    must(freebind, "search", "--root", "made", "--split", "val", "--space", "all", *like)
