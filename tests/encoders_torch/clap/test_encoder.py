import json
import pickle
import shutil

import numpy as np
import pytest
import soundfile
import torch
from tiny.clap import DIM, write_clap

from encoders_torch.clap import (
    ClapGeneral,
    ClapGeneralCentre,
    ClapGeneralWindows,
    ClapMusic,
    ClapMusicCentre,
    ClapMusicWindows,
)
from encoders_torch.clap.published import LICENCE
from encoders_torch.encoder import FrozenEncoder
from encoders_torch.loading import load_encoder
from fb_jax import files
from fb_jax.errors import FreeBindError

CAPTIONS = ["the dog", "a dog barks in the bar", "word " * 300, "ünïcödé 犬", "!"]
WITHIN = 1e-6


def encode(encoder, modality, items):
    return encoder.rows(modality, [encoder.read(modality, item) for item in items])


@pytest.mark.parametrize("space", ["clap_general", "clap_music"])
def test_the_spaces_names_are_encoders(checkpoints, space):
    encoder = load_encoder(space, checkpoints[space], "cpu")
    assert isinstance(encoder, FrozenEncoder)
    assert (encoder.dim, encoder.modalities, encoder.licence) == (DIM, ("audio", "text"), LICENCE)
    assert encoder.weights_sha256 == files.sha256_of(checkpoints[space])


def test_rows_are_units_of_float32_and_differ(clap, recordings):
    for modality, items in (("audio", recordings), ("text", CAPTIONS)):
        rows = encode(clap, modality, items)
        assert (rows.shape, rows.dtype) == ((len(items), DIM), np.float32)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
        apart = np.abs(rows[:, None] - rows[None]).max(axis=2) + np.eye(len(rows))
        assert apart.min() > 100 * WITHIN


def test_a_row_depends_on_its_item_alone(clap, recordings):
    for modality, items in (("audio", recordings), ("text", CAPTIONS)):
        together = encode(clap, modality, items)
        alone = np.concatenate([encode(clap, modality, [item]) for item in items])
        backwards = encode(clap, modality, items[::-1])[::-1]
        np.testing.assert_allclose(alone, together, rtol=0, atol=WITHIN)
        np.testing.assert_allclose(backwards, together, rtol=0, atol=WITHIN)


def test_more_than_goes_through_at_once_is_encoded_in_order(clap):
    captions = [f"{i} dogs" for i in range(70)]
    rows = encode(clap, "text", captions)
    np.testing.assert_allclose(
        rows[[0, 33, 69]],
        encode(clap, "text", [captions[i] for i in (0, 33, 69)]),
        rtol=0,
        atol=WITHIN,
    )


def test_neither_state_of_random_generators_nor_gradients_matter(clap, recordings):
    first = encode(clap, "audio", recordings)
    np.random.seed(1)  # noqa: NPY002 - state that must not count
    torch.manual_seed(1)
    np.testing.assert_array_equal(encode(clap, "audio", recordings), first)


def test_neither_name_nor_folder_of_a_recording_matters(clap, recordings, tmp_path):
    copies = [shutil.copy(path, tmp_path / f"renamed-{path.name}") for path in recordings]
    np.testing.assert_array_equal(encode(clap, "audio", copies), encode(clap, "audio", recordings))


def test_an_encoder_can_be_sent_to_another_process(clap, recordings):
    sent = pickle.loads(pickle.dumps(clap))
    for modality, item in (("audio", recordings[0]), ("text", "the dog")):
        found, wanted = (encode(encoder, modality, [item]) for encoder in (sent, clap))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=WITHIN)


LONG = "5.wav"


