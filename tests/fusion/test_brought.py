"""Experts that bring a modality which the unified space lacks: CLIP and CLAP."""

import numpy as np
import pytest
from made import random_bond

from fb_jax.banks import BankSet, Synthetic, open_banks, write_synthetic
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import evaluate
from fb_jax.fusion import FusedSpace, digest, sources, write_fused
from fb_jax.projector import Bond, BondSpec, End
from fb_jax.pseudo import PairSpec, build_pairs
from fb_jax.training import Training, train_bond

POOL = {"text": 5, "image": 5, "audio": 5}
KINDS = ("cmcr", "exmcr", "combination", "displacement")
HOW = Training(batch=16, epochs=20, hidden=16, learning_rate=1e-2)


def arrays(count, seed):
    """Rows of the same items that agree: everything is a rotation of one random matrix."""
    rng = np.random.default_rng(seed)
    turns = {name: np.random.default_rng(1).normal(size=(4, dim)) for name, dim in DIMS.items()}
    items = rng.normal(size=(count, 4))
    noisy = lambda x: x + 0.1 * rng.normal(size=x.shape)  # noqa: E731
    return {
        name: {m: noisy(items @ turns[name]) for m in modalities}
        for name, modalities in HAVE.items()
    }


DIMS, HAVE = {"clip": 8, "clap": 6}, {"clip": ("image", "text"), "clap": ("audio", "text")}


@pytest.fixture(scope="module")
def spaces():
    """A trained space of every kind of bond."""
    pairs = build_pairs(PairSpec(BankSet.from_arrays(arrays(96, 0)), "clip", "clap"))
    return {kind: FusedSpace.of(train_bond(pairs, kind, training=HOW)) for kind in KINDS}


@pytest.fixture(scope="module")
def test_banks():
    pairs = dict.fromkeys((("audio", "text"), ("audio", "image"), ("image", "text")))
    return BankSet.from_arrays(arrays(40, 1), pairs, "test")


@pytest.mark.parametrize("kind", KINDS)
def test_all_modalities_are_in_one_space(spaces, kind):
    space = spaces[kind]
    assert space.modalities == ("text", "image", "audio")
    assert space.weighted == ("text",)
    of = {m: space.spaces_of(m) for m in space.modalities}
    assert of == {"text": ("clip", "clap"), "image": ("clip",), "audio": ("clap",)}
    rows = arrays(5, 2)
    for modality, names in of.items():
        fused = space.fuse(modality, {name: rows[name][modality] for name in names})
        assert fused.shape == (5, 6 if kind == "displacement" else 8)
        np.testing.assert_allclose(np.linalg.norm(fused, axis=1), 1, atol=1e-5)


def test_texts_are_the_unified_spaces_by_default(spaces):
    """As in the authors' inference: text always goes the way of CLIP."""
    rows = {name: own["text"] for name, own in arrays(5, 2).items()}
    for kind, space in spaces.items():
        assert space.factors == {"text": 0.0}
        alone = space.fuse("text", {"clip": rows["clip"]})
        np.testing.assert_allclose(space.fuse("text", rows), alone, atol=1e-6)
        assert np.abs(space.with_factors(text=1.0).fuse("text", rows) - alone).max() > 1e-3, kind


def test_what_is_projected_differs(spaces):
    rows = {name: own["text"] for name, own in arrays(5, 2).items()}
    unit = {n: x / np.linalg.norm(x, axis=1, keepdims=True) for n, x in rows.items()}
    for kind in ("exmcr", "combination"):  # the base stays as it is
        np.testing.assert_allclose(spaces[kind].fuse("text", rows), unit["clip"], atol=1e-6)
    assert np.abs(spaces["cmcr"].fuse("text", rows) - unit["clip"]).max() > 1e-2
    whole = spaces["displacement"].with_factors(text=1.0).fuse("text", rows)
    np.testing.assert_allclose(whole, unit["clap"], atol=1e-6)


def test_ex_mcr_closes_the_gap_of_audio_only(spaces):
    bond = spaces["exmcr"].last.bonds[0]
    x = np.eye(6, dtype=np.float32)
    audio, text = (bond.to_target("expert", m, x) for m in ("audio", "text"))
    assert np.abs(audio - text).max() > 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_saved_and_read(spaces, kind, tmp_path):
    space = spaces[kind]
    space.save(tmp_path / "space", licences={"clip": "MIT", "clap": "CC0-1.0"})
    again = FusedSpace.load(tmp_path / "space")
    assert digest(again) == digest(space)
    rows = {"clap": arrays(5, 2)["clap"]["audio"]}
    np.testing.assert_array_equal(again.fuse("audio", rows), space.fuse("audio", rows))


@pytest.mark.parametrize("kind", KINDS)
def test_retrieval_between_modalities_that_no_space_links_emerges(spaces, test_banks, kind):
    found = evaluate(spaces[kind], test_banks)
    assert set(found["unified"]) == {"image-text"}
    assert set(found["clap"]) == {"audio-text"}
    assert set(found["unified_alone"]) == {"audio-image", "audio-text", "image-text"}
    assert found["unified_alone"]["audio-image"]["R@1"] > 3 * 100 / 40  # chance: 1 of 40


@pytest.mark.parametrize("kind", ["cmcr", "exmcr", "combination"])
def test_banks_of_the_space_hold_what_it_fuses(kind, tmp_path):
    noise = {name: dict.fromkeys(modalities, 0.3) for name, modalities in HAVE.items()}
    write_synthetic(tmp_path, Synthetic(POOL, {"val": 30}, dims=DIMS, noise=noise))
    ends = [(name, DIMS[name]) for name in ("clip", "clap")]
    space = FusedSpace.of(random_bond(kind, *ends, HAVE["clap"], own=HAVE["clip"]))
    banks = open_banks(tmp_path, "val", spaces=space.spaces)
    counts = write_fused(space, banks, tmp_path, "fused", dtype="float32")
    assert counts == {"text": 30, "image": 30, "audio": 30}
    fused = open_banks(tmp_path, "val", spaces=["fused"])
    for modality in space.modalities:
        wanted = space.fuse(modality, sources(space, banks, modality))
        np.testing.assert_allclose(fused["fused", modality][:], wanted, atol=1e-6)


def test_a_direct_sum_cannot_fill_in_what_the_unified_space_lacks():
    ends = (End(name, HAVE[name], DIMS[name]) for name in ("clip", "clap"))
    with pytest.raises(FreeBindError, match=r"cannot fill in(.|\n)*also audio"):
        BondSpec.between("direct_sum", *ends)


def test_c_mcrs_new_space_has_one_expert():
    ends = End("clip", HAVE["clip"], 8)
    bonds = [
        Bond(BondSpec.between("cmcr", ends, End(name, HAVE["clap"], 6), 8)) for name in ("a", "b")
    ]
    with pytest.raises(FreeBindError, match="do not go into one space"):
        FusedSpace.of(*bonds)


def test_several_experts_extend_one_base():
    """CLIP with CLAP and with points: each brings its own modality."""
    clip = End("clip", HAVE["clip"], 8)
    experts = (End("clap", HAVE["clap"], 6), End("ulip", ("image", "points"), 5))
    space = FusedSpace.of(*(Bond(BondSpec.between("exmcr", clip, e, 8)) for e in experts))
    assert space.modalities == ("text", "image", "audio", "points")
    assert space.weighted == ("text", "image")
    assert space.spaces_of("points") == ("ulip",)
