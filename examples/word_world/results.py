"""What a world's bonds reach on its galleries: ``metrics.json``, all that the report needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from examples.word_world.recipe import PRODUCTS, TUNED_PRODUCTS, Recipe
from examples.word_world.targets import score_domains
from fb_jax.banks import BankSet, files, open_banks
from fb_jax.evaluation import KS, direction_ranks, plot_sweep, sweep
from fb_jax.evaluation.models import (
    Space,
    Tables,
    compare,
    fused_at,
    fused_rows,
    pair_tables,
    sources_and_baseline,
)
from fb_jax.evaluation.sweep import GRID
from fb_jax.fusion import Factors, FusedSpace, cut, parts_of
from fb_jax.projector import Bond, subset_name
from fb_jax.run import points_for
from fb_jax.training import load_bond

SPACES = ("imagebind", "internvl", "clap_general", "clap_music")
ALL = (*SPACES, "imagebind_tuned")
PACKAGES = ("freebind-jax", "jax", "torch", "numpy")
BONDS = {
    "imagebind + clap_general": "imagebind-combination-clap_general",
    "imagebind + clap_music": "imagebind-combination-clap_music",
    "imagebind + internvl": "imagebind-combination-internvl",
    "raw aggregation": "general_raw",
    "one-way InfoNCE": "general_one_way",
}
"""What one bond alone gives, and its run. The last two: the first, trained otherwise."""

MEMBERS_OF = {"imagebind + clap_general": "versatile", "internvl_ib": "it_expertise"}
"""Products whose projectors are shown one by one, as in Table 8, and at which preset."""

FILLS = (1.0, 0.2, 0.05, 0.01)
SUM, CUT = "imagebind_sum", "cut"
CHOSEN = "chosen on val"
BARE_OF, BARE = "imagebind + clap_general", "bare sums"
"""A product whose weighted sums are also tried without their L2 norm."""


def write_results(folder: Path, recipe: Recipe, seed: int) -> None:
    """Evaluate every product of a world.

    Factors that are chosen by looking are chosen on ``val``; ``test`` is looked at once.

    Args:
        folder: Of a world, as ``build`` leaves it.
        recipe: Of the world.
        seed: Of the world.
    """
    val, test = (open_banks(folder / "banks", split, spaces=ALL) for split in ("val", "test"))
    products = _products(folder)
    swept = sweep(products["imagebind_pp"], val)
    title = f"imagebind_pp, validation of seed {seed}"
    plot_sweep(swept, products["imagebind_pp"].presets, title, folder / "sweep.png")
    chosen = {
        "imagebind_pp": swept.best(),
        SUM: best_weight(products[SUM], val),
    }
    own = products[SUM].with_factors(**chosen[SUM])
    pool = open_banks(folder / "banks", spaces=own.spaces)
    smaller = cut(own, own.dims[own.unified], pool)
    tried = folder / "tuning.json"
    tables = pair_tables(products["imagebind_pp"].modalities, test)
    models = all_models(products, chosen, test) | {
        f"{SUM}, {CHOSEN}, {CUT}": fused_rows(smaller, test)
    }
    files.write_json(
        folder / "metrics.json",
        {
            "seed": seed,
            "recipe": files.read_json(folder / "world.json")["name"],
            "items": len(test.rows["text"]),
            "versions": {name: version(name) for name in PACKAGES},
            "spaces": files.read_json(folder / "scores.json"),
            "domains": score_domains(folder, "test", recipe),
            "chosen": chosen,
            "sweep": {
                "modalities": swept.modalities,
                "grid": list(swept.grid),
                "surfaces": {pair: grid.tolist() for pair, grid in swept.surfaces.items()},
                "unified": swept.unified,
            },
            "tuning": files.read_json(tried) if tried.exists() else {},
            "direct_sum": sum_table(own, val, pool),
            "test": {name: measure(model, tables) for name, model in models.items()},
        },
    )


def _products(folder: Path) -> dict[str, FusedSpace]:
    runs = folder / "runs"
    alone = {name: FusedSpace.of(load_bond(runs / run / "bond")) for name, run in BONDS.items()}
    made = (*PRODUCTS, *TUNED_PRODUCTS)
    return alone | {name: FusedSpace.load(runs / name / "space") for name in made}


def with_stage(space: FusedSpace, **changed: Any) -> FusedSpace:
    """Return a space whose last stage differs in some fields."""
    return space.with_last(replace(space.last, **changed))


def best_weight(space: FusedSpace, banks: BankSet) -> Factors:
    """Return the one weight of all modalities with the highest mean R@1 over the pairs."""
    parts, tables = parts_of(space, banks), pair_tables(space.modalities, banks)
    at = [dict.fromkeys(space.weighted, weight) for weight in GRID]
    found = [compare(fused_at(space, parts, factors), tables) for factors in at]
    means = [np.mean([figures["R@1"] for figures in model.values()]) for model in found]
    return at[int(np.argmax(means))]


def sum_table(space: FusedSpace, val: BankSet, pool: BankSet) -> dict[str, dict[str, float]]:
    """Return R@1 on validation of a direct sum, by what a guess weighs and by dimensions."""
    tables = pair_tables(space.modalities, val)
    tried = {
        f"squared norm of a filled-in part {fill:g}": with_stage(space, fill=fill) for fill in FILLS
    }
    dims = [space.dims[space.unified] // part for part in (1, 2, 4)]
    tried |= {f"cut to {dim} dimensions": cut(space, dim, pool) for dim in dims}
    return {
        name: {
            pair: figures["R@1"] for pair, figures in compare(fused_rows(at, val), tables).items()
        }
        for name, at in tried.items()
    }


def all_models(
    products: Mapping[str, FusedSpace], chosen: Mapping[str, Factors], banks: BankSet
) -> dict[str, Space]:
    """Return every row of the report: sources, mean of scores, products, single projectors."""
    models: dict[str, Space] = {}
    for name, space in products.items():
        found = sources_and_baseline(space, banks)
        models["imagebind"] = found.pop("unified")
        natives = ", ".join(native for native in space.spaces if native in SPACES)
        models[f"mean of scores: {natives}"] = found.pop("mean_of_scores")
        models |= {native: found[native] for native in SPACES if native in found}
        parts, points = parts_of(space, banks), points_for(space)
        if name in chosen:
            points[CHOSEN] = chosen[name]
        for point, factors in points.items():
            models[f"{name}, {point}"] = fused_at(space, parts, factors)
            if name == BARE_OF:
                bare = with_stage(space, normalise=False)
                models[f"{BARE}, {point}"] = fused_at(bare, parts, factors)
        if name in MEMBERS_OF:
            factors = points[MEMBERS_OF[name]]
            for member, alone in _members(space.last.bonds[0]).items():
                models[f"{name}, projector {member}"] = fused_at(
                    alone, parts_of(alone, banks), factors
                )
    return models


def _members(bond: Bond) -> dict[str, FusedSpace]:
    return {subset_name(m): FusedSpace.of(bond.only(m)) for m in bond.members}


def measure(model: Space, tables: Tables) -> dict[str, dict[str, Any]]:
    """Return R@k of every pair of modalities that a model has, and which items were found first."""
    found = {}
    for (left, right), table in tables.items():
        if left in model and right in model:
            ranks = list(direction_ranks(model[left], model[right], table).values())
            recalls = {f"R@{k}": float(100 * np.mean([r < k for r in ranks])) for k in KS}
            found[f"{left}-{right}"] = {**recalls, "first": [pack(r < 1) for r in ranks]}
    return found


def pack(hits: Bool[np.ndarray, " n"]) -> str:
    """Return booleans as hexadecimal digits; see ``unpack``."""
    return np.packbits(hits).tobytes().hex()


def unpack(digits: str, count: int) -> Bool[np.ndarray, " n"]:
    """Return the first ``count`` of the booleans that ``pack`` was given."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(digits), np.uint8), count=count).astype(bool)
