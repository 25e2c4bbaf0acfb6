"""Optional packages."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from fb_jax.errors import FreeBindError


def import_extra(module: str, extra: str, where: object = None) -> Any:
    """Import a package that an extra of this one installs.

    Raises:
        FreeBindError: It is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise FreeBindError(
            f"the package {error.name} is not installed",
            where=where,
            fix=f"pip install 'freebind-jax[{extra}]'",
        ) from error
