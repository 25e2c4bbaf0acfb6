import numpy as np
import pytest

from encoders_torch.imagebind.resampling import length_at, resample


def naive(samples, rate, to, start, stop):
    """The definition: a sum over all samples, one output at a time."""
    cut = 0.99 * min(rate, to)
    rows = []
    for i in range(start, stop):
        at = (np.arange(len(samples)) / rate - i / to) * cut
        weights = np.where(np.abs(at) < 6, np.sinc(at) * np.cos(at * np.pi / 12) ** 2, 0)
        rows.append(cut / rate * weights @ samples)
    return np.array(rows)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 32000, 44100, 48000, 12347])
@pytest.mark.parametrize("stretch", [(0, 30), (37, 60), (150, 160)])
def test_a_stretch_is_the_sum_of_sincs(rate, stretch):
    rng = np.random.default_rng(0)
    samples = rng.uniform(-1, 1, (rate // 100, 2)).astype(np.float32)
    found = resample(samples, rate, 16000, *stretch)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, naive(samples, rate, 16000, *stretch), rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 44100, 96000])
def test_a_tone_stays_a_tone(rate):
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
    found = resample(tone[:, None], rate, 16000, 4000, 12000)[:, 0]
    wanted = np.sin(2 * np.pi * 440 * np.arange(4000, 12000) / 16000)
    np.testing.assert_allclose(found, wanted, atol=2e-3)


@pytest.mark.parametrize(
    ("count", "rate", "length"),
    [
        (1, 44100, 1),
        (48001, 16000, 48001),
        (441000, 44100, 160000),
        (441001, 44100, 160001),  # 160000.36
        (8000, 8000, 16000),
        (2_646_193, 44100, 960070),  # 960070.02, which is 960070 in float32
        (100_000_001, 44100, 36281180),  # 36281179.50 is 36281180 in float32
    ],
)
def test_a_length_is_rounded_as_torchaudio_does(count, rate, length):
    assert length_at(count, rate, 16000) == length
