"""Hub correction: an item that is near to every query ranks lower [O].

Some items are among the nearest of very many queries: hubs. Nearest-neighbour normalisation
(Chowdhury et al. 2024, arXiv:2410.24114) lowers the score of each by how near it is to reference
queries that it has nothing to do with. The unpaired pool supplies these.

    score(q, x) = <q, x> - alpha b(x)                                                    (B1)
    b(x)        = mean of the k highest <r, x> over references r of the modality of q    (B2)

It is still one inner product, and with one column more a cosine. Queries and items are two roles:

    item    x' = [x, -alpha_1 b_1(x), ..., -alpha_c b_c(x), sqrt(C^2 - |x|^2 - sum_i (alpha_i
                 b_i)^2)] / C,    C^2 = 1 + sum_i alpha_i^2                              (B3)
    query   q' = [q, e_i, 0] / sqrt(2),    i the column of the modality of q             (B4)
    <q', x'> = score(q, x) / (C sqrt(2))

All x' are unit rows, so that the inner product and the cosine rank alike: no program that
stores or searches rows has to know of the correction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from fb_jax import files
from fb_jax.banks import unit_rows
from fb_jax.banks.pair_tables import pair_key
from fb_jax.errors import FreeBindError, require_range
from fb_jax.numerics import matmul

Role: TypeAlias = Literal["query", "item"]
"""What a row is for: to ask, or to be found."""

FEW, TOO_FEW = 1000, 100
"""Below the first number of references a correction is doubtful; below the second it hurts [O]."""

BLOCK_SCORES = 1 << 25
"""Scores of items and references that are held at a time."""


@dataclass(frozen=True)
class Hub:
    """How a pair of modalities is corrected.

    Attributes:
        k: Number of references whose scores are averaged, 1 or more.
        alpha: Weight of the correction, above 0 to 1.
    """

    k: int = 16
    alpha: float = 0.75

    def __post_init__(self) -> None:
        require_range("hub correction", 1, 1 << 14, k=self.k)
        require_range("hub correction", 1e-3, 1.0, alpha=self.alpha)


@dataclass(frozen=True, eq=False)
class HubCorrection:
    """The correction of a space, fitted on its pool.

    Attributes:
        pairs: Pair of modalities, in alphabetical order, to its correction. Others have none.
        references: Modality to ``[r, d]`` rows of the pool, for every modality of a pair.
    """

    pairs: Mapping[tuple[str, str], Hub]
    references: Mapping[str, Float32[np.ndarray, "_ d"]] = field(repr=False)

    def __post_init__(self) -> None:
        ordered = all(pair == pair_key(*pair) for pair in self.pairs)
        if not self.pairs or not ordered or set(self.references) != set(self.columns):
            raise FreeBindError(
                "a hub correction needs pairs in alphabetical order, and their references",
                expected=", ".join(self.columns) or "audio, text",
                got=f"pairs {', '.join(map('-'.join, self.pairs)) or 'none'}; references of "
                + (", ".join(self.references) or "none"),
            )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, HubCorrection)
            and dict(self.pairs) == dict(other.pairs)
            and self.references.keys() == other.references.keys()
            and all(np.array_equal(r, other.references[m]) for m, r in self.references.items())
        )

    def __str__(self) -> str:
        pairs = (f"{'-'.join(p)} (k {h.k}, alpha {h.alpha:g})" for p, h in self.pairs.items())
        return "hub correction of " + ", ".join(pairs)

    def identity(self) -> dict[str, object]:
        """Return everything that rows in a role depend on beside plain rows, as JSON types."""
        numbers = {m: files.sha256_of_bytes(r.tobytes()) for m, r in self.references.items()}
        pairs = {"-".join(pair): [hub.k, hub.alpha] for pair, hub in self.pairs.items()}
        return {"pairs": pairs, "references": numbers}

    @property
    def columns(self) -> tuple[str, ...]:
        """The asking modalities, each with a column of its own."""
        return tuple(sorted({modality for pair in self.pairs for modality in pair}))

    def dim(self, dim: int) -> int:
        """Return the dimension of rows in a role, from that of plain rows."""
        return dim + len(self.columns) + 1

    def scale(self, modality: str) -> float:
        """Return what the cosine of a query of a modality and an item is multiplied by.

        The result is the score: times C sqrt(2), or C where the modality has no column.
        """
        return self.norm * (2**0.5 if modality in self.columns else 1)

    @property
    def norm(self) -> float:
        """C of Eq. B3."""
        most = [max(h.alpha for pair, h in self.pairs.items() if m in pair) for m in self.columns]
        return float(np.sqrt(1 + np.square(most).sum()))

    def rows(
        self, role: Role, modality: str, rows: Float32[np.ndarray, "n d"]
    ) -> Float32[np.ndarray, "n e"]:
        """Return unit rows in a role (Eq. B3, B4) from plain rows, whose norm is at most 1."""
        columns, last = np.tile(self.asks(modality), (len(rows), 1)), 0 * rows[:, :1]
        if role == "item":
            columns = -self.biases(modality, rows)
            spent = np.square(rows).sum(axis=1) + np.square(columns).sum(axis=1)
            last = np.sqrt(np.maximum(0, self.norm**2 - spent))[:, None]
        return unit_rows(np.hstack([rows, columns, last]))

    def plain(self, rows: Float32[np.ndarray, "n e"]) -> Float32[np.ndarray, "n d"]:
        """Return the plain rows, as unit rows, of rows in either role."""
        return unit_rows(rows[:, : -len(self.columns) - 1])

    def asks(self, modality: str) -> Float32[np.ndarray, " c"]:
        """Return e_i, the columns of a query of a modality; 0 if it has none."""
        return np.array([name == modality for name in self.columns], np.float32)

    def biases(self, modality: str, rows: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n c"]:
        """Return alpha b(x) of items x for each asking modality; 0 for pairs without correction."""
        found = np.zeros((len(rows), len(self.columns)), np.float32)
        for column, asking in enumerate(self.columns):
            if hub := self.pairs.get(pair_key(modality, asking)):
                highest = highest_scores(rows, self.references[asking], hub.k)
                found[:, column] = hub.alpha * highest.mean(axis=1)
        return found


@partial(jax.jit, static_argnames="k")
def _highest(rows: Float[Array, "n d"], references: Float[Array, "r d"], k: int) -> Array:
    return jax.lax.top_k(matmul(rows, references.T), k)[0]


def highest_scores(
    rows: Float32[np.ndarray, "n d"], references: Float32[np.ndarray, "r d"], k: int
) -> Float32[np.ndarray, "n k"]:
    """Return the k highest scores of each row with references, highest first; all if r < k."""
    k, on_device = min(k, len(references)), jnp.asarray(references)
    block = max(1, BLOCK_SCORES // len(references))
    found = np.empty((len(rows), k), np.float32)
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        found[start : start + block] = _highest(jnp.asarray(part), on_device, k)
    return found
