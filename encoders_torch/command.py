"""What commands that encode share: parsing, help with an example, and the device."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import torch
import tyro
from tyro.conf import arg

from encoders_torch.explain import in_one_line
from fb_jax.arguments import require_once
from fb_jax.errors import FreeBindError
from fb_jax.process import run_command

T = TypeVar("T")
DEVICES = "auto, cpu, cuda, cuda:1 or mps"
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
        require_once(options, sys.argv[1:])
        try:
            chosen = tyro.cli(options, args=sys.argv[1:], prog=name)
        except SystemExit:
            if {"-h", "--help"} & set(sys.argv[1:]):
                print(f"Example:\n  {name} {example}")
            raise
        command(chosen)

    run_command(parse_and_run)


def device_of(choice: str) -> str:
    """Return torch's name of a device.

    Args:
        choice: ``auto``, or torch's name of a device. ``auto`` is a GPU if torch finds one; under
            torchrun and srun the one of this process.

    Raises:
        FreeBindError: There is no such device.
    """
    if choice == "auto":
        if torch.cuda.is_available():
            rank = int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", 0)))
            return f"cuda:{rank % torch.cuda.device_count()}"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(choice)
    except RuntimeError as error:  # its text names two dozen kinds
        fix = "leave --device out: auto takes a GPU if there is one"
        what = f"there is no device {choice!r}"
        raise FreeBindError(what, expected=DEVICES, fix=fix) from error
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise FreeBindError(
            f"torch cannot use the device {choice!r}",
            expected=DEVICES,
            got=f"torch {torch.__version__}: {in_one_line(error)}",
            fix="use --device cpu, or install a torch that was built for your GPU",
        ) from error
    return str(device)


def place_among_processes() -> tuple[int, int] | None:
    """Return the number of this process and how many there are, if torchrun or srun says so."""
    for number, count in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")):
        if {number, count} <= os.environ.keys() and int(os.environ[count]) > 1:
            return int(os.environ[number]), int(os.environ[count])
    return None
