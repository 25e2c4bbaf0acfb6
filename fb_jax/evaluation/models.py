"""What a table compares: every model is a mapping from modality to rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Integer

from fb_jax.banks import BankSet
from fb_jax.errors import FreeBindError
from fb_jax.evaluation.bootstrap import Bootstrap
from fb_jax.evaluation.classes import CLASS, TEXT, labelled, with_classes
from fb_jax.evaluation.memory import LIMIT, block_bytes
from fb_jax.evaluation.metrics import RECALLS
from fb_jax.evaluation.ranks import SCORE_BYTES
from fb_jax.evaluation.results import MEAN_OF_SCORES, Results
from fb_jax.evaluation.retrieval import Samples, class_samples, retrieval_samples
from fb_jax.evaluation.spaces import PlainRow, Row, Space, models_of, native_space
from fb_jax.evaluation.tasks import class_metrics, several_classes
from fb_jax.fusion import CutSum, Factors, FusedSpace, Parts, fusable, parts_of, uncut
from fb_jax.fusion.card import own_row, plain_row

Tables = Mapping[tuple[str, str], Integer[np.ndarray, "p 2"]]
"""Pair of modalities to the rows of both that belong together."""


def source_rows(space: FusedSpace) -> dict[str, PlainRow]:
    """Return what a fused space is compared with: its sources, and the mean of their scores.

    ``unified`` is the native unified space; earlier stages go by their names. Spaces that only hold
    rows of a tuned encoder are no sources.
    """
    tuned = {name for stage in space.stages for name in stage.tuned_rows.values()}
    names = [name for name in space.spaces if name not in tuned]
    bases = {base.title: base for base in bases_of(space)}
    natives = {name: name for name in names[1:]}
    return {"unified": names[0], **natives, **bases, MEAN_OF_SCORES: tuple(names)}


def model_rows(space: FusedSpace, points: Mapping[str, Factors]) -> dict[str, Row]:
    """Return all rows of the table of a space: its sources, itself, and the mean of scores.

    Args:
        space: The fused space.
        points: Name to factors. A cut direct sum is also there uncut, and a space with hub
            correction with it.
    """
    rows: dict[str, Row] = {**source_rows(space)}
    mean, whole = rows.pop(MEAN_OF_SCORES), uncut(space.plain)
    rows |= {name: whole.with_factors(**factors) for name, factors in points.items()}
    if isinstance(space.last, CutSum):
        cut = space.plain
        rows |= {plain_row(cut, n): cut.with_factors(**factors) for n, factors in points.items()}
    if space.hubs is not None:
        rows[own_row(space, points)] = space
    return {**rows, MEAN_OF_SCORES: mean}


def sources_and_baseline(space: FusedSpace, banks: BankSet) -> dict[str, Space]:
    """Return the spaces over a split that a fused space is compared with; see ``source_rows``."""
    return dict(models_of(source_rows(space), banks))


def bases_of(space: FusedSpace) -> list[FusedSpace]:
    """Return the fused spaces that a space is built on, the first one first."""
    return [] if space.base is None else [*bases_of(space.base), space.base]


def unified_rows(space: FusedSpace, banks: BankSet) -> Space:
    """Return the rows of the last unified space: native, or fused by earlier stages."""
    return (
        native_space(space.unified, banks) if space.base is None else fused_rows(space.base, banks)
    )


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


def samples_of(
    model: Space,
    tables: Tables,
    metrics: Mapping[tuple[str, str], Sequence[str]],
    bootstrap: Bootstrap = Bootstrap(0),  # noqa: B008  (frozen)
    memory: int = SCORE_BYTES,
) -> dict[tuple[str, str], Samples]:
    """Evaluate every pair of modalities, or of media and classes, that model and tables have.

    Args:
        model: Modality to rows, read once.
        tables: Pairs to their tables.
        metrics: Pairs to the names of their metrics.
        bootstrap: Resampling of the items.
        memory: Bytes for a block of scores.

    Returns:
        Pair to metric to its samples: the value, followed by the values on resamples.
    """
    mine = {pair: table for pair, table in tables.items() if set(pair) <= set(model)}
    asks = getattr(model, "queries", model)
    needed = dict.fromkeys(m for pair in mine for m in pair)
    rows = {m: model[m] for m in needed}
    queries = rows if asks is model else {m: asks[m] for m in needed}
    found = {}
    for pair, table in mine.items():
        left, right = pair
        asking = queries[left], queries[right]
        sides, names = (rows[left], rows[right], table), metrics[pair]
        if CLASS in pair:
            found[pair] = class_samples(asking[0], *sides[1:], names, bootstrap, memory)
        else:
            found[pair] = retrieval_samples(*sides, pair, names, bootstrap, memory, asking)
    return found


def compare(
    model: Space,
    tables: Tables,
    metrics: Sequence[str] = RECALLS,
    *,
    several: bool = False,
    memory: int = SCORE_BYTES,
) -> dict[str, dict[str, float]]:
    """Return the figures of every pair that model and tables have: ``audio-text`` to metrics.

    Labelled items have accuracies, or mAP if some have several classes; ``several`` says that they
    may, although none here has. ``memory`` is for a block of scores.
    """
    wanted = {p: class_metrics(t, several) if CLASS in p else metrics for p, t in tables.items()}
    return {
        "-".join(pair): {name: float(values[0]) for name, values in samples.items()}
        for pair, samples in samples_of(model, tables, wanted, memory=memory).items()
    }


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
    memory: int = LIMIT,
    beside: Mapping[str, Row] = {},
) -> Results:
    """Evaluate a fused space, its sources and the mean of scores on a split with pairs.

    Args:
        space: The fused space.
        banks: All its native spaces over an evaluation split.
        points: Name to factors; None takes the presets that fit the experts. A cut direct sum is
            also evaluated uncut.
        metrics: Names of metrics; your own as module:function, see ``retrieval``.
        memory: Bytes that the evaluation may take; the figures do not depend on it.
        beside: More rows of the table, by name.

    Returns:
        The figures; impossible ones (an expert on a modality that it lacks) are left out.

    Raises:
        FreeBindError: The split has no pairs between items that all the spaces have, or the
            evaluation needs more memory.
    """
    tables = tables_for(space, banks)
    rows = {**model_rows(space, space.presets if points is None else points), **beside}
    sources = tuple(name for name in source_rows(space) if name != MEAN_OF_SCORES)
    block, several = block_bytes(rows, banks, tables, memory), several_classes(banks)
    models = models_of(rows, banks)
    compared = {
        name: compare(models.pop(name), tables, metrics, several=several, memory=block)
        for name in list(models)
    }
    figures = {name: compared[name] for name in rows}
    return Results(figures, banks.split.name, tuple(metrics), sources)
