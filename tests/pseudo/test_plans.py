import pytest

from fb_jax.errors import FreeBindError
from fb_jax.pseudo import PLANS, SIDES, in_order, plan_for
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
            ~T^e = A(~V^u; T^u -> T^e)
            ~V^u = A(A^u; V^u -> V^u)
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
            ~A^e = A(V^u; A^u -> A^e)
            ~T^u = A(V^u; T^u -> T^u)
            ~A^u = A(V^u; A^u -> A^u)
        """,
    },
}
EQUATIONS = [(expert, start) for expert, equations in PAPER.items() for start in equations]
every_equation = pytest.mark.parametrize(("expert", "start"), EQUATIONS)


def in_letters(hop) -> str:
    return str(hop).replace("text", "T").replace("image", "V").replace("audio", "A")


@every_equation
def test_a_plan_says_what_the_paper_says(expert, start):
    equations = map(str.strip, PAPER[expert][start].strip().splitlines())
    assert sorted(map(in_letters, plan_for(UNIFIED, expert)[start])) == sorted(equations)


def test_there_are_no_plans_but_those_of_the_paper():
    assert set(PLANS) == set(map(frozenset, PAPER))
    assert all(set(PLANS[frozenset(expert)]) == set(starts) for expert, starts in PAPER.items())


@every_equation
def test_every_item_ends_up_with_each_of_the_five_embeddings_once(expert, start):
    plan = plan_for(UNIFIED, expert)
    made = [hop.output.column for hop in plan[start]]
    own = [ref.column for ref in native(plan, start)]
    assert sorted(own + made) == sorted(columns(plan))
    assert len(set(columns(plan))) == 5


@every_equation
def test_hops_ask_with_what_is_known_and_read_native_banks_of_one_modality(expert, start):
    plan = plan_for(UNIFIED, expert)
    known = set(native(plan, start))
    for hop in plan[start]:
        assert hop.query in known
        assert hop.query.side == hop.keys.side
        assert hop.keys.modality == hop.values.modality
        assert not hop.keys.soft
        assert not hop.values.soft
        known.add(hop.output)


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
        (UNIFIED, {"audio", "image"}),
        (UNIFIED, {"text"}),
        (UNIFIED, UNIFIED),
        (UNIFIED, {"depth", "text"}),
        ({"image", "text"}, {"image", "text"}),
        ({"image", "text", "depth"}, {"image", "text"}),
    ],
)
def test_spaces_without_a_plan_are_refused_and_told_what_there_is(unified, expert):
    with pytest.raises(FreeBindError, match="audio and text") as refused:
        plan_for(unified, expert)
    assert f"expert: {', '.join(sorted(expert))}" in str(refused.value)
    assert f"unified: {', '.join(sorted(unified))}" in str(refused.value)


def test_a_unified_space_may_have_more_modalities_than_the_plan():
    assert plan_for({*UNIFIED, "depth"}, {"audio", "text"}) is plan_for(UNIFIED, {"audio", "text"})


def test_modalities_that_the_paper_does_not_know_follow_by_name():
    assert in_order({"video", "audio", "depth", "text", "image"}) == (
        *("text", "image", "audio"),
        *("depth", "video"),
    )
