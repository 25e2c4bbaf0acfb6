import json

import numpy as np
import pytest

from fb_jax.banks import BankSet
from fb_jax.errors import FreeBindError
from fb_jax.evaluation.diagnosis import Diagnosis, Sampling, diagnose, steps
from fb_jax.evaluation.diagnosis.report import Likeness, Link
from fb_jax.evaluation.diagnosis.sample import halves, sample
from fb_jax.evaluation.diagnosis.sharpness import Spread
from fb_jax.pseudo import Retrieval

SMALL = Sampling(items=50, queries=10, neighbours=5, seed=3)
ONE = ("clap_general",)


@pytest.fixture(scope="module")
def before(pool) -> Diagnosis:
    return diagnose(pool, "imagebind", ONE, sampling=SMALL)


def test_a_sample_has_the_same_items_in_every_space(pool):
    some = sample(pool, SMALL)
    rows = np.sort(np.random.default_rng(3).permutation(130)[:50])
    assert {m: len(kept) for m, kept in some.rows.items()} == {"text": 50, "image": 50, "audio": 50}
    for space in ("imagebind", "clap_general"):
        np.testing.assert_allclose(some[space, "text"][:], pool[space, "text"][rows], atol=1e-6)


def test_too_few_items_are_refused(pool):
    few = {m: pool["imagebind", m][:3] for m in ("text", "audio")}
    with pytest.raises(FreeBindError, match=r"too few items to measure[\s\S]*3 text, 3 audio"):
        sample(BankSet.from_arrays({"u": few}), SMALL)


def test_four_items_of_each_are_enough(pool):
    few = {s: {m: pool[s, m][:4] for m in ("text", "audio")} for s in ("imagebind", "clap_general")}
    found = diagnose(BankSet.from_arrays(few), "imagebind", ONE, sampling=SMALL)
    assert np.isfinite(list(found.expected["clap_general"]["versatile"].values())).all()


def test_halves_share_no_item_and_have_all(pool):
    first, second = halves(sample(pool, SMALL), 0)
    for modality in ("text", "audio"):
        together = np.concatenate([first.rows[modality], second.rows[modality]])
        assert np.array_equal(np.sort(together), np.arange(50))


@pytest.mark.parametrize(
    ("field", "value"), [("items", 19), ("queries", 0), ("neighbours", 0), ("seed", -1)]
)
def test_sizes_are_in_a_range(field, value):
    with pytest.raises(FreeBindError, match=f"diagnosis {field} is out of range"):
        Sampling(**{field: value})


def test_every_space_pair_and_expert_is_measured(before):
    assert before.spaces == ("imagebind", "clap_general")
    assert set(before.links["imagebind"]) == {"audio-image", "audio-text", "image-text"}
    assert set(before.links["clap_general"]) == {"audio-text"}
    assert set(before.hops["clap_general"]) == {"text", "image", "audio"}
    assert set(before.likeness["imagebind, clap_general"]) == {"text", "audio"}
    assert set(before.expected["clap_general"]) == {"versatile", "at_expertise"}


def test_the_same_sample_gives_the_same_figures_as_json(before, pool):
    again = diagnose(pool, "imagebind", ONE, sampling=SMALL).to_dict()
    assert json.loads(json.dumps(before.to_dict())) == json.loads(json.dumps(again))
    assert again["sampling"]["neighbours"] == 5


def test_another_seed_and_temperature_change_the_figures(before, pool):
    other = diagnose(pool, "imagebind", ONE, sampling=Sampling(50, 10, 5, seed=4))
    assert other.links != before.links
    warm = diagnose(pool, "imagebind", ONE, None, SMALL, Retrieval(temperature=1.0))
    share = lambda found: found.hops["clap_general"]["image"]["image^u; text^u"].share  # noqa: E731
    assert share(warm) > 0.8 > share(before)


def test_after_a_bond_the_fused_space_stands_beside_the_others(pool, space):
    parts = []
    after = diagnose(pool, "imagebind", ONE, space, SMALL, progress=parts.append)
    assert after.spaces[-1] == "imagebind+clap_general"
    assert set(after.links[after.spaces[-1]]) == set(after.links["imagebind"])
    assert after.likeness["imagebind, imagebind+clap_general"]["image"] == pytest.approx((1, 1))
    assert len(parts) == steps(1, True)


