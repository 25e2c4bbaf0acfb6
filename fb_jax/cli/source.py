"""The fused space that a command works on, and its banks: a run's, or a stored space's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fb_jax.banks import POOL, BankSet, open_banks, open_split, splits
from fb_jax.banks.bankset import NothingShared
from fb_jax.errors import FreeBindError, notice_once
from fb_jax.evaluation.spaces import Row
from fb_jax.fusion import FusedSpace
from fb_jax.run import Run, evaluation_banks
from fb_jax.run.choosing import Chosen, Validation
from fb_jax.run.folder import RunPaths
from fb_jax.run.hubs import corrected_sources
from fb_jax.run.metrics import METRICS, read_validation
from fb_jax.run.provenance import (
    Provenance,
    read_provenance,
    require_unchanged,
)

MARKERS = ("run.json", "space.json")
HOMES = (Path("runs/word_world"), Path("runs"))
A_SPACE = "the folder of a run, a product or a fused space"
EXPECTED = "--run FOLDER (a run, a product, or a fused space with --data BANKS)"


@dataclass(frozen=True)
class Source:
    """A fused space and banks of all its native spaces.

    Attributes:
        space: The space at its own factors.
        folder: The folder that it was found in.
        splits: Returns the names of the evaluation splits.
        open: Opens a split, verified.
        root: Bank root.
        pool: The split that was trained on.
        validation: What something was chosen on, with the factors if they were.
    """

    space: FusedSpace
    folder: Path
    splits: Callable[[], list[str]]
    open: Callable[[str], BankSet]
    root: Path
    pool: str = POOL
    validation: Validation | None = None

    @property
    def chosen(self) -> Chosen | None:
        """The factors that were chosen, and how."""
        return self.validation if isinstance(self.validation, Chosen) else None

    def every_split(self) -> dict[str, BankSet]:
        """Open every split but the pool, verified, also where native spaces are missing.

        A notice names them. Splits without any item that all the spaces there have are left out.
        """
        found = {}
        for name in splits(self.root):
            here = open_split(self.root, name).spaces()
            lacking = [space for space in self.space.spaces if space not in here]
            if name == self.pool or len(lacking) == len(self.space.spaces):
                continue
            if lacking:
                text = f"no rows of {', '.join(lacking)}: cells that need them are blank"
                notice_once(f"{self.root / name}: {text}")
            with suppress(NothingShared):
                found[name] = self._opened(name, [s for s in self.space.spaces if s in here])
        return found

    def corrected_sources(self) -> dict[str, Row]:
        """Return what a hub-corrected space is compared with, corrected too, for tables."""
        return corrected_sources(self.space, self.root, self.pool, self.validation, self.open)

    def _opened(self, split: str, spaces: list[str]) -> BankSet:
        if len(spaces) == len(self.space.spaces) and split in self.splits():
            return self.open(split)  # and compared with what was recorded
        banks = open_banks(self.root, split, spaces=spaces)
        banks.verify()
        return banks


def source_of(
    run: Path | None, space: Path | None, data: Path | None, product: str | None = None
) -> Source:
    """Return what ``--run``, ``--space`` or ``--product`` names.

    Args:
        run: Folder of a run, a product or a fused space, or a folder with exactly one of them.
        space: The same; the name for a fused space.
        data: Bank root; for a run or product, by default the one that it was trained on.
        product: Name of a product in runs/word_world or runs.

    Raises:
        FreeBindError: Not exactly one of them is named, or it leads to no space.
    """
    if sum(part is not None for part in (run, space, product)) != 1:
        raise FreeBindError("name one thing to work on", expected=EXPECTED)
    named = run or space or product_folder(product or "")
    folder = _find(named)
    if (folder / "run.json").exists():
        finished = Run(folder)
        return Source(
            finished.space,
            folder,
            lambda: finished.splits,
            lambda split: finished.open_banks(split, data),
            data or finished.data,
            finished.pool,
            finished.validation,
        )
    provenance = _recorded(folder) if data is None else Provenance(str(data))
    return _stored(folder, provenance)


def product_folder(name: str, homes: Sequence[Path] = HOMES) -> Path:
    """Return the folder of a product that was made, by its name.

    Raises:
        FreeBindError: There is none, or there are several.
    """
    found = [home / name for home in homes if RunPaths(home / name).is_product]
    if len(found) == 1:
        return found[0]
    raise FreeBindError(
        "several products have this name" if found else "this product was not made here",
        where=name,
        expected=f"one of {', '.join(str(home / name) for home in homes)}",
        got=", ".join(map(str, found)) or None,
        fix="name its folder with --run" if found else f"freebind train --product {name}",
    )


def space_in(folder: Path) -> FusedSpace:
    """Return the fused space of a run, a product, or a folder with exactly one of them."""
    found = _find(folder, A_SPACE)
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
    known = read_validation(metrics, loaded, stored=True) if of_product else None
    return Source(loaded, folder, names, opened, root, provenance.pool, known)


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


def _find(folder: Path, expected: str = EXPECTED) -> Path:
    """Return the run or stored space that a folder is, or the only one that it holds."""
    if (found := _holds(folder)) is not None:
        return found
    if not folder.is_dir():
        raise FreeBindError("there is no such folder", where=folder.absolute(), expected=expected)
    inside = sorted(path for path in _folders(folder) if any((path / m).is_file() for m in MARKERS))
    if len(inside) == 1:
        return inside[0]
    names = [str(path.parent if path.name == "space" else path) for path in inside]
    raise FreeBindError(
        "several runs or spaces are here" if names else "no run and no fused space here",
        where=folder,
        expected=expected,
        got=", ".join(names[:10]) + (f", and {len(names) - 10} more" if names[10:] else "") or None,
        fix="name one of them" if names else None,
    )
