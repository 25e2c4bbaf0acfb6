"""Timing side by side: contenders take turns for several rounds, so that load hits all alike."""

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
    """Wait until a result is computed."""
    jax.block_until_ready(result)
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(contenders: Mapping[str, Contender], rounds: int) -> dict[str, float]:
    """Return the shortest time of each contender, in seconds, after one round of warming up.

    The shortest: on a shared machine the rest is the work of others.
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
    """Return one plain matrix product in each library, to measure the machine's rate."""
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
    """Print seconds, the rate, its share of the best matmul rate, and the speed-up."""
    best = max(operations[name] / times[name] for name in times if "matmul" in name)
    table = Table("", "seconds", "GFLOP/s", "of matmul rate", f"speed / {reference}", title=title)
    for name, elapsed in times.items():
        rate = operations[name] / elapsed
        ratio = "" if "matmul" in name else f"{times[reference] / elapsed:.2f}"
        table.add_row(name, f"{elapsed:.4f}", f"{rate / 1e9:,.1f}", f"{rate / best:.0%}", ratio)
    Console(width=110).print(table)
