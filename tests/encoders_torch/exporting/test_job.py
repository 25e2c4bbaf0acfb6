"""Jobs that fail: claims are given back, and the same job may go on with other shards."""

from dataclasses import replace

import numpy as np
import pytest

from encoders_torch.exporting.pipeline import export_bank
from encoders_torch.exporting.report import Timings
from encoders_torch.exporting.target import ExportSettings
from encoders_torch.sources import Source
from fb_jax.banks import Bank, Split
from fb_jax.errors import FreeBindError, Interrupted

HOW = ExportSettings(dtype="float32", batch=2, workers=0, shard_rows=4)
SOURCE = Source([{"id": str(i), "caption": "x" * (i + 20)} for i in range(8)])


@pytest.fixture
def split(tmp_path):
    return Split(tmp_path / "banks" / "pool")


def export(toy, split, run):
    return export_bank(toy, SOURCE, split, "toy", "text", HOW, run=run)


def test_a_job_that_failed_in_one_shard_does_the_next_one_with_its_own_rows(toy, split):
    """As an actor of a cluster does, which gets one shard after the other."""
    encode, broken = toy.encode, [True]

    def failing(modality, batch):
        if broken and batch[:, 0].max() > 21:  # the second batch of the first shard
            raise RuntimeError("CUDA error: out of order")
        return encode(modality, batch)

    def run(job):
        with pytest.raises(FreeBindError, match="device failed"):
            job.run([0])
        broken.clear()
        for shard in (1, 0):
            replace(job, timings=Timings()).run([shard])

    toy.encode = failing
    assert export(toy, split, run).complete
    rows = Bank.open(split.bank_path("toy", "text"))[:]
    np.testing.assert_allclose(rows[:, 0] / rows[:, 3], np.arange(20, 28), rtol=1e-5)


def test_claims_are_given_back_if_a_shard_cannot_be_begun(toy, split):
    def stop(rows, timings):
        raise Interrupted("stopped")

    def run(job):
        with pytest.raises(Interrupted) as error:  # which refers to all that it passed
            replace(job, progress=stop).run()
        job.run()
        assert error

    assert export(toy, split, run).complete
