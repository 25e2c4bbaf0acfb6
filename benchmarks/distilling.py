"""What distilling loses, and what it saves: ``python benchmarks/distilling.py FOLDER --data ROOT``.

The first table has R@1 on val at the factors of a stored space: with its mixtures; with one member
of each, trained on all pairs; and distilled. ``cosine`` is the mean over the pool's rows of the
cosine between a projector's and the mixture's output, of the bond where it is least. Then the CPU
time of seven projectors and of one, at the widths of the published weights and of the word world.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Annotated

import numpy as np
import tyro
from inference import MEMBERS, Sizes, folded_members, random_mixture
from rich.console import Console
from rich.table import Table
from timing import Contender, matmuls, wait

from fb_jax.banks import BankSet, open_banks, unit_rows
from fb_jax.evaluation import retrieval
from fb_jax.evaluation.models import fused_rows, tables_for
from fb_jax.fusion import FusedSpace
from fb_jax.projector import Bond
from fb_jax.run import distil
from fb_jax.training import Distilling


@dataclass(frozen=True)
class Options:
    folder: Annotated[Path, tyro.conf.Positional]
    data: Path
    steps: tuple[int, ...] = (Distilling.steps,)
    learning_rate: float = Distilling.learning_rate
    rounds: int = 25


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


def cpu_seconds(contenders: Mapping[str, Contender], rounds: int) -> dict[str, float]:
    """Return the median CPU time of each contender, which other processes hardly change."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, contender in contenders.items():
            start = process_time()
            wait(contender())
            taken[name].append(process_time() - start)
    return {name: float(np.median(times[1:])) for name, times in taken.items()}


def show_times(sizes: Sizes, rounds: int) -> None:
    """Print the CPU time of seven projectors and of one, beside that of their products alone."""
    x = unit_rows(np.random.default_rng(1).normal(size=(sizes.rows, sizes.dim_in)))
    mixture = random_mixture(sizes)
    projecting = {f"{n} projectors": folded_members(sizes, mixture, x, n) for n in (MEMBERS, 1)}
    plain = matmuls(1024, sizes.precision)["JAX matmul"]
    times = cpu_seconds({"matmul": plain, **projecting}, rounds)
    rate = 2.0 * 1024**3 / times.pop("matmul")
    for (name, taken), count in zip(times.items(), (MEMBERS, 1), strict=True):
        floor = count * sizes.member_operations / rate
        print(
            f"{name}: {1000 * taken:.1f} ms, at the rate of a plain product {1000 * floor:.1f} ms"
        )
    seven, one = times.values()
    print(
        f"{sizes.rows} rows, {sizes.dim_in}-{sizes.hidden}-{sizes.dim_out}: ratio {seven / one:.2f}"
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
    for steps in options.steps:
        start = perf_counter()
        made = distil(space, pool, Distilling(steps, learning_rate=options.learning_rate))
        add(f"distilled, {steps} steps", made, perf_counter() - start)
    Console(width=110).print(table)
    for sizes in (Sizes(256), Sizes(1024, dim_in=128, hidden=256, dim_out=192)):
        show_times(sizes, options.rounds)


if __name__ == "__main__":
    main()