def test_of_long_audio_the_crop_decides_and_the_name_tells(checkpoints, recordings, general, music):
    long = [next(path for path in recordings if path.name == LONG)]
    short = [path for path in recordings if path.name in ("0.wav", "3.wav")]
    for seeded, others in (
        (general, (ClapGeneralCentre, ClapGeneralWindows)),
        (music, (ClapMusicCentre, ClapMusicWindows)),
    ):
        for other in others:
            made = other(checkpoints[seeded.published.space])
            assert np.abs(encode(made, "audio", long) - encode(seeded, "audio", long)).max() > 1e-5
            np.testing.assert_array_equal(
                encode(made, "audio", short), encode(seeded, "audio", short)
            )
            assert made.name != seeded.name


@pytest.mark.parametrize("windows", [ClapGeneralWindows, ClapMusicWindows])
def test_windows_are_the_mean_of_their_clips(checkpoints, windows, tmp_path):
    rate, rng = 48000, np.random.default_rng(0)
    samples = rng.uniform(-0.5, 0.5, 25 * rate) * np.repeat([1, 0.1, 0.6, 0.01, 0.3], 5 * rate)
    soundfile.write(tmp_path / "long.wav", samples, rate)
    cuts = [samples[: 10 * rate], samples[10 * rate : 20 * rate], samples[15 * rate :]]
    for i, cut in enumerate(cuts):
        soundfile.write(tmp_path / f"{i}.wav", cut, rate)
    encoder = windows(
        checkpoints["clap_general" if windows is ClapGeneralWindows else "clap_music"]
    )
    mean = encode(encoder, "audio", [tmp_path / f"{i}.wav" for i in range(3)]).mean(axis=0)
    found = encode(encoder, "audio", [tmp_path / "0.wav", tmp_path / "long.wav"])[1]
    np.testing.assert_allclose(found, mean / np.linalg.norm(mean), rtol=0, atol=WITHIN)


def test_long_audio_fuses_and_audio_long_by_a_sample_does_not(general, tmp_path):
    rng = np.random.default_rng(0)
    for extra in (0, 1, 479, 480):
        soundfile.write(tmp_path / f"{extra}.wav", rng.uniform(-0.1, 0.1, 480000 + extra), 48000)
    fused = [general.read("audio", tmp_path / f"{extra}.wav").fused for extra in (0, 1, 479, 480)]
    assert fused == [False, False, False, True]


def test_a_very_long_caption_is_cut(clap):
    assert len(clap.read("text", "word " * 300)) == 77
    with pytest.raises(FreeBindError, match="caption is empty"):
        clap.read("text", "  ")


SAYS = r"(.|\n)*".join(["weights", "{}", "LAION-AI/CLAP, licence: CC0", "lukewys/laion_clap"])


@pytest.mark.parametrize("encoder", [ClapGeneral, ClapMusic])
def test_missing_weights_say_what_to_get_and_from_where(tmp_path, encoder):
    with pytest.raises(FreeBindError, match=SAYS.format(encoder.published.file)):
        encoder(tmp_path / "no.pt")


def test_weights_that_cannot_be_downloaded_say_so_too(offline):
    with pytest.raises(FreeBindError, match=SAYS.format(ClapMusic.published.file)):
        ClapMusic()


def test_a_tokenizer_of_another_vocabulary_is_told(tmp_path):
    path = write_clap(tmp_path, fused=False)
    vocabulary = json.loads((tmp_path / "roberta-base/vocab.json").read_text())
    vocabulary["dog!"] = len(vocabulary)
    (tmp_path / "roberta-base/vocab.json").write_text(json.dumps(vocabulary))
    with pytest.raises(FreeBindError, match=r"tokenizer(.|\n)*271 tokens(.|\n)*272 tokens"):
        ClapMusic(path).prepare("text")


def test_a_tokenizer_that_is_nowhere_is_told(offline, checkpoints, tmp_path):
    shutil.copy(checkpoints["clap_music"], tmp_path / "clap.pt")
    says = r"RoBERTa's tokenizer is missing(.|\n)*vocab\.json, merges\.txt"
    with pytest.raises(FreeBindError, match=says):
        ClapMusic(tmp_path / "clap.pt").prepare("text")
