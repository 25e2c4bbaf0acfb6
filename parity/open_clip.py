"""Compares ``open_clip:`` with open_clip itself: runs its tests where open_clip can be imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from parity.torchvision_ops import declare_torchvision_ops

TESTS = Path(__file__).parents[1] / "tests/encoders_torch/test_open_clip.py"


def main() -> None:
    """Run the tests; exit with status 1 if one fails or open_clip cannot be imported."""
    ops = declare_torchvision_ops()
    import open_clip

    print(f"open_clip {open_clip.__version__}")
    # The tests' shared settings and fixtures need JAX, which is not in this environment.
    plain = ["-q", "-c", "/dev/null", "--noconftest", "--import-mode=importlib"]
    status = pytest.main([*plain, "-p", "no:cacheprovider", str(TESTS)])
    del ops
    sys.exit(status)


if __name__ == "__main__":
    main()
