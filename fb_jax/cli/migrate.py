"""``freebind migrate``: rows of an old encoder as rows of a new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from tyro.conf import OmitArgPrefixes, arg

from fb_jax import files
from fb_jax.banks import Bank, BankSet, Split, open_banks, open_split, require_name
from fb_jax.cli.device import on_device
from fb_jax.cli.fuse import require_same_or_none
from fb_jax.cli.origin import write_origin
from fb_jax.console import ConsoleReporter, console
from fb_jax.errors import FreeBindError, notice_once, unknown
from fb_jax.evaluation import Results
from fb_jax.evaluation.memory import in_bytes
from fb_jax.fusion import FusedSpace, fusable, write_fused
from fb_jax.projector import Bond
from fb_jax.run import Device, RunConfig
from fb_jax.run.default import shipped, word_world
from fb_jax.run.migration import (
    TRAINING,
    Ends,
    Kind,
    banks_to_migrate,
    linear_migration,
    measured_splits,
    migrated_space,
    shared_modalities,
    train_migration,
)
from fb_jax.run.migration_report import (
    migration_results,
    plot_shares,
    row_name,
    score_bytes,
    summary,
)
from fb_jax.training import Training

FEW = 1000
"""Items of a modality below which more of them would help."""

CAPTION = (
    "Means of both directions in %, of one where the new model lacks a modality. The first row is\n"
    "the old model before the change; in all others new queries ask. N % again: N % of the items\n"
    "are embedded again, the others projected by a bond or one linear map; the last row: all are."
)


@dataclass(frozen=True)
class Where:
    """Where a migration reads and writes."""

    data: Annotated[Path | None, arg(metavar="BANK_ROOT")] = None
    """Bank root; by default the word world."""

    pool: str = "pool"
    """Split to learn from: items with rows of both models. It may be the corpus itself, if a
    sample of it was embedded again."""

    out: Annotated[Path | None, arg(metavar="BANK_ROOT")] = None
    """Bank root to write; by default the one that is read, which gets one more space. On the word
    world FOLDER/fused."""

    folder: Path | None = None
    """Folder of the migration, with figures, pictures, the run of the bond, and its space in
    FOLDER/bond or FOLDER/linear; by default runs/OLD-to-NEW."""


@dataclass(frozen=True)
class Measuring:
    """What is measured, and in what memory."""

    measure: tuple[str, ...] | None = None
    """Splits to measure on; by default all but the pool with rows of both models."""

    memory_gb: Annotated[float, arg(name="memory-gb")] = 8.0
    """Memory that measuring may take, in GB (10^9 bytes); figures do not depend on it."""


@on_device
def migrate(
    old: str,
    new: str,
    where: OmitArgPrefixes[Where],
    measuring: OmitArgPrefixes[Measuring],
    training: Training = TRAINING,
    split: tuple[str, ...] = (),
    map: Kind = "bond",
    name: str | None = None,
    dtype: Literal["float16", "float32"] = "float16",
    device: Device = "auto",
) -> None:
    """Turn rows of an old embedding model into rows of a new one, without embedding again.

    A bond from the old space to the new one is trained on items that both models have embedded. The
    table shows what new queries find by the share of items that are embedded again, beside one
    linear map. Then --split writes banks of the new space: new rows where there are some, projected
    old rows elsewhere.

    Args:
        old: Space of the old model.
        new: Space of the new model.
        where: Where to read and write.
        measuring: What is measured, and in what memory.
        training: Settings of the bond.
        split: Splits to write; none: only train and measure.
        map: What projects: bond, or linear, which takes seconds and is enough for spaces with one
            modality.
        name: Name of the migrated rows; by default NEW_from_OLD.
        dtype: Format of the stored rows.
        device: Device to compute on.
    """
    ends, data = Ends(old, new), where.data or word_world()
    _require_two(ends)
    name = name or f"{new}_from_{old}"
    require_name("space", name)
    folder = where.folder or Path("runs") / (shipped(data) or "") / f"{old}-to-{new}"
    root = where.out or (folder / "fused" if shipped(data) else data)
    pool = open_banks(data, where.pool, spaces=ends)
    pool.verify()
    _require_can_be_learned(pool, ends, map)
    measured = _measured(measured_splits(data, where.pool, ends), measuring.measure)
    opened = {s: banks_to_migrate(open_split(data, s), pool, ends) for s in dict.fromkeys(split)}
    bonds = {"linear": linear_migration(pool, ends)}
    memory = in_bytes(measuring.memory_gb)
    for banks in measured.values():  # before training
        score_bytes(migrated_space(bonds["linear"]), banks, ends, memory)
    if map == "bond":
        bonds = {"bond": _trained(ends, data, where.pool, folder, training, device), **bonds}
    maps = {kind: migrated_space(bond) for kind, bond in bonds.items()}
    for one in opened:
        require_same_or_none(Split(root / one), name, maps[map])
    maps[map].save(folder / map, licences=_licences(pool, ends))
    _report(maps, ends, measured, folder, memory)
    for banks in opened.values():
        _write(maps[map], banks, root, name, ends, dtype)
        write_origin(Split(root / banks.split.name), name, folder / map, maps[map], data)
    _tell_next(list(opened), root, name, ends)


def _require_two(ends: Ends) -> None:
    """Raise a FreeBindError if the old model is the new one."""
    if ends.old == ends.new:
        raise FreeBindError("the old and the new model are the same", got=ends.old)


def _require_can_be_learned(pool: BankSet, ends: Ends, kind: Kind) -> None:
    """Raise a FreeBindError unless the pool suffices; say what the new model lacks."""
    both = shared_modalities(pool, ends)
    old, new = (pool.modalities(name) for name in ends)
    if kind == "bond" and min(len(old), len(new)) < 2:
        raise FreeBindError(
            "a bond needs two or more modalities in each space",
            where=pool.split.path,
            got=f"{ends.old}: {', '.join(old)}; {ends.new}: {', '.join(new)}",
            fix="use one linear map: --map linear",
        )
    for modality in (m for m in old if m not in both):
        notice_once(
            f"{modality}: {ends.new} lacks it, so its rows are projected by what was learned from "
            f"{' and '.join(both)}; they can be found, but no new {modality} can be embedded"
        )
    counts = {m: len(pool.rows[m]) for m in both}
    for modality in (m for m, count in counts.items() if count < FEW):
        notice_once(
            f"{modality}: only {counts[modality]} items have rows of both models; "
            f"embed {FEW} or more again to learn from"
        )


def _measured(found: Mapping[str, BankSet], asked: tuple[str, ...] | None) -> dict[str, BankSet]:
    """Return the splits to measure on, verified."""
    for name in asked or ():
        if name not in found:
            raise unknown("split with rows of both models", name, found)
    chosen = {name: banks for name, banks in found.items() if asked is None or name in asked}
    for banks in chosen.values():
        banks.verify()
    return chosen


def _licences(pool: BankSet, ends: Ends) -> dict[str, str]:
    """Return the licences of both models, as the pool's banks record them."""
    return {name: pool[name, pool.modalities(name)[0]].encoder.licence for name in ends}


