"""Checkpoints written by Orbax, verified by SHA-256.

    FOLDER/<step>/            Orbax: ``state`` (arrays by name) and ``place`` (iterator state, JSON)
    FOLDER/<step>.json        SHA-256 of each of its files, written last

Orbax does not check content: an altered byte is read back as another number. A step without its
digests was interrupted while it was written and does not count.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp

from fb_jax import files
from fb_jax.errors import FreeBindError

Tree = TypeVar("Tree")
OVERHEAD = 1 << 20
"""Bytes of a checkpoint beside its arrays, and more."""


class Checkpoints:
    """The checkpoints of one training; all but the newest ``keep`` are deleted.

    Args:
        folder: Where they are.
        keep: Number of checkpoints to keep.
    """

    def __init__(self, folder: Path, *, keep: int = 2) -> None:
        self.folder = folder.absolute()
        self.keep = keep

    def steps(self) -> list[int]:
        """Return the steps with a complete checkpoint, in ascending order."""
        digests = self.folder.glob("*.json")
        return sorted(int(path.stem) for path in digests if (self.folder / path.stem).is_dir())

    def save(self, step: int, state: Any, iterator_state: dict[str, Any]) -> None:
        """Write a checkpoint; it counts once its digests are on disk.

        Args:
            step: Steps taken.
            state: A pytree of arrays.
            iterator_state: State of the batch iterator, as JSON types.

        Raises:
            FreeBindError: It cannot be written; earlier checkpoints are kept.
        """
        if step in self.steps():
            return
        target = self.folder / str(step)
        # From the host: arrays saved from a device can only be restored where it exists.
        arrays = _by_name(jax.device_get(state))
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(arrays),
            place=ocp.args.JsonSave(iterator_state),
        )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers()
            _require_room(self.folder, arrays)
            with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
                checkpointer.save(target, items, force=True)  # over what a killed process left
        except (OSError, ValueError) as error:
            raise FreeBindError(
                "a checkpoint could not be written",
                where=target,
                got=f"{type(error).__name__}: {error}",
                fix="free some space and run the same command again; it continues from "
                + (f"step {self.steps()[-1]}" if self.steps() else "the start"),
            ) from error
        files.write_json(target.with_suffix(".json"), _digests(target))
        for old in self.steps()[: -self.keep]:
            (self.folder / f"{old}.json").unlink()
            shutil.rmtree(self.folder / str(old))

    def _remove_leftovers(self) -> None:
        """Remove what a killed process left: steps without digests, digests without steps."""
        whole = {str(step) for step in self.steps()}
        for path in self.folder.iterdir():
            if path.is_dir() and path.name not in whole:
                shutil.rmtree(path)
            elif path.suffix == ".json" and path.stem not in whole:
                path.unlink()

    def restore(self, step: int, like: Tree) -> tuple[Tree, dict[str, Any]]:
        """Read a checkpoint.

        Args:
            step: One of ``steps()``.
            like: A pytree with the expected shapes and dtypes.

        Returns:
            The state, in NumPy arrays, and the iterator state.

        Raises:
            FreeBindError: Its bytes were altered, or its arrays are not as expected.
        """
        target = self.folder / str(step)
        fix = f"delete {target} and {step}.json beside it to continue from an earlier checkpoint"
        _require_digests(target, fix)
        expected = _by_name(like)
        saved = ocp.args.Composite(state=ocp.args.StandardRestore(), place=ocp.args.JsonRestore())
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
            found = checkpointer.restore(target, saved)
        _require_shapes(found["state"], expected, target)
        leaves = [found["state"][name] for name in expected]
        return jax.tree.unflatten(jax.tree.structure(like), leaves), found["place"]


def _by_name(tree: Any) -> dict[str, Any]:
    leaves, _ = jax.tree.flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _require_room(folder: Path, arrays: Mapping[str, Any]) -> None:
    """Raise an OSError if the disk is full; Orbax would print the tracebacks of its threads."""
    needed, free = (
        OVERHEAD + sum(np.asarray(x).nbytes for x in arrays.values()),
        files.free_bytes(folder),
    )
    if free < needed:
        text = f"{files.gigabytes(free)} free, {files.gigabytes(needed)} needed"
        raise OSError(errno.ENOSPC, text, str(folder))


def _digests(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): files.sha256_of(path) for path in paths}


def _require_digests(target: Path, fix: str) -> None:
    wanted, found = files.read_json(target.with_suffix(".json")), _digests(target)
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise FreeBindError(
                "a checkpoint was altered after it was written",
                where=target / name,
                expected=f"SHA-256 {wanted.get(name, 'no such file')}",
                got=f"SHA-256 {found.get(name, 'no such file')}",
                fix=fix,
            )


def _shapes(arrays: Any) -> dict[str, str]:
    return {name: f"{np.dtype(x.dtype)}{list(x.shape)}" for name, x in arrays.items()}


def _require_shapes(arrays: Any, like: dict[str, Any], target: Path) -> None:
    found, wanted = _shapes(arrays), _shapes(like)
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise FreeBindError(
                "a checkpoint belongs to another model",
                where=f"{target}, array {name}",
                expected=wanted.get(name, "no such array"),
                got=found.get(name, "no such array"),
                fix="use the options that it was trained with",
            )
