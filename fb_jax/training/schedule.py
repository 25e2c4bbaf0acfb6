"""Which member of a mixture trains on which pairs at which step.

A member's epoch is one pass over its own pairs, shuffled; the last partial batch is dropped [O]. So
members differ in their number of steps: T + VA, V + TA and A + TV take as many steps together as
TVA (up to a partial batch in an epoch). A *lane* is a sequence of members that are trained one
after another. Four equal lanes hold all 7 members: a subset and its complement in each. In general
2^(m-1) lanes hold the 2^m - 1 members of m starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from threading import Lock

import numpy as np
from jaxtyping import Int

from fb_jax.errors import FreeBindError
from fb_jax.projector import Subset, subset_name, subsets


@dataclass(frozen=True)
class Segment:
    """A range of steps in which the same members train.

    Attributes:
        start: First step.
        stop: Step after the last one.
        members: The active member of every lane that is not idle.
        first: For each of them, its own step number at ``start``.
    """

    start: int
    stop: int
    members: tuple[int, ...]
    first: tuple[int, ...]


def pack(steps: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Pack members into few lanes, none longer than the longest member.

    Args:
        steps: Steps of every member.

    Returns:
        The members of every lane in the order they train: longest first (first-fit decreasing).
    """
    lanes: list[list[int]] = []
    for member in sorted(range(len(steps)), key=lambda i: (-steps[i], i)):
        room = (lane for lane in lanes if steps[member] + sum(steps[m] for m in lane) <= max(steps))
        lane = next(room, None)
        if lane is None:
            lanes.append(lane := [])
        lane.append(member)
    return tuple(map(tuple, lanes))


class Schedule:
    """The steps of a whole training, known from the start.

    Args:
        starts: Start modality to its rows in the table of pairs.
        batch: Pairs in a batch.
        epochs: Passes of every member over its own pairs.
        seed: Seed of the shuffling.
        members: The starts of each member; None: every subset.

    Raises:
        FreeBindError: A batch is larger than a subset.
    """

    def __init__(
        self,
        starts: Mapping[str, range],
        *,
        batch: int,
        epochs: int,
        seed: int,
        members: tuple[Subset, ...] | None = None,
    ) -> None:
        self.starts = starts
        self.batch = batch
        self.seed = seed
        self.members = members or subsets(tuple(starts))
        self.epoch_steps = [self.size(subset) // batch for subset in self.members]
        self._require_batches()
        self.steps = [epochs * steps for steps in self.epoch_steps]
        self.lanes = pack(self.steps)
        self.segments = tuple(self._segments())
        self._order = lru_cache(maxsize=2 * len(self.lanes))(self._shuffle)
        self._lock = Lock()  # threads that read wait for a shuffle instead of repeating it

    def size(self, subset: Subset) -> int:
        """Return the number of pairs from a subset of starts."""
        return sum(len(self.starts[start]) for start in subset)

    @property
    def left_out(self) -> float:
        """The largest share of a member's pairs that an epoch leaves out: its partial batch."""
        whole = zip(self.members, self.epoch_steps, strict=True)
        return max(1 - steps * self.batch / self.size(subset) for subset, steps in whole)

    def _require_batches(self) -> None:
        smallest = min(self.members, key=self.size)
        if self.size(smallest) < self.batch:
            raise FreeBindError(
                "a batch is larger than a subset of the pairs",
                where=f"subset {subset_name(smallest)}",
                expected=f"at most {self.size(smallest)} pairs in a batch",
                got=self.batch,
                fix=f"set --training.batch {max(2, self.size(smallest) // 8)}: 8 steps an epoch"
                if self.size(smallest) > 1
                else "train on two or more items of every modality",
            )
        if self.batch < 2:
            raise FreeBindError("a batch needs two pairs to contrast", got=self.batch)

    def _segments(self) -> list[Segment]:
        spans = [span for lane in self.lanes for span in self._spans(lane)]
        cuts = sorted({0} | {stop for _, _, stop in spans})
        segments = []
        for start, stop in pairwise(cuts):
            active = [
                (member, start - begin) for member, begin, end in spans if begin <= start < end
            ]
            members, first = zip(*active, strict=True)
            segments.append(Segment(start, stop, members, first))
        return segments

    def _spans(self, lane: Sequence[int]) -> list[tuple[int, int, int]]:
        ends = np.cumsum([self.steps[member] for member in lane]).tolist()
        return [
            (member, end - self.steps[member], end) for member, end in zip(lane, ends, strict=True)
        ]

    def __len__(self) -> int:
        return max(self.steps)

    def __getitem__(self, step: int) -> Int[np.ndarray, "lanes batch"]:
        """Return the rows of the table of pairs for every active lane at a step."""
        segment = next(s for s in self.segments if s.start <= step < s.stop)
        own = [first + step - segment.start for first in segment.first]
        return np.stack([self.rows(m, i) for m, i in zip(segment.members, own, strict=True)])

    def rows(self, member: int, step: int) -> Int[np.ndarray, " batch"]:
        """Return the rows of the table for a member at its own step number."""
        epoch, within = divmod(step, self.epoch_steps[member])
        with self._lock:
            order = self._order(member, epoch)
        return order[within * self.batch : (within + 1) * self.batch]

    def _shuffle(self, member: int, epoch: int) -> np.ndarray:
        ranges = [self.starts[start] for start in self.members[member]]
        own = np.concatenate([np.arange(r.start, r.stop) for r in ranges])
        return np.random.default_rng([self.seed, member, epoch]).permutation(own)
