import logging

import numpy as np
import pytest
from made import linear_bond, native_rows

from fb_jax.errors import FreeBindError
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
