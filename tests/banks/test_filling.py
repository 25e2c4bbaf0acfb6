"""Rows that were missing from a finished bank, and have come."""

import shutil

import numpy as np
import pytest
from banks.test_growing import grow, hidden
from disturb import FILE_STEPS, NO_LOCKS, At, counted, disturbed, run
from hypothesis import given, settings
from hypothesis import strategies as st

from fb_jax.banks import (
    Bank,
    BankAbout,
    Encoder,
    Split,
    bank_writer,
    fill_rows,
    open_banks,
    settle,
    since,
    verify_split,
)
from fb_jax.errors import FreeBindError

ROWS = np.array([[1, 0], [0, 0], [0, 1], [0, 0], [0, 0], [0, 1], [1, 0]], float)
MISSING = [1, 3, 4]
VALUES = np.array([[0, -1], [3, 4], [-2, 0]], float)


def fill(folder, rows=(1, 4), values=(VALUES[0], VALUES[2])):
    return fill_rows(Bank.open(folder), np.array(rows, int), np.array(values, float))


@pytest.fixture
def folder(make_bank):
    return make_bank("a", "text", ROWS, MISSING)


def names(folder):
    return sorted(path.name for path in folder.glob("*.npy"))


def test_rows_that_were_missing_are_there_and_only_their_shards_change(folder, split):
    before = Bank.open(folder)
    bank = fill(folder, [4, 1], [VALUES[2], VALUES[0]])
    np.testing.assert_array_equal(bank.array[:][[1, 4]], VALUES[[0, 2]])
    others = [0, 2, 3, 5, 6]
    np.testing.assert_array_equal(bank.array[:][others], ROWS[others])
    assert bank.missing.tolist() == [3]
    assert names(folder) == ["emb_00000_1.npy", "emb_00001.npy", "emb_00002_1.npy", "emb_00003.npy"]
    np.testing.assert_array_equal(before[:], ROWS)  # whoever has opened the bank goes on with it
    assert (bank.origin, len(bank.earlier)) == (before.fingerprint, 1)
    assert "2 filled in later" in verify_split(split)[1]
    bank = fill(folder, [3], VALUES[1:2])
    np.testing.assert_allclose(bank[np.array([3])], [[0.6, 0.8]], atol=1e-3)
    assert names(folder) == [
        "emb_00000_1.npy",
        "emb_00001_1.npy",
        "emb_00002_1.npy",
        "emb_00003.npy",
    ]
    assert bank.missing.tolist() == []
    assert fill(folder, [], np.empty((0, 2))).fingerprint == bank.fingerprint
    verify_split(split)


def test_a_bank_may_be_filled_by_two_who_opened_it_at_once_but_no_row_twice(folder):
    bank = Bank.open(folder)
    fill_rows(bank, np.array([1]), VALUES[:1])
    assert fill_rows(bank, np.array([3]), VALUES[1:2]).missing.tolist() == [4]
    with pytest.raises(FreeBindError, match=r"only missing rows(.|\n)*1 other rows.*is row 1"):
        fill_rows(bank, np.array([4, 1]), VALUES[:2])


@pytest.mark.parametrize(
    ("rows", "values", "says"),
    [
        ([0], [[1, 0]], "only missing rows can be filled in(.|\n)*row 0"),
        ([4, 4], [[1, 0], [1, 0]], "only missing rows(.|\n)*each once(.|\n)*row 4"),
        ([7], [[1, 0]], "only missing rows"),
        ([-3], [[1, 0]], "only missing rows"),
        ([1], [[1, 0, 0]], r"do not fit the bank(.|\n)*2 columns(.|\n)*3 columns"),
        ([1], [[0, 0]], "what is filled in holds zero rows"),
        ([1], [[1, np.nan]], "holds NaN or infinite rows"),
        ([1], [[1, 1e6]], "holds NaN or infinite rows"),  # in float16
    ],
)
def test_what_cannot_be_filled_in_is_refused_and_nothing_changes(
    folder, contents, rows, values, says
):
    before = contents(folder)
    with pytest.raises(FreeBindError, match=says):
        fill(folder, rows, values)
    assert contents(folder) == before | {".opening": b""}


def test_an_altered_shard_is_not_written_again_as_if_it_were_right(folder):
    path = folder / "emb_00000.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(FreeBindError, match=r"was altered(.|\n)*emb_00000"):
        fill(folder)


