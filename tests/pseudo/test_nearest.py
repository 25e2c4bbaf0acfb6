import jax.numpy as jnp
import numpy as np
import pytest

from fb_jax.pseudo import (
    Chunks,
    KeyBlock,
    PairSpec,
    Retrieval,
    aggregate,
    build_pairs,
    nearest_values,
)


def blocks(keys, values, size):
    for start in range(0, len(keys), size):
        part = slice(start, start + size)
        pad = size - len(keys[part])
        padded = [jnp.asarray(np.pad(x[part], ((0, pad), (0, 0)))) for x in (keys, *values)]
        yield KeyBlock(padded[0], tuple(padded[1:]), jnp.asarray(size - pad))


@pytest.mark.parametrize(("size", "inner"), [(64, 64), (5, 4), (3, 1)])
def test_blocks_give_the_values_of_the_nearest_key(size, inner):
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    q, keys, values = draw(7, 4), draw(13, 4), [draw(13, 3), draw(13, 2)]
    best = (np.float64(q) @ np.float64(keys).T).argmax(1)
    found = nearest_values(jnp.asarray(q), blocks(keys, values, size), [3, 2], inner=inner)
    for one, wanted in zip(found, values, strict=True):
        np.testing.assert_array_equal(one, wanted[best])
    soft = aggregate(jnp.asarray(q), blocks(keys, values, size), [3, 2], temperature=1e-3)
    np.testing.assert_allclose(soft[0], found[0], atol=1e-3)


@pytest.mark.parametrize("size", [4, 1])
def test_of_equal_scores_the_first_key_counts_and_padding_never(size):
    q, keys = np.array([[-1.0, 0.0]], np.float32), np.array([[1.0, 0], [1.0, 1]], np.float32)
    values = [np.array([[1.0], [2.0]], np.float32)]
    (found,) = nearest_values(jnp.asarray(q), blocks(keys, values, size), [1])
    assert found == 1


def test_pseudo_pairs_of_nearest_items_are_rows_of_the_banks(pool, tmp_path):
    how = Retrieval("nearest", chunks=Chunks(queries=50, keys=32, inner=25), dtype="float32")
    spec = PairSpec(pool, "imagebind", "clap_general", how)
    pairs = build_pairs(spec, tmp_path / "pairs")
    texts = pairs.columns["expert", "audio"][: len(pool.rows["text"])]
    bank = pool["clap_general", "audio"][:]
    np.testing.assert_allclose(np.max(texts @ bank.T, axis=1), 1, atol=1e-3)
