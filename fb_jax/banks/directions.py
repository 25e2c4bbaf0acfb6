"""Rows as directions: unit rows of any norm, and errors for rows that point nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Float, Float32

from fb_jax.banks.rows import Rows
from fb_jax.errors import FreeBindError

NAN = "NaN or infinite"

SAFE_NORMS = 1e-15, 1e15
"""Between these norms, float32 holds the squares of all entries that matter."""

LEAST_NORM = 2.0**-10
"""Least norm of a weighted mean of unit rows that still has a direction. Banks in float16 round a
row by up to 2^-11 of its norm, so half of a shorter mean, or more, may be rounding."""


def unit_rows(rows: Float[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    """Return rows of any norm as float32 unit rows.

    A zero row stays zero, and a row with NaN or infinity becomes NaN.
    """
    return _divided(*_measured(rows))


def checked_unit_rows(
    rows: Float[np.ndarray, "n d"], what: str, where: object, fix: str, first: int = 0
) -> Float32[np.ndarray, "n d"]:
    """Return rows of any norm as float32 unit rows.

    Args:
        rows: ``[n, d]``.
        what: What holds them, for the message.
        where: Its name.
        fix: What to do about rows without a direction.
        first: Number of the first row, for the message.

    Raises:
        FreeBindError: A row is NaN, infinite or zero.
    """
    single, norms = _measured(rows)
    refuse_bad_rows(what, where, {k: first + bad for k, bad in _bad(norms).items()}, fix)
    return _divided(single, norms)


def find_bad_rows(rows: Float[np.ndarray, "n d"]) -> dict[str, np.ndarray]:
    """Return the numbers of the rows without a direction, by kind."""
    return _bad(_measured(rows)[1])


def find_all_bad_rows(blocks: Iterable[tuple[int, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the numbers of all bad rows in ``(first row, block)``, by kind."""
    found: dict[str, list[np.ndarray]] = {}
    for start, block in blocks:
        for kind, rows in find_bad_rows(block).items():
            found.setdefault(kind, []).append(start + rows)
    return {kind: np.concatenate(rows) for kind, rows in found.items()}


def _measured(
    rows: Float[np.ndarray, "n d"],
) -> tuple[Float32[np.ndarray, "n d"], Float32[np.ndarray, " n"]]:
    """Return a float32 copy of rows, the extreme ones scaled, and the norms of the copy."""
    with np.errstate(all="ignore"):
        single = np.array(rows, np.float32, order="C")  # one order, so one rounding
        norms = _norms(single)
        extreme = np.flatnonzero(~((norms > SAFE_NORMS[0]) & (norms < SAFE_NORMS[1])))
        if len(extreme):
            single[extreme] = scaled = _scaled(rows[extreme])
            norms[extreme] = _norms(scaled)
    return single, norms


def _norms(rows: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, " n"]:
    return np.sqrt(np.einsum("nd,nd->n", rows, rows))


def _scaled(rows: Float[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    """Multiply each row by the power of two that brings its largest entry to 0.5 to 1: exact."""
    exponents = np.frexp(np.abs(rows).max(axis=1, initial=0))[1]
    return np.ascontiguousarray(np.ldexp(rows, -exponents[:, None]), np.float32)


def _divided(
    rows: Float32[np.ndarray, "n d"], norms: Float32[np.ndarray, " n"]
) -> Float32[np.ndarray, "n d"]:
    with np.errstate(invalid="ignore"):
        rows /= np.where(norms == 0, np.float32(1), norms)[:, None]
    return rows


def _bad(norms: Float32[np.ndarray, " n"]) -> dict[str, np.ndarray]:
    return {NAN: np.flatnonzero(~np.isfinite(norms)), "zero": np.flatnonzero(norms == 0)}


def refuse_bad_rows(what: str, where: object, found: Mapping[str, np.ndarray], fix: str) -> None:
    """Raise a FreeBindError if ``found`` has a bad row."""
    for kind, rows in found.items():
        if len(rows):
            raise FreeBindError(
                f"{what} holds {kind} rows",
                where=where,
                expected="finite, non-zero rows",
                got=f"{len(rows)} {kind} rows, the first is row {rows[0]}",
                fix=fix,
            )


def refuse_short(norms: Float[np.ndarray, " n"], what: str, where: object, fix: str) -> None:
    """Raise a FreeBindError if a sum of unit rows has nearly cancelled out.

    Args:
        norms: ``[n]`` norms of the sums, whose weights add up to 1.
        what: What the sums are, for the message.
        where: Where they are.
        fix: What to do about them.

    Raises:
        FreeBindError: A norm is below ``LEAST_NORM``, or NaN.
    """
    short = np.flatnonzero(~(np.asarray(norms) >= LEAST_NORM))
    if len(short):
        shown = ", ".join(map(str, short[:8])) + (", ..." if len(short) > 8 else "")
        raise FreeBindError(
            f"{what} cancel out and leave no direction",
            where=where,
            expected=f"a norm of {LEAST_NORM:.6f} or more before normalising",
            got=f"{len(short)} of {len(norms)} rows are shorter: row {shown}",
            fix=fix,
        )


def require_matrix(rows: Rows, where: object) -> None:
    """Raise a FreeBindError unless ``rows`` are ``[n, d]`` floats, with at least one entry."""
    require_floats(rows, where)
    if 0 in rows.shape:
        raise not_a_matrix(where, f"{list(rows.shape)}, which holds no number")


def require_floats(rows: Rows, where: object) -> None:
    """Raise a FreeBindError unless ``rows`` are ``[n, d]`` floats; n may be 0."""
    dtype = rows[:1].dtype if len(rows.shape) == 2 else None
    if dtype is None or dtype.kind != "f":
        raise not_a_matrix(where, f"{list(rows.shape)}, {dtype or 'not a matrix'}")


def not_a_matrix(where: object, got: object) -> FreeBindError:
    """Return the error for something that is no matrix of embeddings."""
    return FreeBindError(
        "this is not a matrix of embeddings", where=where, expected="[n, d] floats", got=got
    )
