"""Frozen encoders turn media files and captions into banks, once. PyTorch and NumPy, no JAX."""

import sys

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    MESSAGE = "encoders_torch needs torch: make encoders, or pip install 'freebind-jax[encoders]'"
    if sys.argv[0] == "-m":  # this is a command, python -m encoders_torch.export: no traceback
        print(f"error: {MESSAGE}", file=sys.stderr)
        sys.exit(2)
    raise ModuleNotFoundError(MESSAGE) from error
