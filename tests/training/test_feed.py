import json

import numpy as np
import pytest

from fb_jax.training import Schedule
from fb_jax.training.feed import Feed

both = pytest.mark.parametrize("resident", [True, False], ids=["resident", "streamed"])


@pytest.fixture(scope="module")
def schedule(pairs):
    return Schedule(pairs.spec.ranges, batch=40, epochs=2, seed=0)


@both
def test_batches_are_the_scheduled_rows_of_every_column_to_the_end(pairs, schedule, resident):
    feed = Feed(schedule, pairs.columns, resident=resident)
    for step in range(len(schedule)):
        batch, rows = next(feed), schedule[step]
        assert batch.keys() == pairs.columns.keys()
        for column, found in batch.items():
            wanted = pairs.columns[column][rows.reshape(-1)].reshape(*rows.shape, -1)
            np.testing.assert_array_equal(found, wanted, strict=True)
    with pytest.raises(StopIteration):
        next(feed)


@both
@pytest.mark.parametrize("taken", [0, 1, 11, 15])
def test_a_restored_place_goes_on_with_the_next_batch_wherever_rows_are(
    pairs, schedule, resident, taken
):
    feed = Feed(schedule, pairs.columns, resident=resident)
    for _ in range(taken):
        next(feed)
    state = json.loads(json.dumps(feed.iterator_state))
    for elsewhere in (resident, not resident):
        restored = Feed(schedule, pairs.columns, resident=elsewhere, iterator_state=state)
        batch, rows = next(restored), schedule[taken]
        for column, found in batch.items():
            np.testing.assert_array_equal(found[0], pairs.columns[column][rows[0]])
