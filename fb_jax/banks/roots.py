"""Bank roots: folders of splits."""

from __future__ import annotations

from pathlib import Path

from fb_jax.banks.names import require_name
from fb_jax.banks.split import Split
from fb_jax.errors import FreeBindError, notice_once, unknown

NESTED = "no command finds this split: move its folder into the bank root"
NAMELESS = (
    "name its parent; if splits are here too, these items were written under an empty name: "
    "move items, embeddings and pairs into a folder of their own"
)


def split_in(root: Path | str, split: str) -> Split:
    """Return a split of a bank root, to write to. Neither needs to exist.

    Raises:
        FreeBindError: This cannot name a split.
    """
    require_name("split", split)
    return Split(Path(root) / split)


def open_split(root: Path | str, split: str) -> Split:
    """Return a split of a bank root.

    Raises:
        FreeBindError: There is no such root or split; names what exists.
    """
    root = Path(root)
    require_root(root)
    if not (known := splits(root)):
        raise FreeBindError(
            f"there is no split {split!r}: this folder has no splits, so it is no bank root",
            where=root.absolute(),
            expected="splits as freebind bank import, data and export make them",
            fix="name the folder that holds the splits: --data or --root",
        )
    if split not in known:
        raise unknown("split", split, known, root)
    return Split(root / split)


def require_root(root: Path) -> None:
    """Raise a FreeBindError unless a folder can be a bank root."""
    if not root.is_dir():
        fix = "if the data were moved, name their new place with --data or --root"
        raise FreeBindError("there is no such bank root", where=root.absolute(), fix=fix)
    if (root / "items").is_dir():
        raise FreeBindError("this is a split, not a bank root", where=root, fix=NAMELESS)


def splits(root: Path | str) -> list[str]:
    """Return the names of the splits of a bank root.

    A notice names those that an older version wrote deeper, as ``a/b``.
    """
    root = Path(root)
    for folder in {path.parents[1] for path in root.glob("*/*/items/*.jsonl")}:
        notice_once(f"{folder}: {NESTED} {root}")
    return sorted(path.parent.name for path in root.glob("*/items") if path.is_dir())
