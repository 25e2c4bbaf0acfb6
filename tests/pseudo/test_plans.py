from itertools import combinations

import pytest

from fb_jax.errors import FreeBindError
from fb_jax.pseudo import SIDES, anchor_of, bridge_of, in_order, plan_for
from fb_jax.pseudo.plans import columns, native, shared_scores

UNIFIED = {"text", "image", "audio"}
PAPER = {
    ("image", "text"): {
        # Eq. 4
        "text": """
            ~V^e = A(T^e; V^e -> V^e)
            ~V^u = A(T^u; V^u -> V^u)
            ~A^u = A(~V^u; A^u -> A^u)
        """,
        # Eq. 5
        "image": """
            ~T^e = A(V^e; T^e -> T^e)
            ~T^u = A(V^u; T^u -> T^u)
            ~A^u = A(V^u; A^u -> A^u)
        """,
        # Eq. 6
        "audio": """
            ~V^e = A(A^u; V^u -> V^e)
            ~V^u = A(A^u; V^u -> V^u)
            ~T^e = A(~V^u; T^u -> T^e)
            ~T^u = A(~V^u; T^u -> T^u)
        """,
    },
    ("audio", "text"): {
        # Eq. 11
        "text": """
            ~A^e = A(T^e; A^e -> A^e)
            ~A^u = A(T^e; A^e -> A^u)
            ~V^u = A(T^u; V^u -> V^u)
        """,
        # Eq. 12
        "audio": """
            ~T^e = A(A^e; T^e -> T^e)
            ~T^u = A(A^e; T^e -> T^u)
            ~V^u = A(A^u; V^u -> V^u)
        """,
        # Eq. 13
        "image": """
            ~T^e = A(V^u; T^u -> T^e)
            ~T^u = A(V^u; T^u -> T^u)
            ~A^e = A(V^u; A^u -> A^e)
            ~A^u = A(V^u; A^u -> A^u)
        """,
    },
}
OURS = {
    # An expert of a fourth modality and text: as with audio and text, the anchor is not in it.
    ("depth", "text"): {
        "text": """
            ~D^e = A(T^e; D^e -> D^e)
            ~D^u = A(T^e; D^e -> D^u)
            ~V^u = A(T^u; V^u -> V^u)
            ~A^u = A(~V^u; A^u -> A^u)
        """,
        "image": """
            ~T^e = A(V^u; T^u -> T^e)
            ~T^u = A(V^u; T^u -> T^u)
            ~D^e = A(V^u; D^u -> D^e)
            ~D^u = A(V^u; D^u -> D^u)
            ~A^u = A(V^u; A^u -> A^u)
        """,
        "audio": """
            ~V^u = A(A^u; V^u -> V^u)
            ~T^e = A(~V^u; T^u -> T^e)
            ~T^u = A(~V^u; T^u -> T^u)
            ~D^e = A(~V^u; D^u -> D^e)
            ~D^u = A(~V^u; D^u -> D^u)
        """,
        "depth": """
            ~T^e = A(D^e; T^e -> T^e)
            ~T^u = A(D^e; T^e -> T^u)
            ~V^u = A(D^u; V^u -> V^u)
            ~A^u = A(~V^u; A^u -> A^u)
        """,
    },
    # An expert of all: everything is linked, and the unified space knows its anchor best itself.
    ("audio", "image", "text"): {
        "text": """
            ~V^e = A(T^e; V^e -> V^e)
            ~V^u = A(T^u; V^u -> V^u)
            ~A^e = A(T^e; A^e -> A^e)
            ~A^u = A(T^e; A^e -> A^u)
        """,
        "image": """
            ~T^e = A(V^e; T^e -> T^e)
            ~T^u = A(V^u; T^u -> T^u)
            ~A^e = A(V^e; A^e -> A^e)
            ~A^u = A(V^u; A^u -> A^u)
        """,
        "audio": """
            ~T^e = A(A^e; T^e -> T^e)
            ~T^u = A(A^e; T^e -> T^u)
            ~V^e = A(A^e; V^e -> V^e)
            ~V^u = A(A^u; V^u -> V^u)
        """,
    },
}
BROUGHT = {
    # CLIP and CLAP: the chain of Ex-MCR.
    (("image", "text"), ("audio", "text")): {
        "text": """
            ~A^e = A(T^e; A^e -> A^e)
            ~V^u = A(T^u; V^u -> V^u)
        """,
        "image": """
            ~T^e = A(V^u; T^u -> T^e)
            ~T^u = A(V^u; T^u -> T^u)
            ~A^e = A(~T^e; A^e -> A^e)
        """,
        "audio": """
            ~T^e = A(A^e; T^e -> T^e)
            ~T^u = A(A^e; T^e -> T^u)
            ~V^u = A(~T^u; V^u -> V^u)
        """,
    },
    # The bridge is not linked with the expert's start: three hops, by way of the anchor.
    (("image", "text", "depth"), ("audio", "depth")): {
        "text": """
            ~D^e = A(~V^u; D^u -> D^e)
            ~D^u = A(~V^u; D^u -> D^u)
            ~V^u = A(T^u; V^u -> V^u)
            ~A^e = A(~D^e; A^e -> A^e)
        """,
        "audio": """
            ~D^e = A(A^e; D^e -> D^e)
            ~D^u = A(A^e; D^e -> D^u)
            ~V^u = A(~D^u; V^u -> V^u)
            ~T^u = A(~V^u; T^u -> T^u)
        """,
    },
}
"""(Modalities of the unified space, of the expert) to plans with what the unified space lacks."""

