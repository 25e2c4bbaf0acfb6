"""``st:``: models of sentence-transformers, on tiny random ones of the real library."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from transformers.utils import logging

from encoders_torch.loading import load_encoder
from fb_jax.errors import FreeBindError
from tests.encoders_torch.tiny_models import (
    RATE,
    save_multimodal_sentence_transformer,
    save_sentence_transformer,
)

CAPTIONS = ["a dog", "a dog barks at the quick brown fox", "x", "the quick", "..."]
CLOSE = {"atol": 1e-5}


def library(folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def rows_of(encoder, modality, items):
    return encoder.rows(modality, [encoder.read(modality, item) for item in items])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of captions. Read only."""
    folder = tmp_path_factory.mktemp("st")
    save_sentence_transformer(folder)
    return folder


@pytest.fixture(scope="module", params=["clip", "siglip", "clap", "fused_clap"])
def multimodal(request, tmp_path_factory):
    """A model of captions and of pictures or recordings. Read only."""
    folder = tmp_path_factory.mktemp(request.param)
    folder.mkdir(exist_ok=True)
    (folder / request.param).mkdir()
    save_multimodal_sentence_transformer(folder, request.param)
    return folder


def test_captions_are_embedded_as_the_library_does(folder):
    encoder = load_encoder(f"st:{folder}", None, "cpu")
    assert (encoder.dim, encoder.modalities) == (16, ("text",))
    assert encoder.name == f"sentence-transformers: {folder}"
    wanted = library(folder).encode(CAPTIONS, normalize_embeddings=True)
    np.testing.assert_allclose(rows_of(encoder, "text", CAPTIONS), wanted, **CLOSE)


def test_captions_are_cut_to_the_length_that_the_model_says(folder):
    encoder = load_encoder(f"st:{folder}", None, "cpu")
    long = "abcdefghij"  # and a begin and an end: 12 tokens
    rows = rows_of(encoder, "text", [long, long + "klm", long[:-1] + "z"])
    np.testing.assert_allclose(rows[0], rows[1], **CLOSE)
    assert np.abs(rows[0] - rows[2]).max() > 1e-4


def test_a_default_prompt_stands_before_every_caption(tmp_path):
    save_sentence_transformer(
        tmp_path, 20, prompts={"mine": "fox ", "query": "dog "}, default_prompt_name="mine"
    )
    encoder = load_encoder("st:some/model", tmp_path, "cpu")
    assert encoder.name == "sentence-transformers: some/model"
    model = library(tmp_path)
    wanted = model.encode(["fox a", "fox b"], prompt="", normalize_embeddings=True)
    np.testing.assert_allclose(rows_of(encoder, "text", ["a", "b"]), wanted, **CLOSE)


def test_each_item_of_a_multimodal_model_is_embedded_as_if_it_were_alone(multimodal, tmp_path):
    """SigLIP has no mask for padding, and CLAP chooses at random what it takes for long."""
    encoder, model = load_encoder(f"st:{multimodal}", None, "cpu"), library(multimodal)
    other = "audio" if "clap" in multimodal.name else "image"
    assert encoder.modalities == tuple(sorted((other, "text")))
    rng = np.random.default_rng(0)
    waves = [rng.uniform(-0.5, 0.5, n).astype(np.float32) for n in (2000, RATE)]
    for i, wave in enumerate(waves):
        Image.fromarray(rng.integers(0, 256, (40 + i, 50, 3), np.uint8)).save(tmp_path / f"{i}.png")
        soundfile.write(tmp_path / f"{i}.wav", wave, RATE, subtype="FLOAT")
    suffix = {"audio": "wav", "image": "png"}[other]
    paths = [tmp_path / f"{i}.{suffix}" for i in range(2)]
    sounds = [{"array": wave, "sampling_rate": RATE} for wave in waves]
    same = {
        "text": (CAPTIONS[2:], CAPTIONS[2:]),
        other: (paths, sounds if other == "audio" else [Image.open(path) for path in paths]),
    }
    for modality, (items, inputs) in same.items():
        wanted = [model.encode([one], normalize_embeddings=True)[0] for one in inputs]
        np.testing.assert_allclose(rows_of(encoder, modality, items), wanted, **CLOSE)


def test_of_a_long_recording_the_middle_counts(tmp_path):
    (tmp_path / "st/clap").mkdir(parents=True)
    save_multimodal_sentence_transformer(tmp_path / "st", "clap")
    encoder = load_encoder(f"st:{tmp_path / 'st'}", None, "cpu")
    assert encoder.name.endswith(", of long audio the middle")
    wave = np.random.default_rng(1).uniform(-0.5, 0.5, 3 * RATE)
    for name, part in (("long", wave), ("middle", wave[RATE : 2 * RATE])):
        soundfile.write(tmp_path / f"{name}.wav", part, RATE, subtype="FLOAT")
    read = [encoder.read("audio", tmp_path / f"{name}.wav") for name in ("long", "middle")]
    np.testing.assert_array_equal(read[0]["array"], read[1]["array"])


