"""What the tests share: small synthetic banks, made once, and float64 when a test asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from fb_jax.banks import BankSet, Synthetic, open_banks, write_synthetic
from fb_jax.pseudo import Chunks, PairSet, PairSpec, Retrieval, build_pairs

SPACES = ("imagebind", "clap_general")
POOL = {"text": 130, "image": 90, "audio": 110}


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank root: pool of 130 texts, 90 images, 110 audios; val and test with pairs. Read only."""
    path = tmp_path_factory.mktemp("banks")
    write_synthetic(path, Synthetic(pool=POOL, evaluation={"val": 40, "test": 60}, shard_rows=50))
    return path


@pytest.fixture(scope="session")
def pool(root: Path) -> BankSet:
    return open_banks(root, spaces=SPACES)


@pytest.fixture(scope="session")
def test_banks(root: Path) -> BankSet:
    return open_banks(root, "test", spaces=SPACES)


@pytest.fixture(scope="session")
def pairs(pool: BankSet, tmp_path_factory: pytest.TempPathFactory) -> PairSet:
    """Finished pseudo pairs of an audio-text expert. Read only."""
    spec = PairSpec(pool, *SPACES, Retrieval(chunks=Chunks(queries=64, keys=32, inner=16)))
    return build_pairs(spec, tmp_path_factory.mktemp("pairs"))


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> Iterator[str]:
    """Single precision, then double: for tests that hold in both."""
    with jax.enable_x64(request.param == "float64"):
        yield request.param


@pytest.fixture
def float64() -> Iterator[None]:
    """Double precision in JAX for one test."""
    with jax.enable_x64(True):
        yield
