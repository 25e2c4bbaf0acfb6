from pathlib import Path

import pytest

from fb_jax.banks import Split


@pytest.fixture
def split(tmp_path: Path) -> Split:
    return Split(tmp_path / "root" / "pool")
