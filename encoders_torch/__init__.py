"""Frozen encoders turn media files and captions into banks, once. PyTorch and NumPy, no JAX."""

import sys

from fb_jax.limits import address_space, require_address_space
from fb_jax.process import run_command

COMMAND = sys.argv[0] == "-m"  # python -m encoders_torch.export

if COMMAND:  # torch, too, ends a process that gets no memory
    run_command(lambda: require_address_space(address_space(computes=True)))
try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    MESSAGE = "encoders_torch needs torch: make encoders, or pip install 'freebind-jax[encoders]'"
    if COMMAND:  # no traceback
        print(f"error: {MESSAGE}", file=sys.stderr)
        sys.exit(2)
    raise ModuleNotFoundError(MESSAGE) from error