def test_a_bank_that_was_replaced_is_not_filled(folder, split, make_bank):
    bank = Bank.open(folder)
    shutil.rmtree(folder)
    make_bank("a", "text", -ROWS, MISSING)
    with pytest.raises(FreeBindError, match="another process has replaced this bank"):
        fill_rows(bank, np.array([1]), VALUES[:1])


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_however_it_is_filled_and_grown_it_ends_in_the_rows_of_a_bank_written_at_once(
    tmp_path_factory, data
):
    count, dtype = data.draw(st.integers(1, 12)), data.draw(st.sampled_from(["float16", "float32"]))
    wanted = np.random.default_rng(count).normal(size=(count, 3))
    missing = sorted(data.draw(st.sets(st.integers(0, count - 1))))
    rows = wanted.copy()
    rows[missing] = 0
    folder = tmp_path_factory.mktemp("bank")
    about = BankAbout("a", "text", Encoder("x"), "", np.array(missing, np.int64))
    form = {"dim": 3, "count": count, "dtype": dtype, "shard_rows": data.draw(st.integers(1, 5))}
    with bank_writer(folder, about, **form) as writer:
        writer.append(rows)
    left = data.draw(st.permutations(missing))
    while left:
        size = data.draw(st.integers(1, len(left)))
        now, left = np.array(left[:size]), left[size:]
        bank = fill_rows(Bank.open(folder), now, wanted[now])
        assert bank.missing.tolist() == sorted(left)
        bank.verify()
    bank = Bank.open(folder)
    np.testing.assert_array_equal(bank.array[:], wanted.astype(dtype))
    stored = [np.load(path) for path in sorted(folder.glob("*.npy"))]
    np.testing.assert_array_equal(np.concatenate(stored), bank.array[:])  # names are in order


KILLED_AT_EVERY_STEP = """
import os, sys
from pathlib import Path
from banks.test_filling import fill
from disturb import FILE_STEPS, At, disturbed
for step in range(1, int(sys.argv[2]) + 1):
    if not (child := os.fork()):
        with disturbed(At(FILE_STEPS, step)):
            fill(Path(sys.argv[1]) / str(step) / "pool/embeddings/a/text")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9, step
"""


def test_rows_are_filled_in_all_or_none_wherever_it_is_killed(folder, split, contents, tmp_path):
    shutil.copytree(split.path, whole := tmp_path / "whole/pool")
    with counted(FILE_STEPS) as steps:
        fill(Split(whole).bank_path("a", "text"))
    roots = [tmp_path / f"{step}/pool" for step in range(1, len(steps) + 1)]
    for root in roots:
        shutil.copytree(split.path, root)
    killed = run("-c", KILLED_AT_EVERY_STEP, tmp_path, len(steps))
    assert killed.returncode == 0, killed.stderr
    seen = []
    for root in roots:
        verify_split(Split(root))
        bank = Bank.open(here := Split(root).bank_path("a", "text"))
        seen.append(len(bank.missing))
        if len(bank.missing) == 3:
            fill(here)
        settle(here)
        visible = [{n: d for n, d in contents(r).items() if not hidden(n)} for r in (root, whole)]
        assert visible[0] == visible[1]
    assert seen == sorted(seen, reverse=True)
    assert set(seen) == {1, 3}


def test_rows_may_be_filled_in_while_others_are_being_added(folder, split):
    stopped = At("os.replace", do="EIO", on=r"growing/manifest\.json$")
    new = [[0, -1], [1, 0], [0, 1]]
    with disturbed(stopped), pytest.raises(FreeBindError):
        grow(split, rows=new)
    fill(folder)
    bank = grow(split, rows=new, start=7)
    np.testing.assert_array_equal(bank.array[:], [*fill_in(ROWS), *new])
    assert [(state.count, state.filled) for state in bank.earlier] == [(7, 2), (7, 0)]
    fill(folder, [3], VALUES[1:2])
    assert len(grow(split, rows=new, start=7)) == 10
    assert len(Bank.open(folder).missing) == 0
    verify_split(split)


def fill_in(rows):
    rows = rows.copy()
    rows[[1, 4]] = VALUES[[0, 2]]
    return rows


def test_without_locks_only_the_shards_that_were_replaced_go(folder):
    of_another = folder / "emb_00001_1.npy"
    of_another.touch()
    with disturbed(NO_LOCKS):
        fill(folder)
    assert of_another.exists()
    assert "emb_00000.npy" not in names(folder)
    settle(folder)
    assert not of_another.exists()


def test_a_bank_that_is_filled_while_it_is_opened_is_opened_as_it_is_now(folder, monkeypatch):
    from fb_jax.banks import ShardedArray, shards

    reads, read = [], shards.Manifest.read

    def slow(path):
        found = read(path)
        if not reads:
            reads.append(path)
            fill(folder)
        return found

    monkeypatch.setattr(shards.Manifest, "read", slow)
    np.testing.assert_array_equal(ShardedArray(folder)[:], fill_in(ROWS))


def test_what_was_recorded_is_known_after_rows_were_filled_in(folder, split):
    root = split.path.parent
    recorded = open_banks(root, spaces=["a"]).fingerprints()
    origins = open_banks(root, spaces=["a"]).origins()
    fill(folder)
    banks = open_banks(root, spaces=["a"])
    assert banks.rows["text"].tolist() == [0, 1, 2, 4, 5, 6]
    text = "without 2 that were missing and have come since"
    assert since(recorded, banks) == ([f"all 7 rows of a/text, {text}"], [])
    assert banks.origins() == origins
    grow(split, rows=[[0, -1]] * 3)
    grown = since(recorded, open_banks(root, spaces=["a"]))
    assert grown == ([f"the first 7 rows of a/text, which has 10 now, {text}"], [])
