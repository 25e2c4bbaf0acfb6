import numpy as np
import pytest
import soundfile

from encoders_torch.imagebind.audio import clips, read_clips
from fb_jax.errors import FreeBindError

RATE = 16000


def noise(seconds, channels=1, rate=RATE):
    rng = np.random.default_rng(0)
    return rng.uniform(-0.5, 0.5, (int(seconds * rate), channels)).astype(np.float32)


def test_spectrograms_are_the_released_code_s(goldens, items):
    """To 5e-3: in near-silent bins the released code's float32 sums differ from exact ones."""
    found = np.stack([read_clips(path) for path in items["audio"]])
    assert found.dtype == np.float32
    difference = np.abs(found - goldens["audio.input"])
    assert difference.max() < 5e-3
    assert difference.mean() < 1e-5


def test_clips_start_at_thirds_of_what_one_leaves_over():
    samples = noise(8)[:, 0]
    found = clips(samples, RATE)
    for k, start in enumerate((0, 2, 4)):
        alone = clips(samples[start * RATE : (start + 2) * RATE], RATE)
        assert np.array_equal(found[k], alone[0])
        assert np.array_equal(alone[0], alone[2])


def test_the_first_channel_is_heard_whatever_its_level(tmp_path):
    first, second = noise(2, channels=2).T
    soundfile.write(tmp_path / "stereo.wav", np.stack([first + 0.3, second], 1), RATE, "FLOAT")
    found = read_clips(tmp_path / "stereo.wav")
    np.testing.assert_allclose(found, clips(first, RATE), atol=1e-5)


def test_a_minute_at_another_rate_is_heard_where_its_clips_are():
    samples = noise(60, rate=44100)[:, 0]
    found = clips(samples, 44100)
    start = 2 * 58 // 3 * 44100  # of a stretch around the last clip, in whole seconds
    assert found.shape == (3, 1, 128, 204)
    changed = samples.copy()
    changed[: start - 44100] = 0
    assert np.array_equal(clips(changed, 44100)[2], found[2])
    assert not np.array_equal(clips(changed, 44100)[1], found[1])


@pytest.mark.parametrize(("seconds", "frames"), [(0.025, 1), (0.03, 1), (0.1, 8), (1.2, 118)])
def test_a_short_recording_is_followed_by_nothing(tmp_path, seconds, frames):
    soundfile.write(tmp_path / "short.wav", noise(seconds), RATE)
    found = read_clips(tmp_path / "short.wav")
    assert np.array_equal(found[0], found[2])
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
