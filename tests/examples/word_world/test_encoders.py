import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from encoders_torch.encoder import FrozenEncoder
from encoders_torch.loading import load_encoder
from examples.word_world.encoders import SHAPES, WordEncoder, mel_filters
from examples.word_world.recipe import TINY
from fb_jax.errors import FreeBindError


@pytest.fixture
def encoder(tmp_path) -> FrozenEncoder:
    torch.manual_seed(0)
    recipe = TINY.spaces["imagebind"]
    towers = WordEncoder.towers(recipe.modalities, recipe.dim, recipe.width)
    WordEncoder.save(tmp_path / "w.safetensors", towers, "imagebind", recipe)
    return load_encoder(
        "examples.word_world.encoders:WordEncoder", tmp_path / "w.safetensors", "cpu"
    )


@pytest.fixture
def media(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (24, 96), np.uint8)).save(tmp_path / "0.png")
    soundfile.write(tmp_path / "0.wav", rng.uniform(-0.5, 0.5, 9000), 22050)
    return {"image": tmp_path / "0.png", "audio": tmp_path / "0.wav", "text": "word"}


@pytest.mark.parametrize("modality", SHAPES)
def test_an_item_gives_the_same_unit_row_alone_and_in_a_batch(encoder, media, modality):
    read = encoder.read(modality, media[modality])
    assert read.shape == SHAPES[modality]
    alone, batch = encoder.rows(modality, [read]), encoder.rows(modality, [-read, read])
    assert alone.shape == (1, encoder.dim)
    np.testing.assert_allclose(np.linalg.norm(batch, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(batch[1:], alone, atol=1e-6)


@pytest.mark.parametrize("word", ["", "Word", "naïve", "two words", "a" * 13])
def test_text_other_than_a_word_is_refused(encoder, word):
    with pytest.raises(FreeBindError, match="words only"):
        encoder.read("text", word)


def test_every_filter_covers_bins_and_a_tone_excites_its_filter(encoder, tmp_path):
    filters = mel_filters()
    assert (filters.max(axis=0) > 0).all()
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(20000) / 22050)
    soundfile.write(tmp_path / "tone.wav", tone, 22050)
    frames = encoder.read("audio", tmp_path / "tone.wav")
    loudest = filters[:, frames.mean(axis=0).argmax()]
    assert loudest[round(1000 * 512 / 22050)] > 0
