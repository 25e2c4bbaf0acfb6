"""Queries of a search: rows of the very space whose banks are searched.

Rows of another space may have the same dimension, and cosines with them mean little: a combination
has the dimension of its unified space, whose own rows find other items than fused ones do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from fb_jax.banks import to_numpy
from fb_jax.banks.directions import checked_unit_rows, require_matrix
from fb_jax.errors import FreeBindError, notice_once
from fb_jax.fusion.hubs import HubCorrection
from fb_jax.fusion.space import FusedSpace


@dataclass(frozen=True)
class SearchedSpace:
    """The space whose banks are searched.

    Attributes:
        name: Name of the space, as its banks have it.
        fused: The fused space that the banks were written by; None for a native space.
    """

    name: str
    fused: FusedSpace | None = None

    def spaces_of(self, modality: str) -> tuple[str, ...]:
        """Return the native spaces that queries of a modality are computed from.

        The first is needed; the others may be left out, see ``FusedSpace.parts``.
        """
        if self.fused is None:
            return (self.name,)
        own = self.fused.last.kept(modality)
        return self.fused.spaces_of(modality) if own is None else (own,)

    @property
    def hubs(self) -> HubCorrection | None:
        """The hub correction of the space, if it has one."""
        return None if self.fused is None else self.fused.hubs

    def query_rows(
        self, rows: Mapping[str, Any], modality: str | None = None
    ) -> Float[np.ndarray, "q d"]:
        """Return queries as rows of the searched space that ask: as they are, or fused.

        Args:
            rows: Space to ``[q, d]`` embeddings of any norm of the same queries: of the searched
                space (with hub correction: plain or in a role), or of native spaces in
                ``spaces_of(modality)``.
            modality: Modality of the queries; needed to fuse them, and for a hub correction.

        Raises:
            FreeBindError: The queries are of other spaces, or their modality is not known.
        """
        if as_is := self._as_is(rows, modality):
            own = to_numpy(rows[as_is], "queries")
            hubs = self.hubs
            return own if hubs is None else self._asking(hubs, self._named(modality, rows), own)
        if self.fused is None:
            raise FreeBindError(
                "the queries are of another space than the banks that are searched",
                expected=f"rows of {self.name}",
                got=f"rows of {', '.join(rows)}",
                fix=f"search banks of {', '.join(rows)}, or compute the queries in {self.name}; "
                f"if {self.name} is a fused space, name its folder with --run",
            )
        modality = self._named(modality, rows)
        fused = self.fused.fuse(modality, rows, role="query")
        if lacking := [name for name in self.fused.spaces_of(modality) if name not in rows]:
            notice_once(
                f"{modality} queries without rows of {', '.join(lacking)}: fused from "
                f"{', '.join(rows)} alone, they find less than with rows of all these spaces"
            )
        return fused

    def _as_is(self, rows: Mapping[str, Any], modality: str | None) -> str | None:
        """Return the space whose rows need no fusing, if some queries have rows of it."""
        if set(rows) == {self.name}:
            return self.name
        own = self.fused.last.kept(modality) if self.fused and modality else None
        return own if own in rows else None

    def scale(self, modality: str | None) -> float:
        """Return what the cosines of queries of a modality are multiplied by to be scores."""
        return 1.0 if self.hubs is None else self.hubs.scale(self._named(modality, [self.name]))

    def _asking(
        self, hubs: HubCorrection, modality: str, rows: np.ndarray
    ) -> Float32[np.ndarray, "q d"]:
        """Return rows that ask, from plain rows of the space or from rows in either role."""
        require_matrix(rows, "queries")
        unit = checked_unit_rows(rows, "a search", "queries", "leave these queries out")
        dim = next(iter(hubs.references.values())).shape[1]
        plain = hubs.plain(unit) if unit.shape[1] == hubs.dim(dim) else unit
        if plain.shape[1] != dim:
            raise FreeBindError(
                "queries and space differ in dimension",
                where=self.name,
                expected=f"{dim} columns, or {hubs.dim(dim)} of rows in a role",
                got=f"{rows.shape[1]} columns",
            )
        return hubs.rows("query", modality, plain)

    def _named(self, modality: str | None, spaces: Iterable[str]) -> str:
        """Return the modality of queries; raise a FreeBindError if nothing says it."""
        if modality is None:
            known = [] if self.fused is None else self.fused.modalities
            raise FreeBindError(
                "queries are fused by their modality",
                got=f"rows of {', '.join(spaces)} to search {self.name}",
                fix=f"name their modality with --as: {', '.join(known)}",
            )
        return modality
