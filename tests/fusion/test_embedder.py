import pickle
from importlib.metadata import EntryPoint, EntryPoints

import numpy as np
import pytest
from made import with_hubs

from fb_jax.errors import FreeBindError
from fb_jax.fusion import Embedder, FusedSpace, ItemEncoder, embedder

DIMS = {"imagebind": 64, "clap_general": 48}


class Letters:
    """Encodes a caption by counting letters."""

    def __init__(self, dim=64):
        self.dim, self.batches = dim, []

    def __len__(self):  # as a container of modules may have: it is there, though falsy
        return 0

    def read(self, modality, item):
        assert modality in ("text", "audio")
        if not item.isalpha():
            raise ValueError("not a word")
        return [ord(letter) for letter in item]

    def rows(self, modality, batch):
        self.batches.append(len(batch))
        return np.stack([np.bincount(word, minlength=128)[-self.dim :] + 1.0 for word in batch])


@pytest.fixture
def space(make_bond):
    return FusedSpace.of(make_bond("combination"), at="versatile")


@pytest.fixture
def encoders():
    return {name: Letters(dim) for name, dim in DIMS.items()}


@pytest.fixture
def installed(monkeypatch):
    """A package offers an encoder of clap_general; return the settings that it is created with."""
    created = []

    def clap(**settings):
        created.append(settings)
        return Letters(48)

    point = EntryPoint("clap_general", "somewhere:Clap", embedder.ENTRY_POINTS)
    monkeypatch.setattr(EntryPoint, "load", lambda self: clap)
    monkeypatch.setattr(embedder, "entry_points", lambda group: EntryPoints([point]))
    embedder.find_encoder.cache_clear()
    yield created
    embedder.find_encoder.cache_clear()


WORDS = ["dog", "cat", "horse", "cow", "hen"]


@pytest.mark.parametrize(("batch", "batches"), [(2, [2, 2, 1]), (32, [5]), (None, [5])])
def test_items_are_embedded_as_their_encoders_rows_are_fused(space, encoders, batch, batches):
    found = Embedder(space, encoders, **({"batch": batch} if batch else {})).embed("text", WORDS)
    own = Letters()
    rows = {
        n: Letters(d).rows("text", [own.read("text", w) for w in WORDS]) for n, d in DIMS.items()
    }
    np.testing.assert_allclose(found, space.fuse("text", rows), atol=1e-6)
    assert [encoder.batches for encoder in encoders.values()] == [batches] * 2
    half = Embedder(space, encoders, precision="bf16").embed("text", WORDS)
    np.testing.assert_allclose(half, space.fuse("text", rows, "bf16"), atol=1e-6)
    assert np.abs(half - found).max() > 1e-5


@pytest.mark.parametrize("role", ["query", "item"])
def test_items_are_embedded_in_a_role(space, encoders, role):
    corrected = with_hubs(space)
    found = Embedder(corrected, encoders).embed("text", WORDS, role)
    plain = Embedder(corrected, encoders).embed("text", WORDS)
    np.testing.assert_allclose(found, corrected.in_role(role, "text", plain), atol=1e-6)
    assert found.shape == (5, corrected.role_dim)


def test_only_the_encoders_of_spaces_that_have_the_modality_are_asked(space):
    class Images(Letters):
        def read(self, modality, item):
            return super().read("text", item)

    assert Embedder(space, {"imagebind": Images(64)}).embed("image", ["dog"]).shape == (1, 64)


def test_encoders_are_found_by_entry_point_and_created_once(space, encoders, installed):
    half = Embedder(space, {"imagebind": encoders["imagebind"]})
    first = half.embed("text", WORDS)
    np.testing.assert_array_equal(half.embed("text", WORDS), first)
    assert len(installed) == 1
    with pytest.raises(
        FreeBindError, match=r"no encoder of 'imagebind'\n.*clap_general\n.*--encoder imagebind="
    ):
        Embedder(space).embed("text", WORDS)


def test_an_encoder_that_is_passed_is_used_and_none_is_looked_for(space, encoders, installed):
    Embedder(space, encoders).embed("text", WORDS)
    assert [encoder.batches for encoder in encoders.values()] == [[5], [5]]
    assert installed == []


@pytest.mark.parametrize(
    ("platform", "device", "wanted"),
    [
        ("cpu", "auto", "cpu"),
        ("gpu", "auto", "cuda"),
        ("gpu", "cpu", "cpu"),
        ("cpu", "cuda:1", "cuda:1"),
    ],
)
def test_an_encoder_that_is_found_runs_on_the_device_that_is_asked_for(
    space, encoders, installed, monkeypatch, platform, device, wanted
):
    monkeypatch.setattr(embedder, "platform", lambda: platform)
    Embedder(space, {"imagebind": encoders["imagebind"]}, device).embed("text", WORDS)
    assert installed == [{"weights": None, "device": wanted}]


def test_an_embedder_compares_hashes_and_pickles(space, encoders):
    whole = Embedder(space, encoders, batch=7)
    assert whole == Embedder(space, dict(encoders), batch=7) != Embedder(space, encoders)
    assert hash(whole) == hash(Embedder(space, batch=7))
    assert pickle.loads(pickle.dumps(Embedder(space))) == Embedder(space)


@pytest.mark.parametrize("batch", [0, 65537, True])
def test_a_batch_that_cannot_be_is_refused(space, batch):
    with pytest.raises(FreeBindError, match=rf"embedder batch is out of range\n(.|\n)*{batch}"):
        Embedder(space, batch=batch)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (lambda x: x[1:], r"one row for each item\n.*text of clap_general\n.*3 rows\n.*2 rows"),
        (lambda x: x.astype(int), r"text of clap_general\n.*\[n, d\] floats\n.*int64"),
        (lambda x: x * [[1], [0], [1]], r"clap_general holds zero rows(.|\n)*first is row 1\n"),
        (lambda x: x[:, 0], r"text of clap_general\n.*\[n, d\] floats\n.*\[3\]"),
    ],
)
def test_what_an_encoder_returns_is_checked(space, encoders, monkeypatch, rows, says):
    clap, encode = encoders["clap_general"], encoders["clap_general"].rows
    monkeypatch.setattr(clap, "rows", lambda *args: rows(encode(*args)))
    with pytest.raises(FreeBindError, match=says):
        Embedder(space, encoders).embed("text", WORDS[:3])


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
        Embedder(space, encoders).embed(modality, items)


def test_the_protocol_is_two_methods():
    assert isinstance(Letters(), ItemEncoder)
    assert not isinstance(object(), ItemEncoder)
