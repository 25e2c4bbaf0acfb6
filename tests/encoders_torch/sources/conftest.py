import pytest

from fb_jax.banks import Split


@pytest.fixture
def split(tmp_path):
    return Split(tmp_path / "banks/pool")
