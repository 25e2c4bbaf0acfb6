import numpy as np
import pytest

from encoders_torch.imagebind.mel import FLOOR, log_mel

RATE = 16000


def tone(hertz, seconds=0.5):
    at = np.arange(int(RATE * seconds)) / RATE
    return np.sin(2 * np.pi * hertz * at).astype(np.float32)


@pytest.mark.parametrize(("samples", "frames"), [(400, 1), (559, 1), (560, 2), (32000, 198)])
def test_every_frame_lies_within_the_samples(samples, frames):
    assert log_mel(tone(440, 2)[:samples], RATE).shape == (frames, 128)


@pytest.mark.parametrize("hertz", [300, 1000, 4000, 7000])
def test_a_tone_stands_out_where_it_is(hertz):
    lowest, highest = (1127 * np.log1p(f / 700) for f in (20, 8000))
    step = (highest - lowest) / 129
    centre = (1127 * np.log1p(hertz / 700) - lowest) / step - 1
    found = log_mel(tone(hertz), RATE)
    assert np.abs(found.argmax(axis=1) - centre).max() <= 1.5  # frequencies are coarser than bins
    assert (found.max(axis=1) - np.median(found, axis=1)).min() > 10


def test_loudness_adds_its_logarithm():
    found = log_mel(10 * tone(440), RATE) - log_mel(tone(440), RATE)
    np.testing.assert_allclose(found[:, 8:40], np.log(100), atol=1e-3)


def test_silence_and_a_constant_are_at_the_floor():
    for level in (0, 0.5):
        found = log_mel(np.full(4000, level, np.float32), RATE)
        np.testing.assert_allclose(found, np.log(FLOOR))
