from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny.clap import write_clap

from encoders_torch.clap import ClapGeneral, ClapMusic


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    """Tiny checkpoints by the space that they are for. Read only."""
    fused = {"clap_general": True, "clap_music": False}
    folder = tmp_path_factory.mktemp("clap")
    return {space: write_clap(folder / space, fused=fused[space]) for space in fused}


@pytest.fixture(scope="session")
def general(checkpoints):
    return ClapGeneral(checkpoints["clap_general"])


@pytest.fixture(scope="session")
def music(checkpoints):
    return ClapMusic(checkpoints["clap_music"])


@pytest.fixture(params=["general", "music"])
def clap(request):
    """One encoder, then the other."""
    return request.getfixturevalue(request.param)


def sound(seconds, rate, seed=0):
    time = np.arange(round(seconds * rate)) / rate
    rng = np.random.default_rng(seed)
    low, beat = rng.uniform((100, 0.2), (4000, 5))
    chirp = np.sin(2 * np.pi * (low + 30 * time) * time) * np.sin(2 * np.pi * beat * time)
    return (0.4 * chirp + rng.normal(0, 0.1, len(time))).astype(np.float32)


@pytest.fixture(scope="session")
def recordings(tmp_path_factory) -> list[Path]:
    """WAV files: short at three rates, stereo, ten seconds, long. Read only."""
    folder = tmp_path_factory.mktemp("recordings")
    kinds = [(1.3, 16000), (0.02, 48000), (3.0, 44100), (10.0, 48000), (12.5, 16000), (31.0, 22050)]
    for seed, (seconds, rate) in enumerate(kinds):
        soundfile.write(folder / f"{seed}.wav", sound(seconds, rate, seed), rate)
    both = np.stack([sound(2.0, 44100, 8), sound(2.0, 44100, 9)], axis=1)
    soundfile.write(folder / "stereo.flac", both, 44100)
    return sorted(folder.iterdir())
