"""Evaluation of a world's products on validation and test: ``metrics.json`` for the report."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from examples.word_world.recipe import PRODUCTS, TUNED_PRODUCTS, Recipe
from examples.word_world.targets import score_domains
from fb_jax import files
from fb_jax.banks import BankSet, open_banks
from fb_jax.evaluation import KS, direction_ranks, plot_sweep, sweep
from fb_jax.evaluation.models import (
    Tables,
    compare,
    fused_at,
    fused_rows,
    pair_tables,
    sources_and_baseline,
)
from fb_jax.evaluation.spaces import Space
from fb_jax.evaluation.surfaces.choosing import Aim, choose
from fb_jax.fusion import Factors, FusedSpace, cut, parts_of
from fb_jax.projector import Bond, subset_name
from fb_jax.run import points_for
from fb_jax.training import load_bond

SPACES = ("imagebind", "internvl", "clap_general", "clap_music")
ALL_SPACES = (*SPACES, "imagebind_tuned")
PACKAGES = ("freebind-jax", "jax", "torch", "numpy")
BONDS = {
    "imagebind + clap_general": "imagebind-combination-clap_general",
    "imagebind + clap_music": "imagebind-combination-clap_music",
    "imagebind + internvl": "imagebind-combination-internvl",
}
"""Fused spaces of one bond, and the bond's run."""

MEMBERS_OF, MEMBERS_AT = "internvl_ib", "it_expertise"
"""Space whose projectors are evaluated one by one, as in Table 8, and the preset for it."""

GRID = tuple(np.linspace(0, 1, 11).round(3).tolist())

SUM, CUT = "imagebind_sum", "cut"
CHOSEN = "chosen on val"


def write_results(folder: Path, recipe: Recipe, seed: int) -> None:
    """Evaluate every product of a world.

    Factors are chosen on ``val`` alone; ``test`` is evaluated once.

    Args:
        folder: Folder of a world, as ``build`` leaves it.
        recipe: The world's recipe.
        seed: The world's seed.
    """
    val, test = (
        open_banks(folder / "banks", split, spaces=ALL_SPACES) for split in ("val", "test")
    )
    products = _products(folder)
    swept = sweep(products["imagebind_pp"], val, GRID)
    title = f"imagebind_pp, validation of seed {seed}"
    best = choose(swept, Aim()).factors
    points = {**products["imagebind_pp"].presets, "chosen": best}
    plot_sweep(swept, points, title, folder / "sweep.png")
    chosen = {"imagebind_pp": best, SUM: best_weight(products[SUM], val)}
    uncut = products[SUM].with_factors(**chosen[SUM])
    pool = open_banks(folder / "banks", spaces=uncut.spaces)
    cut_rows = fused_rows(cut(uncut, uncut.dims[uncut.unified], pool), test)
    models = all_models(products, chosen, test) | {f"{SUM}, {CHOSEN}, {CUT}": cut_rows}
    tables = pair_tables(products["imagebind_pp"].modalities, test)
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
            "test": {name: measure(model, tables) for name, model in models.items()},
        },
    )


def _products(folder: Path) -> dict[str, FusedSpace]:
    runs = folder / "runs"
    single = {name: FusedSpace.of(load_bond(runs / run / "bond")) for name, run in BONDS.items()}
    products = (*PRODUCTS, *TUNED_PRODUCTS)
    return single | {name: FusedSpace.load(runs / name / "space") for name in products}


def best_weight(space: FusedSpace, banks: BankSet) -> Factors:
    """Return the best weight, the same for all modalities, by the mean R@1 over all pairs."""
    parts, tables = parts_of(space, banks), pair_tables(space.modalities, banks)
    candidates = [dict.fromkeys(space.weighted, weight) for weight in GRID]
    recalls = [recalls_of(fused_at(space, banks, parts, factors), tables) for factors in candidates]
    return candidates[int(np.argmax([np.mean(list(recall.values())) for recall in recalls]))]


def recalls_of(model: Space, tables: Tables) -> dict[str, float]:
    """Return R@1 of a model for every pair of modalities that it has."""
    return {pair: figures["R@1"] for pair, figures in compare(model, tables).items()}


def all_models(
    products: Mapping[str, FusedSpace], chosen: Mapping[str, Factors], banks: BankSet
) -> dict[str, Space]:
    """Return every row of the report: sources, mean of scores, products, single projectors."""
    models: dict[str, Space] = {}
    for name, space in products.items():
        sources = sources_and_baseline(space, banks)
        models["imagebind"] = sources.pop("unified")
        natives = ", ".join(native for native in space.spaces if native in SPACES)
        models[f"mean of scores: {natives}"] = sources.pop("mean_of_scores")
        models |= {native: sources[native] for native in SPACES if native in sources}
        parts, points = parts_of(space, banks), points_for(space)
        if name in chosen:
            points[CHOSEN] = chosen[name]
        for point, factors in points.items():
            models[f"{name}, {point}"] = fused_at(space, banks, parts, factors)
        if name == MEMBERS_OF:
            factors = points[MEMBERS_AT]
            for member, alone in _members(space.last.bonds[0]).items():
                rows = fused_at(alone, banks, parts_of(alone, banks), factors)
                models[f"{name}, projector {member}"] = rows
    return models


def _members(bond: Bond) -> dict[str, FusedSpace]:
    return {subset_name(member): FusedSpace.of(bond.only(member)) for member in bond.members}


def measure(model: Space, tables: Tables) -> dict[str, dict[str, Any]]:
    """Return R@k for every pair of modalities that a model has, and the items ranked first.

    ``first`` has for each direction the items whose match ranks first, as ``pack`` writes them.
    """
    figures = {}
    for (left, right), table in tables.items():
        if left in model and right in model:
            asks = getattr(model, "queries", model)
            asking = asks[left], asks[right]
            ranks = direction_ranks(model[left], model[right], table, asking=asking).values()
            recalls = {f"R@{k}": float(100 * np.mean([r < k for r in ranks])) for k in KS}
            figures[f"{left}-{right}"] = {**recalls, "first": [pack(r < 1) for r in ranks]}
    return figures


def pack(hits: Bool[np.ndarray, " n"]) -> str:
    """Return booleans as hexadecimal digits; ``unpack`` reads them."""
    return np.packbits(hits).tobytes().hex()


def unpack(digits: str, count: int) -> Bool[np.ndarray, " n"]:
    """Return the first ``count`` booleans of what ``pack`` wrote."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(digits), np.uint8), count=count).astype(bool)
