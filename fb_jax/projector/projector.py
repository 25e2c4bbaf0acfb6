"""The projector psi: Linear - BatchNorm - ReLU - Linear - BatchNorm, then L2 norm [C].

The Linears carry no bias [O]: the BatchNorm behind each cancels it, its true gradient is zero, and
Adam would blow the rounding noise of that gradient up to steps of the learning rate.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from fb_jax.numerics import Precision, dot_precision, normalised


class BatchNorm(nn.Module):
    """Batch normalisation by torch's convention.

    Flax's own module keeps the biased variance; torch, and with it the authors' checkpoints [C],
    the unbiased one: ``running = (1 - momentum) * running + momentum * batch``.

    Attributes:
        momentum: Weight of the newest batch, 0.1.
        epsilon: Added to the variance, 1e-5.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Float[Array, "b d"], *, train: bool) -> Float[Array, "b d"]:
        """Normalise over the batch (train) or by the running statistics (evaluation).

        Args:
            x: ``[b, d]``.
            train: Use, and fold into the running statistics, those of this batch.

        Returns:
            ``[b, d]``.
        """
        dim, dtype = x.shape[1:], x.dtype
        scale = self.param("scale", nn.initializers.ones, dim, dtype)
        shift = self.param("shift", nn.initializers.zeros, dim, dtype)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, dim, dtype)
        running_var = self.variable("batch_stats", "var", jnp.ones, dim, dtype)
        mean, var = running_mean.value, running_var.value
        if train:
            mean, var = x.mean(axis=0), x.var(axis=0)
            if not self.is_initializing():
                unbiased = var * (len(x) / (len(x) - 1))
                running_mean.value += self.momentum * (mean - running_mean.value)
                running_var.value += self.momentum * (unbiased - running_var.value)
        return (x - mean) / jnp.sqrt(var + self.epsilon) * scale + shift


class Projector(nn.Module):
    """psi, from the unit sphere of one space into that of another.

    One projector serves every modality of its source space.

    Attributes:
        dim: Dimension of the target space.
        hidden: Width of the hidden layer, 2048 in the paper's released weights [C].
        precision: Of the matrix products.
    """

    dim: int
    hidden: int = 2048
    precision: Precision = "float32"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b d_in"], *, train: bool = False
    ) -> Float[Array, "b d_out"]:
        """Project rows.

        Args:
            x: ``[b, d]`` unit rows of one modality.
            train: See ``BatchNorm``.

        Returns:
            ``[b, dim]`` unit rows.
        """
        x = self._linear(self.hidden, "linear_in")(x)
        x = nn.relu(BatchNorm(name="norm_in")(x, train=train))
        x = self._linear(self.dim, "linear_out")(x)
        return normalised(BatchNorm(name="norm_out")(x, train=train))

    def _linear(self, width: int, name: str) -> nn.Dense:
        return nn.Dense(
            width,
            use_bias=False,
            kernel_init=nn.initializers.xavier_uniform(),  # [C]
            precision=dot_precision(self.precision),
            param_dtype=jnp.result_type(float),
            name=name,
        )
