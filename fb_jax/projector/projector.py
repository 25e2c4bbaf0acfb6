"""The projector psi: Linear - BatchNorm - ReLU - Linear - BatchNorm, then L2 norm [C].

The Linears have no bias [O]. The BatchNorm after each one cancels it, so that its true gradient is
zero, and Adam would turn the rounding noise of that gradient into steps of the learning rate.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from fb_jax.numerics import Precision, matmul, normalised


class Linear(nn.Module):
    """A linear map without a bias, initialised Xavier-uniform [C].

    Attributes:
        width: Dimension of the output.
        precision: Precision of the matrix product.
    """

    width: int
    precision: Precision = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b d_in"]) -> Float[Array, "b d_out"]:
        """Return ``x W``, ``[b, width]``."""
        shape, dtype = (x.shape[1], self.width), jnp.result_type(float)
        kernel = self.param("kernel", nn.initializers.xavier_uniform(), shape, dtype)
        return matmul(x, kernel, self.precision)


class BatchNorm(nn.Module):
    """Batch normalisation by torch's convention.

    Flax's own module keeps the biased variance. Torch keeps the unbiased one, and so do the
    authors' checkpoints [C]: ``running = (1 - momentum) * running + momentum * batch``.

    Attributes:
        momentum: Weight of the newest batch, 0.1.
        epsilon: Added to the variance, 1e-5.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Float[Array, "b d"], *, train: bool) -> Float[Array, "b d"]:
        """Normalise by the batch (training) or by the running statistics (evaluation).

        Args:
            x: ``[b, d]``.
            train: Use this batch's statistics and update the running ones with them.

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
    """psi, from the unit sphere of one space to the unit sphere of another.

    One projector serves every modality of its source space.

    Attributes:
        dim: Dimension of the target space.
        hidden: Width of the hidden layer, 2048 in the authors' released weights [C].
        precision: Precision of the matrix products; the parameters do not depend on it.
        unit: L2-normalise the output; False for a part of a larger projector.
    """

    dim: int
    hidden: int = 2048
    precision: Precision = "float32"
    unit: bool = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "b d_in"], *, train: bool = False, route: str = ""
    ) -> Float[Array, "b d_out"]:
        """Project rows.

        Args:
            x: ``[b, d_in]`` unit rows of one modality.
            train: See ``BatchNorm``.
            route: Of no use here: all rows take one way. See ``fb_jax.projector.mcr``.

        Returns:
            ``[b, dim]`` unit rows.
        """
        x = Linear(self.hidden, self.precision, name="linear_in")(x)
        x = nn.relu(BatchNorm(name="norm_in")(x, train=train))
        x = Linear(self.dim, self.precision, name="linear_out")(x)
        x = BatchNorm(name="norm_out")(x, train=train)
        return normalised(x) if self.unit else x
