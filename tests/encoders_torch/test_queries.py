"""Typed queries, embedded by the encoders of their spaces."""

import numpy as np
import pytest

from encoders_torch import loading as encoders
from encoders_torch.encoder import provenance
from encoders_torch.exporting.pipeline import ExportSettings, export_bank
from encoders_torch.loading import recorded_encoder
from encoders_torch.queries import QueryEncoder, embed, embed_query
from encoders_torch.sources import Source, open_source
from fb_jax.banks import Encoder, Split, open_banks
from fb_jax.errors import FreeBindError
from tests.encoders_torch.conftest import Toy

UNKNOWN = Encoder("captions.npy")
TOY = "tests.encoders_torch.conftest:Toy"


def test_a_query_has_the_row_that_an_export_writes(toy, tmp_path, media):
    captions = Source([{"id": "0", "caption": "a red heart"}])
    sources = {"text": captions} | {m: open_source(m, media / m) for m in ("audio", "image")}
    items = {
        "text": "a red heart",
        "audio": media / "audio/5.wav",
        "image": media / "image/0.png",
    }
    for modality, source in sources.items():
        export_bank(
            toy, source, Split(tmp_path / "pool"), "toy", modality, ExportSettings("float32")
        )
        bank = open_banks(tmp_path, spaces=["toy"])["toy", modality]
        np.testing.assert_allclose(embed(toy, modality, items[modality])[0], bank[:1][0], atol=1e-6)


@pytest.mark.parametrize(
    ("modality", "item", "says"),
    [
        ("text", " ", "the text to embed is empty"),
        ("text", "unreadable", "this text cannot be embedded\n.*unreadable\n(.|\n)*not a caption"),
        ("text", "sevenxx", "its embedding has no direction"),
        ("image", "gone.png", "this image cannot be embedded(.|\n)*is missing"),
    ],
)
def test_a_query_that_cannot_be_embedded_is_told(toy, tmp_path, modality, item, says):
    item = item if modality == "text" else tmp_path / item
    with pytest.raises(FreeBindError, match=says):
        embed(toy, modality, item)


def test_an_encoder_is_prepared_for_the_modality(toy):
    prepared = []
    toy.prepare = prepared.append
    embed(toy, "text", "one")
    assert prepared == ["text"]


@pytest.mark.parametrize(
    ("name", "loads"),
    [
        ("transformers clip: openai/clip-vit-base-patch32", "hf:openai/clip-vit-base-patch32"),
        ("transformers clap: laion/clap, of long audio the middle", "hf:laion/clap"),
        ("transformers clap: laion/clap, of long audio the whole and more", "hf:laion/clap"),
        ("transformers siglip: a/b, in bfloat16", "hf:a/b"),
        ("sentence-transformers: all-MiniLM-L6-v2", "st:all-MiniLM-L6-v2"),
        ("sentence-transformers: a/b, of long audio the middle, in tf32", "st:a/b"),
        ("st:all-MiniLM-L6-v2", "st:all-MiniLM-L6-v2"),
        ("open_clip ViT-B-32/openai", "open_clip:ViT-B-32/openai"),
        ("open_clip ViT-B-32/openai, with QuickGELU, pictures squash", "open_clip:ViT-B-32/openai"),
        ("word-world imagebind: small conv towers", None),
        ("captions.npy", None),
        ("tests.encoders_torch.conftest:Toy", None),  # no manifest names code to run
        ("OpenGVLab/InternVL-14B-224px, mode InternVL-C", None),  # it would run code
    ],
)
def test_an_encoder_is_found_by_the_name_in_a_manifest(name, loads):
    assert recorded_encoder(name) == loads


def test_every_encoder_with_a_name_is_found_by_what_it_records():
    from encoders_torch.clap.encoder import describe
    from encoders_torch.clap.published import GENERAL, MUSIC
    from encoders_torch.imagebind.encoder import ABOUT

    names = {
        "imagebind": [f"{ABOUT}, own towers", f"{ABOUT}, package imagebind"],
        "clap_general": [f"{describe(GENERAL, 'seeded')}, laion_clap"],
        "clap_music": [f"{describe(MUSIC, 'seeded')}, transformers"],
        "imagebind_tuned": [f"{ABOUT}, own towers, audio tuned into internvl_ib"],
    }
    assert {*names, "internvl"} == set(encoders.known_encoders())
    for encoder, recorded in names.items():
        assert {recorded_encoder(name) for name in recorded} == {encoder}


def test_each_space_embeds_the_query_and_those_that_cannot_are_told(caplog):
    toys = [
        QueryEncoder("mine", provenance(Toy()), TOY, "some/weights"),
        QueryEncoder("imported", UNKNOWN),
        QueryEncoder("typo", UNKNOWN, "tests.encoders_torch.conftest:Tox"),
    ]
    rows, unavailable = embed_query(toys, "text", "one", "cpu")
    assert list(rows) == ["mine"]
    np.testing.assert_array_equal(rows["mine"], embed(Toy(), "text", "one"))
    assert caplog.messages[0] == f"mine: loading the encoder {TOY}"
    for space, says in (("imported", "captions.npy"), ("typo", "Tox")):
        assert says in str(unavailable[space])
        assert f"--encoder {space}=st:all-MiniLM-L6-v2" in str(unavailable[space])


def test_an_encoder_without_the_modality_is_told():
    _, unavailable = embed_query(
        [QueryEncoder("mine", provenance(Toy()), TOY)], "depth", "x", "cpu"
    )
    assert "this encoder has no depth" in str(unavailable["mine"])


def test_other_weights_are_refused():
    recorded = Encoder("toy", "1" * 64)
    with pytest.raises(FreeBindError, match=rf"did not compute the banks of mine(.|\n)*{'1' * 64}"):
        embed_query([QueryEncoder("mine", recorded, TOY)], "text", "one", "cpu")


@pytest.mark.parametrize(
    ("recorded", "same"),
    [
        ("transformers clip: models/clip", True),
        ("transformers clip: /elsewhere/clip, frame at 1 s", True),
        ("transformers clip: models/clip, in bfloat16", True),  # the query has it, too
        ("transformers siglip: models/clip", False),
        ("sentence-transformers: models/clip", False),
    ],
)
def test_the_place_of_a_folder_makes_no_other_encoder(caplog, recorded, same):
    encoder = Toy(name="transformers clip: /home/me/models/clip")
    QueryEncoder("mine", Encoder(recorded, encoder.weights_sha256)).require_same(encoder)
    assert ("were computed by" in caplog.text) != same


def test_where_the_weights_are_unknown_a_caption_shows_whether_the_encoder_is_the_same(caplog):
    row = embed(Toy(), "text", "one")[0]
    near = row + np.float32([0.1, 0, 0, 0])
    for sample in (row, near / np.linalg.norm(near)):
        QueryEncoder("mine", UNKNOWN, sample=("one", sample)).require_same(Toy())
    assert "nothing shows" not in caplog.text
    for sample, got in ((-row, "cosine of -1.000"), (row[:3], "4 dimensions")):
        with pytest.raises(
            FreeBindError, match=f"did not compute(.|\n)*the row of 'one'(.|\n)*{got}"
        ):
            QueryEncoder("mine", UNKNOWN, sample=("one", sample)).require_same(Toy())
    QueryEncoder("mine", UNKNOWN).require_same(Toy())
    assert "mine: its banks do not say which weights computed them" in caplog.text
