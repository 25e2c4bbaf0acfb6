import numpy as np
import pytest
import soundfile

from encoders_torch.clap.audio import CLIP, clips, fill, read_waveform, seed_of
from fb_jax.errors import FreeBindError


def test_samples_are_clipped_and_rounded_towards_zero_to_16_bits(tmp_path):
    path = tmp_path / "loud.wav"
    soundfile.write(path, np.float32([2, -3, 0.99999, -0.00004, 0.5]), 48000, subtype="FLOAT")
    steps = np.array([32767, -32767, 32766, -1, 16383])
    np.testing.assert_allclose(read_waveform(path) * 32767, steps, atol=2e-3)


@pytest.mark.parametrize(
    ("samples", "rate", "found"),
    [
        (441000, 44100, 480001),
        (160000, 16000, 480000),
        (480000, 48000, 480000),
        (100001, 44100, 108845),
    ],
)
def test_lengths_are_librosas(tmp_path, samples, rate, found):
    soundfile.write(tmp_path / "a.wav", np.full(samples, 0.1), rate)
    assert len(read_waveform(tmp_path / "a.wav")) == found


def test_short_audio_is_repeated_whole_and_then_silent():
    samples = np.arange(1, 200001, dtype=np.float32)
    filled = fill(samples)
    assert len(filled) == CLIP
    np.testing.assert_array_equal(filled[:400000], np.tile(samples, 2))
    assert not filled[400000:].any()


LONG = np.arange(CLIP * 2 + 1000, dtype=np.float32)


def test_the_seed_alone_chooses_the_part():
    starts = [[part[0] for part in clips(LONG, "seeded", seed)] for seed in (1, 1, 2, 3)]
    assert starts[0] == starts[1]
    assert len({start for (start,) in starts}) == 3
    assert all(len(part) == CLIP for part in clips(LONG, "seeded", 1))


def test_the_draw_is_that_of_numpys_global_generator():
    np.random.seed(7)  # noqa: NPY002 - what laion_clap does
    start = np.random.randint(0, len(LONG) - CLIP + 1)  # noqa: NPY002
    assert clips(LONG, "seeded", 7)[0][0] == start


def test_the_centre_is_in_the_middle():
    (part,) = clips(LONG, "centre", 0)
    assert part[0] == (len(LONG) - CLIP) // 2


@pytest.mark.parametrize(
    ("spare", "starts"), [(1, [0, 1]), (CLIP, [0, CLIP]), (CLIP + 1, [0, CLIP, CLIP + 1])]
)
def test_windows_cover_everything(spare, starts):
    long = np.arange(CLIP + spare, dtype=np.float32)
    windows = clips(long, "windows", 0)
    assert [window[0] for window in windows] == starts
    assert windows[-1][-1] == long[-1]


def test_the_seed_is_of_the_content_and_not_of_the_place(tmp_path):
    for name, value in (("a.wav", 0.1), ("b.wav", 0.1), ("c.wav", 0.2)):
        soundfile.write(tmp_path / name, np.full(1000, value), 16000)
    seeds = [seed_of(tmp_path / name) for name in ("a.wav", "b.wav", "c.wav")]
    assert seeds[0] == seeds[1] != seeds[2]
    assert 0 <= min(seeds) <= max(seeds) < 2**32


@pytest.mark.parametrize("samples", [[], [0.1, np.nan], [np.inf]])
def test_a_recording_without_sound_is_told(tmp_path, samples):
    soundfile.write(tmp_path / "bad.wav", np.float32(samples), 48000, subtype="FLOAT")
    with pytest.raises(FreeBindError, match=r"no sound(.|\n)*bad\.wav"):
        read_waveform(tmp_path / "bad.wav")
