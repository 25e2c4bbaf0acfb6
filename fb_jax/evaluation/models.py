"""What a table compares: every model is a mapping from modality to rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32, Integer

from fb_jax.banks import BankSet, unit_rows
from fb_jax.errors import FreeBindError
from fb_jax.evaluation.classes import CLASS, TEXT, labelled, with_classes
from fb_jax.evaluation.results import MEAN_OF_SCORES, Results
from fb_jax.evaluation.retrieval import RECALLS, classification, retrieval
from fb_jax.fusion import Factors, FusedSpace, Parts, fusable, parts_of, uncut

Space = Mapping[str, Float32[np.ndarray, "n d"]]
"""Modality to rows of one space."""

Tables = Mapping[tuple[str, str], Integer[np.ndarray, "p 2"]]
"""Pair of modalities to the rows of both that belong together."""


def sources_and_baseline(space: FusedSpace, banks: BankSet) -> dict[str, Space]:
    """Return what a fused space is compared with: its sources, and the mean of their scores.

    ``unified`` is the native unified space; earlier stages go by their names. The mean of scores
    is the mean similarity over the spaces that have both modalities, without any bond. As rows it
    is all spaces side by side, with zeros where one lacks the modality; it exists for modalities
    that two spaces have. Spaces that only hold rows of a tuned encoder are no sources.
    """
    tuned = {name for stage in space.stages for name in stage.tuned_rows.values()}
    names = [name for name in space.spaces if name not in tuned]
    native = {name: {m: banks[name, m][:] for m in banks.modalities(name)} for name in names}
    rows = {name: with_classes(own, banks) for name, own in native.items()}
    shared = [m for m in rows[names[0]] if sum(m in own for own in rows.values()) > 1]
    mean = {m: _side_by_side(list(rows.values()), m) for m in shared}
    bases = {base.title: fused_rows(base, banks) for base in bases_of(space)}
    return {"unified": rows.pop(names[0]), **rows, **bases, MEAN_OF_SCORES: mean}


def bases_of(space: FusedSpace) -> list[FusedSpace]:
    """Return the fused spaces that a space is built on, the first one first."""
    return [] if space.base is None else [*bases_of(space.base), space.base]


def _side_by_side(spaces: Sequence[Mapping[str, np.ndarray]], modality: str) -> np.ndarray:
    """Return unit rows of all spaces side by side, zeros for one that lacks the modality."""
    count = len(spaces[0][modality])
    blocks = [
        rows.get(modality, np.zeros((count, next(iter(rows.values())).shape[1]), np.float32))
        for rows in spaces
    ]
    return unit_rows(np.hstack(blocks))


def unified_rows(space: FusedSpace, banks: BankSet) -> Space:
    """Return the rows of the last unified space: native, or fused by earlier stages."""
    if space.base is not None:
        return fused_rows(space.base, banks)
    native = {m: banks[space.unified, m][:] for m in banks.modalities(space.unified)}
    return with_classes(native, banks)


def fused_rows(space: FusedSpace, banks: BankSet) -> Space:
    """Return the rows of every modality that can be fused from these banks."""
    return fused_at(space, banks, parts_of(space, banks), {})


def fused_at(
    space: FusedSpace, banks: BankSet, parts: Mapping[str, Parts], factors: Factors
) -> Space:
    """Return the fused rows at some factors, from their parts; and those of classes."""
    at = space.with_factors(**factors)
    fused = {modality: at.mix(modality, part) for modality, part in parts.items()}
    return with_classes(fused, banks)


def compare(
    model: Space, tables: Tables, metrics: Sequence[str] = RECALLS
) -> dict[str, dict[str, float]]:
    """Evaluate every pair of modalities, or of media and classes, that model and tables have."""
    figures = {}
    for (left, right), table in tables.items():
        if right == CLASS and {left, right} <= model.keys():
            figures[f"{left}-{right}"] = classification(model[left], model[right], table)
        elif {left, right} <= model.keys():
            names = (left, right)
            figures["-".join(names)] = retrieval(model[left], model[right], table, names, metrics)
    return figures


def pair_tables(modalities: Sequence[str], banks: BankSet) -> Tables:
    """Return a split's pair tables between some modalities, and between media and their classes.

    Tables without a pair of rows that all spaces have are left out.
    """
    pairs = [pair for pair in banks.paired() if set(pair) <= set(modalities)]
    pairs += [(m, CLASS) for m in labelled(banks) if {m, TEXT} <= set(modalities)]
    tables = {pair: banks.pairs(*pair) for pair in pairs}
    return {pair: table for pair, table in tables.items() if len(table)}


def can_evaluate(space: FusedSpace, banks: BankSet) -> bool:
    """Return whether there are pairs of modalities that can be fused; the space may be planned."""
    fused = {*fusable(space, banks), CLASS}  # classes need texts: ``pair_tables``
    return any(fused.issuperset(pair) for pair in pair_tables(space.modalities, banks))


def tables_for(space: FusedSpace, banks: BankSet) -> Tables:
    """Return the pair tables that a fused space can be evaluated on; it may be planned.

    Raises:
        FreeBindError: There is no pair of modalities that can be fused from these banks.
    """
    if not can_evaluate(space, banks):
        raise FreeBindError(
            "nothing to evaluate: no pairs between items that every space has",
            where=banks.split.path,
            expected=f"pairs of two modalities with rows of {', '.join(space.spaces)}",
            got=f"pairs of {', '.join(map('-'.join, banks.paired())) or 'none'}; rows of "
            + ", ".join(dict.fromkeys(name for name, _ in banks.banks)),
            fix="add a pair table with freebind bank pairs, or name the spaces as in the pool",
        )
    return pair_tables(space.modalities, banks)


def evaluate(
    space: FusedSpace,
    banks: BankSet,
    points: Mapping[str, Factors] | None = None,
    metrics: Sequence[str] = RECALLS,
) -> Results:
    """Evaluate a fused space, its sources and the mean of scores on a split with pairs.

    Args:
        space: The fused space.
        banks: All its native spaces over an evaluation split.
        points: Name to factors; None takes the presets that fit the experts. A cut direct sum is
            also evaluated uncut.
        metrics: Names of metrics; your own as module:function, see ``retrieval``.

    Returns:
        The figures; impossible ones (an expert on a modality that it lacks) are left out.

    Raises:
        FreeBindError: The split has no pairs between items that all the spaces have.
    """
    tables = tables_for(space, banks)
    parts = parts_of(space, banks)
    points = space.presets if points is None else points
    models = sources_and_baseline(space, banks)
    mean = models.pop(MEAN_OF_SCORES)
    sources = tuple(models)
    whole = uncut(space)
    models |= {name: fused_at(whole, banks, parts, factors) for name, factors in points.items()}
    if whole is not space:
        cut = {f"{name}, {space.dim} dimensions": at for name, at in points.items()}
        models |= {name: fused_at(space, banks, parts, factors) for name, factors in cut.items()}
    models[MEAN_OF_SCORES] = mean
    figures = {name: compare(model, tables, metrics) for name, model in models.items()}
    return Results(figures, banks.split.name, tuple(metrics), sources)
