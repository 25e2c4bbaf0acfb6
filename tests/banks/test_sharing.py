"""Shards that processes share by taking the next free one, and rows of shards that were begun."""

import inspect
import json
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import TimeoutExpired
from threading import Barrier

import numpy as np
import pytest
from disturb import FILE_STEPS, NO_LOCKS, At, counted, disturbed, run, start, wait_until_stopped

from fb_jax.banks import PartWriter, ShardedArray
from fb_jax.errors import FreeBindError

X = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
ORDER = [2, 0, 1, 3]


def writer_for(folder: Path) -> PartWriter:
    return PartWriter(folder, dim=4, count=10, late=("sum",), shard_rows=4)


def share(folder: Path) -> list[int]:
    """What one of several processes does: it keeps the rows of a shard one by one."""
    writer, mine = writer_for(folder), []
    for shard in writer.shards:
        with writer.taken(shard) as free:
            if free:
                encode(writer, shard)
                mine.append(shard)
    writer.close(lambda notes: {"sum": sum(notes)})
    return mine


def encode(writer: PartWriter, shard: int) -> None:
    numbers = writer.rows_of(shard)
    order = [row for row in ORDER if row < len(numbers)]
    rows, note = writer.kept(shard) or (np.empty((0, 4), np.float32), [])
    assert note == order[: len(rows)]
    for row in order[len(rows) :]:
        rows = np.concatenate([rows, X[[numbers[row]]]])
        note = [*note, row]
        writer.keep(shard, rows, note)
    writer.write(shard, rows[np.argsort(order)], note=len(order))


