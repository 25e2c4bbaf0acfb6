import numpy as np
import pytest
from made import random_product

from fb_jax.banks import BankSet, unit_rows
from fb_jax.evaluation import spaces
from fb_jax.evaluation.classes import class_rows
from fb_jax.evaluation.spaces import models_of, native_space
from fb_jax.fusion import sources
from fb_jax.projector import Router
from fb_jax.run.routing import router_spec, with_routers

COUNTS = {"text": 12, "image": 7, "audio": 9}
PROMPTS = np.stack([np.repeat(np.arange(4), 3), np.arange(12)], axis=1)


@pytest.fixture(scope="module")
def product():
    return random_product()


@pytest.fixture(scope="module")
def banks(product):
    """Every native space of a product, with four classes of three prompts each."""
    rng = np.random.default_rng(0)
    rows = {
        space: {
            m: rng.normal(size=(COUNTS[m], dim)).astype(np.float32)
            for m in product.modalities_of(space)
        }
        for space, dim in product.dims.items()
    }
    return BankSet.from_arrays(rows, {("class", "text"): PROMPTS}, "labelled")


@pytest.mark.parametrize("block", [5, 1000])
def test_rows_are_the_same_in_blocks_of_any_size(product, banks, monkeypatch, block):
    monkeypatch.setattr(spaces, "BLOCK_ROWS", block)
    points = {name: product.at(name) for name in ("versatile", "at_expertise")}
    models = models_of(points, banks)
    for name, space in points.items():
        fused = {m: space.fuse(m, sources(space, banks, m)) for m in space.modalities}
        fused["class"] = class_rows(fused["text"], PROMPTS)
        assert set(models[name]) == set(fused)
        for modality, rows in fused.items():
            np.testing.assert_allclose(models[name][modality], rows, atol=1e-6)


def test_parts_of_one_bond_are_computed_once(product, banks, monkeypatch):
    counts, compute = [], type(product).parts
    record = lambda self, m, rows: counts.append(m) or compute(self, m, rows)  # noqa: E731
    monkeypatch.setattr(type(product), "parts", record)
    models = models_of({p: product.at(p) for p in product.presets} | {"base": product.base}, banks)
    for model in models.values():
        model["audio"], model["class"]
    assert counts == ["audio", "text", "audio", "text"]


def test_a_mean_of_scores_has_what_two_spaces_have(banks):
    names = ("imagebind", "internvl", "clap_general")
    mean = models_of({"mean": (*names, "nowhere")}, banks)["mean"]
    assert set(mean) == {"text", "image", "audio", "class"}
    scores = sum(native_space(n, banks)["text"] @ native_space(n, banks)["text"].T for n in names)
    np.testing.assert_allclose(mean["text"] @ mean["text"].T, scores / 3, atol=1e-6)
    three = [native_space(name, banks)["class"] for name in names]
    np.testing.assert_allclose(mean["class"], unit_rows(np.hstack(three)), atol=1e-6)
    assert not set(models_of({"mean": ("nowhere",)}, banks)["mean"])


def test_a_space_that_the_banks_lack_has_no_rows(product, banks):
    assert not set(native_space("nowhere", banks))
    some = BankSet(
        banks.split, {k: b for k, b in banks.banks.items() if k[0] != "clap_music"}, banks.rows
    )
    assert set(models_of({"p": product}, some)["p"]) == {"image"}


def test_spaces_of_other_routers_do_not_share_their_parts(product, banks):
    spec = router_spec(product, "audio", "small")
    made = {
        str(weights): with_routers(
            product, {"audio": Router.constant(spec, np.array(weights, np.float32))}
        )
        for weights in ([1, 1, 4], [1, 4, 1])
    }
    models = models_of({"plain": product, **made}, banks)
    for name, space in {"plain": product, **made}.items():
        wanted = space.fuse("audio", sources(space, banks, "audio"))
        np.testing.assert_allclose(models[name]["audio"], wanted, atol=1e-6)
