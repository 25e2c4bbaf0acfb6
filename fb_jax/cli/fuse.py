"""``freebind fuse``: fused rows as banks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, arg

from fb_jax.banks import Bank, BankSet, Split, open_split
from fb_jax.cli.device import on_device
from fb_jax.cli.factors import ExpertFactors
from fb_jax.cli.origin import write_origin
from fb_jax.cli.source import source_of
from fb_jax.console import ConsoleReporter
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace, Missing, digest, fusable, write_fused
from fb_jax.run import Device
from fb_jax.run.default import shipped


@dataclass(frozen=True)
class Stored:
    """How fused rows are stored."""

    dtype: Literal["float16", "float32"] = "float16"
    """Format of the stored rows."""

    missing: Missing = "unified"
    """Items that an expert lacks: unified fuses them from the unified space and the experts that
    have them, so that they can be found; leave-out gives them no row."""

    plain: bool = False
    """Leave out the hub correction of the space: rows to be found have it, but other bonds,
    evaluation and tuning need rows without."""


@on_device
def fuse(
    split: tuple[str, ...],
    factors: OmitArgPrefixes[ExpertFactors],
    stored: OmitArgPrefixes[Stored],
    run: Path | None = None,
    space: Path | None = None,
    preset: str | None = None,
    name: str | None = None,
    data: Annotated[Path | None, arg(metavar="BANK_ROOT")] = None,
    out: Annotated[Path | None, arg(metavar="BANK_ROOT")] = None,
    device: Device = "auto",
) -> None:
    """Write the fused rows of every item of one or several splits as banks.

    It does not overwrite. For other factors choose another name: --name best.

    Args:
        split: Splits to fuse, pool or evaluation.
        factors: Weights of the expert, 0 to 1: sigma after a combination, lambda after a
            displacement in the paper.
        run: Folder of a run or a product, or a folder with exactly one of them.
        space: Folder of a fused space; needs --data.
        preset: Factors by name: versatile, at_expertise, it_expertise; halfway for other experts,
            equal for a direct sum. By default the first that fits, or those of the fused space.
        name: Name of the fused space; by default UNIFIED+EXPERT, or its own.
        data: Bank root to read; by default the one that the run was trained on.
        out: Bank root to write; by default the one that is read, which gets one more space. On the
            word world RUN/fused.
        device: Device to compute on.
    """
    source, names = source_of(run, space, data), list(dict.fromkeys(split))
    if not names:
        raise FreeBindError("there is nothing to fuse", expected="--split NAME ...")
    fused = factors.at(source.space.plain if stored.plain else source.space, preset)
    name = name or fused.title
    opened = {part: source.open(part) for part in names}
    roots = {part: out or _beside(banks, source.folder) for part, banks in opened.items()}
    for part, root in roots.items():
        require_same_or_none(Split(root / part), name, fused)
    for part, banks in opened.items():
        _fuse(fused, banks, Split(roots[part] / part), name, source.folder, stored)
    root = roots[names[0]]
    print(
        f"search them:  freebind search --root {root} --split {' '.join(names)} --space {name} "
        f"--in {fused.shared[0]} --like {fused.shared[-1]} --row 0"
    )


def _fuse(
    fused: FusedSpace, banks: BankSet, target: Split, name: str, folder: Path, stored: Stored
) -> None:
    """Write the fused rows of one split, and say how many there are."""
    native = Path(banks.split.path).parent
    items = open_split(native, target.name).items
    total = sum(len(items(m)) for m in fusable(fused, banks))
    root = target.path.parent
    with ConsoleReporter().task(f"fuse {target.name}", total) as advance:
        counts = write_fused(
            fused,
            banks,
            root,
            name,
            dtype=stored.dtype,
            missing=stored.missing,
            progress=advance,
        )
    write_origin(target, name, folder, fused, native)
    done = ", ".join(f"{count} {modality}" for modality, count in counts.items())
    print(f"{done} items in {target.path}, space {name}; {fused}")
    for line in _exceptions(target, name, counts):
        print(line)


def _exceptions(split: Split, name: str, modalities: Iterable[str]) -> Iterator[str]:
    """Yield a line for each kind of items that were not fused from all spaces."""
    for modality in modalities:
        bank = Bank.open(split.bank_path(name, modality))
        for expert, rows in bank.partial.items():
            yield f"{modality}: {len(rows)} without {expert}, fused from the other spaces"
        if len(bank.missing):
            yield f"{modality}: {len(bank.missing)} without a fused row, which no search finds"


def _beside(banks: BankSet, folder: Path) -> Path:
    """Return the default bank root to write: the one that is read, unless it is the package's."""
    root = Path(banks.split.path).parent
    home = folder.parent if folder.name == "space" else folder
    return home / "fused" if shipped(root) else root


def require_same_or_none(split: Split, name: str, space: FusedSpace) -> None:
    """Raise a FreeBindError if other rows have this name already."""
    for modality in split.spaces().get(name, []):
        folder = split.bank_path(name, modality)
        if Bank.open(folder).encoder.weights_sha256 != digest(space):
            raise FreeBindError(
                f"`{name}` already exists: other weights, other factors, or rows in another role",
                where=folder,
                fix=f"choose another --name, such as --name best, or delete {folder.parent}",
            )
