"""Two things that every stage computes alike: unit rows, and products of a stated precision."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fb_jax.errors import unknown

Precision = Literal["float32", "tf32", "bf16"]
"""How matrices are multiplied; sums are float32 in all of them. ``tf32`` needs a GPU."""


def dot_precision(precision: Precision) -> jax.lax.Precision | jax.lax.DotAlgorithmPreset:
    """Return what JAX's dot products take for a precision setting."""
    presets = jax.lax.DotAlgorithmPreset
    choices: dict[Precision, jax.lax.Precision | jax.lax.DotAlgorithmPreset] = {
        "float32": jax.lax.Precision.HIGHEST,  # and float64 where the inputs are
        "tf32": presets.TF32_TF32_F32,
        "bf16": presets.BF16_BF16_F32,
    }
    if precision not in choices:
        raise unknown("precision", precision, choices)
    return choices[precision]


def normalised(rows: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    """Divide each row by its L2 norm, at least 1e-12; a zero row stays zero, gradient included."""
    square = jnp.square(rows).sum(axis=-1, keepdims=True)
    return rows / jnp.sqrt(jnp.maximum(square, 1e-24))
