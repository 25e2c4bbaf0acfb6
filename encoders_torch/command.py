"""What commands that encode share: parsing, help with an example, and the device."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import torch
import tyro
from tyro.conf import arg

from fb_jax.errors import FreeBindError
from fb_jax.process import run_command

T = TypeVar("T")
Device = Literal["auto", "cpu", "cuda"]
PathOption = Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")]
TextOption = Annotated[str | None, arg(metavar="TEXT", help_behavior_hint="")]


def run(options: type[T], command: Callable[[T], None], name: str, example: str) -> None:
    """Parse the command line and run a command; ``--help`` ends with an example.

    Args:
        options: Dataclass of the options.
        command: Takes the options.
        name: How the command is called, as ``python -m encoders_torch.export``.
        example: Arguments of a typical call.
    """

    def parse_and_run() -> None:
        try:
            chosen = tyro.cli(options, args=sys.argv[1:], prog=name)
        except SystemExit:
            if {"-h", "--help"} & set(sys.argv[1:]):
                print(f"Example:\n  {name} {example}")
            raise
        command(chosen)

    run_command(parse_and_run)


def device_of(choice: Device) -> str:
    """Return torch's name of a device.

    Raises:
        FreeBindError: A GPU was asked for, and torch finds none.
    """
    if choice == "cuda" and not torch.cuda.is_available():
        raise FreeBindError(
            "torch finds no GPU",
            got=f"torch {torch.__version__}",
            fix="use --device cpu, or install a torch that was built for your GPU",
        )
    if choice != "auto":
        return choice
    return "cuda" if torch.cuda.is_available() else "cpu"
