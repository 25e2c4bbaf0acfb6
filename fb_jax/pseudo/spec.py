"""The specification of pseudo pairs: everything they are computed from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np

from fb_jax.banks import BankSet, Rows
from fb_jax.errors import FreeBindError
from fb_jax.pseudo.execute import Retrieval
from fb_jax.pseudo.plans import (
    Column,
    Plan,
    Ref,
    Side,
    anchor_of,
    columns,
    in_order,
    plan_for,
    shared_scores,
)
from fb_jax.registry import RETRIEVALS


@dataclass(frozen=True)
class PairSpec:
    """Everything that pseudo pairs are computed from: the same spec gives the same bytes.

    Attributes:
        banks: Both spaces over the pool.
        unified: Name of the unified space.
        expert: Name of the expert space.
        retrieval: Settings of the soft retrieval.

    Raises:
        FreeBindError: Both spaces are the same.
    """

    banks: BankSet
    unified: str
    expert: str
    retrieval: Retrieval = field(default_factory=Retrieval)

    def __post_init__(self) -> None:
        if self.unified == self.expert:
            raise FreeBindError(
                "a space cannot be its own expert", expected="two spaces", got=self.unified
            )

    @property
    def anchor(self) -> str:
        """The modality that the plan takes the unified space to be trained around."""
        return self.retrieval.anchor or anchor_of(self.banks.modalities(self.unified))

    @cached_property
    def plan(self) -> Plan:
        """The hops of every start modality."""
        unified, expert = map(self.banks.modalities, (self.unified, self.expert))
        return plan_for(unified, expert, self.anchor)

    @property
    def starts(self) -> tuple[str, ...]:
        """The start modalities, in the order of the pairs."""
        return in_order(self.plan)

    def count(self, start: str) -> int:
        """Return the number of pairs from a start: its items that all spaces have."""
        return len(self.banks.rows[start])

    @property
    def ranges(self) -> dict[str, range]:
        """Start modality to the rows of its pairs in the table of all pairs."""
        ends = list(accumulate(self.count(start) for start in self.starts))
        return {
            start: range(end - self.count(start), end)
            for start, end in zip(self.starts, ends, strict=True)
        }

    def bank(self, column: Column) -> Rows:
        """Return the bank of a (side, modality)."""
        side, modality = column
        return self.banks[self.unified if side == "unified" else self.expert, modality]

    def dim(self, column: Column) -> int:
        """Return the dimension of a (side, modality)."""
        return self.bank(column).shape[1]

    def modalities(self, side: Side) -> tuple[str, ...]:
        """Return the modalities that every pair has on a side."""
        return tuple(modality for owner, modality in columns(self.plan) if owner == side)

    def outputs(self, start: str) -> list[Ref]:
        """Return the soft embeddings that complete an item of a start modality."""
        return [hop.output for hop in self.plan[start]]

    def identity(self) -> dict[str, Any]:
        """Return what distinguishes these pairs from others, as JSON."""
        retrieval = dataclasses.asdict(self.retrieval)
        del retrieval["anchor"]  # the plan follows from it
        retrieval["method"] = RETRIEVALS.identity(self.retrieval.method)
        return {
            "format": "freebind-pairs",
            "version": 1,
            "unified": self.unified,
            "expert": self.expert,
            "retrieval": retrieval,
            "plan": {start: [str(hop) for hop in self.plan[start]] for start in self.starts},
            "banks": self.banks.fingerprints(),
            "pairs": {start: self.count(start) for start in self.starts},
        }

    def stored_bytes(self) -> int:
        """Return the bytes of the soft embeddings as they are stored."""
        dims = {
            start: sum(self.dim(ref.column) for ref in self.outputs(start)) for start in self.starts
        }
        item = np.dtype(self.retrieval.dtype).itemsize
        return item * sum(self.count(start) * dim for start, dim in dims.items())

    def table_bytes(self) -> int:
        """Return the bytes of all columns of the pairs as float32."""
        dims = sum(self.dim(column) for column in columns(self.plan))
        return 4 * dims * sum(map(len, self.ranges.values()))

    def operations(self) -> int:
        """Return the floating-point operations of the matrix products that build the pairs."""
        total = 0
        for start in self.starts:
            for (_, keys), group in shared_scores(self.plan[start]).items():
                dims = self.dim(keys.column) + sum(self.dim(hop.values.column) for hop in group)
                total += 2 * self.count(start) * len(self.bank(keys.column)) * dims
        return total
