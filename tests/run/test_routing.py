"""Routers of a product: item pairs, what is kept, the folder, and what is refused."""

import re
from dataclasses import replace
from functools import partial
from importlib import import_module

import numpy as np
import pytest
from made import native_rows, random_bond

from fb_jax import files
from fb_jax.banks import open_banks
from fb_jax.console import ConsoleReporter
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace
from fb_jax.projector import SHAPES
from fb_jax.run import Silent, make_product, read_product
from fb_jax.run.routing import RouterJob, contributions, partners, source_targets, with_routers
from fb_jax.run.routing_choice import RouterChoice, add_routers, mean_recall, routable
from fb_jax.run.routing_pairs import item_pairs
from fb_jax.training.routing import Routing

FEW = Routing(steps=3, batch=16, items=60, k=4)
TEXT = "{unified: imagebind, bond: combination, experts: [clap_general], "


def both(kind="combination", **options):
    names = [("clap_general", ("text", "audio")), ("internvl", ("text", "image"))]
    bonds = [
        random_bond(kind, ("imagebind", 64), (name, 48 if name != "internvl" else 56), shared, i)
        for i, (name, shared) in enumerate(names)
    ]
    return FusedSpace.of(*bonds, name="both", **options)


@pytest.fixture
def space(make_bond):
    return FusedSpace.of(make_bond("direct_sum"), name="sum")


@pytest.mark.parametrize("mutual", [True, False])
@pytest.mark.parametrize(("k", "alpha"), [(3, 0.75), (50, 1.0), (3, 0.0)])
def test_item_pairs_equal_their_float64_twin(mutual, k, alpha, monkeypatch):
    monkeypatch.setattr("fb_jax.run.routing_pairs.BLOCK_SCORES", 40)
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(n, 4)).astype(np.float32) for n in (11, 9))
    scores = np.float64(x) @ np.float64(y).T
    bias = lambda s: alpha * np.sort(s, axis=0)[-k:].mean(axis=0)  # noqa: E731
    ahead = (scores - bias(scores)).argmax(1)
    back = (scores.T - bias(scores.T)).argmax(1)
    wanted = [(i, j) for i, j in enumerate(ahead) if not mutual or back[j] == i]
    wanted += [] if mutual else [(i, j) for j, i in enumerate(back)]
    found = item_pairs(x, y, k=k, alpha=alpha, mutual=mutual)
    np.testing.assert_array_equal(found, np.array(wanted).reshape(-1, 2))


@pytest.mark.parametrize("make", [both, lambda: both("direct_sum")], ids=["weighted", "direct"])
def test_contributions_add_up_to_the_unrouted_row(make):
    space = make()
    rows = native_rows(space, "text")
    found = contributions(space, "text", rows)
    assert found.shape == (4, 3, space.dim)
    np.testing.assert_allclose(found.sum(axis=1), space.fuse("text", rows), atol=1e-6)


def test_a_modality_is_routed_with_those_that_an_expert_has_beside_it(space):
    assert partners(both(), "text") == ("image", "audio")
    assert partners(both(), "audio") == ("text",)
    assert partners(space, "image") == ()  # filled in: no score of its own
    assert routable(space) == ("text", "audio")


def test_sources_of_texts_are_the_media_that_a_block_knows():
    found = source_targets(both(), ["audio", None, "image", "points"])
    np.testing.assert_array_equal(found, [[1, 1, 0], [-1, -1, -1], [1, 0, 1], [-1, -1, -1]])


def test_a_router_of_text_says_that_it_does_without_sources(space, root, caplog):
    pool = open_banks(root, spaces=space.spaces)
    settings = replace(FEW, shape="omnibind")
    job = RouterJob(space, "text", pool, settings)
    assert job.identity()["sources"] is None
    assert "no text of the pool has the source" in caplog.text


