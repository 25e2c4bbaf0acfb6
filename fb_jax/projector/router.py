"""A router: how much each space counts for an item, from the item's rows in native spaces.

    z(x) = MLP([x_1; x_2; ...])                  one number for each block, from native rows
    r(x) = n softmax(c f(z(x)))                  f: the identity, or the sigmoid             (R1)

The n weights r have the mean 1, and are 1 where z is 0: the item's row is then the unrouted one.
Two shapes are known, as data: ours, and OmniBind's (arXiv 2407.11895) [C], whose sigmoid bounds the
ratio of two weights by e^c.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from fb_jax.errors import FreeBindError, require_range
from fb_jax.files.kinds import Width
from fb_jax.numerics import matmul
from fb_jax.projector.fold import affine, in_blocks
from fb_jax.projector.mixture import Variables
from fb_jax.projector.projector import BatchNorm, Linear

Activation = Literal["relu", "tanh"]
ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh}
SOURCE = "text"
"""The modality whose weights OmniBind routes hardest."""


@dataclass(frozen=True)
class RouterShape:
    """The layers of a router, as data.

    Attributes:
        widths: Widths of the hidden layers.
        activations: The activation after each of them.
        batch_norm: A BatchNorm stands before each activation, and the Linear has no bias.
        sigmoid: f of Eq. R1 is the sigmoid.
        scale: c of Eq. R1, above 0 to 100.
        text_scale: c for a text.
    """

    widths: tuple[Width, ...] = (64,)
    activations: tuple[Activation, ...] = ("tanh",)
    batch_norm: bool = False
    sigmoid: bool = False
    scale: float = 1.0
    text_scale: float = 1.0

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.activations):
            raise FreeBindError(
                "a router needs an activation for each hidden layer",
                expected=f"{len(self.widths)} of {', '.join(ACTIVATIONS)}",
                got=", ".join(self.activations) or "none",
            )
        require_range("router", 1e-6, 100.0, scale=self.scale, text_scale=self.text_scale)


SHAPES: Mapping[str, RouterShape] = {
    "small": RouterShape(),  # [O]
    "omnibind": RouterShape((512, 100), ("relu", "tanh"), True, True, 1.0, 10.0),  # [C]
}


class Layer(NamedTuple):
    """An affine map ``x W + b``: ``weight`` is ``[d, d']``, ``bias`` is ``[d']``."""

    weight: Any
    bias: Any


class RouterNet(nn.Module):
    """z of Eq. R1 in training. Its last layer starts at zero [O], so that all weights start at 1.

    Attributes:
        shape: Its layers.
        outputs: Number of weights.
    """

    shape: RouterShape
    outputs: int

    @nn.compact
    def __call__(self, x: Float[Array, "b d_in"], *, train: bool = False) -> Float[Array, "b n"]:
        """Return ``[b, n]`` logits of ``[b, d_in]`` rows; for ``train`` see ``BatchNorm``."""
        layers = zip(self.shape.widths, self.shape.activations, strict=True)
        for i, (width, activation) in enumerate(layers):
            if self.shape.batch_norm:
                x = BatchNorm(name=f"norm_{i}")(Linear(width, name=f"linear_{i}")(x), train=train)
            else:
                x = nn.Dense(width, name=f"linear_{i}")(x)
            x = ACTIVATIONS[activation](x)
        zero = nn.initializers.zeros
        return nn.Dense(self.outputs, kernel_init=zero, name="linear_out")(x)


def weights_of(logits: Float[Array, "*b n"], sigmoid: bool, scale: float) -> Float[Array, "*b n"]:
    """Eq. R1: return weights with the mean 1, ``[..., n]``, of logits."""
    bounded = jax.nn.sigmoid(logits) if sigmoid else logits
    return logits.shape[-1] * jax.nn.softmax(scale * bounded, axis=-1)


@dataclass(frozen=True)
class RouterSpec:
    """The description of a router.

    Attributes:
        modality: Modality of its items.
        inputs: Native spaces whose rows it reads, in their order.
        dims: Their dimensions.
        outputs: Number of weights: one for each block of the stage, the unified space's first.
        shape: Its layers.
    """

    modality: str
    inputs: tuple[str, ...]
    dims: tuple[Width, ...]
    outputs: Width
    shape: RouterShape = field(default_factory=RouterShape)

    def __post_init__(self) -> None:
        if not self.inputs or len(self.inputs) != len(self.dims):
            raise FreeBindError(
                "a router reads the rows of one or more spaces, each with its dimension",
                where=self.modality,
                got=f"spaces {', '.join(self.inputs) or 'none'}; dimensions {list(self.dims)}",
            )

    @property
    def scale(self) -> float:
        """c of Eq. R1."""
        return self.shape.text_scale if self.modality == SOURCE else self.shape.scale

    @property
    def layer_shapes(self) -> tuple[tuple[int, int], ...]:
        """``(d, d')`` of every layer."""
        return tuple(pairwise((sum(self.dims), *self.shape.widths, self.outputs)))

    def net(self) -> RouterNet:
        """Return the module that is trained."""
        return RouterNet(self.shape, self.outputs)

    def folded(self, variables: Variables) -> Router:
        """Return a trained router; a BatchNorm is folded into the Linear before it."""
        params, stats = variables
        names = [*map(str, range(len(self.shape.widths))), "out"]
        layers = [
            affine(params, stats, name) if f"norm_{name}" in params else _dense(params, name)
            for name in names
        ]
        single = lambda x: np.asarray(x, np.float32)  # noqa: E731
        return Router(self, tuple(Layer(single(w), single(b).reshape(-1)) for w, b in layers))


def _dense(params: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    layer = params[f"linear_{name}"]
    return np.asarray(layer["kernel"]), np.asarray(layer["bias"])


@partial(jax.jit, static_argnames="spec")
def _weights(
    spec: RouterSpec, layers: tuple[Layer, ...], x: Float[Array, "b d_in"]
) -> Float[Array, "b n"]:
    activations = [ACTIVATIONS[name] for name in spec.shape.activations]
    for layer, activation in zip(layers, [*activations, lambda z: z], strict=True):
        x = activation(matmul(x, jnp.asarray(layer.weight)) + layer.bias)
    return weights_of(x, spec.shape.sigmoid, spec.scale)


@dataclass(frozen=True, eq=False)
class Router:
    """A trained router.

    Attributes:
        spec: The description.
        layers: Its affine layers, float32.

    Raises:
        FreeBindError: The layers have other shapes.
    """

    spec: RouterSpec
    layers: tuple[Layer, ...] = field(repr=False)

    def __post_init__(self) -> None:
        found = tuple(layer.weight.shape for layer in self.layers)
        if found != self.spec.layer_shapes:
            raise FreeBindError(
                "the layers of a router do not fit its description",
                where=self.spec.modality,
                expected=self.spec.layer_shapes,
                got=found,
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Router) or self.spec != other.spec:
            return False
        return all(map(np.array_equal, jax.tree.leaves(self.layers), jax.tree.leaves(other.layers)))

    def __hash__(self) -> int:
        return hash(self.spec)

    @classmethod
    def constant(cls, spec: RouterSpec, weights: Float[np.ndarray, " n"]) -> Router:
        """Return a router that gives every item the same weights, in the ratio of these."""
        spec = RouterSpec(spec.modality, spec.inputs, spec.dims, spec.outputs, RouterShape((), ()))
        with np.errstate(divide="ignore"):  # a weight of 0 is a logit of -inf
            logits = np.log(np.asarray(weights, np.float32))
        return cls(spec, (Layer(np.zeros(spec.layer_shapes[0], np.float32), logits),))

    @classmethod
    def from_vector(cls, spec: RouterSpec, vector: Float[np.ndarray, " p"]) -> Router:
        """Return a router from what ``vector`` returns.

        Raises:
            FreeBindError: It has another length.
        """
        sizes = [(width * (height + 1)) for height, width in spec.layer_shapes]
        if len(vector) != sum(sizes):
            raise FreeBindError(
                "these are not the numbers of this router",
                where=spec.modality,
                expected=f"{sum(sizes)} numbers",
                got=len(vector),
            )
        parts = np.split(vector, np.cumsum(sizes)[:-1])
        joined = [
            x.reshape(-1, shape[1]) for x, shape in zip(parts, spec.layer_shapes, strict=True)
        ]
        return cls(spec, tuple(Layer(x[:-1], x[-1]) for x in joined))

    @property
    def vector(self) -> Float[np.ndarray, " p"]:
        """All numbers, layer by layer, weights before biases."""
        return np.concatenate([np.ravel(leaf) for layer in self.layers for leaf in layer])

    def reads(self, native: Mapping[str, np.ndarray]) -> bool:
        """Return whether items have a row in every space that the router reads."""
        return set(self.spec.inputs) <= set(native)

    def weights(self, native: Mapping[str, Float[np.ndarray, "m _"]]) -> Float32[np.ndarray, "m n"]:
        """Return the weights of items (Eq. R1), ``[m, n]`` with the mean 1.

        Args:
            native: Native space to ``[m, d]`` unit rows, with those that the router reads.
        """
        x = np.hstack([native[name] for name in self.spec.inputs])
        return in_blocks(partial(_weights, self.spec, self.layers), np.asarray(x, np.float32))