PROGRAM = f"""
import sys
from pathlib import Path
import numpy as np
from fb_jax.banks import PartWriter

X = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
ORDER = {ORDER}
{inspect.getsource(writer_for)}
{inspect.getsource(encode)}
{inspect.getsource(share)}
print(share(Path(sys.argv[1])))
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "array"


def require_whole(folder):
    whole = ShardedArray(folder)
    whole.verify()
    np.testing.assert_array_equal(whole[:], X.astype(np.float16))
    assert whole.manifest.about == {"sum": 10}
    names = {path.name for path in folder.iterdir()} - {".opening", ".claims"}
    assert names == {"manifest.json", *(f"emb_0000{i}.npy" for i in range(3))}


def test_a_shard_is_free_until_somebody_holds_or_finishes_it(folder):
    writer, other = writer_for(folder), writer_for(folder)
    with writer.taken(1) as free, other.taken(1) as again, other.taken(2) as next_one:
        assert (free, again, next_one) == (True, False, True)
        with pytest.raises(FreeBindError, match=r"another process(.|\n)*shard 1 is taken"):
            other.claimed([0, 1]).__enter__()
    with other.taken(1) as free:
        assert free
        other.write(1, X[4:8], note=4)
    with writer.taken(1) as free:
        assert not free
    with writer.taken(0) as free:  # those that a refused claim had taken are free again
        assert free
    assert share(folder) == [0, 2]
    with writer.taken(0) as free:
        assert not free


def test_threads_and_processes_share_an_array_and_each_shard_is_written_once(folder):
    others = [start("-c", PROGRAM, folder) for _ in range(2)]
    with ThreadPoolExecutor(3) as pool:
        mine = list(pool.map(share, [folder] * 3))
    for other in others:
        out, err = other.communicate()
        assert other.returncode == 0, err
        mine.append(json.loads(out))
    assert sorted(shard for shards in mine for shard in shards) == [0, 1, 2]
    require_whole(folder)


def test_of_two_threads_one_gets_a_shard(folder):
    writer, together = writer_for(folder), Barrier(2)

    def attempt(_):
        together.wait()
        with writer.taken(0) as free:
            together.wait()
            return free

    with ThreadPoolExecutor(2) as pool:
        for _ in range(20):
            assert sorted(pool.map(attempt, range(2))) == [False, True]


def test_others_go_on_beside_a_process_that_stands_still_and_after_it_was_killed(folder):
    other = start("-c", PROGRAM, folder, at=[At("disturb.begin", on="emb_00001", do="SIGSTOP")])
    wait_until_stopped(other)
    assert share(folder) == [2]
    other.send_signal(signal.SIGKILL)
    other.communicate()
    assert share(folder) == [1]
    require_whole(folder)


def test_on_a_disk_without_locks_a_shard_is_free_and_leftovers_stay(folder, caplog):
    writer = writer_for(folder)
    left = folder / "emb_00000.npy.1-2.partial"
    left.touch()
    with disturbed(NO_LOCKS), writer.taken(0) as free, writer.taken(0) as again:
        assert (free, again) == (True, False)
    (text,) = {record.getMessage() for record in caplog.records}
    assert "no locks, so that two processes could write the same file" in text
    assert "--num-shards and --shard-id" in text
    assert left.exists()
    with writer.taken(0):
        assert not left.exists()


# Rows of shards that were begun


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_kept_rows_come_back_as_they_were_until_the_shard_is_written(folder, dtype):
    writer, rows = writer_for(folder), X[:3].astype(dtype)
    assert writer.kept(0) is None
    writer.keep(0, rows[:1], [1])
    writer.keep(0, rows, {"failures": [{"row": 1, "reason": "é"}]})
    found, note = writer_for(folder).kept(0)
    np.testing.assert_array_equal(found, rows)
    assert (found.dtype, note) == (dtype, {"failures": [{"row": 1, "reason": "é"}]})
    writer.write(0, X[:4], note=4)
    assert writer.kept(0) is None
    assert [path.name for path in writer.parts.iterdir()] == ["00000.json"]


@pytest.mark.parametrize("rows", [X[:5], X[:2, :3]])
def test_rows_that_do_not_fit_are_not_kept(folder, rows):
    with pytest.raises(FreeBindError, match=r"do not fit the shard(.|\n)*\(4, 4\)"):
        writer_for(folder).keep(0, rows)


def shorten(path):
    path.write_bytes(path.read_bytes()[:-3])


def flip(path):
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")


@pytest.mark.parametrize("harm", [shorten, flip, Path.unlink])
@pytest.mark.parametrize("name", ["00000.begun.npy", "00000.begun.json"])
def test_kept_rows_that_were_altered_are_forgotten(folder, caplog, harm, name):
    writer = writer_for(folder)
    writer.keep(0, X[:3], [0])
    harm(writer.parts / name)
    assert writer.kept(0) is None
    if (name, harm) != ("00000.begun.npy", Path.unlink):
        assert "00000.begun.npy: altered since it was written; its rows are computed" in caplog.text
        assert not list(writer.parts.iterdir())
    writer.keep(0, X[:2], [0])
    np.testing.assert_array_equal(writer.kept(0)[0], X[:2])


def test_kept_rows_of_another_width_are_forgotten(folder, tmp_path):
    other = PartWriter(tmp_path / "other", dim=3, count=10, shard_rows=4)
    other.keep(0, X[:2, :3], [])
    writer = writer_for(folder)
    other.parts.rename(writer.parts)
    assert writer.kept(0) is None


@pytest.fixture(scope="module")
def steps(tmp_path_factory) -> int:
    folder = tmp_path_factory.mktemp("whole")
    with counted(FILE_STEPS) as steps:
        share(folder)
    return len(steps)


KILLED_AT_EVERY_STEP = f"""
import os
from disturb import FILE_STEPS, At, disturbed
{PROGRAM.replace("print(share(Path(sys.argv[1])))", "")}
for step in range(1, int(sys.argv[2]) + 1):
    if not (child := os.fork()):
        with disturbed(At(FILE_STEPS, step)):
            share(Path(sys.argv[1]) / str(step))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9, step
"""


def test_after_kill_9_at_any_step_the_rest_ends_in_the_same_bytes(tmp_path, contents, steps):
    killed = run("-c", KILLED_AT_EVERY_STEP, tmp_path, steps)
    assert killed.returncode == 0, killed.stderr
    share(tmp_path / "undisturbed")
    for step in range(1, steps + 1):
        share(tmp_path / str(step))
        require_whole(tmp_path / str(step))
        assert contents(tmp_path / str(step)) == contents(tmp_path / "undisturbed")


# Opening


def test_of_two_that_open_a_new_array_one_may_be_killed(folder):
    """The other waits meanwhile, and then opens it alone."""
    opening = At("disturb.begin", on="partial.json", do="SIGSTOP")
    first = start("-c", PROGRAM, folder, at=[opening])
    wait_until_stopped(first)
    second = start("-c", PROGRAM, folder)
    with pytest.raises(TimeoutExpired):
        second.wait(1)
    first.kill()
    first.communicate()
    out, err = second.communicate()
    assert (out, err) == ("[0, 1, 2]\n", "")
    require_whole(folder)
