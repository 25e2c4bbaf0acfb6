"""The device to compute on."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import jax

from fb_jax.errors import FreeBindError

Device = Literal["auto", "cpu", "gpu"]


def select_device(device: Device) -> jax.Device:
    """Return the device of an option.

    Raises:
        FreeBindError: There is no such device.
    """
    try:
        return jax.devices()[0] if device == "auto" else jax.devices(device)[0]
    except RuntimeError as error:
        raise FreeBindError(
            f"there is no {device} to compute on",
            expected="a device that JAX sees",
            got=str(error).splitlines()[0],
            fix="use --device cpu, or install the extra cuda12 or cuda13 on a machine with a GPU",
        ) from error


def computing_on(device: Device) -> AbstractContextManager[object]:
    """Return a context in which JAX computes on a device."""
    return jax.default_device(select_device(device))
