"""Where the space of fused banks is: a record beside them, ``embeddings/NAME/fused.json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fb_jax import files
from fb_jax.banks import Bank, Split, splits
from fb_jax.cli.source import space_in
from fb_jax.errors import FreeBindError
from fb_jax.files.kinds import Sha256, Weight
from fb_jax.fusion import FusedSpace, at_digest, digest

RECORD = "fused.json"


@dataclass(frozen=True)
class _Origin:
    """The folder of the run or the fused space, and the space at the factors of the banks.

    ``data`` is the bank root of the native spaces.
    """

    folder: str
    factors: dict[str, Weight]
    digest: Sha256
    data: str = ""


def write_origin(split: Split, name: str, folder: Path, space: FusedSpace, data: Path) -> None:
    """Record by which space the banks of a name were fused.

    Args:
        split: Split of the banks.
        name: Name of the space in the split.
        folder: Folder of the run or the fused space.
        space: The space at the factors of the banks.
        data: Bank root of its native spaces.
    """
    origin = {"folder": str(folder.resolve()), "data": str(data.resolve())}
    factors = dict(space.factors)
    files.write_json(_record(split, name), {**origin, "factors": factors, "digest": digest(space)})


def roots_of(bank: Bank, split: Split) -> list[Path]:
    """Return the bank roots that may have the native spaces of a bank: its own comes first."""
    record, roots = _record(split, bank.space), [split.path.parent]
    if record.exists() and (data := files.read_json(record, _Origin).data):
        roots += [path for path in [Path(data)] if path.is_dir()]
    return roots


def banks_of(roots: Sequence[Path], chosen: Sequence[str], space: str, modality: str) -> list[Bank]:
    """Return the banks of a space, those of the modality and of the chosen splits first.

    Args:
        roots: Bank roots.
        chosen: Names of splits; banks of others follow.
        space: Name of the space.
        modality: Name of the modality.
    """
    banks = [
        Bank.open(Split(root / split).bank_path(space, name))
        for root in roots
        for split in dict.fromkeys([*chosen, *splits(root)])
        for name in Split(root / split).spaces().get(space, ())
    ]
    return sorted(banks, key=lambda bank: bank.modality != modality)


def fused_space_of(bank: Bank, split: Split, run: Path | None = None) -> FusedSpace | None:
    """Return the fused space that a bank was written by; None if nothing says that it is fused.

    Args:
        bank: The bank.
        split: Its split.
        run: Folder of the run or the fused space; None takes the recorded one.

    Raises:
        FreeBindError: The folder is gone, or holds another space; or nothing says which space the
            rows of a hub correction are of.
    """
    record = _record(split, bank.space)
    origin = files.read_json(record, _Origin) if record.exists() else None
    folder = run or (Path(origin.folder) if origin else None)
    if folder is None:
        if bank.role:
            raise unknown_space(bank)
        return None
    if run is None and not folder.is_dir():
        raise FreeBindError(
            "the space that these banks were fused by is not there any more",
            where=folder,
            fix="name its new place with --run FOLDER",
        )
    space = space_in(folder)
    space = space.at(origin.factors) if origin else space
    if (found := at_digest(space, bank.encoder.weights_sha256)) is not None:
        return found
    raise FreeBindError(
        "these banks were fused by another space, or at factors that are not recorded",
        where=f"{bank.folder}, with {folder}",
        expected=f"SHA-256 {bank.encoder.weights_sha256}",
        got=f"SHA-256 {digest(space)}",
        fix="name the space that wrote them with --run FOLDER, or fuse the split again: --name NEW",
    )


def unknown_space(bank: Bank) -> FreeBindError:
    """Return the error for a fused bank without a record of its space."""
    return FreeBindError(
        "nothing says which space these banks were fused by",
        where=bank.folder,
        fix="name the folder of the run or the space with --run FOLDER",
    )


def _record(split: Split, name: str) -> Path:
    return split.path / "embeddings" / name / RECORD
