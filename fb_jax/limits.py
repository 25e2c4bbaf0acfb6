"""Limits of a process (``ulimit``): raised where that is allowed, refused where work cannot fit."""

from __future__ import annotations

import os
import resource

from fb_jax.errors import FreeBindError

OPEN_FILES = 8192


def allow_open_files() -> None:
    """Raise the limit on open files: every mapped shard needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def address_space(*, computes: bool) -> int:
    """Return the bytes of address space that a command needs before its data.

    The thread pools of OpenBLAS and XLA grow with the processors. Measured with 2 of them: reading
    banks takes 0.16 GB, evaluating 1.7 GB, training the word world 2.6 GB.

    Args:
        computes: Whether it computes with JAX, or uses NumPy only.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    fixed, each = (2_500, 250) if computes else (180, 50)
    return (fixed + each * processors) * 10**6


def require_address_space(needed: int) -> None:
    """Raise a FreeBindError if ``ulimit -v`` is below a number of bytes.

    No message is possible later: OpenBLAS, LLVM and XLA end the process when they get no memory.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < needed:
        raise FreeBindError(
            "this process may use too little memory",
            where="ulimit -v",
            expected=f"{needed // 1000:,} kB of address space or more",
            got=f"{limit // 1000:,} kB",
            fix="run `ulimit -v unlimited` first, or ask whoever set the limit for more",
        )
