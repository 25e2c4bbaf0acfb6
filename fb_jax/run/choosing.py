"""Choosing the factors of a fused space on validation pairs, and what is recorded of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fb_jax import files
from fb_jax.banks import BankSet, Progress, no_progress
from fb_jax.errors import FreeBindError, notice_once, unknown
from fb_jax.evaluation.parting import part_by_item
from fb_jax.evaluation.surfaces.choosing import Aim, choose
from fb_jax.evaluation.surfaces.sweep import Sweep, sweep
from fb_jax.files.kinds import Weight
from fb_jax.fusion import Factors, FusedSpace
from fb_jax.fusion.factors import as_text

NONE = "none"
Hubs = Literal["chosen", "off"]
"""Whether a hub correction is chosen on validation pairs."""

VAL, TEST = "val", "test"
Sets = dict[str, BankSet]
"""Name of an evaluation split, or of a part of one, to its banks."""


@dataclass(frozen=True)
class Choosing:
    """How factors are chosen.

    Attributes:
        aim: See ``Aim.parse``; "none" keeps the preset.
        val: Split whose pairs are used.
        fraction: Without that split: share of the items of the only split that are used instead.
        built_on: Factors at which a later stage has used the space; others are refused.
        hubs: Whether a hub correction is chosen, too; None: nobody said, so it is not.
    """

    aim: str = "mean"
    val: str = VAL
    fraction: float | None = None
    built_on: Factors | None = None
    hubs: Hubs | None = None


@dataclass(frozen=True)
class Validation:
    """The pairs that something was chosen on, as ``metrics.json`` records them.

    Attributes:
        on: Name of the validation pairs.
        split: The split that was parted to choose; "" if none was.
        fraction: Share of its items that were used.
        rows: Digest of the part's items, if a split was parted; "" in results of earlier versions.
    """

    on: str
    split: str = ""
    fraction: float | None = None
    rows: str = ""


@dataclass(frozen=True, kw_only=True)
class Chosen(Validation):
    """Factors that were chosen, as ``metrics.json`` records them.

    Attributes:
        factors: Modality to the weight of the expert part.
        aim: What they are best at.
        reached: Pair of modalities to R@1 in percent on the validation pairs.
        short: See ``Choice``.
        sweep: The whole surface; see ``Sweep.to_dict``.
    """

    factors: dict[str, Weight]
    aim: str
    reached: dict[str, float]
    short: float
    sweep: dict[str, Any]

    def __str__(self) -> str:
        return f"factors chosen on {self.on}, for {self.aim}: {as_text(self.factors)}"


def part_off(evaluation: Mapping[str, BankSet], split: str, fraction: float) -> Sets:
    """Return evaluation splits with one of them in two parts, the one to choose on first."""
    val, rest = part_by_item(evaluation[split], fraction)
    share = f"{100 * fraction:g} %"
    parts = {f"{share} of {split}": val, f"the rest of {split}": rest}
    return parts | {name: banks for name, banks in evaluation.items() if name != split}


def in_order(sets: Mapping[str, BankSet], val: str = VAL) -> Sets:
    """Return evaluation splits with validation first and test last."""
    place = lambda name: (name != val, name == TEST)  # noqa: E731
    return {name: sets[name] for name in sorted(sets, key=place)}


def as_chosen(evaluation: Mapping[str, BankSet], known: Validation | None) -> Sets:
    """Return evaluation splits as they were when something was chosen: in order, one in parts.

    That one stays whole, with a notice, if it holds other items now, which would be parted
    differently: items that something was chosen on must not count as the rest.
    """
    if known is not None and known.split in evaluation and known.fraction is not None:
        parts = part_off(evaluation, known.split, known.fraction)
        if known.rows in ("", _rows_digest(parts[known.on])):
            return parts
        notice_once(
            f"{evaluation[known.split].split.path}: other items than when something was chosen "
            f"on {known.on}: it is evaluated whole; freebind train again parts it anew"
        )
    return in_order(evaluation, known.on if known else VAL)


def _rows_digest(banks: BankSet) -> str:
    """Return a digest of the items of a part of a split."""
    return files.sha256_of_json({m: rows.tolist() for m, rows in banks.rows.items()})


def parted(evaluation: Mapping[str, BankSet], how: Choosing) -> tuple[Sets, Validation | None]:
    """Return the sets to evaluate, and which of them to choose on; None if there are no such pairs.

    Raises:
        FreeBindError: There is no such validation split; or a fraction is asked for, and there is
            one, or no single other.
    """
    if how.val not in (VAL, *evaluation):
        raise unknown("evaluation split", how.val, evaluation, "--val")
    if how.fraction is None or not evaluation:
        return in_order(evaluation, how.val), Validation(how.val) if how.val in evaluation else None
    if how.val in evaluation or len(evaluation) > 1:
        raise FreeBindError(
            "a part of one split is used only where there is no split to choose factors on",
            where="--val-fraction",
            expected="one evaluation split",
            got=", ".join(evaluation),
            fix=f"leave it out: factors are chosen on {how.val}"
            if how.val in evaluation
            else "leave it out, and name a split with --val",
        )
    (split,) = evaluation
    sets = part_off(evaluation, split, how.fraction)
    on, banks = next(iter(sets.items()))
    return sets, Validation(on, split, how.fraction, _rows_digest(banks))


def require_built_on(space: FusedSpace, how: Choosing) -> None:
    """Raise a FreeBindError if a later stage has used a space at other factors."""
    if how.built_on not in (None, space.factors):
        raise FreeBindError(
            f"a later stage was built on other factors of {space.title}",
            expected=as_text(how.built_on or {}),
            got=f"{as_text(space.factors)}, by --choose or on other pairs",
            fix="choose another --out: it is another product",
        )


def choose_on(
    space: FusedSpace,
    known: Validation,
    banks: BankSet,
    aim: Aim,
    progress: Progress = no_progress,
) -> tuple[Chosen, Sweep]:
    """Choose the factors of a space on a set of pairs.

    Raises:
        FreeBindError: The aim names a pair that the set does not have.
    """
    swept = sweep(space, banks, progress=progress)
    choice = choose(swept, aim)
    if choice.short:
        notice_once(
            f"{space.title}: no factors keep every other pair as near to {space.unified} as that: "
            f"these lose {choice.short:.1f} points of R@1 more, in all"
        )
    about = {**asdict(choice), **asdict(known), "aim": str(aim), "sweep": swept.to_dict()}
    return Chosen(**about), swept
