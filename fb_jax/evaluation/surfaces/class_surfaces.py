"""Classification at every pair of factors: those of the media, and of the prompts of the classes.

Classes with one prompt each are rows like any other: scores are bilinear (``bilinear``). The mean
of several prompts is not, so it is computed anew at each factor of the prompts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, Integer

from fb_jax.evaluation.classes import class_rows
from fb_jax.evaluation.precision import average_precision
from fb_jax.evaluation.ranks import SCORE_BYTES
from fb_jax.evaluation.surfaces.bilinear import Mixture, mixed, norms_of, recall


def class_mixtures(prompts: Mixture, table: Integer[np.ndarray, "p 2"]) -> Iterator[Mixture]:
    """Yield the classes at the factors of their prompts, in their order.

    That is one mixture if every class has one prompt, else one for each factor.

    Args:
        prompts: Rows of the texts at h factors.
        table: ``[p, 2]`` (class, text) rows.

    Raises:
        FreeBindError: A class has no prompt.
    """
    classes, texts = table[np.argsort(table[:, 0])].T
    if np.array_equal(classes, np.arange(len(table))):
        components = prompts.components[:, texts]
        yield Mixture(components, prompts.shares, norms_of(components, prompts.shares))
        return
    for factor in range(len(prompts.shares)):
        yield Mixture.fixed(class_rows(prompts.rows_at(factor), table))


def accuracy_surface(
    media: Mixture, classes: Iterable[Mixture], labels: Integer[np.ndarray, "p 2"]
) -> Float64[np.ndarray, "g h"]:
    """Return top-1 accuracy in percent at every pair of factors.

    Args:
        media: Rows of the items at g factors.
        classes: See ``class_mixtures``; h factors in all.
        labels: ``[p, 2]`` (item, class) rows.

    Returns:
        ``[g, h]``, the factor of the media down the rows.
    """
    return np.hstack([recall(media, mixture, labels) for mixture in classes])


def precision_surface(
    media: Mixture, classes: Iterable[Mixture], labels: Integer[np.ndarray, "p 2"]
) -> Float64[np.ndarray, "g h"]:
    """Return the mean over classes of average precision, in percent, at every pair of factors.

    Arguments and result are those of ``accuracy_surface``. Classes without an item are left out.
    """
    return np.hstack([_mean_precisions(media, mixture, labels) for mixture in classes])


def _mean_precisions(
    media: Mixture, classes: Mixture, labels: Integer[np.ndarray, "p 2"]
) -> Float64[np.ndarray, "g h"]:
    count = media.components.shape[1]
    found = np.unique(labels[:, 1])
    chunk = max(1, SCORE_BYTES // (4 * 8 * count))  # 4 scores, and as much again in between
    items = jnp.asarray(media.components)
    sums = np.zeros((len(media.shares), len(classes.shares)))
    for block in np.split(found, range(chunk, len(found), chunk)):
        rows = jnp.asarray(classes.components[:, block])
        matrix = jnp.einsum("kcd,ind->kicn", rows, items, precision=jax.lax.Precision.HIGHEST)
        scores = np.asarray(matrix)
        positives = [labels[labels[:, 1] == number, 0] for number in block]
        for h, class_shares in enumerate(classes.shares):
            parts = mixed(class_shares, scores)
            for g, (shares, norms) in enumerate(zip(media.shares, media.norms, strict=True)):
                of_items = mixed(shares, parts) / norms
                sums[g, h] += sum(map(average_precision, of_items, positives))
    return sums / len(found)
