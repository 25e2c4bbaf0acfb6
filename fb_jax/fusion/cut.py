"""A direct sum cut to fewer dimensions by an uncentred PCA [O].

The spaces overlap, so a few dimensions keep most of their scores. Uncentred, since
retrieval compares dot products, not differences from a mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32, Float64

from fb_jax.banks import BankSet
from fb_jax.errors import FreeBindError
from fb_jax.fusion.sources import fusable, sources
from fb_jax.fusion.space import FusedSpace
from fb_jax.fusion.stage import Parts, Stage
from fb_jax.fusion.sums import DirectSum
from fb_jax.numerics import matmul

MAX_ROWS = 1 << 16
"""Maximum number of rows of a modality that a cut is fitted on, evenly spaced."""


@dataclass(frozen=True)
class CutSum(DirectSum):
    """A direct sum in the directions of a basis; at other factors it keeps the basis.

    Attributes:
        basis: ``[d, k]`` orthonormal columns, float32; d is the dimension of the uncut sum.
    """

    basis: Float32[np.ndarray, "d k"] = field(
        default_factory=lambda: np.empty((0, 0), np.float32), repr=False, hash=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require_cut(self.uncut(), self.basis.shape[1])
        if len(self.basis) != self.uncut().dim:
            raise FreeBindError(
                "a basis is of another space",
                where=self.title,
                expected=f"{self.uncut().dim} rows",
                got=len(self.basis),
            )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, CutSum)
            and self.uncut() == other.uncut()
            and np.array_equal(self.basis, other.basis)
        )

    @property
    def dim(self) -> int:
        """Dimensions that are left."""
        return self.basis.shape[1]

    def uncut(self) -> DirectSum:
        """Return the direct sum in all dimensions."""
        return DirectSum(**{part.name: getattr(self, part.name) for part in fields(DirectSum)})

    def with_experts(self, experts: Sequence[str]) -> Stage:
        """See ``Stage``; the result is uncut, since other bonds have another basis."""
        return self.uncut().with_experts(experts)

    def components(self, parts: Parts) -> list[Float32[np.ndarray, "n d"]]:
        """See ``Stage``: in the directions of the basis."""
        whole, basis = super().components(parts), jnp.asarray(self.basis)
        return [np.asarray(matmul(jnp.asarray(x), basis)) for x in whole]

    def _mixed(self, modality: str, unified: Array, expert: Array, lacking: Sequence[str]) -> Array:
        mixed = super()._mixed(modality, unified, expert, lacking)
        return matmul(mixed, jnp.asarray(self.basis))


def require_cut(stage: Stage, dim: int) -> None:
    """Raise a FreeBindError unless a stage is a direct sum with at least so many dimensions."""
    if not isinstance(stage, DirectSum):
        raise FreeBindError(
            "only a direct sum can be cut",
            where=stage.title,
            expected="bonds of the kind direct_sum",
            got=stage.bonds[0].kind,
        )
    if not 0 < dim <= stage.dim:
        raise FreeBindError(
            "a direct sum cannot be cut to this",
            where=stage.title,
            expected=f"1 to {stage.dim} dimensions",
            got=dim,
        )


def uncut(space: FusedSpace) -> FusedSpace:
    """Return a space with its last stage in all dimensions."""
    return space.with_last(space.last.uncut()) if isinstance(space.last, CutSum) else space


def with_basis(space: FusedSpace, basis: Float32[np.ndarray, "d k"]) -> FusedSpace:
    """Return a direct sum cut to the directions of a basis.

    Raises:
        FreeBindError: The space is no direct sum, or the basis does not fit it.
    """
    whole = uncut(space).last
    require_cut(whole, basis.shape[1])
    own = {part.name: getattr(whole, part.name) for part in fields(DirectSum)}
    return space.with_last(CutSum(**own, basis=basis))


def cut(space: FusedSpace, dim: int, banks: BankSet) -> FusedSpace:
    """Return a direct sum cut to fewer dimensions: a PCA of fused rows at its factors.

    Args:
        space: A direct sum.
        dim: Dimensions to keep.
        banks: All its native spaces over the pool. At most ``MAX_ROWS`` rows of a modality are
            read, and every modality has the same weight.

    Raises:
        FreeBindError: The space is no direct sum or has fewer dimensions, or the banks lack a
            native space.
    """
    whole = uncut(space)
    require_cut(whole.last, dim)
    if not (modalities := fusable(whole, banks)):
        raise FreeBindError(
            "a cut is fitted on fused rows, and these banks lack a native space",
            expected=", ".join(space.spaces),
            got=", ".join(dict.fromkeys(name for name, _ in banks.banks)),
        )
    some = banks.thinned(MAX_ROWS)
    moments = [_moment(whole, some, modality) for modality in modalities]
    return with_basis(space, principal_axes(np.mean(moments, axis=0), dim))


def _moment(space: FusedSpace, banks: BankSet, modality: str) -> np.ndarray:
    """Return the mean of ``x x^T`` over fused rows x of a modality."""
    rows = space.fuse(modality, sources(space, banks, modality))
    return np.asarray(rows.T @ rows, np.float64) / len(rows)


def principal_axes(moment: Float64[np.ndarray, "d d"], dim: int) -> Float32[np.ndarray, "d k"]:
    """Return the orthonormal directions that hold most of the rows' energy.

    Args:
        moment: Mean of ``x x^T`` over rows x.
        dim: Number of directions, strongest first. The largest entry of each is positive.
    """
    axes = np.linalg.eigh(moment)[1][:, ::-1][:, :dim]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
    return (axes * np.where(largest < 0, -1, 1)).astype(np.float32)
