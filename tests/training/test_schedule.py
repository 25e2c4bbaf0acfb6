from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fb_jax.errors import FreeBindError
from fb_jax.projector import subset_name
from fb_jax.training import Schedule
from fb_jax.training.schedule import pack

SIZES = st.tuples(*[st.integers(7, 60)] * 3)
by_sizes = given(sizes=SIZES, batch=st.integers(2, 7), epochs=st.integers(1, 3))
few = settings(deadline=None, max_examples=30)


def starts(text, image, audio):
    ends = np.cumsum([text, image, audio]).tolist()
    return {
        "text": range(0, ends[0]),
        "image": range(ends[0], ends[1]),
        "audio": range(ends[1], ends[2]),
    }


def schedule(sizes=(13, 9, 11), batch=4, epochs=2, seed=0):
    return Schedule(starts(*sizes), batch=batch, epochs=epochs, seed=seed)


def epochs_of(plan, member):
    """A member's rows, epoch by epoch."""
    length = plan.epoch_steps[member]
    steps = [plan.rows(member, step) for step in range(plan.steps[member])]
    return [np.concatenate(steps[i : i + length]) for i in range(0, len(steps), length)]


def test_an_epoch_is_as_many_whole_batches_as_a_subset_has():
    plan = schedule(sizes=(13, 9, 11), batch=4, epochs=2)
    assert dict(zip(map(subset_name, plan.members), plan.steps, strict=True)) == {
        **{"text": 2 * 3, "image": 2 * 2, "audio": 2 * 2},
        **{"text+image": 2 * 5, "text+audio": 2 * 6, "image+audio": 2 * 5},
        "text+image+audio": 2 * 8,
    }
    assert len(plan) == 16


def test_epochs_and_members_are_shuffled_each_in_a_way_of_its_own():
    plan = schedule(sizes=(40, 40, 40), epochs=2)
    orders = [tuple(rows) for member in range(7) for rows in epochs_of(plan, member)]
    assert len(set(orders)) == 14
    assert not any(list(order) == sorted(order) for order in orders)


@few
@by_sizes
def test_four_lanes_hold_all_seven_members_and_none_outlasts_the_full_one(sizes, batch, epochs):
    plan = schedule(sizes, batch, epochs)
    assert len(plan.lanes) == 4
    assert sorted(member for lane in plan.lanes for member in lane) == list(range(7))
    assert (
        max(sum(plan.steps[m] for m in lane) for lane in plan.lanes) == plan.steps[6] == len(plan)
    )


@few
@given(st.lists(st.integers(7, 40), min_size=2, max_size=4), st.integers(2, 7), st.integers(1, 3))
def test_of_m_starts_half_as_many_lanes_as_subsets_hold_all_members(sizes, batch, epochs):
    """A member sees only its own rows, and none twice in an epoch."""
    ends = [0, *np.cumsum(sizes).tolist()]
    named = {f"start {i}": range(*between) for i, between in enumerate(pairwise(ends))}
    plan = Schedule(named, batch=batch, epochs=epochs, seed=0)
    assert len(plan.members) == 2 ** len(sizes) - 1
    assert len(plan.lanes) == 2 ** (len(sizes) - 1)
    assert len(plan) == epochs * (sum(sizes) // batch)
    for member, subset in enumerate(plan.members):
        own = sorted(row for start in subset for row in named[start])
        found = epochs_of(plan, member)
        assert len(found) == epochs
        for rows in found:
            assert len(rows) == len(set(rows)) == len(own) // batch * batch
            assert set(rows.tolist()) <= set(own)


def test_equal_starts_leave_no_step_idle():
    plan = schedule(sizes=(12, 12, 12), batch=4, epochs=1)
    assert [sum(plan.steps[m] for m in lane) for lane in plan.lanes] == [9, 9, 9, 9]
    assert {plan[step].shape for step in range(9)} == {(4, 4)}


def test_packing_takes_the_first_lane_with_room_for_the_longest_first():
    assert pack([1, 2, 6, 4, 3]) == ((2,), (3, 1), (4, 0))


@few
@by_sizes
def test_segments_cover_every_step_once_and_every_member_once_at_a_time(sizes, batch, epochs):
    plan = schedule(sizes, batch, epochs)
    assert plan.segments[0].start == 0
    assert plan.segments[-1].stop == len(plan)
    assert all(left.stop == right.start for left, right in pairwise(plan.segments))
    taken = Counter()
    for segment in plan.segments:
        assert len(set(segment.members)) == len(segment.members) == len(segment.first)
        for member, first in zip(segment.members, segment.first, strict=True):
            assert first == taken[member]
            taken[member] += segment.stop - segment.start
    assert [taken[member] for member in range(7)] == plan.steps


def test_a_step_holds_the_next_batch_of_every_active_member():
    plan, own = schedule(), Counter()
    for segment in plan.segments:
        for step in range(segment.start, segment.stop):
            for member, rows in zip(segment.members, plan[step], strict=True):
                np.testing.assert_array_equal(rows, plan.rows(member, own[member]))
                own[member] += 1
    assert sum(own.values()) == sum(plan.steps)


def test_the_same_seed_gives_the_same_batches_whatever_was_asked_before():
    plan, again, other = schedule(seed=3), schedule(seed=3), schedule(seed=4)
    backwards = {step: again[step] for step in reversed(range(len(again)))}
    for step in range(len(plan)):
        np.testing.assert_array_equal(plan[step], backwards[step])
        assert not np.array_equal(plan[step], other[step])


def test_a_batch_that_a_subset_cannot_fill_is_refused_by_its_name():
    assert len(schedule(sizes=(13, 9, 11), batch=9))
    with pytest.raises(FreeBindError, match="larger than a subset") as refused:
        schedule(sizes=(13, 9, 11), batch=10)
    assert "subset image\n" in str(refused.value)
    assert "at most 9" in str(refused.value)
    with pytest.raises(FreeBindError, match="two or more items"):  # no batch helps
        schedule(sizes=(1, 9, 11), batch=2)


def test_a_batch_of_one_pair_has_nothing_to_contrast():
    with pytest.raises(FreeBindError, match="two pairs"):
        schedule(batch=1)
