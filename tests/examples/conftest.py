import os

import pytest

from examples.word_world.corpus import require_packages
from fb_jax.errors import FreeBindError


@pytest.fixture(scope="session")
def debian():
    """Skip if the Debian packages for media are missing. Continuous integration has them."""
    try:
        require_packages()
    except FreeBindError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"media cannot be made here: {error}")
