"""The device to compute on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import jax

from fb_jax.numerics import find_device, single_precision

Device = Literal["auto", "cpu", "gpu"]


def select_device(device: Device) -> jax.Device:
    """Return the device of an option.

    Raises:
        FreeBindError: There is no such device.
    """
    return find_device(None if device == "auto" else device)


@contextmanager
def computing_on(device: Device) -> Iterator[None]:
    """Return a context in which JAX computes on a device, in single precision.

    Raises:
        FreeBindError: There is no such device.
    """
    with jax.default_device(select_device(device)), single_precision():
        yield
