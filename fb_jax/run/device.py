"""Which device to compute on."""

from __future__ import annotations

import jax

from fb_jax.errors import FreeBindError
from fb_jax.run.config import Device


def select_device(device: Device) -> jax.Device:
    """Return the device to compute on.

    Raises:
        FreeBindError: A GPU was asked for and there is none.
    """
    if device == "auto":
        return jax.devices()[0]
    try:
        return jax.devices(device)[0]
    except RuntimeError as error:
        raise FreeBindError(
            f"there is no {device} to compute on",
            expected="a device that JAX sees",
            got=", ".join(str(found) for found in jax.devices()),
            fix="install the package with the extra cuda12 or cuda13 on a machine with a GPU, "
            "or use --device cpu",
        ) from error
