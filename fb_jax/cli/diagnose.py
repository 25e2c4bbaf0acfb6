"""``freebind diagnose``: measures of spaces before or after a bond, without pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

from rich.markup import escape
from rich.table import Table
from tyro.conf import OmitArgPrefixes, arg

from fb_jax import files
from fb_jax.banks import POOL, BankSet, open_banks
from fb_jax.cli.device import on_device
from fb_jax.cli.source import source_of
from fb_jax.console import ConsoleReporter, console
from fb_jax.errors import FreeBindError
from fb_jax.evaluation.diagnosis import Diagnosis, Sampling, steps
from fb_jax.evaluation.diagnosis import diagnose as measure
from fb_jax.fusion import FusedSpace
from fb_jax.pseudo import Retrieval
from fb_jax.run import Device, RunConfig, word_world
from fb_jax.run.naming import named
from fb_jax.run.options import DEFAULT_DATA

Rows = Iterable[Sequence[str]]


@on_device
def diagnose(
    sampling: OmitArgPrefixes[Sampling],
    data: Annotated[Path | None, arg(metavar="BANK_ROOT", help_behavior_hint=DEFAULT_DATA)] = None,
    unified: str | None = None,
    expert: tuple[str, ...] = (),
    run: Path | None = None,
    split: str = POOL,
    temperature: float = Retrieval.temperature,
    json: Path | None = None,
    device: Device = "auto",
) -> None:
    """Measure spaces without pairs: before a bond, or with --run after it.

    It prints how sharp soft retrieval is, how well spaces agree on the same items, whether they
    have hubs, and where a bond can be expected to help and to hurt.

    Args:
        sampling: How many items are measured.
        data: Bank root.
        unified: Name of the unified space. By default the one that freebind train takes.
        expert: Names of experts. By default the one that freebind train takes. Several are compared
            with each other.
        run: Folder of a run or a product: measure its spaces, and the fused space beside them.
        split: Split to measure.
        temperature: Temperature of the soft retrieval.
        json: Also write the measures to this file.
        device: Device to compute on.
    """
    if json is not None:
        files.require_file_to_write(json)
    if run is not None:
        banks, names, fused = _of_run(run, unified, expert, data, split)
    else:
        banks, names = _before(data or word_world(), unified, expert, split)
        fused = None
    total = steps(len(names) - 1, fused is not None)
    with ConsoleReporter().task("diagnosis", total) as advance:
        advance(0)
        found = measure(
            banks, names[0], names[1:], fused, sampling, Retrieval(temperature=temperature), advance
        )
    _show(found)
    if json is not None:
        files.write_json(json, found.to_dict())


def _before(
    data: Path, unified: str | None, experts: Sequence[str], split: str
) -> tuple[BankSet, tuple[str, ...]]:
    """Return the banks of the named spaces, or of those that a training would take."""
    asked = RunConfig(data=data, pool=split, unified=unified, expert=next(iter(experts), None))
    first, taken = named(asked).spaces
    names = (first, *(dict.fromkeys(experts or (taken,))))
    return open_banks(data, split, spaces=names), names


def _of_run(
    run: Path, unified: str | None, experts: Sequence[str], data: Path | None, split: str
) -> tuple[BankSet, tuple[str, ...], FusedSpace]:
    """Return the banks and native spaces of a run or product, and its fused space."""
    if unified or experts:
        raise FreeBindError(
            "a run has its own spaces", got="--run with --unified or --expert", fix="leave them out"
        )
    source = source_of(run, None, data)
    banks, space = source.open(split), source.space
    known = set(banks.modalities(space.spaces[0]))
    has = {s: banks.modalities(s) for s in space.spaces[1:]}  # a tuned encoder has one modality
    experts = [s for s, modalities in has.items() if known & set(modalities) and modalities[1:]]
    return banks, (space.spaces[0], *experts), space


def _show(found: Diagnosis) -> None:
    """Print the measures as tables, then what follows from them."""
    k = found.sampling.neighbours
    heads = ("expert", "start", "query; keys", "effective number", f"beyond {k}")
    _print(f"Soft retrieval over {found.split}: medians", heads, _hops(found))
    _print("Pseudo pairs", ("expert", "start", "trust", "why"), _trust(found))
    _print("Each space", ("of", "measure", *found.spaces), _each(found))
    common = f"{k} nearest in common"
    _print("Two spaces on the same items", ("spaces", "of", common, "CKA"), _agreement(found))
    for expert, share in found.carried.items():
        text = ", ".join(f"{modality} {100 * part:.0f} %" for modality, part in share.items())
        print(f"{expert}: items that a linear map carries into {found.spaces[0]}: {text}")
    pairs = list(found.links[found.spaces[0]])
    title = "Expected gain, without pairs: order and sign count (docs/diagnosis.md)"
    _print(title, ("expert", "factors", *pairs), _expected(found, pairs))
    for sentence in found.verdicts():
        console.print(escape(sentence), highlight=False)


def _print(title: str, heads: Sequence[str], rows: Rows) -> None:
    table = Table(*heads, title=title, title_justify="left")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)


def _hops(found: Diagnosis) -> Iterator[Sequence[str]]:
    for expert, starts in found.hops.items():
        for start, hops in starts.items():
            for name, spread in hops.items():
                yield expert, start, name, str(spread), f"{100 * spread.beyond:.1f} %"


def _trust(found: Diagnosis) -> Iterator[Sequence[str]]:
    for expert in found.hops:
        for start, (word, why) in found.trust(expert).items():
            yield expert, start, word, why


def _each(found: Diagnosis) -> Iterator[Sequence[str]]:
    for modality in found.items:
        cells = (own.get(modality) for own in found.hubs.values())
        yield modality, "hubness", *("" if x is None else f"{x:.1f}" for x in cells)
    for pair in dict.fromkeys(pair for own in found.links.values() for pair in own):
        left, right = pair.split("-")
        links = [own.get(pair) for own in found.links.values()]
        yield pair, "round trips", *(f"{100 * x.trips:.0f} %" if x else "" for x in links)
        yield pair, "gap", *(f"{x.gap:.2f}" if x else "" for x in links)
        for i, asked in enumerate((left, right)):
            ways = (f"{x.hubs[i]:.1f}" if x else "" for x in links)
            yield pair, f"hubness from {asked}", *ways


def _agreement(found: Diagnosis) -> Iterator[Sequence[str]]:
    for both, modalities in found.likeness.items():
        ways = found.retrieval[both].items()
        rows = [(m, f"{100 * x.neighbours:.0f} %", f"{x.cka:.2f}") for m, x in modalities.items()]
        rows += [(way, f"{100 * share:.0f} %", "") for way, share in ways]
        for i, cells in enumerate(rows):
            yield "" if i else both, *cells


def _expected(found: Diagnosis, pairs: Sequence[str]) -> Iterator[Sequence[str]]:
    for expert, presets in found.expected.items():
        for name, gains in presets.items():
            yield expert, name, *(f"{gains[pair]:+.3f}" for pair in pairs)
