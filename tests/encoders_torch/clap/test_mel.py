import numpy as np
import pytest
import torch
from transformers import ClapFeatureExtractor

from encoders_torch.clap import mel
from encoders_torch.clap.mel import BANDS, FRAMES, four_views, log_mel


def noise(seconds, seed=0):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=int(48000 * seconds)) * np.linspace(0.01, 0.5, int(48000 * seconds))
    ).astype(np.float32)


@pytest.mark.parametrize(("fused", "how"), [(True, "fusion"), (False, "rand_trunc")])
def test_spectrograms_are_those_of_transformers(fused, how):
    samples = noise(10)
    extract = ClapFeatureExtractor(frequency_min=50, truncation=how)
    wanted = extract(samples, sampling_rate=48000, return_tensors="np")["input_features"][0, 0]
    found = log_mel(samples, fused)
    assert found.shape == (FRAMES, BANDS)
    np.testing.assert_allclose(found.numpy(), wanted, atol=2e-3)  # decibel


def test_silence_is_at_the_floor():
    assert torch.equal(
        log_mel(np.zeros(480000, np.float32), True), torch.full((FRAMES, BANDS), -100.0)
    )


@pytest.mark.parametrize("block", [1, 7, 1000, 1001])
def test_blocks_of_any_size_give_the_same(monkeypatch, block):
    samples = noise(2 if block == 1 else 10)
    whole = log_mel(samples, True)
    monkeypatch.setattr(mel, "BLOCK", block)
    np.testing.assert_allclose(log_mel(samples, True).numpy(), whole.numpy(), atol=1e-4)


def counting(frames):
    return torch.arange(frames, dtype=torch.float32)[:, None].expand(frames, BANDS)


def plain_starts(frames, seed):
    """Frames where laion_clap's parts of long audio begin, by its documented draws."""
    np.random.seed(seed)  # noqa: NPY002
    thirds = np.array_split(np.arange(frames - FRAMES + 1), 3)
    return [np.random.choice(third if len(third) else [0]) for third in thirds]  # noqa: NPY002


@pytest.mark.parametrize("frames", [FRAMES + 1, FRAMES + 2, 1500, 6000])
def test_a_part_of_each_third_is_drawn_by_the_seed(frames):
    views = four_views(counting(frames), "seeded", 5)
    assert views.shape == (4, FRAMES, BANDS)
    assert views[1:, 0, 0].tolist() == plain_starts(frames, 5)
    np.testing.assert_array_equal(views[1:].diff(dim=1), 1)


def test_in_the_centre_nothing_is_drawn():
    views = four_views(counting(FRAMES + 8), "centre", 1)
    assert views[1:, 0, 0].tolist() == [1, 4, 7]


def test_the_whole_is_shrunk_without_smoothing():
    shrunk = four_views(counting(2 * FRAMES), "seeded", 0)[0]
    np.testing.assert_allclose(shrunk[:, 3], 2 * np.arange(FRAMES) + 0.5, atol=1e-3)
    comb = (counting(3 * FRAMES) % 3 == 1).float()  # smoothing would make it a third everywhere
    assert torch.equal(four_views(comb, "seeded", 0)[0], torch.ones(FRAMES, BANDS))