def test_an_expert_may_bring_a_modality(pool):
    two = {m: pool["imagebind", m][:] for m in ("text", "image")}
    clap = {m: pool["clap_general", m][:] for m in ("text", "audio")}
    found = diagnose(BankSet.from_arrays({"u": two, "e": clap}), "u", ("e",), sampling=SMALL)
    assert found.expected["e"] == {"halfway": {"image-text": 0.0}}
    assert set(found.links["e"]) == {"audio-text"}
    assert set(found.hops["e"]) == {"text", "image", "audio"}


def test_a_space_that_is_no_expert_is_refused_before_long_work(pool):
    arrays = {"u": {"text": pool["imagebind", "text"][:]}, "e": {"text": np.eye(130, 7) + 1}}
    with pytest.raises(FreeBindError, match="no plan of pseudo pairs"):
        diagnose(BankSet.from_arrays(arrays), "u", ("e",))


def told(**fields) -> list[str]:
    nothing = {"hops": {}, "retrieval": {"u, e": {}, "u, f": {}}}
    spaces = ("u", "e", "f")
    return Diagnosis("pool", Sampling(), spaces, {"text": 1000}, **nothing | fields).verdicts()


def hops(effective):
    return {"e": {"image": {"image^u; text^u": Spread(effective, 0.9, 6000)}}}


def test_a_start_whose_retrieval_spreads_is_not_trusted():
    assert told(hops=hops(900.0)) == [
        "e, start image: soft retrieval (image^u; text^u) spreads over 900 of 6,000 keys; "
        "do not trust pseudo pairs from image"
    ]
    assert told(hops=hops(600.0)) == []


@pytest.mark.parametrize(("share", "trust"), [(0.029, "no"), (0.031, "yes")])
def test_a_start_on_which_both_spaces_differ_is_not_trusted(share, trust):
    found = Diagnosis(
        *("pool", Sampling(), ("u", "e"), {"text": 1000}, hops(2.0)),
        retrieval={"u, e": {"image->text": share, "text->image": 0.5}},
    )
    assert found.trust("e")["image"][0] == trust
    assert "chance is 1.0 %" in found.trust("e")["image"][1]


def test_a_start_that_one_space_links_is_unchecked():
    found = Diagnosis("p", Sampling(), ("u", "e"), {}, hops(2.0), retrieval={"u, e": {}})
    assert found.trust("e")["image"][0] == "unchecked"


def test_a_start_with_too_few_items_to_tell_is_unchecked():
    found = Diagnosis(  # chance is 10 of 20, and three times that is more than all
        *("pool", Sampling(), ("u", "e"), {"text": 20}, hops(2.0)),
        retrieval={"u, e": {"image->text": 1.0}},
    )
    why = "image->text: too few items, 10 nearest count"
    assert found.trust("e")["image"] == ("unchecked", why)


def test_experts_that_share_few_neighbours_contradict_each_other():
    likeness = {"e, f": {"audio": Likeness(0.04, 0.1), "text": Likeness(0.4, 0.7)}}
    both = {"e": {}, "f": {}}
    sentence = (
        "e and f contradict each other: of the nearest items of an item they share audio 0.04"
    )
    assert told(hops=both, likeness=likeness) == [sentence]
    assert told(hops={"e": {}}, likeness=likeness) == []


def test_rows_that_may_be_of_other_items_are_named():
    found = told(carried={"e": {"audio": 0.012, "text": 0.4}})
    assert found == [
        "e, audio: a linear map finds 1 % of the items again in u; row i may not be the same item "
        "in both spaces, or the rows are noise"
    ]


def test_hubs_are_named():
    links = {"e": {"audio-text": Link(0.3, 0.1, (4.2, 0.6))}}
    found = "e: a few text items are found for many audio items (skewness 4.2)"
    assert told(links=links) == [found]


def test_expected_gains_are_said_at_the_first_preset():
    gains = {"audio-image": 0.01, "audio-text": 0.13, "image-text": -0.03, "x-y": 0.0}
    sentence = (
        "e at versatile: expect audio-image to gain a little, audio-text to gain, "
        "image-text to lose, x-y to stay as it is"
    )
    doubt = (
        "do not rely on audio-image: in the study its sign was wrong about as often as right "
        "(docs/diagnosis.md)"
    )
    assert told(expected={"e": {"versatile": gains, "other": {}}}) == [sentence, doubt]
    del gains["audio-image"]
    assert len(told(expected={"e": {"versatile": gains}})) == 1