TABLES = [
    (expert, start, table)
    for tables in (PAPER, OURS)
    for expert, starts in tables.items()
    for start, table in starts.items()
]
DEPTH = {*UNIFIED, "depth"}
KINDS = [
    (unified, expert, anchor)
    for unified in (UNIFIED, DEPTH, {*DEPTH, "video"}, {"depth", "video"})
    for size in range(2, len(unified) + 1)
    for expert in combinations(sorted(unified), size)
    for anchor in sorted(unified)
]


def in_letters(hop) -> str:
    letters = {"text": "T", "image": "V", "audio": "A", "depth": "D"}
    text = str(hop)
    for modality, letter in letters.items():
        text = text.replace(modality, letter)
    return text


@pytest.mark.parametrize(("expert", "start", "table"), TABLES)
def test_a_plan_is_its_table(expert, start, table):
    """Hop by hop, in an order that is part of what names pseudo pairs on disk."""
    plan = plan_for(UNIFIED | set(expert), expert)
    assert list(map(in_letters, plan[start])) == list(map(str.strip, table.strip().splitlines()))


@pytest.mark.parametrize("spaces", BROUGHT, ids=str)
def test_an_expert_brings_a_modality_by_way_of_the_bridge(spaces):
    """The hops of its table, each after the one whose output it queries."""
    plan, known = plan_for(*spaces), {}
    assert set(plan) == set().union(*spaces)
    for start, table in BROUGHT[spaces].items():
        assert sorted(map(in_letters, plan[start])) == sorted(
            map(str.strip, table.split("\n")[1:-1])
        )
        known = set(native(plan, start))
        for hop in plan[start]:
            assert hop.query in known
            known.add(hop.output)


def test_the_bridge_is_the_anchor_or_the_first_modality_of_both():
    assert bridge_of(["image", "text"], ["audio", "text"]) == "text"
    assert bridge_of(["image", "text"], ["image", "text", "points"]) == "image"
    assert bridge_of(["image", "text"], ["image", "text"], "text") == "text"
    assert bridge_of(UNIFIED, ["audio", "text"]) == "text"


def test_an_audio_image_expert_has_the_plan_of_an_image_text_one_with_audio_for_text():
    other = {"text": "audio", "audio": "text", "image": "image"}

    def exchanged(ref):
        return ref._replace(modality=other[ref.modality])

    image_text, audio_image = (plan_for(UNIFIED, [m, "image"]) for m in ("text", "audio"))
    for start, hops in image_text.items():
        assert [tuple(map(exchanged, hop)) for hop in hops] == list(audio_image[other[start]])


