"""Captions are cut to the longest of their batch where that changes no row."""

import numpy as np
import pytest
import torch
import transformers

from encoders_torch.loading import load_encoder
from tests.encoders_torch.tiny_models import SAVE

CAPTIONS = ["a dog", "x", "..."]
LONGER = "the quick brown fox " * 9


def load(name, folder):
    if name == "internvl":
        return load_encoder("internvl", folder, "cpu", precision="float32", trust_remote_code=True)
    return load_encoder(f"hf:{folder}", None, "cpu")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def ids_of(batch):
    return batch["input_ids"] if isinstance(batch, dict) else batch


def uncut(encoder, reads):
    stacked = torch.utils.data.default_collate(reads)
    return unit(encoder.encode("text", stacked))


@pytest.mark.parametrize(
    ("name", "longest"), [("clip", 7), ("clap", 7), ("siglip", 20), ("internvl", None)]
)
def test_rows_are_those_of_uncut_captions(tmp_path, name, longest):
    SAVE[name](tmp_path)
    encoder = load(name, tmp_path)
    reads = [encoder.read("text", caption) for caption in CAPTIONS]
    batch = encoder.collate("text", reads)
    full = ids_of(torch.utils.data.default_collate(reads)).shape[1]
    width = ids_of(batch).shape[1]
    assert width == longest if longest else width < full
    np.testing.assert_allclose(
        unit(encoder.encode("text", batch)), uncut(encoder, reads), atol=1e-6
    )
    reads.append(encoder.read("text", LONGER))
    whole = encoder.collate("text", reads)
    assert ids_of(whole).shape[1] == full
    np.testing.assert_array_equal(unit(encoder.encode("text", whole)), uncut(encoder, reads))


@pytest.mark.parametrize(("end", "pad"), [(2, 39), (2, 0), (3, 3), (36, 0)])
def test_clip_is_cut_after_the_token_that_its_row_is_taken_at(tmp_path, end, pad):
    """Old configurations take the highest token, even of the padding; others the first end."""
    SAVE["clip"](tmp_path)
    config = transformers.CLIPConfig.from_pretrained(tmp_path)
    config.text_config.eos_token_id = end
    config.save_pretrained(tmp_path)
    encoder = load("clip", tmp_path)
    reads = [encoder.read("text", caption) for caption in CAPTIONS]
    for read in reads:
        read["input_ids"][read["attention_mask"] == 0] = pad
    rows = unit(encoder.encode("text", encoder.collate("text", reads)))
    np.testing.assert_allclose(rows, uncut(encoder, reads), atol=1e-6)
