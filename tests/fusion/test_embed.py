from importlib.metadata import EntryPoint, EntryPoints

import numpy as np
import pytest

from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace, ItemEncoder, embed

DIMS = {"imagebind": 64, "clap_general": 48}


class Letters:
    """Encodes a caption by counting letters."""

    def __init__(self, dim=64, weights=None, device="cpu"):
        assert (weights, device) == (None, "cpu")
        self.dim, self.batches = dim, []

    def read(self, modality, item):
        assert modality in ("text", "audio")
        if not item.isalpha():
            raise ValueError("not a word")
        return [ord(letter) for letter in item]

    def encode(self, modality, batch):
        self.batches.append(len(batch))
        return np.stack([np.bincount(word, minlength=128)[-self.dim :] + 1.0 for word in batch])


@pytest.fixture
def space(make_bond):
    return FusedSpace.preset("versatile", make_bond("combination"))


@pytest.fixture
def encoders():
    return {name: Letters(dim) for name, dim in DIMS.items()}


WORDS = ["dog", "cat", "horse", "cow", "hen"]


def test_items_are_embedded_as_their_encoders_rows_are_fused(space, encoders):
    found = space.with_encoders(encoders).embed("text", WORDS, batch=2)
    own = Letters()
    rows = {
        n: Letters(d).encode("text", [own.read("text", w) for w in WORDS]) for n, d in DIMS.items()
    }
    np.testing.assert_allclose(found, space.fuse("text", rows), atol=1e-6)
    assert [encoder.batches for encoder in encoders.values()] == [[2, 2, 1]] * 2


def test_only_the_encoders_of_spaces_that_have_the_modality_are_asked(make_bond, encoders):
    class Images(Letters):
        def read(self, modality, item):
            return super().read("text", item)

    space = FusedSpace.preset("versatile", make_bond("combination"))
    found = space.with_encoders({"imagebind": Images(64)}).embed("image", ["dog"])
    assert found.shape == (1, 64)


def test_encoders_are_found_by_entry_point_and_made_once(space, encoders, monkeypatch):
    made = []

    class Clap(Letters):
        def __init__(self, **how):
            super().__init__(48, **how)
            made.append(self)

    point = EntryPoint("clap_general", "somewhere:Clap", embed.ENTRY_POINTS)
    monkeypatch.setattr(EntryPoint, "load", lambda self: Clap)
    monkeypatch.setattr(embed, "entry_points", lambda group: EntryPoints([point]))
    embed.find_encoder.cache_clear()
    half = space.with_encoders({"imagebind": encoders["imagebind"]})
    first = half.embed("text", WORDS)
    np.testing.assert_array_equal(half.embed("text", WORDS), first)
    np.testing.assert_array_equal(space.with_encoders(encoders).embed("text", WORDS), first)
    assert len(made) == 1
    with pytest.raises(
        FreeBindError, match=r"no encoder of 'imagebind'\n.*with_encoders\(.*\n.*clap_g"
    ):
        space.embed("text", WORDS)
    embed.find_encoder.cache_clear()


@pytest.mark.parametrize(
    ("modality", "items", "says"),
    [
        (
            "text",
            ["dog", "c4t"],
            r"imagebind cannot read this text\n.*c4t\n.*ValueError: not a word",
        ),
        ("text", [], "nothing to embed"),
        ("text", "dog", "a list of captions or paths"),
        ("txt", ["dog"], "no modality 'txt'(.|\n)*mean 'text'"),
    ],
)
def test_items_that_cannot_be_embedded_are_refused(space, encoders, modality, items, says):
    with pytest.raises(FreeBindError, match=says):
        space.with_encoders(encoders).embed(modality, items)


def test_the_protocol_is_two_methods():
    assert isinstance(Letters(), ItemEncoder)
    assert not isinstance(object(), ItemEncoder)
