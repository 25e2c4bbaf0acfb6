"""``hf:`` CLAP hears recordings as ``ClapFeatureExtractor`` does, but never at random."""

import numpy as np
import pytest
import soundfile
import torch
import transformers

from encoders_torch.clap.views import Views
from encoders_torch.loading import load_encoder
from fb_jax.errors import FreeBindError
from tests.encoders_torch.tiny_models import RATE, save_clap

HOP = 64
ALL = "of long audio the whole and the middle of each third"


@pytest.fixture(scope="module", params=[True, False], ids=["fused", "plain"])
def folder(request, tmp_path_factory):
    """A model with fusion, then one without. Read only."""
    folder = tmp_path_factory.mktemp("clap")
    save_clap(folder, fusion=request.param)
    return folder


@pytest.fixture(scope="module")
def fused(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fused")
    save_clap(folder, fusion=True)
    return folder


def wave(samples, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples).astype(np.float32)


def extractor_of(folder):
    return transformers.AutoProcessor.from_pretrained(folder).feature_extractor


def views_of(folder):
    extractor = extractor_of(folder)
    return Views(extractor, extractor.truncation == "fusion", folder)


@pytest.mark.parametrize("samples", [400, 3000, RATE - 1, RATE])
def test_a_recording_within_the_window_is_heard_as_by_transformers(folder, samples):
    found = views_of(folder).read(wave(samples))
    wanted = extractor_of(folder)(wave(samples), sampling_rate=RATE, return_tensors="np")
    np.testing.assert_array_equal(found["input_features"], wanted["input_features"][0])
    assert not found["is_longer"].any()  # the extractor marks one at random


def middle_of(starts):
    return starts[len(starts) // 2]


@pytest.mark.parametrize("samples", [RATE + HOP - 1, RATE + HOP, RATE + 2 * HOP, 2 * RATE + 77])
def test_a_long_recording_is_fused_as_by_transformers_at_the_same_places(
    fused, samples, monkeypatch
):
    found = views_of(fused).read(wave(samples))
    monkeypatch.setattr(np.random, "choice", middle_of)  # the extractor draws three places
    wanted = extractor_of(fused)(wave(samples), sampling_rate=RATE, return_tensors="np")
    np.testing.assert_allclose(found["input_features"], wanted["input_features"][0], atol=1e-5)
    less_than_a_frame = samples < RATE + HOP  # then it marks one at random
    assert found["is_longer"].tolist() == [not less_than_a_frame]


def test_fusing_reaches_the_row_and_the_name(fused, tmp_path):
    encoder = load_encoder(f"hf:{fused}", None, "cpu")
    assert encoder.name == f"transformers clap: {fused}, {ALL}"
    long, path = wave(3 * RATE), tmp_path / "long.wav"
    soundfile.write(path, long, RATE, subtype="FLOAT")
    row = encoder.rows("audio", [encoder.read("audio", path)])
    features = views_of(fused).read(long)["input_features"][None]
    model = transformers.ClapModel.from_pretrained(fused).eval()
    wanted = {}
    for longer in (True, False):
        marks = torch.tensor([[longer]])
        with torch.no_grad():
            output = model.get_audio_features(torch.from_numpy(features), is_longer=marks)
        wanted[longer] = getattr(output, "pooler_output", output).numpy()
    np.testing.assert_allclose(row, wanted[True], atol=1e-6)
    assert np.abs(row - wanted[False]).max() > 1e-4


def test_an_extractor_of_the_other_kind_is_refused(folder):
    extractor = extractor_of(folder)
    with pytest.raises(FreeBindError, match=r"do not fit together(.|\n)*enable_fusion"):
        Views(extractor, extractor.truncation != "fusion", folder)
