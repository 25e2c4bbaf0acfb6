from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from made import native_rows

from fb_jax.banks import open_banks, unit_rows
from fb_jax.errors import FreeBindError
from fb_jax.fusion import CutSum, FusedSpace, cut, digest, sources, uncut, with_basis
from fb_jax.fusion.cut import principal_axes

MODALITIES = ("text", "image", "audio")
EYE = np.eye(112, dtype=np.float32)


def test_the_strongest_axis_of_rows_is_their_common_direction_not_their_differences():
    rows = np.float64([[5, 1], [5, -1]])  # centred, the second axis would be the first
    np.testing.assert_allclose(principal_axes(rows.T @ rows / 2, 1), [[1], [0]], atol=1e-7)


def test_a_cut_is_the_rows_own_pca_in_float64_and_every_modality_has_the_same_weight(one, pool):
    assert len({len(pool.rows[m]) for m in MODALITIES}) == 3  # whatever its number of rows
    fewer = cut(one, 20, pool)
    rows = {m: one.fuse(m, sources(one, pool, m)) for m in MODALITIES}
    moment = np.mean(
        [np.cov(r.T, ddof=0) + np.outer(r.mean(0), r.mean(0)) for r in rows.values()], 0
    )
    _, vectors = np.linalg.eigh(moment)
    wanted, basis = vectors[:, -20:] @ vectors[:, -20:].T, fewer.last.basis
    np.testing.assert_allclose(basis @ basis.T, wanted, atol=1e-4)
    assert fewer.dim == 20
    for modality in MODALITIES:
        found = fewer.fuse(modality, sources(one, pool, modality))
        np.testing.assert_allclose(found, unit_rows(rows[modality] @ basis), atol=1e-6)


def test_cut_to_its_own_dimensions_it_has_the_same_scores(one, test_banks):
    text, audio = (native_rows(one, m, seed=1) for m in ("text", "audio"))
    scores = [
        space.fuse("text", text) @ space.fuse("audio", audio).T
        for space in (one, cut(one, one.dim, test_banks))
    ]
    np.testing.assert_allclose(*scores, atol=1e-5)


def test_a_cut_is_fitted_on_a_bounded_number_of_rows_of_a_modality(one, pool, monkeypatch):
    module, read = import_module("fb_jax.fusion.cut"), {}
    monkeypatch.setattr(module, "MAX_ROWS", 20)
    record = lambda *args: read.setdefault(args[2], sources(*args))  # noqa: E731
    monkeypatch.setattr(module, "sources", record)
    cut(one, 8, pool)
    for modality, every in zip(MODALITIES, (7, 5, 6), strict=True):  # of 130, 90 and 110
        wanted = pool["imagebind", modality][::every]
        np.testing.assert_array_equal(read[modality]["imagebind"], wanted)


def test_a_cut_space_is_evaluated_beside_the_uncut(one, test_banks):
    from fb_jax.evaluation.models import evaluate

    found = evaluate(cut(one, 4, test_banks), test_banks)
    assert list(found)[-3:] == ["equal", "equal, 4 dimensions", "mean_of_scores"]
    whole = evaluate(one, test_banks)
    assert found["equal"] == whole["equal"]
    assert found["equal"] != found["equal, 4 dimensions"]
    assert whole["equal"]["audio-text"] == whole["mean_of_scores"]["audio-text"]


def test_a_cut_space_comes_back_to_the_bit(one, test_banks, tmp_path):
    fewer = cut(one.with_last(replace(one.last, fill=0.2)), 24, test_banks)
    fewer.save(tmp_path / "kept")
    loaded = FusedSpace.load(tmp_path / "kept")
    assert digest(loaded) == digest(fewer) != digest(one)
    rows = native_rows(fewer, "image")
    np.testing.assert_array_equal(loaded.fuse("image", rows), fewer.fuse("image", rows))
    card = (tmp_path / "kept" / "README.md").read_text()
    assert "a direct sum of 24 dimensions, cut from 112 by PCA" in card
    assert "fill it in with 0.2 of the squared norm" in card


def test_a_cut_is_taken_back(one):
    fewer = with_basis(one, EYE[:, :7])
    assert (one.dim, fewer.dim) == (112, 7)
    assert isinstance(fewer.last, CutSum)
    assert uncut(fewer) == one
    assert uncut(one) is one
    assert with_basis(fewer, EYE) == with_basis(one, EYE)  # a basis is of the uncut sum
    assert with_basis(uncut(fewer), fewer.last.basis) == fewer


def test_a_cut_keeps_its_basis_at_other_factors_and_loses_it_with_other_experts(two):
    basis = np.eye(160, 7, dtype=np.float32)
    fewer = with_basis(two, basis)
    equal = dict.fromkeys(MODALITIES, 0.5)
    for other in (fewer.with_factors(text=0.2), fewer.at("equal"), fewer.at(equal)):
        np.testing.assert_array_equal(other.last.basis, basis)
    assert fewer.at(equal) == with_basis(two.at(equal), basis)
    assert fewer.named("mine").dim == 7
    alone = fewer.with_experts("clap_music")
    assert alone == two.with_experts("clap_music")
    assert not isinstance(alone.last, CutSum)


@pytest.mark.parametrize("dim", [0, -3, 113])
def test_dimensions_that_cannot_be_are_refused(one, test_banks, dim):
    with pytest.raises(FreeBindError, match=r"cannot be cut to this\n(.|\n)*1 to 112 dimensions"):
        cut(one, dim, test_banks)


def test_banks_without_a_native_space_are_refused(one, root):
    with pytest.raises(FreeBindError, match=r"lack a native space\n.*imagebind, clap_.*\n.*clap_"):
        cut(one, 4, open_banks(root, "test", spaces=["clap_general"]))


def test_only_a_direct_sum_can_be_cut_and_only_by_a_basis_of_its_own(one, product, test_banks):
    for try_it in (lambda: with_basis(product, EYE), lambda: cut(product, 4, test_banks)):
        with pytest.raises(FreeBindError, match=r"only a direct sum can be cut(.|\n)*combination"):
            try_it()
    with pytest.raises(FreeBindError, match=r"a basis is of another space\n.*\n.*112 rows"):
        with_basis(one, EYE[:48, :48])
