"""Queries of a search: rows of the very space whose banks are searched.

Rows of another space may have the same dimension, and cosines with them mean little: a combination
has the dimension of its unified space, whose own rows find other items than fused ones do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from fb_jax.banks import to_numpy
from fb_jax.errors import FreeBindError, notice_once
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
        return (self.name,) if self.fused is None else self.fused.spaces_of(modality)

    def query_rows(
        self, rows: Mapping[str, Any], modality: str | None = None
    ) -> Float[np.ndarray, "q d"]:
        """Return queries as rows of the searched space: as they are, or fused.

        Args:
            rows: Space to ``[q, d]`` embeddings of any norm of the same queries: of the searched
                space, or of native spaces in ``spaces_of(modality)``.
            modality: Modality of the queries; needed to fuse them.

        Raises:
            FreeBindError: The queries are of other spaces, or their modality is not known.
        """
        if set(rows) == {self.name}:
            return to_numpy(rows[self.name], "queries")
        if self.fused is None:
            raise FreeBindError(
                "the queries are of another space than the banks that are searched",
                expected=f"rows of {self.name}",
                got=f"rows of {', '.join(rows)}",
                fix=f"search banks of {', '.join(rows)}, or compute the queries in {self.name}; "
                f"if {self.name} is a fused space, name its folder with --run",
            )
        if modality is None:
            raise FreeBindError(
                "queries are fused by their modality",
                got=f"rows of {', '.join(rows)} to search {self.name}",
                fix=f"name their modality with --as: {', '.join(self.fused.modalities)}",
            )
        fused = self.fused.fuse(modality, rows)
        if lacking := [name for name in self.fused.spaces_of(modality) if name not in rows]:
            notice_once(
                f"{modality} queries without rows of {', '.join(lacking)}: fused from "
                f"{', '.join(rows)} alone, they find less than with rows of all these spaces"
            )
        return fused
