import re
from dataclasses import replace

import numpy as np
import pytest

from fb_jax.banks import BankSet, open_banks, unit_rows
from fb_jax.evaluation import evaluate, hubs
from fb_jax.evaluation.hubs import GRID, corrected, fit, fit_hubs, recalls
from fb_jax.evaluation.models import compare, source_rows, tables_for
from fb_jax.evaluation.ranks import best_ranks
from fb_jax.evaluation.spaces import models_of
from fb_jax.fusion import FusedSpace, Hub, HubCorrection


def world(count: int, seed: int) -> dict[str, np.ndarray]:
    """Pairs of texts and audios; a quarter of the audios leans to the mean of all texts: hubs."""
    rng = np.random.default_rng(seed)
    text = unit_rows(rng.normal(size=(count, 16)).astype(np.float32) + 0.7)
    audio = text + 0.25 * rng.normal(size=text.shape).astype(np.float32)
    audio[::4] += 0.8 * text.mean(axis=0)
    return {"text": text, "audio": unit_rows(audio)}


def pairs(count: int) -> np.ndarray:
    return np.stack([np.arange(count)] * 2, axis=1)


def test_recalls_at_every_setting_are_those_of_the_rows_in_both_roles(monkeypatch):
    monkeypatch.setattr(hubs, "SCORE_BYTES", 12 * 50 * 7)  # seven queries at a time
    val, pool = world(50, 0), world(300, 1)
    table = np.array([[0, 0], [0, 3], [9, 9], [4, 4], [30, 30], [31, 2]])
    found = recalls(val["text"], val["audio"], table, pool["text"])
    assert found.shape == (1 + len(GRID),)
    for hub, value in zip((None, *GRID), found, strict=True):
        sides = val["text"], val["audio"]
        if hub is not None:
            one = HubCorrection({("audio", "text"): hub}, pool)
            sides = one.rows("query", "text", sides[0]), one.rows("item", "audio", sides[1])
        assert value == pytest.approx(100 * (best_ranks(*sides, table) == 0).mean()), hub


def test_hubs_are_corrected_where_that_raises_recall_on_validation_pairs():
    val, pool, test = world(400, 0), world(2000, 1), world(400, 2)
    table = pairs(400)
    one = fit(pool, val, {("audio", "text"): table})
    assert set(one.pairs) == {("audio", "text")}
    assert one.columns == ("audio", "text")
    assert set(one.references) == {"audio", "text"}
    reached = [best_ranks(test["text"], test["audio"], table)]
    rows = one.rows("query", "text", test["text"]), one.rows("item", "audio", test["audio"])
    reached.append(best_ranks(*rows, table))
    plain, better = (100 * (ranks == 0).mean() for ranks in reached)
    assert better > plain + 3


def test_a_pair_that_no_correction_improves_has_none():
    rows = unit_rows(np.eye(8, dtype=np.float32))
    side = {"text": rows, "audio": rows}
    assert fit(side, side, {("audio", "text"): pairs(8)}) is None


@pytest.fixture
def space(make_bond):
    return FusedSpace.of(make_bond("combination"))


def test_a_table_has_the_space_and_its_sources_corrected_each_by_its_own_fit(
    space, root, monkeypatch, caplog
):
    banks = {name: open_banks(root, name, spaces=space.spaces) for name in ("pool", "val")}
    monkeypatch.setattr(hubs, "TOO_FEW", 10)
    found = fit_hubs({**source_rows(space), "mine": space}, banks["pool"], banks["val"])
    assert "hub correction may not help: 110 audio, " in caplog.text
    tables = tables_for(space, banks["val"])
    for name, row in corrected({**source_rows(space), "mine": space}, found).items():
        assert name.endswith(", hub-corrected")
        before = models_of({"x": row.row if hasattr(row, "row") else row.plain}, banks["val"])["x"]
        mine = models_of({"x": row}, banks["val"])["x"]
        figures = [compare(model, tables) for model in (before, mine)]
        for pair in row.hubs.pairs:
            at = "-".join(pair)
            assert figures[1][at]["R@1"] > figures[0][at]["R@1"], (name, at)
    own = HubCorrection({("audio", "text"): Hub(4, 0.5)}, _references(space, banks["pool"]))
    result = evaluate(replace(space, hubs=own), banks["val"])
    assert "versatile, hub-corrected" in result.figures
    mine = models_of({"x": replace(space, hubs=own)}, banks["val"])["x"]
    assert result.figures["versatile, hub-corrected"] == compare(mine, tables)


def _references(space: FusedSpace, pool: BankSet) -> dict[str, np.ndarray]:
    model = models_of({"x": space}, pool)["x"]
    return {m: model[m] for m in ("audio", "text")}


def test_a_modality_with_too_few_references_has_no_correction_which_is_said(
    space, root, monkeypatch, caplog
):
    banks = {name: open_banks(root, name, spaces=space.spaces) for name in ("pool", "val")}
    found = fit_hubs({"mine": space}, banks["pool"], banks["val"])["mine"]
    assert set(found.pairs) == {("audio", "text")}
    assert re.search("no hub correction of image: .* 90 image.* are advised", caplog.text)
    monkeypatch.setattr(hubs, "TOO_FEW", 111)  # there are 110 audios
    assert fit_hubs({"mine": space}, banks["pool"], banks["val"]) == {}


def test_references_are_evenly_spaced_items_of_the_pool(space, root, monkeypatch):
    pool = open_banks(root, "pool", spaces=space.spaces)
    some = pool.thinned(40)
    assert {m: len(rows) for m, rows in some.rows.items()} == {"text": 33, "image": 30, "audio": 37}
    assert np.array_equal(some["imagebind", "text"][:], pool["imagebind", "text"][:][::4])
    assert np.array_equal(some.rows["audio"], pool.rows["audio"][::3])
