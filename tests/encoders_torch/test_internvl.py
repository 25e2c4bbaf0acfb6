"""InternVL's own: its tokens and mode, its precision, and its permission to run code."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from encoders_torch.loading import load_encoder, recorded_encoder
from fb_jax.errors import FreeBindError
from tests.encoders_torch.tiny_models import save_internvl

RECORDED = Path(__file__).parents[2] / "parity/internvl.json"
COMMIT = "0123456789" * 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("internvl")
    save_internvl(folder)
    return folder


def load(folder, **options):
    return load_encoder("internvl", folder, "cpu", **{"trust_remote_code": True} | options)


def test_it_is_asked_for_its_contrastive_half_as_its_authors_do(folder, tmp_path):
    """The prefix, 80 tokens padded on the right with 0, an end token; mode InternVL-C."""
    encoder = load(folder, precision="float32")
    tokens = encoder.read("text", "a dog barks")
    pieces = encoder._tokenizer.convert_ids_to_tokens(tokens[tokens > 0].tolist())
    text = "".join(pieces).replace("▁", " ")
    assert text in ("<s> summarize:a dog barks</s>", "<s>summarize:a dog barks</s>")
    assert (len(tokens), tokens[-1]) == (80, 0)
    Image.effect_noise((300, 260), 90).convert("RGB").save(tmp_path / "noise.png")
    pixels = encoder.read("image", tmp_path / "noise.png")
    assert (pixels.shape, pixels.dtype) == ((3, 224, 224), np.uint8)
    whole = encoder._pictures._processor(
        images=Image.open(tmp_path / "noise.png"), return_tensors="pt"
    )
    with torch.no_grad():
        wanted = {
            "text": encoder.model.encode_text(torch.from_numpy(tokens[tokens > 0])[None]),
            "image": encoder.model.encode_image(whole["pixel_values"], mode="InternVL-C"),
        }
    for modality, read in (("text", tokens), ("image", pixels)):
        rows = encoder.rows(modality, [read])
        np.testing.assert_allclose(rows, wanted[modality].numpy(), rtol=1e-4)


def test_token_ids_are_those_of_internvls_own_tokenizer(folder):
    """Recorded by ``python -m parity.internvl`` with the same vocabulary."""
    wanted = json.loads(RECORDED.read_text())["toy vocabulary"]
    assert len(wanted) == 5
    encoder = load(folder)
    for caption, ids in wanted.items():
        found = encoder.read("text", caption)
        assert found[found > 0].tolist() == ids


def test_its_precision_is_that_of_the_authors_and_recorded(folder):
    name = "OpenGVLab/InternVL-14B-224px, mode InternVL-C, pad token 0"
    assert load(folder).name == f"{name}, in bfloat16"
    assert load(folder).model.dtype == torch.bfloat16
    assert load(folder, precision="float32").name == name


def test_the_padding_does_not_depend_on_the_tokenizers_files(folder):
    encoder = load(folder)
    assert encoder._tokenizer.pad_token_id == 0


# Code of the folder runs only with permission, and only code that cannot change


def test_without_permission_nothing_is_loaded(folder):
    says = r"contains code(.|\n)*--trust-remote-code"
    for options in ({}, {"revision": COMMIT}):
        with pytest.raises(FreeBindError, match=says):
            load_encoder("internvl", folder, "cpu", **options)


def test_a_manifest_does_not_load_it(folder):
    assert recorded_encoder(load(folder).name) is None


@pytest.mark.parametrize("revision", [None, "main", COMMIT[1:], COMMIT.replace("0", "g")])
def test_a_download_must_name_a_commit(offline, revision):
    how = r"--revision with 40 hexadecimal digits(.|\n)*commits/main"
    with pytest.raises(FreeBindError, match=rf"must name the commit(.|\n)*{how}"):
        load(None, revision=revision)


def test_a_folder_has_no_revision(folder):
    with pytest.raises(FreeBindError, match=r"no revision(.|\n)*leave --revision out"):
        load(folder, revision=COMMIT)


def test_without_a_network_it_says_which_commit_to_get(offline):
    what = "co/OpenGVLab/InternVL-14B-224px, or a folder of this name, licence: MIT"
    says = rf"{what}(.|\n)*--revision {COMMIT} --local-dir"
    with pytest.raises(FreeBindError, match=says):
        load(None, revision=COMMIT)


def test_a_folder_that_holds_no_model_is_refused(tmp_path):
    with pytest.raises(FreeBindError, match=r"transformers model(.|\n)*config\.json"):
        load(tmp_path)
