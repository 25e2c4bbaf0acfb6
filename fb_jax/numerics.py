"""Shared numerics: the device, row normalisation and matmul precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fb_jax.errors import FreeBindError, unknown

Precision = Literal["float32", "tf32", "bf16"]
"""How matrices are multiplied. It belongs to a computation, never to a model.

``float32`` multiplies in the dtype of its inputs. ``tf32`` rounds the operands to TensorFloat-32
and needs a GPU. ``bf16`` rounds the operands to bfloat16 on every device. All sum in float32.
"""

FULL = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)  # float64 where the inputs are
TF32 = partial(jnp.matmul, precision=jax.lax.DotAlgorithmPreset.TF32_TF32_F32)
BF16 = partial(jnp.matmul, precision=jax.lax.DotAlgorithmPreset.BF16_BF16_F32)


def find_device(kind: str | None = None) -> jax.Device:
    """Return the first device of a kind, "cpu" or "gpu"; None: the first that JAX finds.

    Raises:
        FreeBindError: There is none.
    """
    try:
        return jax.devices(kind)[0]
    except (RuntimeError, AssertionError) as error:  # JAX asserts that its chosen platform exists
        allowed: str | None = jax.config.jax_platforms  # type: ignore[attr-defined]
        fix = "use --device cpu, or install the extra cuda12 or cuda13 on a machine with a GPU"
        raise FreeBindError(
            f"there is no {kind or 'device'} to compute on",
            expected="a device that JAX sees",
            got=next(iter(str(error).splitlines()), None),
            fix=f"unset JAX_PLATFORMS, which allows only {allowed}; or {fix}" if allowed else fix,
        ) from error


@contextmanager
def single_precision() -> Iterator[None]:
    """Return a context, or a decorator, in which ``JAX_ENABLE_X64`` changes nothing.

    With it, counters and random numbers would have other types: another training, in checkpoints
    that nobody else can read.

    Raises:
        FreeBindError: JAX finds no device.
    """
    platform()
    with jax.enable_x64(False):
        yield


def platform() -> str:
    """Return what JAX computes on by default: "cpu", "gpu", "tpu".

    Raises:
        FreeBindError: JAX finds no device.
    """
    device: Any = jax.config.jax_default_device or find_device()  # type: ignore[attr-defined]
    return device if isinstance(device, str) else device.platform


def require_precision(name: str) -> None:
    """Raise a FreeBindError unless there is such a precision."""
    if name not in get_args(Precision):
        raise unknown("precision", name, get_args(Precision))


def require_supported(*precisions: Precision) -> None:
    """Raise a FreeBindError if the default device cannot multiply at one of these precisions."""
    if "tf32" in precisions and platform() == "cpu":
        raise FreeBindError("tf32 needs a GPU", got="precision tf32 on a CPU", fix="use float32")


def matmul(
    x: Float[Array, "*n k"], y: Float[Array, "*m k d"], precision: Precision = "float32"
) -> Float[Array, "*b d"]:
    """Multiply matrices as ``jnp.matmul`` does, forward and backward at a stated precision.

    Args:
        x: ``[..., n, k]``.
        y: ``[..., k, d]``.
        precision: See ``Precision``.

    Returns:
        ``[..., n, d]`` in the dtype of the inputs.

    Raises:
        FreeBindError: The device cannot multiply at this precision.
    """
    if precision == "float32":
        return FULL(x, y)
    require_supported(precision)
    if precision == "tf32":
        return TF32(x, y)
    operands = _round(x), _round(y)
    # A CPU has no fast bfloat16 product; float32 ones of rounded operands are the same, exactly.
    return _round_gradient(jax.lax.platform_dependent(*operands, cpu=FULL, default=BF16))


@jax.custom_vjp
def _round(x: Array) -> Array:
    """Round to bfloat16 and keep the dtype; a gradient passes through unchanged.

    A pair of casts would not do: XLA may remove it.
    """
    return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)


@jax.custom_vjp
def _round_gradient(x: Array) -> Array:
    """Return x; its gradient, an operand of the backward products, is rounded to bfloat16."""
    return x


_round.defvjp(lambda x: (_round(x), None), lambda _, gradient: (gradient,))
_round_gradient.defvjp(lambda x: (x, None), lambda _, gradient: (_round(gradient),))


def normalised(rows: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    """Divide each row by its L2 norm, at least 1e-12; a zero row stays zero, gradient included."""
    square = jnp.square(rows).sum(axis=-1, keepdims=True)
    return rows / jnp.sqrt(jnp.maximum(square, 1e-24))
