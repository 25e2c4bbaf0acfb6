"""The spaces of a run that names none, or one: the only ones of its pool that fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fb_jax.banks import Bank, Split, open_split
from fb_jax.errors import FreeBindError, notice_once, unknown
from fb_jax.fusion.banks import is_fused
from fb_jax.run.options import RunConfig

PAPER = {"unified": "imagebind", "expert": "clap_general"}
"""Spaces that are taken if several fit."""


def named(config: RunConfig) -> RunConfig:
    """Return a run whose unified and expert space are named.

    A unified space has every modality of the pool (of the expert, if that is named); an expert
    shares two or more with it. Fused spaces are not considered.

    Raises:
        FreeBindError: A named space is not there, none fits, or several do and none is the paper's.
    """
    if config.unified and config.expert:
        return config
    spaces = native_spaces(config)
    unified = unified_of(config, spaces)
    experts = list(experts_of(unified, spaces))
    expert = config.expert or _only("expert", experts, spaces, config)
    if (unified, expert) != (config.unified or PAPER["unified"], config.expert or PAPER["expert"]):
        notice_once(f"unified space: {unified}; expert: {expert} (others: --unified, --expert)")
    return replace(config, unified=unified, expert=expert)


def _require_there(split: Split, options: Mapping[str, str | None]) -> None:
    """Raise a FreeBindError that names the option if a named space is not in the pool."""
    for option, name in options.items():
        if name and name not in (known := split.spaces()):
            raise unknown("space", name, known, f"{option}, in {split.path}")


def native_spaces(config: RunConfig) -> dict[str, set[str]]:
    """Return the spaces of a run's pool and their modalities, without fused ones.

    Raises:
        FreeBindError: The run names a space that is not there.
    """
    split = open_split(config.data, config.pool)
    _require_there(split, {"--unified": config.unified, "--expert": config.expert})
    return {n: set(ms) for n, ms in split.spaces().items() if not _is_fused(split, n, ms)}


def unified_of(config: RunConfig, spaces: Mapping[str, set[str]]) -> str:
    """Return the unified space of a run; see ``named``."""
    wanted = spaces.get(config.expert or "") or set().union(*spaces.values())
    whole = [n for n, ms in spaces.items() if ms >= wanted and n != config.expert]
    return config.unified or _only("unified", whole, spaces, config)


def experts_of(unified: str, spaces: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    """Return the spaces that share two or more modalities with a unified one, and which."""
    own = spaces.get(unified, set())
    shared = {n: frozenset(ms & own) for n, ms in spaces.items() if n != unified}
    return {n: both for n, both in shared.items() if len(both) > 1}


def _is_fused(split: Split, space: str, modalities: Iterable[str]) -> bool:
    banks = (Bank.open(split.bank_path(space, modality)) for modality in modalities)
    return any(is_fused(bank) for bank in banks)


def _only(role: str, names: list[str], spaces: Mapping[str, set[str]], config: RunConfig) -> str:
    """Return the only name, or the paper's among several."""
    if PAPER[role] in names or len(names) == 1:
        return PAPER[role] if PAPER[role] in names else names[0]
    known = "; ".join(f"{n} ({', '.join(sorted(ms))})" for n, ms in spaces.items())
    what = "every modality" if role == "unified" else "two or more modalities of the unified space"
    fix = "without --product, " * bool(config.product) + (
        "an expert may bring what the unified space lacks: --unified A --expert B, with "
        "--bond exmcr, cmcr or combination"
    )
    raise FreeBindError(
        f"it is not clear which space is the {role} one",
        where=config.data / config.pool,
        expected=f"one space with {what}; name it: --{role} NAME",
        got=f"{', '.join(names) or 'none'} of {known or 'no spaces'}",
        fix=None if names else fix,
    )
