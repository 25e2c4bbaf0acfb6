"""Commands that compute."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from fb_jax.run import computing_on


def on_device(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command: all that it does, it does on the device of its option ``device``.

    Reading a bond already uses JAX. A command without this option uses what JAX finds.
    """

    @wraps(command)
    def on_its_device(*args: Any, **options: Any) -> None:
        with computing_on(options.get("device", "auto")):
            command(*args, **options)

    return on_its_device
