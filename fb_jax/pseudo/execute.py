"""Running a plan: complete the items of one start modality by its hops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fb_jax.banks import Rows
from fb_jax.errors import require_range, unknown
from fb_jax.numerics import Precision, normalised, require_precision
from fb_jax.pseudo.aggregate import TAU, Chunks, KeyBlock
from fb_jax.pseudo.plans import Column, Hop, Ref, shared_scores
from fb_jax.registry import RETRIEVALS


@dataclass(frozen=True)
class Retrieval:
    """Settings of the soft retrieval.

    Attributes:
        method: Name of the retrieval: softmax; nearest, which takes the one nearest item; or your
            own as module:function.
        temperature: Temperature tau of the softmax, 0.0001 to 100; the paper's is 1/100.
        normalise: L2-normalise every aggregated embedding before it queries a second hop or is
            stored. The paper leaves this open.
        anchor: The modality that the unified space was trained around; it decides which soft
            retrievals complete an item. By default image, or the first modality without one.
        precision: Precision of the matrix products: float32, tf32 (on a GPU) or bf16.
        dtype: Format in which aggregated embeddings are stored.
        chunks: Block sizes, which bound the memory.
    """

    method: str = "softmax"
    temperature: float = TAU
    normalise: bool = True
    anchor: str | None = None
    precision: Precision = "float32"
    dtype: Literal["float16", "float32"] = "float16"
    chunks: Chunks = field(default_factory=Chunks)

    def __post_init__(self) -> None:
        require_range("retrieval", 1e-4, 100.0, temperature=self.temperature)
        require_precision(self.precision)
        if self.dtype not in ("float16", "float32"):
            raise unknown("dtype of pseudo pairs", str(self.dtype), ("float16", "float32"))


class BankStream:
    """Streams banks to the device in padded blocks, and keeps the blocks there if they fit.

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
        """Return the dimension of a bank."""
        return self.banks[column].shape[1]

    def blocks(self, keys: Column, values: Sequence[Column]) -> Iterator[KeyBlock]:
        """Yield blocks of a key bank and its value banks; row i is the same item in all of them."""
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
    retrieval: Retrieval,
) -> dict[Ref, Float[Array, "q _"]]:
    """Run the hops of one start modality (one of Eq. 4-6, 11-13) on a block of its items.

    Args:
        hops: The hops in the order they run; a soft query is the output of an earlier hop.
        native: The items' native embeddings, unit rows.
        stream: The banks of keys and values.
        retrieval: Settings of the soft retrieval.

    Returns:
        The soft embeddings.
    """
    known, aggregate = dict(native), RETRIEVALS.get(retrieval.method)
    for (query, keys), group in shared_scores(hops).items():
        values = [hop.values.column for hop in group]
        outputs = aggregate(
            known[query],
            stream.blocks(keys.column, values),
            [stream.dim(column) for column in values],
            temperature=retrieval.temperature,
            inner=retrieval.chunks.inner,
            precision=retrieval.precision,
        )
        for hop, output in zip(group, outputs, strict=True):
            known[hop.output] = normalised(output) if retrieval.normalise else output
    return {ref: rows for ref, rows in known.items() if ref.soft}
