from fractions import Fraction

import numpy as np
import pytest
import soundfile

from encoders_torch.imagebind.audio import clip_starts, clips, read_clips
from fb_jax.errors import FreeBindError

RATE = 16000


def noise(seconds, channels=1, rate=RATE):
    rng = np.random.default_rng(0)
    return rng.uniform(-0.5, 0.5, (int(seconds * rate), channels)).astype(np.float32)


def test_spectrograms_are_the_released_code_s(goldens, items):
    """To 1e-3: in near-silent bins the released code's float32 sums differ from exact ones."""
    found = np.stack([read_clips(path) for path in items["audio"]])
    assert found.dtype == np.float32
    difference = np.abs(found - goldens["audio.input"])
    assert difference.max() < 1e-3
    assert difference.mean() < 1e-5


@pytest.mark.parametrize(
    ("length", "starts"),
    [
        (1, [0, 0, 0]),
        (32000, [0, 0, 0]),
        (35201, [0, 1600, 3201]),
        (59200, [0, 13600, 27200]),
        (74451, [0, 21225, 42450]),  # in floats the last would be 42451
        (160000, [0, 64000, 128000]),
        (568111, [0, 268055, 536110]),
    ],
)
def test_clips_start_where_the_pinned_sampler_starts_them(length, starts):
    assert clip_starts(length) == starts


def test_clip_starts_are_exact_fractions():
    for length in np.random.default_rng(0).integers(1, 10**7, 2000).tolist():
        seconds = Fraction(length / RATE)  # of a float
        spare = max(seconds - 2, Fraction(0))
        assert clip_starts(length) == [int(spare * k / 2 * RATE) for k in range(3)]
        assert length - 32001 <= clip_starts(length)[2] <= max(length - 32000, 0)


def test_each_clip_is_heard_where_it_starts():
    samples = noise(8)
    found = clips(samples, RATE)
    for k, start in enumerate((0, 3, 6)):
        alone = clips(samples[start * RATE : (start + 2) * RATE], RATE)
        np.testing.assert_allclose(found[k], alone[0], atol=1e-5)
        np.testing.assert_allclose(alone[0], alone[2], atol=1e-5)


def naive_clips(samples):
    """Subtract means from the whole recording in place, clip after clip."""
    whole, heard = samples.astype(np.float64), []
    for start in clip_starts(len(whole)):
        clip = whole[start : start + 2 * RATE]
        clip -= clip.mean()
        heard.append(clips(np.float32(clip), RATE)[0])
    return np.stack(heard)


@pytest.mark.parametrize("seconds", [0.5, 2.5, 3, 4, 5.99, 7])
def test_a_clip_lacks_the_means_of_the_clips_that_it_overlaps(seconds):
    samples = noise(seconds, channels=2)
    samples[: int(1.3 * RATE)] += 0.4  # an offset that not all clips have
    kept = samples.copy()
    np.testing.assert_allclose(clips(samples, RATE), naive_clips(samples), atol=1e-4)
    assert np.array_equal(samples, kept)


def test_a_step_is_heard_where_an_earlier_clip_ends():
    silent = np.full((4 * RATE, 1), 0.25, np.float32)
    first, second, _ = clips(silent, RATE)
    end = RATE // 160  # of the first clip, in frames of the second
    assert np.ptp(first[..., :198]) == 0
    assert np.ptp(second[..., end + 1 : 198]) == 0
    assert np.ptp(second[..., end - 2 : end + 1]) > 0.5


def test_the_first_channel_is_heard_whatever_its_level(tmp_path):
    first, second = noise(2, channels=2).T
    soundfile.write(tmp_path / "stereo.wav", np.stack([first + 0.3, second], 1), RATE, "FLOAT")
    found = read_clips(tmp_path / "stereo.wav")
    np.testing.assert_allclose(found, clips(first[:, None], RATE), atol=1e-5)


def test_a_minute_at_another_rate_is_heard_where_its_clips_are():
    samples = noise(60, rate=44100)
    found = clips(samples, 44100)
    assert found.shape == (3, 1, 128, 204)
    changed = samples.copy()
    changed[3 * 44100 : 28 * 44100] = changed[32 * 44100 : 57 * 44100] = 0
    assert np.array_equal(clips(changed, 44100), found)
    changed[59 * 44100 :] = 0
    assert np.array_equal(clips(changed, 44100)[:2], found[:2])
    assert not np.array_equal(clips(changed, 44100)[2], found[2])


@pytest.mark.parametrize(("seconds", "frames"), [(0.025, 1), (0.03, 1), (0.1, 8), (1.2, 118)])
def test_a_short_recording_is_followed_by_nothing(tmp_path, seconds, frames):
    soundfile.write(tmp_path / "short.wav", noise(seconds), RATE)
    found = read_clips(tmp_path / "short.wav")
    np.testing.assert_allclose(found[0], found[2], atol=1e-5)
    lacking = np.float32((0 + 4.268) / 9.138)
    assert (found[..., frames:] == lacking).all()
    assert (found[..., :frames] != lacking).all()


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_less_than_a_frame_is_refused(tmp_path, rate):
    soundfile.write(tmp_path / "click.wav", noise(0.01, rate=rate), rate)
    with pytest.raises(FreeBindError, match=r"too short(.|\n)*click\.wav(.|\n)*25 ms\n.*10\.0 ms"):
        read_clips(tmp_path / "click.wav")


@pytest.mark.parametrize(
    ("samples", "says"), [([], "no samples"), ([0.1, np.nan] * RATE, "NaN"), ([np.inf], "infinity")]
)
def test_a_recording_without_sound_is_refused(tmp_path, samples, says):
    soundfile.write(tmp_path / "bad.wav", np.float32(samples), RATE, subtype="FLOAT")
    with pytest.raises(FreeBindError, match=rf"no sound(.|\n)*bad\.wav(.|\n)*{says}"):
        read_clips(tmp_path / "bad.wav")


def test_silence_is_heard(tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    assert np.isfinite(read_clips(tmp_path / "silence.wav")).all()
