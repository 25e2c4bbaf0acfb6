"""Hub correction: ``python -m benchmarks.hubs``, or ``python benchmarks/hubs.py``.

The time that the bias columns of some items take, beside the floor: the operations of the scores
with the references at the machine's measured rate of a matrix product. A query costs nothing but
its columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tyro
from timing import matmuls, seconds

from fb_jax.banks import unit_rows
from fb_jax.fusion.hubs import Hub, HubCorrection

SIZE = 2048
PAIRS = (("audio", "image"), ("audio", "text"), ("image", "text"))


@dataclass(frozen=True)
class Sizes:
    """Sizes of the benchmark.

    Attributes:
        items: Items that get a bias for each of two asking modalities.
        references: References of each modality.
        dim: Dimension of the rows.
        k: References whose scores are averaged.
        rounds: Rounds; the shortest time counts.
    """

    items: int = 4096
    references: int = 1 << 14
    dim: int = 1024
    k: int = 32
    rounds: int = 3


def main(sizes: Sizes) -> None:
    rng = np.random.default_rng(0)
    drawn = lambda n: unit_rows(rng.normal(size=(n, sizes.dim)).astype(np.float32))  # noqa: E731
    references = {m: drawn(sizes.references) for m in ("audio", "image", "text")}
    hubs = HubCorrection(dict.fromkeys(PAIRS, Hub(sizes.k, 0.75)), references)
    items = drawn(sizes.items)
    taken = seconds(
        {
            "product": matmuls(SIZE, "float32")["JAX matmul"],
            "item": lambda: hubs.rows("item", "audio", items),
            "query": lambda: hubs.rows("query", "audio", items),
        },
        sizes.rounds,
    )
    rate = 2 * SIZE**3 / taken["product"]
    floor = 2 * 2 * sizes.items * sizes.references * sizes.dim / rate
    each = 1000 / sizes.items
    print(f"matrix product {rate / 1e9:.0f} GFLOP/s")
    print(f"item   {each * taken['item']:.3f} ms a row, floor {each * floor:.3f} ms")
    print(f"       ratio {taken['item'] / floor:.2f}")
    print(f"query  {each * taken['query']:.4f} ms a row")
    held = sum(rows.nbytes for rows in references.values())
    print(f"references {held / 1e6:.0f} MB, columns {hubs.dim(sizes.dim) - sizes.dim}")


if __name__ == "__main__":
    main(tyro.cli(Sizes))
