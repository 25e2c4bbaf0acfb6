"""Too little memory: how torch and the operating system say it, and what the user can do."""

from __future__ import annotations

import torch

from fb_jax.errors import FreeBindError

TEXTS = (
    "out of memory",
    "can't allocate memory",
    "Cannot allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "shared memory(shm)",
    "shared memory object",
)
"""What torch's errors say: it has no classes for all of them."""


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory ran out, on the device or here."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(text in str(error) for text in TEXTS)


def too_little_memory(where: str | None = None) -> FreeBindError:
    """Return the error about a process that reads items."""
    return FreeBindError(
        "a process that reads items died",
        where=where,
        got="too little memory, or too little in /dev/shm, which hands over what was read",
        fix="run the same command again, with fewer --workers or a smaller --batch: what is done "
        "is kept",
    )
