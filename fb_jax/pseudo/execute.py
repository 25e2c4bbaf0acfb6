"""Running a plan: complete items of one start modality by its hops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fb_jax.banks import Rows
from fb_jax.errors import require_positive
from fb_jax.numerics import Precision, dot_precision, normalised
from fb_jax.pseudo.aggregate import TAU, Chunks, KeyBlock, aggregate
from fb_jax.pseudo.plans import Column, Hop, Ref, shared_scores


@dataclass(frozen=True)
class Retrieval:
    """How soft retrieval is done.

    Attributes:
        temperature: tau, 1/100 in the paper [P].
        normalise: L2-normalise every aggregated embedding, before it queries a second hop or is
            stored [O].
        anchor: The modality that the unified space was trained around, which decides the plan
            (``plan_for``). None takes image, or the first if there is none [O].
        precision: Of the matrix products.
        dtype: How aggregated embeddings are stored.
        chunks: Memory bounds.
    """

    temperature: float = TAU
    normalise: bool = True
    anchor: str | None = None
    precision: Precision = "float32"
    dtype: Literal["float16", "float32"] = "float16"
    chunks: Chunks = field(default_factory=Chunks)

    def __post_init__(self) -> None:
        require_positive("retrieval", temperature=self.temperature)
        dot_precision(self.precision)


class BankStream:
    """Streams banks to the device in padded blocks; keeps blocks there when told they fit.

    Args:
        banks: Column to rows.
        block_rows: Rows of a block.
        resident: Keep every block on the device after its first use.
    """

    def __init__(
        self, banks: Mapping[Column, Rows], *, block_rows: int, resident: bool = False
    ) -> None:
        self.banks = banks
        self.block_rows = block_rows
        self._kept: dict[tuple[Column, int], Array] | None = {} if resident else None

    def dim(self, column: Column) -> int:
        """Return the columns of a bank."""
        return self.banks[column].shape[1]

    def blocks(self, keys: Column, values: Sequence[Column]) -> Iterator[KeyBlock]:
        """Yield a key bank with the value banks that go with it, row by row the same items."""
        total = len(self.banks[keys])
        for start in range(0, total, self.block_rows):
            loaded = {column: self._load(column, start) for column in {keys, *values}}
            size = jnp.asarray(min(self.block_rows, total - start))
            yield KeyBlock(loaded[keys], tuple(loaded[column] for column in values), size)

    def _load(self, column: Column, start: int) -> Array:
        if self._kept is not None and (column, start) in self._kept:
            return self._kept[column, start]
        rows = self.banks[column][start : start + self.block_rows]
        block = jnp.asarray(np.pad(rows, ((0, self.block_rows - len(rows)), (0, 0))))
        if self._kept is not None:
            self._kept[column, start] = block
        return block


def complete(
    hops: Sequence[Hop],
    native: Mapping[Ref, Float[Array, "q _"]],
    stream: BankStream,
    how: Retrieval,
) -> dict[Ref, Float[Array, "q _"]]:
    """Run the hops of one start modality (such as one of Eq. 4-6, 11-13) on a block of its items.

    Args:
        hops: In the order they run: a soft query must have been made by an earlier hop.
        native: The items' own embeddings, unit rows.
        stream: The banks of keys and values.
        how: Temperature and the like.

    Returns:
        The soft embeddings, by what made them.
    """
    known = dict(native)
    for (query, keys), group in shared_scores(hops).items():
        values = [hop.values.column for hop in group]
        outputs = aggregate(
            known[query],
            stream.blocks(keys.column, values),
            [stream.dim(column) for column in values],
            temperature=how.temperature,
            inner=how.chunks.inner,
            precision=how.precision,
        )
        for hop, output in zip(group, outputs, strict=True):
            known[hop.output] = normalised(output) if how.normalise else output
    return {ref: rows for ref, rows in known.items() if ref.soft}
