"""The rows of what a table compares, computed when they are asked for and not kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float32

from fb_jax.banks import BankSet, unit_rows
from fb_jax.banks.rows import BLOCK_ROWS
from fb_jax.evaluation.classes import CLASS, TEXT, ClassSums, class_rows, has_prompts, prompt_table
from fb_jax.fusion import FusedSpace, HubCorrection, Parts, Role, fusable, sources

Space = Mapping[str, Float32[np.ndarray, "n d"]]
"""Modality to rows of one space."""

PlainRow: TypeAlias = FusedSpace | str | tuple[str, ...]
"""A fused space at its factors; a native space, by name; or the mean of the scores of several
native spaces, by their names."""


class Corrected(NamedTuple):
    """A space, or a mean of scores, with a hub correction of its own."""

    row: PlainRow
    hubs: HubCorrection


Row: TypeAlias = PlainRow | Corrected
"""What a table may compare; a fused space with hub correction counts with it."""


class LazySpace(Mapping[str, Any]):
    """A space whose rows are computed each time they are asked for.

    Args:
        makers: Modality to a function that returns its rows.
        queries: The space of rows that ask, if other rows do than those that are found.
    """

    def __init__(
        self,
        makers: Mapping[str, Callable[[], np.ndarray]],
        queries: LazySpace | None = None,
    ) -> None:
        self._makers = makers
        self.queries: LazySpace = queries or self

    def __getitem__(self, modality: str) -> np.ndarray:
        return self._makers[modality]()

    def __contains__(self, modality: object) -> bool:
        return modality in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def in_blocks(count: int, read: Callable[[slice], np.ndarray]) -> np.ndarray:
    """Return ``[n, d]`` rows that are read block by block into one array."""
    blocks = (slice(start, start + BLOCK_ROWS) for start in range(0, max(count, 1), BLOCK_ROWS))
    first = read(next(blocks))
    rows = np.empty((count, *first.shape[1:]), first.dtype)
    rows[: len(first)] = first
    for block in blocks:
        rows[block] = read(block)
    return rows


def native_space(name: str, banks: BankSet) -> LazySpace:
    """Return a native space over a split, with classes if it has prompts of them."""
    own = {m: banks[name, m] for m in banks.modalities(name)}
    makers = {m: partial(in_blocks, len(bank), bank.__getitem__) for m, bank in own.items()}
    if TEXT in makers and has_prompts(banks):
        table = prompt_table(banks)
        makers[CLASS] = partial(class_rows, banks[name, TEXT], table)
    return LazySpace(makers)


def mean_of_scores(names: Sequence[str], banks: BankSet) -> LazySpace:
    """Return rows whose scores are the mean of those of some native spaces, without any bond.

    That is all spaces side by side, with zeros where one lacks the modality; it exists for
    modalities of the first space that another one has.
    """
    spaces = {name: native_space(name, banks) for name in names}
    first = spaces[names[0]] if names else ()
    makers: dict[str, Callable[[], np.ndarray]] = {}
    for m in (m for m in first if sum(m in space for space in spaces.values()) > 1):
        sides = [_Side(space, banks, name, m) for name, space in spaces.items()]
        read = partial(_side_by_side, sides)
        count = len(banks.rows.get(m, ()))  # classes are few, and read at once
        makers[m] = partial(in_blocks, count, read) if count else partial(read, slice(None))
    return LazySpace(makers)


class _Side(NamedTuple):
    """The rows of one space in a mean of scores; zeros if it lacks the modality."""

    space: LazySpace
    banks: BankSet
    name: str
    modality: str

    def read(self, rows: slice) -> np.ndarray:
        if self.modality == CLASS and CLASS in self.space:
            return self.space[CLASS][rows]
        if self.modality in self.space:
            return self.banks[self.name, self.modality][rows]
        return np.zeros((1, self.banks.dim(self.name)), np.float32)


def _side_by_side(sides: Sequence[_Side], rows: slice) -> np.ndarray:
    """Return unit rows of all spaces side by side."""
    blocks = [side.read(rows) for side in sides]
    count = max(map(len, blocks))
    wide = [np.broadcast_to(block, (count, block.shape[1])) for block in blocks]
    return unit_rows(np.hstack(wide))


class _InBlocks(dict[int, Parts]):
    """Parts of some rows by the first row, computed once and kept."""

    def __init__(self, compute: Callable[[slice], Parts]) -> None:
        self._compute = compute

    def at(self, rows: slice) -> Parts:
        """Return the parts of a block."""
        if rows.start not in self:
            self[rows.start] = self._compute(rows)
        return self[rows.start]


class FusedSpaces:
    """Spaces of the same bonds at several factors, whose parts are computed once.

    Args:
        spaces: Name to space.
        banks: Their native spaces over a split.
    """

    def __init__(self, spaces: Mapping[str, FusedSpace], banks: BankSet) -> None:
        self._spaces, self._banks = spaces, banks
        self._parts: dict[str, _InBlocks] = {}
        self._classes: dict[str, np.ndarray] = {}

    def models(self) -> dict[str, LazySpace]:
        """Return each space over the split, with classes if it has prompts of them."""
        first = next(iter(self._spaces.values()))
        modalities = fusable(first, self._banks)
        found = {}
        for name in self._spaces:
            makers = {m: partial(self._rows, name, m) for m in modalities}
            if TEXT in makers and has_prompts(self._banks):
                makers[CLASS] = partial(self._class_rows, name)
            found[name] = LazySpace(makers)
        return found

    def _rows(self, name: str, modality: str) -> np.ndarray:
        count, space = len(self._banks.rows[modality]), self._spaces[name]
        parts = self._parts.setdefault(modality, _InBlocks(partial(self._parts_of, modality)))
        return in_blocks(count, lambda rows: space.mix(modality, parts.at(rows)))

    def _class_rows(self, name: str) -> np.ndarray:
        """Return the rows of the classes; prompts are fused block by block, for all spaces."""
        if not self._classes:
            table = prompt_table(self._banks)
            sums = {space: ClassSums(table) for space in self._spaces}
            for start in range(0, len(self._banks.rows[TEXT]), BLOCK_ROWS):
                parts = self._parts_of(TEXT, slice(start, start + BLOCK_ROWS))
                for space, own in sums.items():
                    own.add(start, self._spaces[space].mix(TEXT, parts))
            self._classes = {space: own.rows() for space, own in sums.items()}
        return self._classes[name]

    def _parts_of(self, modality: str, rows: slice) -> Parts:
        space = next(iter(self._spaces.values()))
        return space.parts(modality, sources(space, self._banks, modality, rows))


def _split(row: Row) -> tuple[PlainRow, HubCorrection | None]:
    """Return a row of a table without its hub correction, and the correction."""
    if isinstance(row, Corrected):
        return row
    return (row.plain, row.hubs) if isinstance(row, FusedSpace) else (row, None)


def models_of(rows: Mapping[str, Row], banks: BankSet) -> dict[str, LazySpace]:
    """Return every row of a table as a space over a split.

    Spaces of the same bonds are neighbours: their parts can go when the last of them has gone. A
    native space that the banks lack has no modality, and is left out of a mean of scores.
    """
    split = {name: _split(row) for name, row in rows.items()}
    plain = {name: row for name, (row, _) in split.items()}
    hubs = {name: own for name, (_, own) in split.items()}
    fused = {name: row for name, row in plain.items() if isinstance(row, FusedSpace)}
    found: dict[str, LazySpace] = {}
    for members in _of_same_bonds(fused):
        found |= FusedSpaces(members, banks).models()
    here = {name for name, _ in banks.banks}
    for name, row in plain.items():
        if isinstance(row, str):
            found[name] = native_space(row, banks)
        elif isinstance(row, tuple):
            found[name] = mean_of_scores([one for one in row if one in here], banks)
    return {name: in_roles(one, hubs.get(name)) for name, one in found.items()}


def in_roles(model: LazySpace, hubs: HubCorrection | None) -> LazySpace:
    """Return a space with a hub correction: rows of items, and ``queries``; as it is without one.

    Classes are not corrected.
    """
    if hubs is None:
        return model

    def makers(role: Role) -> dict[str, Callable[[], np.ndarray]]:
        return {m: partial(_row_in_role, model, hubs, role, m) for m in model}

    return LazySpace(makers("item"), LazySpace(makers("query")))


def _row_in_role(model: LazySpace, hubs: HubCorrection, role: Role, modality: str) -> np.ndarray:
    return hubs.rows(role, modality, model[modality])


def _of_same_bonds(fused: Mapping[str, FusedSpace]) -> list[dict[str, FusedSpace]]:
    """Return spaces that differ only in the factors, or the cut, of their last stage."""
    groups: dict[tuple[object, ...], dict[str, FusedSpace]] = {}
    for name, space in fused.items():
        last = space.last
        options = [getattr(last, name, None) for name in ("fill", "unit_experts")]
        apart = f"{dict(last.tuned_rows)} {options} {list(map(id, last.routers.values()))}"
        key = (*map(id, space.stages[:-1]), id(last.bonds), apart)
        groups.setdefault(key, {})[name] = space
    return list(groups.values())