def test_a_trained_router_weighs_items_and_settings_count(space, root):
    pool = open_banks(root, spaces=space.spaces)
    first = RouterJob(space, "audio", pool, FEW).train()
    assert first.spec.shape == SHAPES["small"]
    assert first.spec.inputs == ("imagebind", "clap_general")
    assert first == RouterJob(space, "audio", pool, FEW).train()
    for other in ({"steps": 2}, {"mutual": False}, {"items": 20}, {"k": 1}, {"alpha": 0.0}):
        assert first != RouterJob(space, "audio", pool, replace(FEW, **other)).train()


def test_whatever_a_router_depends_on_is_part_of_its_identity(space, root):
    pool = open_banks(root, spaces=space.spaces)
    job = RouterJob(space, "audio", pool, FEW)
    texts = with_routers(space, {"text": RouterJob(space, "text", pool, FEW).train()})
    others = (
        replace(job, settings=replace(FEW, seed=1)),
        replace(job, settings=replace(FEW, shape="omnibind")),
        replace(job, pool=open_banks(root, "test", spaces=space.spaces)),
        replace(job, space=space.with_factors(audio=0.3)),
        replace(job, space=texts),
        replace(job, others=("text", "image")),
        replace(job, modality="text"),
    )
    known = [files.sha256_of_json(one.identity()) for one in (job, *others)]
    assert len(set(known)) == len(known)
    mine = with_routers(space, {"audio": job.train()})
    assert replace(job, space=mine).identity() == job.identity()


def test_another_pool_or_space_does_not_take_a_finished_router(space, root, tmp_path):
    pool, other = (open_banks(root, name, spaces=space.spaces) for name in ("pool", "test"))
    add = partial(add_routers, val=("", None), settings=FEW, folder=tmp_path, reporter=Silent())
    jobs = [(space, pool), (space, other), (space.with_factors(audio=0.3), pool)]
    for job in (*jobs, *jobs):
        routed, _ = add(job[0], ("audio",), job[1])
        wanted = RouterJob(job[0], "audio", job[1], FEW)
        assert routed.last.routers["audio"].spec == wanted.spec
    assert len(list(tmp_path.glob("audio-*.npy"))) == len(jobs)


def test_a_router_is_kept_only_where_it_pays_unless_it_is_named(space, root, tmp_path, monkeypatch):
    module = import_module("fb_jax.run.routing_choice")
    recalls = iter([10.0, 12.0, 20.0, 20.0])  # what changes nothing is left out
    monkeypatch.setattr(module, "mean_recall", lambda *_: next(recalls))
    pool, val = (open_banks(root, split, spaces=space.spaces) for split in ("pool", "val"))
    options = pool, ("val", val), FEW, tmp_path, Silent()
    routed, choices = add_routers(space, "auto", *options)
    assert list(routed.last.routers) == ["text"]
    assert choices == {
        "text": RouterChoice(True, "val", 10.0, 12.0),
        "audio": RouterChoice(False, "val", 20.0, 20.0),
    }
    recalls = iter([20.0, 19.0])
    options = pool, ("val", val), FEW, tmp_path / "named", Silent()
    named, choices = add_routers(space, ("audio",), *options)
    assert choices["audio"].kept
    assert list(named.last.routers) == ["audio"]


def test_a_fresh_router_has_no_steps_of_before(space, root, tmp_path, capsys):
    pool = open_banks(root, spaces=space.spaces)
    add_routers(space, ("audio",), pool, ("", None), FEW, tmp_path, ConsoleReporter())
    assert re.search(r"^router of .*, audio: 3 done in [0-9.]+ s$", capsys.readouterr().out, re.M)


def test_without_validation_pairs_only_named_routers_are_there(space, root, tmp_path, caplog):
    pool = open_banks(root, spaces=space.spaces)
    options = pool, ("", None), FEW, tmp_path, Silent()
    assert add_routers(space, "auto", *options) == (space, {})
    assert "no validation pairs" in caplog.text
    routed, choices = add_routers(space, ("audio",), *options)
    assert choices == {"audio": RouterChoice(True)}
    assert list(routed.last.routers) == ["audio"]