def test_the_anchor_decides_what_the_unified_space_is_asked_for():
    """Around text, audio and image of an image-text expert are not linked any more."""
    plan = plan_for(UNIFIED, ["image", "text"], anchor="text")
    assert list(map(in_letters, plan["audio"])) == [
        "~T^e = A(A^u; T^u -> T^e)",
        "~T^u = A(A^u; T^u -> T^u)",
        "~V^e = A(~T^u; V^u -> V^e)",
        "~V^u = A(~T^u; V^u -> V^u)",
    ]


def test_the_anchor_is_image_by_default_and_the_first_modality_where_there_is_none():
    assert anchor_of(UNIFIED) == "image"
    assert anchor_of({"video", "depth", "text"}) == "text"
    assert anchor_of({"video", "depth"}) == "depth"
    assert plan_for(UNIFIED, UNIFIED) == plan_for(UNIFIED, UNIFIED, "image")
    assert plan_for(UNIFIED, UNIFIED) != plan_for(UNIFIED, UNIFIED, "audio")


def assert_hops_complete_an_item(start, hops, own, unified, expert, anchor):
    """Every embedding once; from what is known by then, native banks, and trusted scores."""
    known = set(own)
    for hop in hops:
        ends = {hop.query.modality, hop.keys.modality}
        assert hop.query in known
        assert hop.query.side == hop.keys.side
        assert hop.keys.modality == hop.values.modality
        assert not hop.keys.soft
        assert not hop.values.soft
        assert ends <= set(expert) if hop.query.side == "expert" else anchor in ends
        known.add(hop.output)
    assert len(known) == len(own) + len(hops) == len(unified) + len(expert)
    assert {ref.modality for ref in own} == {start}


def test_every_item_is_completed_by_trusted_scores_whatever_the_modalities_and_the_anchor():
    for unified, expert, anchor in KINDS:
        plan = plan_for(unified, expert, anchor)
        wanted = {("unified", m) for m in unified} | {("expert", m) for m in expert}
        assert set(columns(plan)) == wanted
        assert set(plan) == unified
        for start, hops in plan.items():
            own = native(plan, start)
            assert_hops_complete_an_item(start, hops, own, unified, expert, anchor)
            assert {ref.column for ref in own} | {hop.output.column for hop in hops} == wanted


def test_columns_stand_in_the_order_text_image_audio_on_either_side():
    unified = [("unified", "text"), ("unified", "image"), ("unified", "audio")]
    image_text = [*unified, ("expert", "text"), ("expert", "image")]
    audio_text = [*unified, ("expert", "text"), ("expert", "audio")]
    assert columns(plan_for(UNIFIED, ["text", "image"])) == tuple(image_text)
    assert columns(plan_for(UNIFIED, ["text", "audio"])) == tuple(audio_text)
    assert SIDES == ("unified", "expert")


def test_hops_with_the_same_query_and_keys_share_their_scores():
    groups = shared_scores(plan_for(UNIFIED, ["audio", "text"])["image"])
    found = [[in_letters(hop)[:4] for hop in group] for group in groups.values()]
    assert found == [["~T^e", "~T^u"], ["~A^e", "~A^u"]]
    assert [str(query) for query, _ in groups] == ["image^u", "image^u"]


@pytest.mark.parametrize(
    ("unified", "expert"),
    [
        (UNIFIED, {"text"}),
        (UNIFIED, set()),
        ({"text"}, {"audio", "text"}),
        ({"image", "text"}, {"audio", "depth"}),
    ],
)
def test_spaces_that_link_nothing_or_share_nothing_are_refused(unified, expert):
    with pytest.raises(FreeBindError, match="one that both have") as refused:
        plan_for(unified, expert)
    assert f"expert: {', '.join(sorted(expert))}" in str(refused.value)
    assert f"unified: {', '.join(sorted(unified))}" in str(refused.value)


def test_an_anchor_that_the_unified_space_lacks_is_refused():
    with pytest.raises(
        FreeBindError, match=r"no anchor .*'imag'(.|\n)*audio, image, text(.|\n)*mean"
    ):
        plan_for(UNIFIED, ["audio", "text"], "imag")


def test_modalities_that_the_paper_does_not_know_follow_by_name():
    assert in_order({"video", "audio", "depth", "text", "image"}) == (
        *("text", "image", "audio"),
        *("depth", "video"),
    )
