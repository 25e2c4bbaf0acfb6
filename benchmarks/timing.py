"""Timing side by side: every contender in turn, several rounds, so that all share the weather."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from fb_jax.numerics import Precision, matmul

Contender = Callable[[], object]
TORCH_PRECISION = {"float32": "highest", "tf32": "high", "bf16": "highest"}


def torch_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def wait(result: object) -> None:
    """Wait until a result is there."""
    jax.block_until_ready(result)
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(contenders: Mapping[str, Contender], rounds: int) -> dict[str, float]:
    """Return the least seconds of each contender over the rounds, after one that warms up.

    The least: on a shared machine, what is above it is somebody else's work.
    """
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for round_ in range(rounds + 1):
        for name, contender in contenders.items():
            start = time.perf_counter()
            wait(contender())
            if round_:
                taken[name].append(time.perf_counter() - start)
    return {name: min(times) for name, times in taken.items()}


def matmuls(size: int, precision: Precision) -> dict[str, Contender]:
    """Return the machine's own rate: one plain product, in each library."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(size, size)).astype(np.float32)
    product = jax.jit(partial(matmul, precision=precision))
    on_jax, on_torch = jnp.asarray(a), torch.from_numpy(a).to(torch_device())
    if precision == "bf16":
        on_torch = on_torch.bfloat16()
    return {
        "JAX matmul": lambda: product(on_jax, on_jax),
        "torch matmul": lambda: on_torch @ on_torch.T,
    }


def show(
    title: str, times: Mapping[str, float], operations: Mapping[str, float], reference: str
) -> None:
    """Print seconds, rate, the distance to the best matmul rate, and the ratio to a reference."""
    best = max(operations[name] / times[name] for name in times if "matmul" in name)
    table = Table("", "seconds", "GFLOP/s", "of matmul rate", f"speed / {reference}", title=title)
    for name, took in times.items():
        rate = operations[name] / took
        ratio = "" if "matmul" in name else f"{times[reference] / took:.2f}"
        table.add_row(name, f"{took:.4f}", f"{rate / 1e9:,.1f}", f"{rate / best:.0%}", ratio)
    Console(width=110).print(table)
