"""Measures of whole clouds of rows: CKA between spaces, and the gap between modalities."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def cka(first: Float[np.ndarray, "n d"], second: Float[np.ndarray, "n e"]) -> float:
    """Return the linear CKA of two spaces over the same items (Kornblith et al., ICML 2019).

    |Y^T X|^2 / (|X^T X| |Y^T Y|) in Frobenius norms, of centred X and Y: 1 if the spaces are equal
    up to rotation and scale, towards 0 if they are unrelated.
    """
    x, y = (
        rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64) for rows in (first, second)
    )
    norm = lambda a, b: float(np.linalg.norm(a.T @ b))  # noqa: E731
    scale = norm(x, x) * norm(y, y)
    return norm(y, x) ** 2 / scale if scale else 0.0


def gap(left: Float[np.ndarray, "n d"], right: Float[np.ndarray, "m d"]) -> float:
    """Return the modality gap: the distance of the means of unit rows, 0 to 2 (Liang et al., 2022).

    |mean(left) - mean(right)|; NeurIPS 2022, arXiv 2203.02053.
    """
    means = [rows.mean(axis=0, dtype=np.float64) for rows in (left, right)]
    return float(np.linalg.norm(means[0] - means[1]))
