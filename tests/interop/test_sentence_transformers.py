import json
import os
from dataclasses import replace

import numpy as np
import pytest
from made import every_kind, linear_bond, native_rows, planned, with_hubs
from sentence_transformers import SentenceTransformer

from encoders_torch import loading
from encoders_torch.fused_space import Fused
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace, Hub
from fb_jax.interop.sentence_transformers import (
    load_sentence_transformer,
    write_sentence_transformer,
)

SPACES = every_kind()


def items_of(modality, rows):
    """The items that ``encode`` takes: one row of every native space each."""
    columns = zip(*rows.values(), strict=True)
    return [{modality: dict(zip(rows, item, strict=True))} for item in columns]


@pytest.fixture
def product():
    return SPACES["two stages"]


@pytest.fixture
def folder(product, tmp_path):
    write_sentence_transformer(product, tmp_path / "kept", licences={"imagebind": "MIT"})
    return tmp_path / "kept"


@pytest.fixture
def model(folder):
    return load_sentence_transformer(folder, device="cpu")


# The same rows


@pytest.mark.parametrize("kind", SPACES)
def test_the_model_encodes_as_the_space_fuses_at_any_factors(kind, tmp_path):
    space = SPACES[kind]
    write_sentence_transformer(space, tmp_path / "kept")
    model = load_sentence_transformer(tmp_path / "kept", device="cpu")
    assert model.get_embedding_dimension() == space.dim
    preset, others = list(space.presets)[-1], {next(iter(space.factors)): 0.95}
    assert model[0].modalities == list(space.modalities)
    points = {None: space, preset: space.at(preset), "others": space.with_factors(**others)}
    for modality in space.modalities:
        rows = native_rows(space, modality, 5)
        for asked, wanted in points.items():
            factors = others if asked == "others" else asked
            found = model.encode(items_of(modality, rows), factors=factors, batch_size=2)
            np.testing.assert_allclose(found, wanted.fuse(modality, rows), atol=1e-6)


@pytest.mark.parametrize("kind", ["two stages", "cut", "cut, routed"])
def test_queries_and_documents_are_rows_in_both_roles(kind, tmp_path):
    pairs = {("audio", "text"): Hub(3, 0.75), ("image", "text"): Hub(50, 0.5)}
    space = with_hubs(SPACES[kind], pairs)
    write_sentence_transformer(space, tmp_path / "kept")
    model = load_sentence_transformer(tmp_path / "kept", device="cpu")
    assert model.get_embedding_dimension() == space.dim
    ways = {None: model.encode, "query": model.encode_query, "item": model.encode_document}
    other = {"text": 0.95}
    for modality in space.modalities:
        items = items_of(modality, rows := native_rows(space, modality, 5))
        for role, encode in ways.items():
            found, wanted = encode(items, batch_size=2), space.fuse(modality, rows, role=role)
            np.testing.assert_allclose(found, wanted, atol=2e-6)
            wanted = space.with_factors(**other).fuse(modality, rows, role=role)
            np.testing.assert_allclose(encode(items, factors=other), wanted, atol=1e-6)


