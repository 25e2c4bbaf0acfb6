"""The direct sum, a third way to combine [O]: spaces side by side, none is given up.

    row[m] = [sqrt(1 - s_m) u ; sqrt(s_m) e]

At one factor for all modalities the score of two such rows is the weighted sum of the unified and
the expert score. A modality that the expert lacks gets its expert part from the displacement
mixture, Psi(u). Such a part is a guess: its squared norm is ``fill`` of what an embedding of the
expert's own has, or scores of text and image would take its noise at the weight of the expert.

Several experts stand side by side in e, each at an equal share. An uncentred PCA cuts the sum: the
spaces say much of the same, so that few dimensions hold their scores.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64

FILL = 0.05
"""Squared norm of a filled-in part, of that of an expert's own embedding (docs/word_world.md)."""


def weights(native: Sequence[bool], fill: float) -> Float32[np.ndarray, " e"]:
    """Return the squared norm of every expert's part, of what its own embedding would have.

    Args:
        native: For each expert, whether it has the modality; of others the part is filled in.
        fill: That of such a part, above 0 to 1.
    """
    return np.array([1 if own else fill for own in native], np.float32)


def expert_part(
    blocks: Sequence[Float32[np.ndarray, "n _"]], weights: Float32[np.ndarray, " e"]
) -> Float32[np.ndarray, "n d"]:
    """Return the experts' unit rows side by side, as unit rows.

    Args:
        blocks: Each expert's ``[n, d_e]`` unit rows, its own or filled in.
        weights: See ``weights``.
    """
    shares = np.sqrt(weights / weights.sum())
    return np.hstack([root * block for root, block in zip(shares, blocks, strict=True)])


def joined(
    unified: Float32[np.ndarray, "n d_u"], expert: Float32[np.ndarray, "n d_e"], weight: float
) -> Float32[np.ndarray, "n d"]:
    """Return ``[sqrt(1 - w) u ; sqrt(w) e]``: unit rows of unit rows."""
    roots = np.sqrt(np.array([1 - weight, weight], np.float32))
    return np.hstack([roots[0] * unified, roots[1] * expert])


def principal_axes(moment: Float64[np.ndarray, "d d"], dim: int) -> Float32[np.ndarray, "d k"]:
    """Uncentred PCA: return the orthonormal directions that hold most of the rows' energy.

    Uncentred, since retrieval compares dot products, not differences from a mean.

    Args:
        moment: Mean of ``x x^T`` over rows x.
        dim: Directions to keep, the strongest first; their sign is that of their largest entry.
    """
    axes = np.linalg.eigh(moment)[1][:, ::-1][:, :dim]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
    return (axes * np.where(largest < 0, -1, 1)).astype(np.float32)
