"""Arrays in, a fused space out, in one call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fb_jax.banks import BankSet
from fb_jax.errors import FreeBindError, notice_once
from fb_jax.evaluation import sweep
from fb_jax.evaluation.models import tables_for
from fb_jax.evaluation.surfaces.choosing import Aim, choose
from fb_jax.fusion import FusedSpace
from fb_jax.numerics import single_precision
from fb_jax.projector import Bond, BondKind, BondSpec
from fb_jax.pseudo import PairSpec, Retrieval, build_pairs
from fb_jax.run.choosing import Hubs
from fb_jax.run.hubs import OFF, hub_corrected
from fb_jax.run.reporter import Reporter, Silent
from fb_jax.training import Runtime, Training, describe_bond, train_bond


@single_precision()
def fit(  # noqa: PLR0913  (each is a choice of its own, and all but two have a default)
    unified: Mapping[str, Any],
    expert: Mapping[str, Any],
    *,
    names: tuple[str, str] = ("unified", "expert"),
    kind: BondKind = "combination",
    validation: BankSet | None = None,
    aim: str = "mean",
    hubs: Hubs = "off",
    folder: Path | str | None = None,
    retrieval: Retrieval | None = None,
    training: Training | None = None,
    runtime: Runtime | None = None,
    reporter: Reporter | None = None,
) -> FusedSpace:
    """Fuse a unified space with an expert, from embeddings in memory or memory maps.

    ``space.fuse(modality, {name: rows, ...})`` of the returned space takes rows of both spaces.

    Args:
        unified: Modality to ``[n, d]`` embeddings of the unified space: NumPy, JAX or torch, of any
            norm. The modalities need not be paired.
        expert: Modality to ``[n, d_e]`` embeddings of the same items in the expert space, for two
            or more of these modalities; row i is the same item in both spaces.
        names: Names of both spaces.
        kind: Direction of the bond.
        validation: Both spaces over other items, under the same names, with pairs:
            ``BankSet.from_arrays(spaces, pairs)``. Factors are chosen on it. None: the first preset
            that fits the expert.
        aim: What the chosen factors are to be best at: "mean" (R@1 over all pairs), a pair such as
            "audio-text", or either with ", others no worse than unified".
        hubs: "chosen": also choose a hub correction on ``validation``; the arrays are its
            references, and ``fuse`` takes a role. "off": none.
        folder: For pseudo pairs, checkpoints and logs, so that an interrupted call continues.
            None: nothing is written.
        retrieval: Settings of the pseudo pairs.
        training: Settings of the training. None: the paper's; see ``Training``.
        runtime: Settings of speed, memory and logging.
        reporter: Shows progress.

    Raises:
        FreeBindError: Arrays do not fit each other or hold rows without a direction.
    """
    reporter, runtime = reporter or Silent(), runtime or Runtime()
    pool = BankSet.from_arrays({names[0]: unified, names[1]: expert})
    spec = PairSpec(pool, *names, retrieval or Retrieval())
    training = training or Training()
    best = Aim.parse(aim)
    described = describe_bond(spec, kind, training.hidden, training.pipeline)
    steps = len(training.schedule(described, spec.ranges))
    planned = FusedSpace.of(Bond(described))
    _require_pairs(validation, planned, best)
    _tell_brought(described)
    pairs_at, bond_at = (folder and Path(folder) / part for part in ("pairs", "bond"))
    with reporter.task("pseudo pairs", sum(map(len, spec.ranges.values()))) as advance:
        pairs = build_pairs(spec, pairs_at, resident_bytes=runtime.resident_bytes, progress=advance)
    with reporter.task("training", steps) as advance:
        bond = train_bond(pairs, kind, bond_at, training, runtime, advance)
    space = FusedSpace.of(bond)
    if validation is not None:
        space = space.choosing(choose(sweep(space, validation), best).factors)
    return space if hubs == OFF else hub_corrected(space, lambda: pool, validation)[0]


def _tell_brought(bond: BondSpec) -> None:
    """Say what only the expert has: a misspelt modality would look like that."""
    if bond.lacking:
        brought = ", ".join(bond.lacking)
        notice_once(f"{bond.unified} has no {brought}; {bond.expert} brings it")


def _require_pairs(validation: BankSet | None, planned: FusedSpace, aim: Aim) -> None:
    """Raise a FreeBindError unless the factors of a space can be chosen on some banks as asked."""
    if validation is None:
        return
    if not isinstance(validation, BankSet):
        raise FreeBindError(
            "these are not banks with pairs",
            where="validation",
            expected="BankSet.from_arrays(spaces, pairs)",
            got=type(validation).__name__,
        )
    aim.require_among(map("-".join, tables_for(planned, validation)), "the pairs of validation")