def test_the_references_go_along_and_altered_ones_are_refused(tmp_path):
    space = with_hubs(SPACES["combination"])
    write_sentence_transformer(space, tmp_path / "kept")
    load_sentence_transformer(tmp_path / "kept", device="cpu").save(str(tmp_path / "again"))
    assert FusedSpace.load(tmp_path / "kept").hubs == space.hubs
    (path,) = (tmp_path / "again").glob("hubs-*.safetensors")
    Fused.load(str(tmp_path / "again"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="the references were altered: hubs-"):
        Fused.load(str(tmp_path / "again"))
    path.unlink()
    with pytest.raises(ValueError, match="has no hubs-"):
        Fused.load(str(tmp_path / "again"))


ALONE = """
import sys
for name in ("jax", "flax", "fb_jax", "encoders_torch"):
    sys.modules[name] = None
import json
import numpy as np
from sentence_transformers import SentenceTransformer
model = SentenceTransformer("kept", trust_remote_code=True, device="cpu")
items = json.load(open("items.json"))
items = [{m: {s: np.array(row) for s, row in rows.items()} for m, rows in item.items()}
         for item in items]
np.save("rows.npy", model.encode(items, factors={"audio": 0.25}))
model.save_pretrained("again")
np.save("again.npy", SentenceTransformer("again", trust_remote_code=True).encode(items))
print(model.similarity_fn_name)
"""


def test_others_read_the_folder_without_this_package_and_write_it_again(
    product, folder, python, monkeypatch
):
    monkeypatch.setitem(os.environ, "HF_MODULES_CACHE", str(folder.parent / "code"))
    rows = native_rows(product, "audio")
    items = items_of("audio", {name: array.tolist() for name, array in rows.items()})
    (folder.parent / "items.json").write_text(json.dumps(items))
    done = python(ALONE, cwd=folder.parent)
    assert (done.returncode, done.stdout) == (0, "cosine\n"), done.stderr
    for name, space in {"rows": product.with_factors(audio=0.25), "again": product}.items():
        found = np.load(folder.parent / f"{name}.npy")
        np.testing.assert_allclose(found, space.fuse("audio", rows), atol=1e-6)


def test_the_folder_is_the_spaces_own_too_and_files_are_added_to_one_that_is_there(
    product, folder, contents, tmp_path
):
    assert FusedSpace.load(folder).licences == {"imagebind": "MIT"}
    figures = {"test": {"versatile": {"audio-text": {"R@1": 12.3}}}}
    product.save(tmp_path / "other", licences={"imagebind": "MIT"}, metrics=figures)
    write_sentence_transformer(FusedSpace.load(tmp_path / "other"), tmp_path / "other")
    assert set(contents(tmp_path / "other")) == set(contents(folder))
    card = (tmp_path / "other" / "README.md").read_text()
    assert "12.3" in card
    assert "library_name: sentence-transformers" in card
    product.save(tmp_path / "other", licences={"imagebind": "MIT"})  # still a model
    assert (tmp_path / "other" / "README.md").read_text() == card


def test_a_model_knows_factors_that_are_chosen_later(product, folder):
    chosen = {"audio": 0.4, "text": 0.05}
    later = product.with_last(replace(product.last, factors=chosen, presets={"chosen": chosen}))
    later.save(folder, licences={"imagebind": "MIT"}, other_factors=True)
    model = load_sentence_transformer(folder, device="cpu")
    rows = native_rows(product, "audio")
    for factors in (None, "chosen"):
        found = model.encode(items_of("audio", rows), factors=factors)
        np.testing.assert_allclose(found, later.fuse("audio", rows), atol=1e-6)


def test_a_space_that_is_not_normalised_is_compared_by_dot_products(tmp_path):
    write_sentence_transformer(SPACES["not normalised"], tmp_path / "kept")
    assert load_sentence_transformer(tmp_path / "kept").similarity_fn_name == "dot"


# Items


class Letters:
    """Stands for a SentenceTransformer: counts letters."""

    def __init__(self, dim):
        self.dim = dim

    def encode(self, items, show_progress_bar):
        codes = [np.frombuffer(item.encode(), np.uint8) for item in items]
        return np.stack([np.bincount(code, minlength=128)[-self.dim :] + 1.0 for code in codes])


class OurLetters(Letters):
    """Stands for an encoder of this package."""

    def read(self, modality, item):
        return modality, item

    def rows(self, modality, reads):
        assert {m for m, _ in reads} == {modality}
        return self.encode([item for _, item in reads], show_progress_bar=False)


WORDS = ["a dog", "the longest of them all", "cat"]


def test_encoders_encode_items_and_rows_need_none(product, folder, monkeypatch):
    kinds = (Letters, OurLetters, Letters, OurLetters)
    encoders = {n: k(d) for k, (n, d) in zip(kinds, product.dims.items(), strict=True)}
    model = load_sentence_transformer(folder, encoders=encoders, device="cpu")
    rows = {n: Letters(d).encode(WORDS, False) for n, d in product.dims.items()}
    wanted = product.fuse("text", rows)
    np.testing.assert_allclose(model.encode(WORDS), wanted, atol=1e-6)
    np.testing.assert_allclose(model.encode([{"text": w} for w in WORDS]), wanted, atol=1e-6)
    np.testing.assert_allclose(model.encode(WORDS[0]), wanted[0], atol=1e-6)
    np.testing.assert_allclose(model.encode_query(WORDS), wanted, atol=1e-6)
    np.testing.assert_allclose(model.encode_document(WORDS), wanted, atol=1e-6)
    assert model.encode([]).shape == (0,)
    monkeypatch.setattr(encoders["clap_music"], "encode", lambda *_, **__: rows["clap_music"][:1])
    with pytest.raises(ValueError, match="encoder of clap_music gave 1 rows for 3 items"):
        model.encode(WORDS)


def tiny_sentence_transformer(path, dim):
    """Save a model of sentence-transformers that needs no download."""
    from sentence_transformers.sentence_transformer.modules import BoW, Dense

    words = ["a", "dog", "the", "longest", "of", "them", "all", "cat"]
    dense = Dense(in_features=len(words), out_features=dim)
    SentenceTransformer(modules=[BoW(words), dense], device="cpu").save(str(path))


def test_encoders_of_sentence_transformers_are_loaded_as_space_json_names_them(tmp_path):
    space = SPACES["combination"]
    for name, dim in space.dims.items():
        tiny_sentence_transformer(tmp_path / name, dim)
    encoders = {name: f"st:{tmp_path / name}" for name in space.dims}
    write_sentence_transformer(space, tmp_path / "kept", encoders=encoders)
    assert FusedSpace.load(tmp_path / "kept").encoders == encoders
    model = load_sentence_transformer(tmp_path / "kept", device="cpu")
    rows = {n: SentenceTransformer(str(tmp_path / n), device="cpu").encode(WORDS) for n in encoders}
    np.testing.assert_allclose(model.encode(WORDS), space.fuse("text", rows), atol=1e-6)


def of_text(**rows):
    return {"text": rows}


HALF = {"imagebind": np.ones(64), "internvl": np.ones(56), "clap_music": np.ones(48)}
WHOLE = {**HALF, "clap_general": np.ones(48)}


@pytest.mark.parametrize(
    ("items", "options", "says"),
    [
        (
            [of_text(**HALF)],
            {},
            "text needs a row of imagebind, internvl, clap_music, clap_general",
        ),
        ([of_text(**{**WHOLE, "internvl": np.ones(5)})], {}, r"internvl has 56 numbers; got \[5\]"),
        ([of_text(**{**WHOLE, "internvl": 0 * np.ones(56)})], {}, "internvl is zero, NaN or inf"),
        ([of_text(**{**WHOLE, "internvl": np.nan * np.ones(56)})], {}, "zero, NaN or infinite"),
        ([of_text(**WHOLE), {"audio": WHOLE}], {}, "Encode each modality separately"),
        ([{"video": WHOLE}], {}, "not supported|of one modality"),
        ([of_text(**WHOLE)], {"factors": {"image": 0.2}}, "0 to 1, for audio, text; got"),
        ([of_text(**WHOLE)], {"factors": {"text": 1.2}}, "0 to 1, for audio, text; got"),
        ([of_text(**WHOLE)], {"factors": "best"}, "no preset 'best', only versatile, at_expertise"),
        ([of_text(**WHOLE)], {"prompt": "query: "}, "takes no prompt"),
        (["a dog"], {}, "no encoder of imagebind is known: pass its rows"),
    ],
)
def test_what_cannot_be_encoded_is_refused(model, items, options, says):
    with pytest.raises(ValueError, match=says):
        model.encode(items, **options)


def test_parts_that_cancel_out_are_refused(tmp_path):
    space = FusedSpace.of(linear_bond("combination", -np.eye(2)), at={"text": 0.5, "audio": 0.5})
    write_sentence_transformer(space, tmp_path / "kept")
    model = load_sentence_transformer(tmp_path / "kept", device="cpu")
    row = np.array([1.0, 0.0])
    with pytest.raises(ValueError, match="cancel out"):
        model.encode([of_text(u=row, e=row)])
    assert model.encode([of_text(u=1e-30 * row, e=1e30 * row)], factors={"text": 0.25}).shape == (
        1,
        2,
    )


# Folders that are none


def test_an_unknown_encoder_a_plain_folder_and_a_damaged_one_are_refused(product, folder, tmp_path):
    with pytest.raises(FreeBindError, match="no native space 'clap'"):
        load_sentence_transformer(folder, encoders={"clap": Letters(48)})
    with pytest.raises(FreeBindError, match="no native space 'clap'"):
        write_sentence_transformer(product, tmp_path / "new", encoders={"clap": "st:a/b"})
    product.save(tmp_path / "plain")
    with pytest.raises(FreeBindError, match=r"no files for sentence-transf(.|\n)*--to"):
        load_sentence_transformer(tmp_path / "plain")
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(content)
    with pytest.raises(FreeBindError, match="weights were altered"):
        load_sentence_transformer(folder)
    with pytest.raises(ValueError, match="weights were altered"):  # the reader's own check
        Fused.load(str(folder))


def test_a_planned_space_is_not_written(product, tmp_path):
    with pytest.raises(FreeBindError, match="trained before it is saved"):
        write_sentence_transformer(planned(product), tmp_path / "kept")


def test_a_folder_names_encoders_but_no_code(folder, product, tmp_path, monkeypatch):
    asked = []

    def load_encoder(name, weights, device):
        asked.append((name, weights, device))
        return OurLetters(product.dims[name.split(":")[-1]])

    monkeypatch.setattr(loading, "load_encoder", load_encoder)
    names = {"imagebind": "imagebind", "internvl": "hf:internvl"}
    names |= {name: name for name in ("clap_music", "clap_general")}
    write_sentence_transformer(product, tmp_path / "ours", encoders=names)
    model = load_sentence_transformer(tmp_path / "ours", device="cpu")
    rows = {n: Letters(d).encode(WORDS, False) for n, d in product.dims.items()}
    np.testing.assert_allclose(model.encode(WORDS), product.fuse("text", rows), atol=1e-6)
    assert set(asked) == {(name, None, "cpu") for name in names.values()}
    write_sentence_transformer(product, tmp_path / "code", encoders={"imagebind": "os:system"})
    with pytest.raises(ValueError, match="a folder may not name code to run, os:system"):
        load_sentence_transformer(tmp_path / "code", device="cpu").encode(WORDS)