def test_a_caption_that_is_the_path_of_a_picture_stays_a_caption(tmp_path, monkeypatch):
    (tmp_path / "st/clip").mkdir(parents=True)
    save_multimodal_sentence_transformer(tmp_path / "st", "clip")
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 40), "red").save("red.png")
    encoder = load_encoder("st:st", None, "cpu")
    present = rows_of(encoder, "text", ["red.png"])
    Path("red.png").unlink()
    np.testing.assert_array_equal(rows_of(encoder, "text", ["red.png"]), present)


# What is wrong with a folder


@pytest.fixture
def copy(folder, tmp_path):
    """A copy of the model's folder that may be changed."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def without(folder: Path, key: str) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights[key]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def test_a_checkpoint_that_lacks_weights_is_refused(copy):
    without(copy, "encoder.layer.0.output.dense.weight")
    with pytest.raises(FreeBindError, match=r"lacks weights of its model(.|\n)*differ each time"):
        load_encoder(f"st:{copy}", None, "cpu")


def test_weights_that_no_embedding_depends_on_may_be_missing(copy, folder):
    without(copy, "pooler.dense.weight")
    rows = [rows_of(load_encoder(f"st:{f}", None, "cpu"), "text", CAPTIONS) for f in (copy, folder)]
    np.testing.assert_array_equal(*rows)


def test_a_truncated_file_is_told_with_its_folder(copy):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(FreeBindError, match=r"model cannot be loaded\n.*copy"):
        load_encoder(f"st:{copy}", None, "cpu")


def test_code_in_the_folder_does_not_run(copy, tmp_path):
    (copy / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    modules = json.loads((copy / "modules.json").read_text())
    modules[2]["type"] = "mine.Normalize"
    (copy / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(FreeBindError, match=r"without code of its own(.|\n)*mine.Normalize"):
        load_encoder(f"st:{copy}", None, "cpu")
    assert not (tmp_path / "ran").exists()


def test_the_digest_and_the_licence_are_those_of_the_folder(copy, folder):
    (copy / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    one, other = (load_encoder(f"st:{path}", None, "cpu") for path in (copy, folder))
    assert (one.weights_sha256, one.licence) == (other.weights_sha256, "apache-2.0")
    assert other.licence == "unknown"
    (copy / "1_Pooling/config.json").write_text(
        '{"embedding_dimension": 16, "pooling_mode": "cls"}'
    )
    assert load_encoder(f"st:{copy}", None, "cpu").weights_sha256 != one.weights_sha256


def test_a_folder_of_another_library_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(
        FreeBindError, match=r"no folder of a sentence-transformers(.|\n)*modules"
    ) as one:
        load_encoder(f"st:{tmp_path}", None, "cpu")
    assert f"--encoder hf:{tmp_path}" in str(one.value)


def test_nothing_is_printed_while_a_model_is_loaded(folder, capfd):
    logging.enable_progress_bar()
    load_encoder(f"st:{folder}", None, "cpu")
    assert capfd.readouterr().err == ""


def test_a_name_without_an_owner_is_looked_up_where_the_library_does(offline):
    says = r"https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2(.|\n)*hf download"
    with pytest.raises(FreeBindError, match=says):
        load_encoder("st:all-MiniLM-L6-v2", None, "cpu")


# Precision


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_a_precision_is_in_the_name_and_reaches_the_model(folder, precision):
    encoder = load_encoder(f"st:{folder}", None, "cpu", precision=precision)
    assert encoder.name == f"sentence-transformers: {folder}, in {precision}"
    off = rows_of(encoder, "text", CAPTIONS) - library(folder).encode(
        CAPTIONS, normalize_embeddings=True
    )
    assert np.abs(off).max() < (0.05 if precision == "bfloat16" else 1e-5)
    assert (np.abs(off).max() > 1e-4) == (precision == "bfloat16")


def test_pictures_and_recordings_have_a_precision_too(multimodal, tmp_path):
    full = load_encoder(f"st:{multimodal}", None, "cpu")
    half = load_encoder(f"st:{multimodal}", None, "cpu", precision="bfloat16")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(tmp_path / "a.png")
    soundfile.write(tmp_path / "a.wav", rng.uniform(-0.5, 0.5, RATE // 2), RATE)
    other = "audio" if "audio" in full.modalities else "image"
    item = tmp_path / {"audio": "a.wav", "image": "a.png"}[other]
    off = rows_of(half, other, [item]) - rows_of(full, other, [item])
    assert 0 < np.abs(off).max() < 0.05
