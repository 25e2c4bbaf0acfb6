from dataclasses import replace

import pytest

from fb_jax.errors import FreeBindError
from fb_jax.projector import BondSpec, End
from fb_jax.training import Training
from fb_jax.training.settings import batch_for


@pytest.mark.parametrize(
    ("items", "batch"), [(1_000_000, 4096), (32768, 4096), (32767, 2048), (90, 8), (16, 2), (3, 2)]
)
def test_the_default_batch_is_the_papers_where_the_pool_has_8_of_them(items, batch):
    assert batch_for(items) == batch


def bond(*modalities, kind="combination", pipeline=None):
    return BondSpec.between(kind, End("u", modalities, 4), End("e", modalities, 3), None, pipeline)


STARTS = {"text": range(100), "audio": range(100, 170)}
OWN = {  # what MCR.md and the paper say
    "freebind": {"hidden": 2048, "temperature": 0.02, "noise": 0.0, "intra": 0.0},
    "cmcr": {"hidden": 1024, "temperature": 0.01, "noise": 0.004, "intra": 0.1},
    "exmcr": {"hidden": 1024, "temperature": 0.05, "noise": 0.004, "intra": 0.1},
}


@pytest.mark.parametrize("pipeline", OWN)
def test_a_pipeline_fills_in_what_is_not_set(pipeline):
    whole = Training(pipeline=pipeline).resolved("combination", STARTS)
    assert OWN[pipeline].items() <= vars(whole).items()
    set_by_hand = {name: value / 2 + 0.5 for name, value in OWN[pipeline].items()}
    set_by_hand |= {"hidden": 7, "intra": 0.0 if pipeline == "freebind" else 0.5}
    found = Training(pipeline=pipeline, **set_by_hand).resolved("displacement", STARTS)
    assert set_by_hand.items() <= vars(found).items()


@pytest.mark.parametrize(("kind", "pipeline"), [("cmcr", "cmcr"), ("direct_sum", "freebind")])
def test_a_bond_has_a_pipeline_of_its_own(kind, pipeline):
    assert Training().resolved(kind, STARTS).pipeline == pipeline


def test_identities_of_earlier_versions_stay():
    found = Training().resolved("combination", STARTS).identity()
    assert found.keys() == {
        *("batch", "epochs", "hidden", "loss", "learning_rate"),
        *("temperature", "symmetric", "precision", "seed"),
    }
    assert {"noise", "pipeline"} <= Training(pipeline="cmcr", noise=0.1).identity().keys()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"intra": 0.1}, "no distance inside a space"),
        ({"pipeline": "cmcr", "loss": "mine:loss"}, "cmcr has a loss of its own"),
        ({"pipeline": "cmcr", "ensemble": 1.0}, "no fused rows that could imitate an ensemble"),
    ],
)
def test_a_setting_of_no_use_is_refused(settings, says):
    with pytest.raises(FreeBindError, match=says):
        Training(**settings).resolved("combination", STARTS)


def test_a_direct_sum_has_nothing_that_could_imitate():
    with pytest.raises(FreeBindError, match=r"no fused rows(.|\n)*direct_sum"):
        Training(ensemble=1.0).resolved("direct_sum", STARTS)


def test_a_batch_that_is_not_set_fits_the_smallest_modality():
    starts = {"text": range(100), "audio": range(100, 170)}
    assert Training().schedule(bond(*starts), starts).batch == 8
    assert Training(batch=60).schedule(bond(*starts), starts).batch == 60


@pytest.mark.parametrize(("batch", "share"), [(60, "33 %"), (45, ""), (11, ""), (None, "")])
def test_a_notice_says_how_much_a_batch_leaves_out_if_that_is_much(batch, share, caplog):
    whole = replace(bond("text", "audio"), members=(("text",),))
    schedule = Training(batch=batch).schedule(whole, {"text": range(90)})
    assert schedule.left_out == pytest.approx(90 % schedule.batch / 90)
    assert (f"leaves out up to {share} of a projector" in caplog.text) == bool(share)
    assert bool(caplog.records) == bool(share)
