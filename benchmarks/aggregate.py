"""Soft retrieval in JAX and in torch: ``python benchmarks/aggregate.py --queries 2048``.

One key bank with two value banks, as in Eq. 11: scores computed once for both value banks, or once
for each.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import torch
import tyro
from timing import TORCH_PRECISION, Contender, matmuls, seconds, show, torch_device

from fb_jax.numerics import Precision
from fb_jax.pseudo import TAU, BankStream, Chunks, aggregate


@dataclass(frozen=True)
class Sizes:
    queries: int = 2048
    keys: int = 16384
    dim: int = 1024
    """Dimension of queries, keys and both value banks."""
    chunk_keys: int = Chunks.keys
    inner: int = Chunks.inner
    precision: Precision = "float32"
    rounds: int = 3


def unit(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    x = rng.normal(size=(rows, dim)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def torch_softmax(q: torch.Tensor, k: torch.Tensor, values: list[torch.Tensor], inner: int):
    """Softmax over whole rows, a chunk of queries at a time: the obvious way to write it."""
    parts = [[torch.softmax(c @ k.T / TAU, dim=1) @ v for v in values] for c in q.split(inner)]
    return [torch.cat(part) for part in zip(*parts, strict=True)]


def torch_late_division(q: torch.Tensor, k: torch.Tensor, values: list[torch.Tensor], inner: int):
    """Scores once for all values, exp in place, one division at the end: the fastest we know."""
    parts = []
    for chunk in q.split(inner):
        scores = (chunk @ k.T).div_(TAU)
        weights = scores.sub_(scores.amax(dim=1, keepdim=True)).exp_()
        mass = weights.sum(dim=1, keepdim=True)
        parts.append([(weights @ v) / mass for v in values])
    return [torch.cat(part) for part in zip(*parts, strict=True)]


def contenders(sizes: Sizes) -> tuple[dict[str, Contender], dict[str, float]]:
    rng = np.random.default_rng(0)
    q = unit(rng, sizes.queries, sizes.dim)
    banks = {("unified", name): unit(rng, sizes.keys, sizes.dim) for name in ("k", "v", "w")}
    (key, *values), dims = list(banks), [sizes.dim, sizes.dim]
    stream = BankStream(banks, block_rows=sizes.chunk_keys, resident=True)
    on_jax = jnp.asarray(q)
    cast = torch.bfloat16 if sizes.precision == "bf16" else torch.float32
    tq, tk, *tv = (torch.from_numpy(x).to(torch_device(), cast) for x in (q, *banks.values()))

    def on_columns(columns: list) -> Contender:
        return lambda: aggregate(
            on_jax,
            stream.blocks(key, columns),
            dims[: len(columns)],
            inner=sizes.inner,
            precision=sizes.precision,
        )

    one, two = on_columns(values[:1]), on_columns(values)
    pair = 2 * sizes.queries * sizes.keys * sizes.dim
    timed: dict[str, Contender] = {
        "JAX, two value banks, shared scores": two,
        "JAX, one value bank": one,
        "torch softmax, two value banks": lambda: torch_softmax(tq, tk, tv, sizes.inner),
        "torch late division, shared scores": lambda: torch_late_division(tq, tk, tv, sizes.inner),
        "torch late division, one value bank": lambda: torch_late_division(
            tq, tk, tv[:1], sizes.inner
        ),
    }
    operations = dict.fromkeys(timed, 3.0 * pair)  # those that the result needs
    operations |= {name: 2.0 * pair for name in timed if "one value" in name}
    return timed, operations


def main() -> None:
    sizes = tyro.cli(Sizes)
    torch.set_float32_matmul_precision(TORCH_PRECISION[sizes.precision])
    timed, operations = contenders(sizes)
    square = max(2048, sizes.dim)
    plain = matmuls(square, sizes.precision)
    times = seconds({**plain, **timed}, sizes.rounds)
    operations |= dict.fromkeys(plain, 2.0 * square**3)
    title = f"{sizes.queries:,} queries, {sizes.keys:,} keys, d {sizes.dim}, {sizes.precision}"
    show(title, times, operations, "torch late division, shared scores")


if __name__ == "__main__":
    with torch.inference_mode():
        main()
