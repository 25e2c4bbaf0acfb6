import pytest

from fb_jax.training import Training
from fb_jax.training.settings import batch_for


@pytest.mark.parametrize(
    ("items", "batch"), [(1_000_000, 4096), (32768, 4096), (32767, 2048), (90, 8), (16, 2), (3, 2)]
)
def test_the_default_batch_is_the_papers_where_the_pool_has_8_of_them(items, batch):
    assert batch_for(items) == batch


def test_a_batch_that_is_not_set_fits_the_smallest_modality():
    starts = {"text": range(100), "audio": range(100, 170)}
    assert Training().schedule("combination", starts).batch == 8
    assert Training(batch=60).schedule("combination", starts).batch == 60


@pytest.mark.parametrize(("batch", "share"), [(60, "33 %"), (45, ""), (11, ""), (None, "")])
def test_a_notice_says_how_much_a_batch_leaves_out_if_that_is_much(batch, share, caplog):
    schedule = Training(batch=batch).schedule("combination", {"text": range(90)})
    assert schedule.left_out == pytest.approx(90 % schedule.batch / 90)
    assert (f"leaves out up to {share} of a projector" in caplog.text) == bool(share)
    assert bool(caplog.records) == bool(share)
