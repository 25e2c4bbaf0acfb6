import logging

import numpy as np
import pytest
from made import corrected_scores, linear_bond, native_rows, with_hubs

from fb_jax.errors import FreeBindError
from fb_jax.evaluation import nearest
from fb_jax.fusion import FusedSpace, SearchedSpace

X, Y = np.eye(2, dtype=np.float32)[:, None]


@pytest.fixture
def fused():
    """The expert's projector swaps X and Y."""
    bond = linear_bond("combination", np.eye(2)[::-1])
    return SearchedSpace("mine", FusedSpace.of(bond, at={"text": 0.5, "audio": 0.5}))


def test_rows_of_the_searched_space_stay_as_they_are(fused):
    for space in (fused, SearchedSpace("mine")):
        np.testing.assert_array_equal(space.query_rows({"mine": 3 * X}), 3 * X)


def test_rows_of_native_spaces_are_fused(product):
    searched, rows = SearchedSpace("mine", product), native_rows(product, "text")
    assert searched.spaces_of("text") == tuple(rows)
    found = searched.query_rows(rows, "text")
    np.testing.assert_array_equal(found, product.fuse("text", rows))


def test_queries_that_an_expert_lacks_are_fused_without_it_and_that_is_said(fused, caplog):
    with caplog.at_level(logging.WARNING, "freebind"):
        np.testing.assert_array_equal(fused.query_rows({"u": X, "e": Y}, "audio"), X)
        np.testing.assert_array_equal(fused.query_rows({"u": X}, "image"), X)
        assert caplog.text == ""
        np.testing.assert_array_equal(fused.query_rows({"u": X}, "audio"), X)
    assert "audio queries without rows of e: fused from u alone" in caplog.text


@pytest.mark.parametrize(("factor", "own"), [(1.0, ("e",)), (0.9, ("u", "e"))])
def test_rows_of_the_target_of_a_displacement_need_no_fusing_at_the_factor_1(factor, own):
    bond = linear_bond("displacement", np.eye(2)[::-1])
    searched = SearchedSpace("mine", FusedSpace.of(bond, at={"text": factor, "audio": 1.0}))
    assert searched.spaces_of("text") == own
    assert searched.spaces_of("image") == ("u",)
    if factor == 1:
        np.testing.assert_array_equal(searched.query_rows({"e": 3 * Y}, "text"), 3 * Y)
    else:
        with pytest.raises(FreeBindError, match="cannot be fused"):
            searched.query_rows({"e": Y}, "text")
    np.testing.assert_array_equal(searched.query_rows({"u": X}, "image"), Y)


@pytest.mark.parametrize(
    ("rows", "modality", "says"),
    [
        ({"u": X}, None, r"by their modality\n.*u to search mine\n.*--as: text, image, audio"),
        ({"e": X}, "text", r"cannot be fused(.|\n)*u, and those that there are of e"),
        ({"v": X}, "text", r"cannot be fused(.|\n)*got: +v"),
        ({"mine": X, "u": X}, "text", r"cannot be fused(.|\n)*got: +mine, u"),
    ],
)
def test_queries_that_cannot_be_fused_are_refused(fused, rows, modality, says):
    with pytest.raises(FreeBindError, match=says):
        fused.query_rows(rows, modality)


def test_queries_of_another_space_than_a_native_one_are_refused():
    searched = SearchedSpace("house")
    assert searched.spaces_of("text") == ("house",)
    says = r"of another space\w* (.|\n)*rows of house\n.*rows of clap\n.*house is a fused .*--run"
    with pytest.raises(FreeBindError, match=says):
        searched.query_rows({"clap": X}, "text")


# With hub correction


@pytest.fixture
def corrected(product):
    return SearchedSpace("mine", with_hubs(product))


@pytest.mark.parametrize("asking", ["text", "image"])  # images have no column
def test_cosines_of_queries_and_items_are_the_corrected_scores(corrected, asking):
    space = corrected.fused
    rows, found = native_rows(space, asking, 5), native_rows(space, "audio", 9)
    queries = corrected.query_rows(rows, asking)
    assert queries.shape == (5, space.role_dim)
    cosines, order = nearest(queries, space.fuse("audio", found, role="item"), 9)
    scores = cosines * corrected.scale(asking)
    plain = space.fuse(asking, rows), space.fuse("audio", found)
    wanted = corrected_scores(space, asking, plain[0], "audio", plain[1])
    np.testing.assert_allclose(scores, np.take_along_axis(wanted, order, axis=1), atol=1e-6)
    np.testing.assert_array_equal(order, np.argsort(-wanted, axis=1, kind="stable"))


@pytest.mark.parametrize("role", [None, "item", "query"])
def test_rows_of_the_space_in_any_role_ask_as_queries(corrected, role):
    rows = native_rows(corrected.fused, "text")
    own = 3 * corrected.fused.fuse("text", rows, role=role)
    wanted = corrected.fused.fuse("text", rows, role="query")
    np.testing.assert_allclose(corrected.query_rows({"mine": own}, "text"), wanted, atol=1e-6)


def test_rows_of_no_modality_or_of_another_dimension_are_refused(corrected):
    with pytest.raises(FreeBindError, match=r"by their modality(.|\n)*--as: text, image, audio"):
        corrected.query_rows({"mine": np.ones((1, corrected.fused.dim))})
    with pytest.raises(FreeBindError, match=r"differ in dim(.|\n)*56 columns, or 59 of(.|\n)*57"):
        corrected.query_rows({"mine": np.ones((1, 57))}, "text")


def test_without_a_correction_scores_are_cosines(product):
    assert SearchedSpace("mine", product).scale("text") == SearchedSpace("mine").scale(None) == 1
