"""What corrupted pools cost a bond, and how well gains are predicted without pairs.

python -m benchmarks.robustness [--worlds BANK_ROOT ...]: bonds on the word world, on noisy,
shuffled and smaller pools and on pools of one domain. Each result is written to the JSON file when
it is there, so that the command continues where it stopped. Without ``--worlds`` nothing is
trained. It prints the correlations, and ``--figures docs`` draws the figures of docs/diagnosis.md.
Factors are chosen on val; test is only read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro

from benchmarks.robustness_report import correlations, draw
from fb_jax import files
from fb_jax.banks import BankSet, open_banks, unit_rows
from fb_jax.console import ConsoleReporter
from fb_jax.evaluation import direction_ranks, evaluate, sweep
from fb_jax.evaluation.diagnosis.neighbours import between, overlap
from fb_jax.evaluation.diagnosis.prediction import carried, expected_gain, news
from fb_jax.evaluation.diagnosis.sample import Sampling, drawn, restricted, sample
from fb_jax.evaluation.diagnosis.sharpness import sharpness
from fb_jax.evaluation.models import fused_rows
from fb_jax.evaluation.surfaces.choosing import Aim, choose
from fb_jax.fusion import Factors, FusedSpace
from fb_jax.fusion.factors import halfway
from fb_jax.projector import Bond, BondKind, init_mixture
from fb_jax.pseudo import PairSpec, build_pairs
from fb_jax.training import Training, describe_bond, train_bond

RESULTS = Path(__file__).with_suffix(".json")
UNIFIED, CLAPS, VISION = "imagebind", ("clap_general", "clap_music"), "internvl"
TRAINING = Training(batch=256, hidden=256, epochs=5)
DOMAINS = ("general", "music")
"""Domains of the audio, in turn: row i is of domain i modulo 2."""

Corruption = Callable[[BankSet, float], BankSet]
Record = dict[str, Any]


@dataclass(frozen=True)
class Options:
    worlds: list[Path] = field(default_factory=list)
    """Bank roots of worlds, seed by seed; corrupted pools are made of the first."""

    out: Path = RESULTS
    """JSON file with the results."""

    figures: Path | None = None
    """Folder to draw the figures in."""


def noisy(banks: BankSet, level: float) -> BankSet:
    """Add Gaussian noise of this norm to every unit row, in every space by itself."""
    rng = np.random.default_rng(0)
    add = lambda rows: rows + level / np.sqrt(rows.shape[1]) * rng.normal(size=rows.shape)  # noqa: E731
    return _arrays(banks, lambda key, rows: unit_rows(add(rows)))


def shuffled(banks: BankSet, share: float) -> BankSet:
    """Permute a share of the experts' rows: row i is no longer the same item in both spaces."""
    rng = np.random.default_rng(0)

    def permuted(key: tuple[str, str], rows: np.ndarray) -> np.ndarray:
        if key[0] == UNIFIED:
            return rows
        moved = rng.permutation(len(rows))[: round(share * len(rows))]
        rows[np.sort(moved)] = rows[moved]
        return rows

    return _arrays(banks, permuted)


def smaller(banks: BankSet, share: float) -> BankSet:
    """Keep a share of the items."""
    count = {m: round(share * len(rows)) for m, rows in banks.rows.items()}
    return restricted(banks, {m: r[drawn(len(r), count[m], 0)] for m, r in banks.rows.items()})


