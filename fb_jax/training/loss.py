"""Losses by name. The paper's: InfoNCE of every projected with every target modality (Eq. 7, 8).

Beside it stand InfoNCE with soft targets, which a training may add, and the loss of a migration.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from fb_jax import files
from fb_jax.numerics import Precision, matmul
from fb_jax.registry import LOSSES

TEMPERATURE = 0.02
"""Temperature of InfoNCE, 1/50 [P]."""

Rows = Mapping[str, Float[Array, "b d"]]
"""Modality to ``[b, d]`` unit rows."""


@runtime_checkable
class Loss(Protocol):
    """What a projector minimises; register one in ``LOSSES``, or name it as module:function."""

    def __call__(
        self, projected: Rows, target: Rows, *, temperature: float, symmetric: bool, precision: Any
    ) -> Float[Array, ""]:
        """Return a scalar.

        Args:
            projected: The projector's outputs by modality.
            target: Rows of the frozen space by modality; row i of all belongs to one pair.
            temperature: Setting ``Training.temperature``.
            symmetric: Setting ``Training.symmetric``.
            precision: Setting ``Training.precision``, for ``fb_jax.numerics.matmul``.
        """


def require_loss(name: str) -> None:
    """Raise a FreeBindError unless there is such a loss and it can be called as one."""
    loss = LOSSES.get(name)
    rows = {modality: jax.ShapeDtypeStruct((2, 3), jnp.float32) for modality in ("text", "audio")}
    call = partial(loss, temperature=TEMPERATURE, symmetric=True, precision="float32")
    with files.explained("a loss does not fit", name, "fb_jax.training.loss.Loss says how"):
        if (found := jax.eval_shape(call, rows, rows)).shape != ():
            raise TypeError(f"it returns {found} instead of a scalar")


def info_nce(
    x: Float[Array, "b d"],
    y: Float[Array, "b d"],
    *,
    temperature: float = TEMPERATURE,
    symmetric: bool = True,
    precision: Precision = "float32",
) -> Float[Array, ""]:
    """InfoNCE: the cross-entropy of finding row i of ``y`` from row i of ``x``.

    ``mean_i [ logsumexp_j(s_ij) - s_ii ]`` with ``s = x y^T / temperature``. The symmetric form is
    the mean of this for ``s`` and for ``s^T`` [O].

    Args:
        x: ``[b, d]`` unit rows.
        y: ``[b, d]`` unit rows.
        temperature: 1/50 [P].
        symmetric: Also find x from y [O].
        precision: Precision of the matrix product.

    Returns:
        A scalar, in nats.
    """
    scores = matmul(x, y.T, precision) / temperature
    rows = jax.nn.logsumexp(scores, axis=1).mean()
    both = (rows + jax.nn.logsumexp(scores, axis=0).mean()) / 2 if symmetric else rows
    return both - jnp.diagonal(scores).mean()


def distillation(
    x: Float[Array, "b d"],
    y: Float[Array, "b d"],
    taught: Float[Array, "b b"],
    *,
    temperature: float = TEMPERATURE,
    symmetric: bool = True,
    precision: Precision = "float32",
) -> Float[Array, ""]:
    """InfoNCE with soft targets [O]: row i of ``y`` is not the only answer to row i of ``x``.

    The targets are ``softmax_j(taught_ij / temperature)``; the symmetric form is the mean of the
    cross-entropies of both directions.

    Args:
        x: ``[b, d]`` unit rows.
        y: ``[b, d]`` unit rows.
        taught: ``[b, b]`` scores that those of ``x`` and ``y`` are to imitate.
        temperature: Of the scores and of the targets.
        symmetric: Also find x from y.
        precision: Precision of the matrix product.

    Returns:
        A scalar, in nats.
    """
    scores, taught = matmul(x, y.T, precision) / temperature, taught / temperature
    ways = [
        optax.losses.softmax_cross_entropy(scores, jax.nn.softmax(taught, axis), axis).mean()
        for axis in ((1, 0) if symmetric else (1,))
    ]
    return jnp.mean(jnp.stack(ways))


@LOSSES.register("info_nce")
def bond_loss(
    projected: Rows,
    target: Rows,
    *,
    temperature: float = TEMPERATURE,
    symmetric: bool = True,
    precision: Precision = "float32",
) -> Float[Array, ""]:
    """Eq. 7 (displacement) or Eq. 8 (combination): six terms for 2 x 3 modalities.

    Args:
        projected: Modality to ``[b, d]`` unit outputs of the projector.
        target: Modality to ``[b, d]`` unit rows of the frozen space.
        temperature: See ``info_nce``.
        symmetric: See ``info_nce``.
        precision: See ``info_nce``.

    Returns:
        The sum of InfoNCE over every projected and every target modality.
    """
    term = partial(info_nce, temperature=temperature, symmetric=symmetric, precision=precision)
    return sum((term(x, y) for x in projected.values() for y in target.values()), jnp.zeros(()))


@LOSSES.register("own_rows")
def own_rows(
    projected: Rows, target: Rows, *, temperature: float, symmetric: bool, precision: Precision
) -> Float[Array, ""]:
    """Return the mean of ``1 - cosine`` of projected rows and the target rows of their items [O].

    Args:
        projected: Modality to ``[b, d]`` unit outputs of the projector.
        target: Modality to ``[b, d]`` unit rows of the frozen space.
        temperature: Of no use here, as the two below: a loss is asked with all of them.
        symmetric: See above.
        precision: See above.

    Returns:
        The sum over the modalities that both have.
    """
    del temperature, symmetric, precision
    cosines = [(projected[m] * target[m]).sum(axis=1).mean() for m in projected if m in target]
    return jnp.asarray(len(cosines)) - sum(cosines, jnp.zeros(()))
