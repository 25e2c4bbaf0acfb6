import numpy as np
import pytest

from examples.word_world.claims import (
    CLAIMS,
    GOALS,
    PRODUCT_CLAIMS,
    TUNED_CLAIMS,
    Claim,
    items,
    judge,
)
from examples.word_world.report import HERE, ReportConfig, report
from examples.word_world.results import measure, pack, unpack
from examples.word_world.targets import missed
from fb_jax import files

REPOSITORY, RNG = HERE.parents[1], np.random.default_rng(0)


def result(**hits):
    """Return a seed's metrics from the items that rank first, the same ones in both directions."""
    figures = {
        name: {"audio-text": {"R@1": 100 * np.mean(first), "first": [pack(first), pack(first)]}}
        for name, first in hits.items()
    }
    return {"items": len(next(iter(hits.values()))), "test": figures}


def claim(margin=0.0, against=("worse",)):
    return Claim("says", "paper", "audio-text", "better", against, margin)


NONE, HALF, ALL = np.zeros(1000, bool), np.arange(1000) % 2 == 0, np.ones(1000, bool)


@pytest.mark.parametrize(
    ("better", "worse", "margin", "verdict"),
    [
        (ALL, HALF, 0.0, "holds"),
        (ALL, HALF, 40.0, "holds"),
        (ALL, HALF, 60.0, "does not hold"),
        (HALF, ALL, 0.0, "does not hold"),
        (HALF, HALF, -1.0, "holds"),  # nothing lost
        (HALF, np.roll(HALF, 1), 0.0, "open"),  # other items, but as many
    ],
)
def test_a_verdict_follows_from_the_whole_interval(better, worse, margin, verdict):
    results = [result(better=better, worse=worse)] * 3
    assert judge(claim(margin), results)[0] == verdict


def test_a_claim_is_judged_against_each_model_and_names_the_nearest():
    results = [result(better=ALL, worse=NONE, middle=HALF)]
    verdict, interval, nearest = judge(claim(against=("worse", "middle")), results)
    assert (verdict, interval.mean, nearest) == ("holds", 50.0, "middle")


def test_a_claim_that_holds_against_some_but_not_against_all_does_not_hold():
    others = np.roll(HALF, 1)  # as many items, so the interval contains 0
    results = [result(better=HALF, worse=NONE, equal=others, best=ALL)]
    assert judge(claim(against=("worse", "equal")), results)[0] == "open"
    assert judge(claim(against=("worse", "best")), results)[0] == "does not hold"


def test_unpacked_hits_equal_the_packed_ones():
    hits = RNG.random(1003) < 0.3
    np.testing.assert_array_equal(unpack(pack(hits), 1003), hits)


def test_items_are_the_mean_of_both_directions():
    text = np.float32([[1, 2, 0], [0, 1, 0], [0, 0, 1]])
    rows = {"audio": np.eye(3, dtype=np.float32), "text": text}
    table = np.stack([np.arange(3)] * 2, axis=1)
    figures = measure(rows, {("audio", "text"): table})
    seed = {"items": 3, "test": {"m": figures}}
    # Audio 1 retrieves text 0, and text 0 retrieves audio 1.
    np.testing.assert_array_equal(items(seed, "m", "audio-text"), [0.5, 0.5, 1])
    assert figures["audio-text"]["R@1"] == pytest.approx(200 / 3)


def test_missed_targets_are_named():
    targets = {"ranges": {"a": [1, 3], "b": [1, 3]}, "margins": [["b", "a", 10]]}
    assert missed({"a": 2.0, "b": 12.5}, targets) == ["b: 12.5, not in 1 to 3"]
    assert missed({"a": 2.0, "b": 3.0}, targets) == ["b: 3.0, not 10 above a: 2.0"]


def test_every_claim_compares_models_that_the_results_have():
    claims = [*CLAIMS, *PRODUCT_CLAIMS, *TUNED_CLAIMS, *GOALS]
    pairs = {claim.pair for claim in claims}
    assert pairs == {"audio-text", "audio-image", "image-text"}
    named = {model for c in claims for model in (c.model, *c.against)}
    for path in (HERE / "results").glob("seed-*.json"):
        assert named <= set(files.read_json(path)["test"])


def test_the_page_has_the_tables_of_the_kept_results_and_the_readme_some_of_their_rows():
    page = (REPOSITORY / "docs/word_world.md").read_text()
    for part in report(ReportConfig()).split("\n\n"):
        assert part in page
    readme = (REPOSITORY / "README.md").read_text()
    short = readme.partition("<!-- word world")[2].partition("<!-- /word world")[0]
    rows = [line for line in short.splitlines() if line.startswith("|")]
    for row in rows[2:]:
        assert row.split(" | ", 1)[1] in page
