"""The fused space that a command works on, and its banks: a run's, or a stored space's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fb_jax.banks import BankSet, open_banks
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace
from fb_jax.run import Run, evaluation_banks
from fb_jax.run.choosing import Chosen
from fb_jax.run.folder import RunPaths
from fb_jax.run.metrics import METRICS, read_chosen
from fb_jax.run.provenance import (
    Provenance,
    read_provenance,
    require_unchanged,
)

MARKERS = ("run.json", "space.json")
EXPECTED = "--run FOLDER (a run, a product, or a fused space with --data BANKS)"


@dataclass(frozen=True)
class Source:
    """A fused space and banks of all its native spaces.

    Attributes:
        space: The space at its own factors.
        folder: The folder that it was found in.
        splits: Returns the names of the evaluation splits.
        open: Opens a split, verified.
        chosen: The factors that were chosen, and how.
    """

    space: FusedSpace
    folder: Path
    splits: Callable[[], list[str]]
    open: Callable[[str], BankSet]
    chosen: Chosen | None = None


def source_of(run: Path | None, space: Path | None, data: Path | None) -> Source:
    """Return what ``--run`` or ``--space`` names.

    Args:
        run: Folder of a run, a product or a fused space, or a folder with exactly one of them.
        space: The same; the name for a fused space.
        data: Bank root; for a run or product, by default the one that it was trained on.

    Raises:
        FreeBindError: Not exactly one of the two is named, or it leads to no space.
    """
    if (run is None) == (space is None):
        raise FreeBindError("name one thing to work on", expected=EXPECTED)
    named = run or space
    assert named is not None
    folder = _find(named)
    if (folder / "run.json").exists():
        finished = Run(folder)
        return Source(
            finished.space,
            folder,
            lambda: finished.splits,
            lambda split: finished.open_banks(split, data),
            finished.chosen,
        )
    provenance = _recorded(folder) if data is None else Provenance(str(data))
    return _stored(folder, provenance)


def space_in(folder: Path) -> FusedSpace:
    """Return the fused space of a run, a product, or a folder with exactly one of them."""
    found = _find(folder)
    return Run(found).space if (found / "run.json").exists() else FusedSpace.load(found)


def _stored(folder: Path, provenance: Provenance) -> Source:
    loaded, root = FusedSpace.load(folder), Path(provenance.data)

    def opened(split: str) -> BankSet:
        banks = open_banks(root, split, spaces=loaded.spaces)
        fix = f"restore them, or use them as they are now with --data {root}"
        require_unchanged(provenance.banks.get(split, {}), banks, fix)
        banks.verify()
        return banks

    names = lambda: provenance.evaluation or list(evaluation_banks(loaded, root))  # noqa: E731
    of_product = folder.name == "space" and RunPaths(folder.parent).is_product
    metrics = folder.parent / METRICS
    chosen = read_chosen(metrics, loaded, stored=True) if of_product else None
    return Source(loaded, folder, names, opened, chosen)


def _recorded(folder: Path) -> Provenance:
    """Return what a product recorded of its data."""
    provenance = folder.parent / "provenance.json"
    if folder.name != "space" or not provenance.exists():
        raise FreeBindError(
            "a fused space alone does not know its banks", where=folder, expected="--data BANKS"
        )
    return read_provenance(provenance, folder.parent / "product.json")


def _holds(folder: Path) -> Path | None:
    """Return the folder itself if it is a run or a stored space, or a product's space."""
    for inside in (folder, folder / "space"):
        if any((inside / name).exists() for name in MARKERS):
            return inside
    return None


def _folders(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Yield a folder and those inside, also by links, but not by one that leads back."""
    if (real := os.path.realpath(folder)) in above:
        return
    yield folder
    with suppress(OSError):  # such as a folder that may not be read
        for inside in folder.iterdir():
            if inside.is_dir():
                yield from _folders(inside, above | {real})


def _find(folder: Path) -> Path:
    """Return the run or stored space that a folder is, or the only one that it holds."""
    if (found := _holds(folder)) is not None:
        return found
    if not folder.is_dir():
        raise FreeBindError("there is no such folder", where=folder.absolute(), expected=EXPECTED)
    inside = sorted(path for path in _folders(folder) if any((path / m).is_file() for m in MARKERS))
    if len(inside) == 1:
        return inside[0]
    names = [str(path.parent if path.name == "space" else path) for path in inside]
    raise FreeBindError(
        "several runs or spaces are here" if names else "no run and no fused space here",
        where=folder,
        expected=EXPECTED,
        got=", ".join(names[:10]) + (f", and {len(names) - 10} more" if names[10:] else "") or None,
        fix="name one of them" if names else None,
    )
