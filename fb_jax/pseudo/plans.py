"""The pseudo-pair plans: which soft retrievals complete an item (Eq. 4-6 and 11-13), as data.

A plan belongs to the kind of expert, not to a bond: one set of pairs serves both directions [P].
Another kind of expert is one more entry of ``PLANS``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from fb_jax.errors import FreeBindError

Side = Literal["unified", "expert"]
SIDES: tuple[Side, Side] = ("unified", "expert")
Column = tuple[Side, str]
"""An embedding of a pseudo pair, by side and modality."""


class Ref(NamedTuple):
    """An embedding of the item at hand or, as keys and values, a bank.

    Attributes:
        side: The unified or the expert space (superscripts u, e).
        modality: Name of the modality.
        soft: Whether it was aggregated (the paper's ``~``) rather than native.
    """

    side: Side
    modality: str
    soft: bool = False

    @property
    def column(self) -> Column:
        """Side and modality."""
        return self.side, self.modality

    def __str__(self) -> str:
        return f"{'~' if self.soft else ''}{self.modality}^{self.side[0]}"


class Hop(NamedTuple):
    """One soft retrieval, ``A(query; keys -> values)``; keys and values are native banks.

    Its output is the soft embedding of the values' side and modality.
    """

    query: Ref
    keys: Ref
    values: Ref

    @property
    def output(self) -> Ref:
        """What the hop makes."""
        return self.values._replace(soft=True)

    def __str__(self) -> str:
        return f"{self.output} = A({self.query}; {self.keys} -> {self.values})"


Plan = Mapping[str, tuple[Hop, ...]]
"""Start modality to the hops that complete an item of it, in the order they run."""

T_u, V_u, A_u = (Ref("unified", modality) for modality in ("text", "image", "audio"))
T_e, V_e, A_e = (Ref("expert", modality) for modality in ("text", "image", "audio"))
soft_V_u = V_u._replace(soft=True)

IMAGE_TEXT: Plan = {
    "text": (  # Eq. 4
        Hop(T_e, V_e, V_e),
        Hop(T_u, V_u, V_u),
        Hop(soft_V_u, A_u, A_u),
    ),
    "image": (  # Eq. 5
        Hop(V_e, T_e, T_e),
        Hop(V_u, T_u, T_u),
        Hop(V_u, A_u, A_u),
    ),
    "audio": (  # Eq. 6
        Hop(A_u, V_u, V_e),
        Hop(A_u, V_u, V_u),
        Hop(soft_V_u, T_u, T_e),
        Hop(soft_V_u, T_u, T_u),
    ),
}

AUDIO_TEXT: Plan = {
    "text": (  # Eq. 11
        Hop(T_e, A_e, A_e),
        Hop(T_e, A_e, A_u),
        Hop(T_u, V_u, V_u),
    ),
    "audio": (  # Eq. 12
        Hop(A_e, T_e, T_e),
        Hop(A_e, T_e, T_u),
        Hop(A_u, V_u, V_u),
    ),
    "image": (  # Eq. 13
        Hop(V_u, T_u, T_e),
        Hop(V_u, T_u, T_u),
        Hop(V_u, A_u, A_e),
        Hop(V_u, A_u, A_u),
    ),
}

PLANS: Mapping[frozenset[str], Plan] = {
    frozenset({"image", "text"}): IMAGE_TEXT,
    frozenset({"audio", "text"}): AUDIO_TEXT,
}

ORDER = ("text", "image", "audio")
"""The order of starts and of modalities wherever one is needed [O]; others follow by name."""


def in_order(modalities: Iterable[str]) -> tuple[str, ...]:
    """Return modalities in ``ORDER``, then the others alphabetically."""
    known = {modality: place for place, modality in enumerate(ORDER)}
    return tuple(sorted(modalities, key=lambda m: (known.get(m, len(ORDER)), m)))


def plan_for(unified: Iterable[str], expert: Iterable[str]) -> Plan:
    """Return the plan for an expert that covers some modalities of a unified space.

    Raises:
        FreeBindError: There is no plan for these modalities.
    """
    unified, expert = frozenset(unified), frozenset(expert)
    plan = PLANS.get(expert)
    if plan is None or not unified >= frozenset(plan):
        raise FreeBindError(
            "there is no plan of pseudo pairs for these spaces",
            expected="a unified space of audio, image and text, and an expert of "
            + " or ".join(" and ".join(sorted(kind)) for kind in PLANS),
            got=f"unified: {', '.join(sorted(unified))}; expert: {', '.join(sorted(expert))}",
        )
    return plan


def native(plan: Plan, start: str) -> tuple[Ref, ...]:
    """Return the embeddings that an item of the start modality has of its own."""
    hops = [hop for hops in plan.values() for hop in hops]
    refs = {ref for hop in hops for ref in (hop.keys, hop.values) if ref.modality == start}
    return tuple(sorted(refs))


def columns(plan: Plan) -> tuple[Column, ...]:
    """Return every (side, modality) that an item has once it is completed, in a fixed order."""
    hops = [hop for hops in plan.values() for hop in hops]
    found = {hop.values.column for hop in hops} | {hop.keys.column for hop in hops}
    return tuple((s, m) for s in SIDES for m in in_order({m for o, m in found if o == s}))


def shared_scores(hops: Sequence[Hop]) -> dict[tuple[Ref, Ref], list[Hop]]:
    """Group hops by query and keys: a group's values share one score matrix."""
    groups: dict[tuple[Ref, Ref], list[Hop]] = {}
    for hop in hops:
        groups.setdefault((hop.query, hop.keys), []).append(hop)
    return groups
