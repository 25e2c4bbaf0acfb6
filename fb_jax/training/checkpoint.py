"""Checkpoints written by Orbax, verified by SHA-256.

    FOLDER/<step>/            Orbax: ``state`` (arrays by name) and ``place`` (iterator state, JSON)
    FOLDER/<step>.json        digests of its files and of its training's claim, written last

Orbax does not check content: an altered byte is read back as another number. A step without its
digests was interrupted while it was written and does not count.
"""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint._src.serialization import tensorstore_utils

from fb_jax import files
from fb_jax.errors import FreeBindError

Tree = TypeVar("Tree")
STEP = re.compile(r"[0-9]{1,15}")
OVERHEAD = 1 << 20
"""Bytes of a checkpoint beside its arrays, and more."""


@dataclass(frozen=True)
class _Record:
    """What is known of a checkpoint."""

    claim: str
    files: dict[str, str]


class Checkpoints:
    """The checkpoints of one training; all but the newest ``keep`` are deleted.

    Args:
        folder: Where they are.
        claim: Digest of what the training is; a checkpoint of another one is refused. "" for
            checkpoints of earlier versions, which have none.
        keep: Number of checkpoints to keep.
    """

    def __init__(self, folder: Path, claim: str = "", *, keep: int = 2) -> None:
        self.folder, self.claim, self.keep = folder.absolute(), claim, keep

    def steps(self) -> list[int]:
        """Return the steps with a complete checkpoint, in ascending order."""
        names = (path.stem for path in self.folder.glob("*.json") if STEP.fullmatch(path.stem))
        return sorted(int(name) for name in names if (self.folder / name).is_dir())

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
            with (
                _suiting(self.folder),
                ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer,
            ):
                checkpointer.save(target, items, force=True)  # over what a killed process left
        except MemoryError:
            raise
        except Exception as error:  # Orbax passes on whatever its storage raises
            raise FreeBindError(
                "a checkpoint could not be written",
                where=target,
                got=f"{type(error).__name__}: {error}",
                fix="free some space, or look at the disk, and run the same command again; it "
                "continues from " + (f"step {self.steps()[-1]}" if self.steps() else "the start"),
            ) from error
        record = {"claim": self.claim, "files": _digests(target)}
        files.write_json(target.with_suffix(".json"), record)
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
        self._require_whole(target, fix)
        expected = _by_name(like)
        saved = ocp.args.Composite(state=ocp.args.StandardRestore(), place=ocp.args.JsonRestore())
        with (
            files.explained("a checkpoint cannot be read", target, fix),
            ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer,
        ):
            found = checkpointer.restore(target, saved)
        options = "use the options that it was trained with"
        shapes = _shapes(found["state"]), _shapes(expected)
        _require_same(f"{target}, array ", *shapes, "belongs to another model", options)
        leaves = [found["state"][name] for name in expected]
        return jax.tree.unflatten(jax.tree.structure(like), leaves), found["place"]

    def _require_whole(self, target: Path, fix: str) -> None:
        """Raise a FreeBindError unless a checkpoint is unaltered and of this training."""
        path = target.with_suffix(".json")
        record = files.read_json(path, dict[str, Any])
        if not self.claim and "claim" not in record:  # as earlier versions wrote both
            record = {"claim": "", "files": record}
        whole = files.convert(record, _Record, path)
        fault = "was altered after it was written"
        _require_same(f"{target}/", _digests(target), whole.files, fault, fix)
        claims = {"claim": self.claim}, {"claim": whole.claim}
        _require_same(f"{target}, ", *claims, "belongs to another training", fix)


@contextmanager
def _suiting(folder: Path) -> Iterator[None]:
    """Let Orbax's storage write to a disk without locks, or one that cannot sync folders.

    Orbax has no option for it, so its private settings are changed meanwhile.
    """
    able = files.sync_folder(folder), files.has_locks(folder)
    plain = {} if all(able) else {"file_io_sync": False, "file_io_locking": {"mode": "none"}}
    with ExitStack() as stack:
        for name in ("_BASE_TS_CONTEXT", "_DEFAULT_OCDBT_TS_CONTEXT") if plain else ():
            stack.enter_context(mock.patch.dict(getattr(tensorstore_utils, name), plain))
        yield


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


def _shapes(arrays: Any) -> dict[str, str]:
    return {name: f"{np.dtype(x.dtype)}{list(x.shape)}" for name, x in arrays.items()}


def _require_same(
    where: str, found: Mapping[str, str], wanted: Mapping[str, str], fault: str, fix: str
) -> None:
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise FreeBindError(
                f"a checkpoint {fault}",
                where=f"{where}{name}",
                expected=wanted.get(name, "none of this name"),
                got=found.get(name, "none of this name"),
                fix=fix,
            )
