"""What distilling loses, and what it saves: ``python -m benchmarks.distilling FOLDER --data ROOT``.

The first table has R@1 on val at the factors of a stored space: with its mixtures; with one member
of each, trained on all pairs; and distilled. ``cosine`` is the mean over the pool's rows of the
cosine between a projector's and the mixture's output, of the bond where it is least. The second
table has the time in which the rows of a modality are fused, side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table
from timing import Contender, matmuls, seconds, show

from fb_jax.banks import BankSet, open_banks
from fb_jax.evaluation import retrieval
from fb_jax.evaluation.models import fused_rows, tables_for
from fb_jax.fusion import FusedSpace, fusable
from fb_jax.projector import Bond
from fb_jax.run import distil
from fb_jax.training import Distilling


@dataclass(frozen=True)
class Options:
    folder: Annotated[Path, tyro.conf.Positional]
    data: Path
    steps: tuple[int, ...] = (Distilling.steps,)
    learning_rate: float = Distilling.learning_rate
    rows: int = 4096
    rounds: int = 5


def largest(bond: Bond) -> Bond:
    """Return the bond of the member that was trained on all pairs."""
    return bond.only(max(bond.members, key=len))


def one_member(space: FusedSpace) -> FusedSpace:
    stages = (replace(s, bonds=tuple(map(largest, s.bonds))) for s in space.stages)
    return replace(space, stages=tuple(stages))


def recalls(space: FusedSpace, banks: BankSet) -> list[float]:
    rows = fused_rows(space, banks)
    tables = tables_for(space, banks)
    return [
        retrieval(rows[left], rows[right], tables[left, right], metrics=["R@1"])["R@1"]
        for left, right in sorted(tables)
    ]


def cosines(space: FusedSpace, other: FusedSpace, pool: BankSet) -> Iterator[float]:
    for stage, own in zip(space.stages, other.stages, strict=True):
        for old, new in zip(stage.bonds, own.bonds, strict=True):
            side = old.direction.source
            name = getattr(old, side)
            for modality in pool.modalities(name):
                x = pool[name, modality][:]
                yield float((old.project(x) * new.project(x)).sum(axis=1).mean())


def operations(space: FusedSpace, modality: str, rows: int) -> float:
    """Return the operations of the matrix products that a modality goes through."""
    total = 0.0
    for bond in (bond for stage in space.stages for bond in stage.bonds):
        side, spec = bond.direction.source, bond.spec
        own = spec.unified_modalities if side == "unified" else spec.shared
        filled = spec.direction.direct and modality in spec.shared
        if modality in own and not filled:
            total += 2.0 * rows * spec.hidden * (spec.dim_in + spec.dim_out) * len(spec.members)
    return total


def show_times(space: FusedSpace, made: FusedSpace, pool: BankSet, options: Options) -> None:
    plain = matmuls(1024, "float32")
    for modality in fusable(space, pool):
        if not operations(space, modality, 1):
            continue
        here = {n: pool[n, modality][: options.rows] for n in space.spaces_of(modality)}
        count = len(next(iter(here.values())))
        models = {"mixtures": space, "one projector": made}
        timed: dict[str, Contender] = {
            name: partial(model.fuse, modality, here) for name, model in models.items()
        }
        times = seconds({**plain, **timed}, options.rounds)
        work = {name: operations(model, modality, count) for name, model in models.items()}
        show(
            f"{modality}, {count} rows",
            times,
            {**dict.fromkeys(plain, 2.0 * 1024**3), **work},
            "mixtures",
        )


def main() -> None:
    options = tyro.cli(Options)
    space = FusedSpace.load(options.folder)
    pool, val = (open_banks(options.data, split, spaces=space.spaces) for split in ("pool", "val"))
    table = Table(
        "", *("-".join(pair) for pair in sorted(tables_for(space, val))), "cosine", "seconds"
    )
    add = lambda name, model, took: table.add_row(  # noqa: E731
        name,
        *(f"{value:.2f}" for value in recalls(model, val)),
        f"{min(cosines(space, model, pool)):.4f}",
        f"{took:.1f}",
    )
    add("mixtures", space, 0)
    add("one member", one_member(space), 0)
    made = space
    for steps in options.steps:
        start = perf_counter()
        made = distil(space, pool, Distilling(steps, learning_rate=options.learning_rate))
        add(f"distilled, {steps} steps", made, perf_counter() - start)
    Console(width=110).print(table)
    show_times(space, made, pool, options)


if __name__ == "__main__":
    main()
