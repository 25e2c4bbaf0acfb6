import copy

import numpy as np
import pytest

from fb_jax.banks import open_banks
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import Bootstrap, tabulate
from fb_jax.evaluation.bootstrap import around
from fb_jax.evaluation.tables.comparing import compare_results, not_compared
from fb_jax.evaluation.tables.rendering import plain


def table(space, banks, resamples=40, name="test", preset="versatile"):
    rows = {"imagebind": "imagebind", "mine": space.at(preset)}
    return tabulate(rows, {name: banks}, bootstrap=Bootstrap(resamples))


@pytest.fixture(scope="module")
def ours(space, test_banks):
    return table(space, test_banks, preset="at_expertise")


@pytest.fixture(scope="module")
def theirs(space, test_banks):
    return table(space, test_banks)


def test_differences_have_an_interval_over_the_same_resamples(ours, theirs):
    found = compare_results(plain(ours), plain(theirs))
    assert len(found) == 2 * 3 * 2
    by_name = {(d.row, d.task, d.metric): d for d in found}
    mine = by_name["mine", "test audio-text", "R@1"]
    sides = [t.samples["mine"]["test audio-text"]["R@1"][1:] for t in (ours, theirs)]
    wanted = around(mine.ours - mine.theirs, np.round(sides[0], 4) - np.round(sides[1], 4))
    assert (mine.low, mine.high) == pytest.approx(wanted)
    assert mine.ours > mine.theirs
    assert str(mine) == (
        f"mine, test audio-text R@1: {mine.ours:.1f} against {mine.theirs:.1f}: "
        f"{mine.ours - mine.theirs:+.1f} [{mine.low:+.1f}, {mine.high:+.1f}]"
    )
    same = by_name["imagebind", "test audio-text", "R@5"]
    assert (same.ours - same.theirs, same.low, same.high) == (0, 0, 0)


def test_other_resamples_give_no_interval(space, test_banks, ours):
    both = plain(ours), plain(table(space, test_banks, resamples=30))
    found = compare_results(*both)
    (why,) = not_compared(*both)
    assert why.endswith(
        "resampled in another way: resampling.resamples 40; earlier resampling.resamples 30"
    )
    assert {difference.low for difference in found} == {None}
    assert "[" not in str(found[0])


def test_rows_of_one_side_are_named(ours, theirs):
    other = copy.deepcopy(plain(theirs))
    other["figures"]["old"] = other["figures"].pop("mine")
    assert not_compared(plain(ours), other) == [
        "not compared: only here: mine; only in the earlier results: old"
    ]
    assert not_compared(plain(ours), plain(theirs)) == []


def changed(path, value):
    def change(content):
        *above, last = path
        for key in above:
            content = content[key]
        content[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(("about", "protocol", "version"), 2), r"protocol differ(.|\n)*version 1"),
        (changed(("about", "splits", "test", "items", "audio"), "0"), "items of test differ"),
        (changed(("about", "splits", "test", "pairs", "audio-text"), "0"), "pairs of test differ"),
        (changed(("about", "splits", "test", "rows"), "0"), "rows of test differ"),
        (
            changed(("about", "splits", "test", "data set"), {"templates": ["a {}"]}),
            r"templates of test differ(.|\n)*a \{\}",
        ),
        (
            changed(("about", "splits", "test", "data set"), {"dataset": "x", "version": "2"}),
            r"data set of test differ(.|\n)*version",
        ),
        (changed(("about", "splits"), {"val": {}}), r"of other splits(.|\n)*test(.|\n)*val"),
        (changed(("figures",), 3), r"not the results of freebind eval --tasks(.|\n)*other\.json"),
    ],
)
def test_what_differs_is_named(ours, theirs, change, message):
    other = copy.deepcopy(plain(theirs))
    change(other)
    with pytest.raises(FreeBindError, match=message):
        compare_results(plain(ours), other, "other.json")


def test_other_items_are_other_data(space, root, ours):
    banks = open_banks(root, "val", spaces=("imagebind", "clap_general"))
    with pytest.raises(FreeBindError, match="items of test differ"):
        compare_results(plain(ours), plain(table(space, banks)))
