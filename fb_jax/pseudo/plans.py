"""Plans of pseudo pairs: which soft retrievals complete an item, as data.

A plan belongs to the kind of expert, not to a bond: one set of pairs serves both directions [P].
One rule [O] gives the plan for any expert. For an image-text expert it gives Eq. 4-6, for an
audio-text expert Eq. 11-13, hop by hop:

    A space *links* two modalities if its scores between them can be trusted. The expert links any
    two of its modalities; the unified space links its anchor with every other modality. The
    *anchor* is the modality that the unified space was trained around: image for ImageBind [P].

    1. An embedding that some space links with the start takes one hop. The scores come from the
       space of the embedding if it links the two, else from the other space.
    2. Any other embedding takes two hops with unified scores: from the start to the soft anchor,
       and from there to the embedding.

The paper's two tables differ because one expert has the anchor and the other has not. The rule
treats all modalities except the anchor alike: an audio-image expert has the plan of an image-text
expert with text and audio exchanged.

An expert may also bring modalities that the unified space lacks [O]: the *bridge* is a modality
that both have, the anchor if they share it. Then, where no space links an embedding with the start,

    3. what the unified space lacks takes its last hop from the soft bridge, with the expert's
       scores; and so does the anchor, with unified scores, from a start that the unified space
       lacks. All else takes its last hop from the soft anchor, as in 2.

For CLIP (image, text) and CLAP (audio, text) this is the chain of Ex-MCR: from audio to text in
CLAP, the same weights over the texts in CLIP, and from there to images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from fb_jax.errors import FreeBindError, unknown

Side = Literal["unified", "expert"]
SIDES: tuple[Side, Side] = ("unified", "expert")
Column = tuple[Side, str]
"""An embedding of a pseudo pair, by side and modality."""


class Ref(NamedTuple):
    """An embedding of an item or, as keys and values, a bank.

    Attributes:
        side: The unified or the expert space (superscripts u, e).
        modality: Name of the modality.
        soft: True if it is aggregated (the paper's ``~``), False if it is native.
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
    """One soft retrieval, ``A(query; keys -> values)``; keys and values are native banks."""

    query: Ref
    keys: Ref
    values: Ref

    @property
    def output(self) -> Ref:
        """The soft embedding of the values' side and modality."""
        return self.values._replace(soft=True)

    def __str__(self) -> str:
        return f"{self.output} = A({self.query}; {self.keys} -> {self.values})"


Plan = Mapping[str, tuple[Hop, ...]]
"""Start modality to the hops that complete an item of it, in the order they run."""

ORDER = ("text", "image", "audio")
"""The order of starts and modalities wherever one is needed [O]; others follow by name."""


def in_order(modalities: Iterable[str]) -> tuple[str, ...]:
    """Return modalities in ``ORDER``, then the others alphabetically."""
    known = {modality: rank for rank, modality in enumerate(ORDER)}
    return tuple(sorted(modalities, key=lambda m: (known.get(m, len(ORDER)), m)))


def anchor_of(unified: Iterable[str]) -> str:
    """Return the default anchor of a unified space: image, else its first modality [O]."""
    known = in_order(unified)
    return "image" if "image" in known else known[0]


def bridge_of(unified: Iterable[str], expert: Iterable[str], anchor: str | None = None) -> str:
    """Return the modality of both spaces that connects the others: the anchor, or the first [O]."""
    shared = set(unified) & set(expert)
    anchor = anchor_of(unified) if anchor is None else anchor
    return anchor if anchor in shared else in_order(shared)[0]


def plan_for(unified: Iterable[str], expert: Iterable[str], anchor: str | None = None) -> Plan:
    """Return the plan for an expert that shares a modality with a unified space.

    A space with one modality is refused: it links nothing that the other one could learn from. An
    expert with all modalities of the unified space is accepted: every item then has a native
    embedding in both, and the expert's scores retrieve what the unified space does not link.

    Args:
        unified: Modalities of the unified space, two or more.
        expert: Modalities of the expert, two or more; one of them at least is the unified space's.
        anchor: The modality that the unified space was trained around; None: see ``anchor_of``.

    Returns:
        The hops from every modality that one of the spaces has.

    Raises:
        FreeBindError: A space has one modality only, they share none, or there is no such anchor.
    """
    unified, expert = frozenset(unified), frozenset(expert)
    if min(len(unified), len(expert)) < 2 or not unified & expert:
        raise FreeBindError(
            "these spaces have no plan of pseudo pairs",
            expected="two or more modalities in each space, and one that both have",
            got=f"unified: {', '.join(sorted(unified))}; expert: {', '.join(sorted(expert))}",
        )
    anchor = anchor_of(unified) if anchor is None else anchor
    if anchor not in unified:
        raise unknown("anchor among the unified space's modalities", anchor, unified)
    spaces = _Spaces(unified, expert, anchor, bridge_of(unified, expert, anchor))
    return {start: spaces.hops(start) for start in in_order(unified | expert)}


class _Spaces(NamedTuple):
    """What the rule above knows of both spaces."""

    unified: frozenset[str]
    expert: frozenset[str]
    anchor: str
    bridge: str

    def hops(self, start: str) -> tuple[Hop, ...]:
        """Return the hops from a start, each after the one whose output it queries."""
        hops = [
            self._hop(start, Ref(side, modality))
            for modality in in_order((self.unified | self.expert) - {start})
            for side in ("expert", "unified")
            if modality in getattr(self, side)
        ]
        known = {hop.output: hop for hop in hops}

        def order(hop: Hop) -> tuple[int, bool]:
            before = 1 + order(known[hop.query])[0] if hop.query.soft else 0
            return before, hop.values.modality not in self.expert

        return tuple(sorted(hops, key=order))

    def _hop(self, start: str, values: Ref) -> Hop:
        """Return the hop to an embedding, by the rule above."""
        ends = {start, values.modality}
        links = {
            "expert": ends <= self.expert,
            "unified": ends <= self.unified and self.anchor in ends,
        }
        for side in sorted(SIDES, key=lambda side: side != values.side):
            if links[side]:
                return Hop(Ref(side, start), Ref(side, values.modality), values)
        if values.modality not in self.unified:  # rule 3, in the expert
            return Hop(Ref("expert", self.bridge, soft=True), values, values)
        way = self.bridge if values.modality == self.anchor else self.anchor
        return Hop(Ref("unified", way, soft=True), Ref("unified", values.modality), values)


def native(plan: Plan, start: str) -> tuple[Ref, ...]:
    """Return the native embeddings of an item of the start modality."""
    hops = [hop for hops in plan.values() for hop in hops]
    refs = {ref for hop in hops for ref in (hop.keys, hop.values) if ref.modality == start}
    return tuple(sorted(refs))


def columns(plan: Plan) -> tuple[Column, ...]:
    """Return every (side, modality) of a completed item, in a fixed order."""
    hops = [hop for hops in plan.values() for hop in hops]
    found = {hop.values.column for hop in hops} | {hop.keys.column for hop in hops}
    return tuple((s, m) for s in SIDES for m in in_order({m for o, m in found if o == s}))


def shared_scores(hops: Sequence[Hop]) -> dict[tuple[Ref, Ref], list[Hop]]:
    """Group hops by query and keys: the hops of a group share one score matrix."""
    groups: dict[tuple[Ref, Ref], list[Hop]] = {}
    for hop in hops:
        groups.setdefault((hop.query, hop.keys), []).append(hop)
    return groups
