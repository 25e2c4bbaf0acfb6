"""The mixture Psi: one projector for every non-empty subset of the starts, as one model.

With starts T, V, A there are 7 projectors, each trained on its own union of {D_T, D_V, D_A}
(section 3.2.3). Their variables are one pytree with a leading axis of members, so that nothing
loops over members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fb_jax.projector.projector import BatchNorm, Projector

Subset = tuple[str, ...]
"""The starts (modalities that pairs start from) that one member is trained on."""


class Variables(NamedTuple):
    """The numbers of a projector or, with a leading axis, of a mixture.

    Attributes:
        params: The kernels of the Linears, scale and shift of the BatchNorms.
        batch_stats: Running mean and variance of the BatchNorms.
    """

    params: Any
    batch_stats: Any

    def collections(self) -> dict[str, Any]:
        """Return the variables as Flax's ``apply`` takes them."""
        return {"params": self.params, "batch_stats": self.batch_stats}


def subsets(starts: Sequence[str]) -> tuple[Subset, ...]:
    """Return the 2^m - 1 non-empty subsets of the starts, smallest first."""
    sizes = range(1, len(starts) + 1)
    return tuple(subset for size in sizes for subset in combinations(starts, size))


def subset_name(subset: Subset) -> str:
    """Return the name of a member: ``text+audio``."""
    return "+".join(subset)


def init_projector(projector: nn.Module, key: Array, dim: int | Mapping[str, int]) -> Variables:
    """Return the initial variables of one projector.

    Args:
        projector: See ``BondSpec.projector``.
        key: Of the random numbers.
        dim: Dimension of the rows on each route; a number for a projector with one route.
    """
    dims = {"": dim} if isinstance(dim, int) else dim
    every = lambda module: [  # noqa: E731
        module(jnp.zeros((2, own)), train=True, route=route) for route, own in dims.items()
    ]
    variables = nn.init(every, projector)(key)
    return Variables(variables["params"], variables["batch_stats"])


def init_mixture(
    projector: nn.Module, key: Array, dim: int | Mapping[str, int], members: int
) -> Variables:
    """Return the initial variables of a mixture: every leaf ``[members, ...]``, all different."""
    init = partial(init_projector, projector, dim=dim)
    return jax.vmap(init)(jax.random.split(key, members))


def linear_members(
    kernels: Float[np.ndarray, "p d_in d_out"], shifts: Float[np.ndarray, "p d_out"]
) -> Variables:
    """Return members that are linear maps, ``psi_i(x) = unit(x kernels[i] + shifts[i])``.

    The hidden layer keeps x and -x, so that its ReLU loses nothing:
    ``relu(x) W - relu(-x) W = x W``.
    """
    members, dim, _ = kernels.shape
    signs = np.tile(np.hstack([np.eye(dim), -np.eye(dim)]), (members, 1, 1))
    layers = {"in": (signs, 0 * signs[:, 0]), "out": (np.hstack([kernels, -kernels]), shifts)}
    params, stats = {}, {}
    for layer, (kernel, shift) in layers.items():
        ones = np.ones_like(shift)
        params[f"linear_{layer}"] = {"kernel": kernel}
        params[f"norm_{layer}"] = {"scale": ones, "shift": shift}
        stats[f"norm_{layer}"] = {"mean": 0 * ones, "var": ones - BatchNorm.epsilon}
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), Variables(params, stats))


def project_members(
    projector: Projector, variables: Variables, x: Float[Array, "b d_in"]
) -> Float[Array, "p b d_out"]:
    """Return the unit outputs of every member, in evaluation mode."""
    member = lambda v: projector.apply(v.collections(), x)  # noqa: E731
    return jax.vmap(member)(variables)
