"""What a command works on: the space of a run and its banks, or an artefact and a bank root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fb_jax.banks import BankSet, open_banks
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace
from fb_jax.run import Run, evaluation_banks


@dataclass(frozen=True)
class Source:
    """A fused space and banks of all that it is fused from.

    Attributes:
        space: At its own factors.
        splits: Returns the evaluation splits.
        open: Opens a split, verified.
    """

    space: FusedSpace
    splits: Callable[[], list[str]]
    open: Callable[[str], BankSet]


def source_of(run: Path | None, space: Path | None, data: Path | None) -> Source:
    """Return what ``--run`` or ``--space`` names.

    Args:
        run: Run folder that train.py wrote.
        space: Fused space: a folder that train.py --product or freebind export-space wrote.
        data: Bank root; of a run the one that it was trained on by default.

    Raises:
        FreeBindError: Not just one of the two is named, or one that is none.
    """
    if run is not None and space is None:
        found = Run(run)
        known = lambda: found.splits  # noqa: E731
        return Source(found.space, known, lambda split: found.open_banks(split, data))
    if run is not None or space is None or data is None:
        raise FreeBindError(
            "name what to work on, once", expected="--run RUN, or --space FOLDER --data BANKS"
        )
    loaded = FusedSpace.load(space)

    def opened(split: str) -> BankSet:
        banks = open_banks(data, split, spaces=loaded.spaces)
        banks.verify()
        return banks

    return Source(loaded, lambda: list(evaluation_banks(loaded, data)), opened)
