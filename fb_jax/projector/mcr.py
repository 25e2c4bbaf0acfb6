"""The projectors of C-MCR (arXiv 2305.14381) and of Ex-MCR (arXiv 2310.08884).

A *route* is the way of a modality through a projector: modalities of one route share all numbers.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from fb_jax.numerics import Precision, matmul, normalised
from fb_jax.projector.projector import Projector

GAP = "gap"
"""The route of modalities that the target space lacks, in Ex-MCR's projector."""


class Connection(nn.Module):
    """C-MCR: a projector for each of two spaces, into a new space [C].

    Attributes:
        dim: Dimension of the new space.
        hidden: Width of the hidden layers, 1024 [C].
        precision: Precision of the matrix products.
    """

    dim: int
    hidden: int = 1024
    precision: Precision = "float32"

    def setup(self) -> None:
        """Make one projector for each route: the side that a row comes from."""
        self.unified, self.expert = (
            Projector(self.dim, self.hidden, self.precision) for _ in range(2)
        )

    def __call__(
        self, x: Float[Array, "b d_in"], *, train: bool = False, route: str = "expert"
    ) -> Float[Array, "b d_out"]:
        """Project rows ``[b, d_in]`` of one side to unit rows ``[b, dim]``."""
        return {"unified": self.unified, "expert": self.expert}[route](x, train=train)


class Gap(nn.Module):
    """Ex-MCR's f_l: a Linear with a bias that starts as the identity [C]."""

    precision: Precision = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b d"]) -> Float[Array, "b d"]:
        """Return ``x W + b``, ``[b, d]``, not normalised."""
        dim, dtype = x.shape[1], jnp.result_type(float)
        kernel = self.param("kernel", lambda _key: jnp.eye(dim, dtype=dtype))
        bias = self.param("bias", nn.initializers.zeros, (dim,), dtype)
        return matmul(x, kernel, self.precision) + bias


class Extension(nn.Module):
    """Ex-MCR: f_m, two MLPs one after the other, and before it f_l on the route ``GAP`` [C].

    Attributes:
        dim: Dimension of the target space.
        hidden: Width of the hidden layers, 1024 [C].
        precision: Precision of the matrix products.
    """

    dim: int
    hidden: int = 1024
    precision: Precision = "float32"

    def setup(self) -> None:
        """Make the Linear and both MLPs."""
        self.gap = Gap(self.precision)
        self.first, self.second = (
            Projector(self.dim, self.hidden, self.precision, unit=False) for _ in range(2)
        )

    def __call__(
        self, x: Float[Array, "b d_in"], *, train: bool = False, route: str = ""
    ) -> Float[Array, "b d_out"]:
        """Project rows ``[b, d_in]`` to unit rows ``[b, dim]``."""
        x = self.closed(x) if route == GAP else x
        return normalised(self.second(self.first(x, train=train), train=train))

    def closed(self, x: Float[Array, "b d_in"]) -> Float[Array, "b d_in"]:
        """Return rows in the source space, moved over the gap between its modalities."""
        return self.gap(x)