def of_domain(banks: BankSet, number: float) -> BankSet:
    """Keep the audio of one domain; with 2 as many rows of both."""
    audio = len(banks.rows["audio"])
    rows = drawn(audio, audio // 2, 0) if number == 2 else np.arange(int(number), audio, 2)
    return restricted(banks, {**banks.rows, "audio": rows})


def _arrays(banks: BankSet, change: Callable[..., np.ndarray]) -> BankSet:
    spaces: dict[str, dict[str, np.ndarray]] = {}
    for (space, modality), bank in banks.banks.items():
        spaces.setdefault(space, {})[modality] = change((space, modality), bank[:].copy())
    return BankSet.from_arrays(spaces)


CORRUPTIONS: Mapping[str, tuple[Corruption, tuple[float, ...]]] = {
    "noise": (noisy, (0.25, 0.5, 1.0, 2.0)),
    "shuffled": (shuffled, (0.25, 0.5, 0.75, 1.0)),
    "fraction": (smaller, (0.1, 0.25, 0.5)),
    "domain": (of_domain, (0, 1, 2)),
}


def bond_of(pool: BankSet, expert: str, kind: BondKind = "combination") -> Bond:
    """Train a small bond."""
    pairs = build_pairs(PairSpec(pool, UNIFIED, expert))
    described = describe_bond(pairs.spec, kind, TRAINING.hidden)
    steps = len(TRAINING.schedule(described, pairs.spec.ranges))
    with ConsoleReporter().task(f"{kind} of {expert}", steps) as advance:
        return train_bond(pairs, kind, None, TRAINING, progress=advance)


def untrained(pool: BankSet, expert: str) -> Bond:
    """Return a bond with initial numbers: what is gained without any link between the spaces."""
    spec = describe_bond(PairSpec(pool, UNIFIED, expert), "combination", TRAINING.hidden)
    key, count = jax.random.key(TRAINING.seed), len(spec.members)
    return Bond(spec, init_mixture(spec.projector(), key, dim=spec.dim_in, members=count))


def record_of(space: FusedSpace, pool: BankSet, root: Path) -> Record:
    """Return the gains of a space on test, and what is known of the pool without pairs."""
    val, test = (open_banks(root, split, spaces=space.spaces) for split in ("val", "test"))
    preset, factors = next(iter(space.presets.items()))
    chosen = space.choosing(choose(sweep(space, val), Aim.parse("mean")).factors)
    at = {"preset": factors, "chosen": chosen.factors}
    domains = {name: np.arange(i, len(test.rows["audio"]), 2) for i, name in enumerate(DOMAINS)}
    parts = {d: restricted(test, dict.fromkeys(test.rows, rows)) for d, rows in domains.items()}
    return {
        "preset": preset,
        "gains": gains(space, test, at),
        "domains": {name: gains(space, part, at) for name, part in parts.items()},
        # Chosen factors are not known before training: the prediction takes 0.5.
        **measures(pool, space.experts, {**at, "chosen": halfway(space.weighted)}),
    }


def gains(space: FusedSpace, test: BankSet, at: Mapping[str, Factors]) -> Record:
    """Return R@1 of the unified space, and points of R@1 gained at some factors."""
    results = evaluate(space, test, at)
    r1 = {model: {pair: f["R@1"] for pair, f in by.items()} for model, by in results.items()}
    base = r1["unified"]
    return {
        "unified": base,
        **{name: {p: round(r1[name][p] - base[p], 2) for p in base} for name in at},
    }


def measures(pool: BankSet, experts: Sequence[str], at: Mapping[str, Factors]) -> Record:
    """Return the prediction, the mean over the experts, and measures of the pool."""
    sampling = Sampling()
    some = sample(pool, sampling)
    rows = {s: {m: some[s, m][:] for m in some.modalities(s)} for s in (UNIFIED, *experts)}
    shares = {e: carried(some, UNIFIED, e, sampling) for e in experts}
    new = {e: news(rows[UNIFIED], rows[e], sampling.neighbours) for e in experts}
    expected = [expected_gain(shares[e], new[e], at) for e in experts]
    mean = lambda name, pair: round(float(np.mean([e[name][pair] for e in expected])), 5)  # noqa: E731
    spreads = [sharpness(PairSpec(pool, UNIFIED, e), sampling) for e in experts]
    every = [x for by_start in spreads for by in by_start.values() for x in by.values()]
    return {
        "expected": {name: {pair: mean(name, pair) for pair in expected[0][name]} for name in at},
        "carried": shares,
        "spread": max(x.effective / x.keys for x in every),
    }


def conflict(space: FusedSpace, root: Path) -> list[Record]:
    """Return audio-text R@1 of audio items, by how much the two experts' nearest texts overlap."""
    test = open_banks(root, "test", spaces=space.spaces)
    rows = {s: {m: test[s, m][:] for m in ("audio", "text")} for s in space.spaces}
    rows["both"] = dict(fused_rows(space.at("at_expertise"), test))
    table = test.pairs("audio", "text")
    first = {
        s: direction_ranks(own["audio"], own["text"], table)["left->right"] < 1
        for s, own in rows.items()
    }
    lists = [between(rows[s]["audio"], rows[s]["text"], Sampling.neighbours) for s in CLAPS]
    shared = overlap(*lists)
    bins = np.array_split(np.argsort(shared, kind="stable"), 4)
    return [
        {"overlap": float(shared[b].mean())}
        | {s: float(100 * hits[b].mean()) for s, hits in first.items()}
        for b in bins
    ]


def clean(root: Path) -> Iterator[tuple[str, Record]]:
    """Yield the bonds and products of one world, on its pool as it is."""
    pool = open_banks(root, spaces=[UNIFIED, *CLAPS, VISION])
    bonds = {clap: bond_of(pool, clap) for clap in CLAPS}
    for clap, bond in bonds.items():
        yield clap, record_of(FusedSpace.of(bond), pool, root)
    both = FusedSpace.of(*bonds.values())
    yield "both", record_of(both, pool, root) | {"conflict": conflict(both, root)}
    for kind in ("combination", "displacement"):
        bond = bond_of(pool, VISION, kind)
        yield f"{VISION} {kind}", record_of(FusedSpace.of(bond), pool, root)


def study(options: Options) -> Record:
    """Return all results, computing what the file lacks."""
    out = files.read_json(options.out, dict[str, Any]) if options.out.exists() else {}

    def keep(name: str, record: Record) -> None:
        out[name] = json.loads(json.dumps(record), parse_float=lambda text: round(float(text), 4))
        files.write_json(options.out, out)

    for seed, root in enumerate(options.worlds):
        if f"seed {seed}, {VISION} displacement" not in out:
            for name, record in clean(root):
                keep(f"seed {seed}, {name}", record | {"corruption": "none", "level": 0})
    for corruption, level, expert in corrupted() if options.worlds else ():
        name = f"{corruption} {level:g}, {expert}"
        if name not in out:
            pool = open_banks(options.worlds[0], spaces=[UNIFIED, expert])
            pool = CORRUPTIONS[corruption][0](pool, level)
            record = record_of(FusedSpace.of(bond_of(pool, expert)), pool, options.worlds[0])
            keep(name, record | {"corruption": corruption, "level": level})
    for expert in (CLAPS[0], VISION) if options.worlds else ():
        if (name := f"untrained, {expert}") not in out:
            pool = open_banks(options.worlds[0], spaces=[UNIFIED, expert])
            record = record_of(FusedSpace.of(untrained(pool, expert)), pool, options.worlds[0])
            keep(name, record | {"corruption": "untrained", "level": 0})
    return out


def corrupted() -> Iterator[tuple[str, float, str]]:
    """Yield every corruption, its level, and the expert whose bond is trained on such a pool."""
    for expert in (CLAPS[0], VISION):
        for corruption, (_, levels) in CORRUPTIONS.items():
            for level in levels:
                if expert != VISION or corruption in ("noise", "shuffled"):
                    yield corruption, level, expert


def main(options: Options) -> None:
    results = study(options)
    print(*correlations(results), sep="\n")
    if options.figures is not None:
        draw(results, options.figures)


if __name__ == "__main__":
    main(tyro.cli(Options))