def test_recall_is_the_mean_over_the_pairs_of_the_modality(space, root):
    val = open_banks(root, "val", spaces=space.spaces)
    figures = import_module("fb_jax.evaluation").evaluate(space, val, {"at": space.factors})["at"]
    wanted = np.mean([figures[pair]["R@1"] for pair in ("audio-image", "audio-text")])
    np.testing.assert_allclose(mean_recall(space, "audio", val), wanted)


@pytest.fixture
def make(config, tmp_path, trained, monkeypatch):
    """Make a product with routers; its bond is random, its report is real."""
    real = import_module("fb_jax.run.report").report_space
    monkeypatch.setattr(import_module("fb_jax.run.product"), "report_space", real)

    def make(keys, name="routed", whole="", **options):
        (tmp_path / f"{name}.yaml").write_text(whole or TEXT + keys + "}")
        own = {"product": str(tmp_path / f"{name}.yaml"), "out": tmp_path, "routing": FEW}
        run = replace(config, **{**own, **options}, device="cpu", choose="none")
        return make_product(read_product(run.product), run, Silent())

    return make


def test_a_product_has_its_routers_records_them_and_reads_them_again(make, tmp_path, monkeypatch):
    made = make("router: [audio], router_shape: omnibind, unit_experts: false")
    folder = tmp_path / "routed"
    assert made.space.last.unit_experts is False
    assert made.space.last.routers["audio"].spec.shape == SHAPES["omnibind"]
    assert FusedSpace.load(folder / "space").last == made.space.last
    recorded = files.read_json(folder / "metrics.json")["routers"]["audio"]
    assert recorded["kept"]
    assert recorded["on"] == "val"
    assert recorded["after"] == mean_recall(
        made.space, "audio", open_banks(tmp_path / "home", "val", spaces=made.space.spaces)
    )
    monkeypatch.setattr("fb_jax.run.routing.train_router", None)
    assert make("router: [audio], router_shape: omnibind, unit_experts: false").space == made.space
    (kept,) = (folder / "routers").glob("audio-*.npy")
    numbers = np.load(kept)
    np.save(kept, numbers + 1)
    with pytest.raises(FreeBindError, match="a router was altered"):
        make("router: [audio], router_shape: omnibind, unit_experts: false")


def test_another_setting_of_routers_is_another_product(make):
    make("router: [audio]")
    with pytest.raises(FreeBindError, match=r"routing.steps 4"):
        make("router: [audio]", routing=replace(FEW, steps=4))


def test_a_later_stage_builds_on_routed_rows(make, monkeypatch):
    """At the recipe's factors, and with the routers that were trained at them."""
    make("router: [audio], factors: versatile", name="base")
    text = "{unified: base, bond: displacement, experts: [clap_general], router: [text]}"
    space = make("", name="later", whole=text).space
    assert list(space.base.last.routers) == ["audio"]
    assert list(space.last.routers) == ["text"]
    rows = native_rows(space, "audio")
    plain = with_routers(space.base, {}).fuse("audio", rows)
    assert np.abs(plain - space.base.fuse("audio", rows)).max() > 1e-3


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ("router: [image]", "no modality to route"),
        ("router: 3", "wrong type"),
        ("router: [audio], router_shape: huge", "no shape of a router"),
        ("router_shape: omnibind", "there is no router of this shape"),
        ("retrieval: psychic", "psychic"),
    ],
)
def test_keys_that_do_not_fit_are_refused(make, keys, text):
    with pytest.raises(FreeBindError, match=text):
        make(keys)


def test_only_combinations_have_experts_of_other_lengths(make):
    text = TEXT.replace("combination", "direct_sum") + "unit_experts: false}"
    with pytest.raises(FreeBindError, match="only combinations have it"):
        make("", whole=text)