def _trained(
    ends: Ends, data: Path, pool: str, folder: Path, training: Training, device: Device
) -> Bond:
    """Train the bond, or continue, in the folder."""
    config = RunConfig(
        data=data,
        unified=ends.old,
        expert=ends.new,
        bond="displacement",
        pool=pool,
        choose="none",
        out=folder / "run",
        store=folder / "pairs",
        training=training,
        device=device,
    )
    with files.locked(config.folder):
        return train_migration(config, ConsoleReporter())


def _report(
    maps: Mapping[str, FusedSpace],
    ends: Ends,
    measured: Mapping[str, BankSet],
    folder: Path,
    memory: int,
) -> None:
    """Print the tables; write them as JSON and as a picture, for each split and map."""
    results = {}
    with ConsoleReporter().task("measuring", len(measured)) as advance:
        advance(0)
        for split, banks in measured.items():
            results[split] = migration_results(maps, banks, ends, memory=memory)
            name = f"migration_{next(iter(maps))}_{split}"
            plot_shares(results[split], list(maps), ends, folder / f"{name}.png")
            about = {"old": ends.old, "new": ends.new, "recall": results[split].to_dict()}
            files.write_json(folder / f"{name}.json", about)
            advance(1)
    for result in results.values():
        console.print(result.table())
        print("\n".join(summary(result, next(iter(maps)), ends)))
    if results:
        print(f"{CAPTION}\nfigures and pictures: {folder}")
        _tell_better_map(next(iter(results.values())), list(maps))
    else:
        print("nothing was measured: --measure names no split, or none has rows of both models")


def _tell_better_map(results: Results, names: list[str]) -> None:
    """Say if one linear map is better than the bond on the first split that was measured."""
    means = {name: _mean(results[row_name(name, 0)]) for name in names}
    if len(names) > 1 and means["linear"] > means["bond"]:
        notice_once(
            f"{results.title}: mean R@1 {means['linear']:.1f} by the linear map, "
            f"{means['bond']:.1f} by the bond; --map linear takes the former"
        )


def _mean(figures: Mapping[str, Mapping[str, float]]) -> float:
    return float(np.mean([own["R@1"] for own in figures.values()]))


def _write(
    space: FusedSpace, banks: BankSet, root: Path, name: str, ends: Ends, dtype: str
) -> None:
    """Write the migrated rows of a split, and say how many there are of each kind."""
    total = sum(len(banks.rows[m]) for m in fusable(space, banks))
    with ConsoleReporter().task(f"migrate {banks.split.name}", total) as advance:
        counts = write_fused(space, banks, root, name, dtype=dtype, progress=advance)
    for modality, count in counts.items():
        bank = Bank.open(Split(root / banks.split.name).bank_path(name, modality))
        kept = len(bank.partial.get(ends.new, ())) if modality in space.shared else count
        print(
            f"{banks.split.name}: {count} {modality}, {count - kept} embedded again, "
            f"{kept} projected" + f"; {len(bank.missing)} without a row" * bool(len(bank.missing))
        )
    _tell_new_alone(banks, ends)


def _tell_new_alone(banks: BankSet, ends: Ends) -> None:
    """Say which items have a row of the new model alone: a migrated bank cannot hold them."""
    for modality in banks.modalities(ends.old):
        if (ends.new, modality) not in banks.banks:
            continue
        alone = np.setdiff1d(banks.present(ends.new, modality), banks.present(ends.old, modality))
        if len(alone):
            notice_once(
                f"{banks.split.name}: {len(alone)} {modality} items have rows of {ends.new} alone; "
                f"search them in the space {ends.new}"
            )


def _tell_next(splits: list[str], root: Path, name: str, ends: Ends) -> None:
    if not splits:
        print("write banks:  the same command with --split SPLIT ...")
        return
    print(f"space {name} in {root}: queries of {ends.new} search it")
    print(
        f"search them:  freebind search --root {root} --split {' '.join(splits)} --space {name} "
        f"--in MODALITY --queries NEW_QUERIES.npy --of {ends.new} --as MODALITY"
    )
