import json
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest
from disturb import NO_LOCKS, At, disturbed

from fb_jax import files
from fb_jax.banks import PartWriter, ShardedArray, ShardWriter
from fb_jax.errors import FreeBindError

X = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)


def writer_for(folder: Path) -> PartWriter:
    return PartWriter(folder, dim=4, count=10, dtype="float32", late=("sum",), shard_rows=3)


def write(folder: Path, shards) -> bool:
    """What one process does."""
    writer = writer_for(folder)
    with writer.claimed(shards):
        for shard in shards:
            if not writer.done(shard):
                writer.write(shard, X[writer.rows_of(shard)], note=shard)
    return writer.close(lambda notes: {"sum": sum(notes)})


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "array"


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_the_order_of_shards_does_not_matter(folder, tmp_path, contents, order):
    assert write(folder, order)
    whole = ShardedArray(folder)
    np.testing.assert_array_equal(whole[:], X)
    whole.verify()
    assert whole.manifest.about == {"sum": 6}
    write(tmp_path / "other", range(4))
    assert contents(folder) == contents(tmp_path / "other")


def test_it_is_the_array_that_a_shard_writer_writes(folder, tmp_path):
    write(folder, range(4))
    form = {"dim": 4, "count": 10, "dtype": "float32", "shard_rows": 3}
    writer = ShardWriter(PartWriter(tmp_path / "b", **form, about={"sum": 6}))
    writer.append(X)
    assert writer.close() == ShardedArray(folder).manifest


def test_whoever_finds_all_shards_there_writes_the_manifest(folder):
    assert not write(folder, [0, 2])
    assert writer_for(folder).note(2) == 2
    assert not (folder / "manifest.json").exists()
    assert json.loads((folder / "partial.json").read_text())["count"] == 10
    assert write(folder, [1, 3])
    assert {path.name for path in folder.iterdir()} == {
        ".opening",
        ".claims",
        "manifest.json",
        *(f"emb_0000{i}.npy" for i in range(4)),
    }


def test_a_whole_array_is_left_as_it_is(folder, contents):
    write(folder, range(4))
    before = contents(folder)
    assert write(folder, range(4))
    assert contents(folder) == before


def test_another_array_is_refused(folder):
    write(folder, [0])
    with pytest.raises(FreeBindError, match=r"another array(.|\n)*dim 5(.|\n)*dim 4"):
        PartWriter(folder, dim=5, count=10, dtype="float32", late=("sum",), shard_rows=3)


@pytest.mark.parametrize("rows", [X[:2], X[:3, :2]])
def test_rows_that_do_not_fill_the_shard_are_refused(folder, rows):
    with pytest.raises(FreeBindError, match=r"do not fit the shard(.|\n)*\(3, 4\)"):
        writer_for(folder).write(0, rows)


def test_what_fails_at_the_end_may_be_tried_again(folder):
    def no_sum(_notes):
        raise FreeBindError("no sum")

    writer = writer_for(folder)
    for shard in writer.shards:
        writer.write(shard, X[writer.rows_of(shard)], note=shard)
    with pytest.raises(FreeBindError, match="no sum"):
        writer.close(no_sum)
    assert not writer.finished
    assert writer.close(lambda notes: {"sum": sum(notes)})


@pytest.mark.parametrize("number", [2, 3, 6, 7])
def test_after_a_full_disk_a_rerun_ends_in_the_same_bytes(tmp_path, contents, number):
    full = disturbed(At("disturb.write", number, "ENOSPC"))
    with full, pytest.raises(FreeBindError, match=r"could not be written(.|\n)*No space left"):
        write(tmp_path / "a", range(4))
    for name in ("a", "undisturbed"):
        assert write(tmp_path / name, range(4))
    assert contents(tmp_path / "a") == contents(tmp_path / "undisturbed")


def test_a_writer_waits_while_another_opens_or_closes_the_array(folder):
    with ThreadPoolExecutor(1) as pool:
        with files.locked(folder, name=".opening"):
            opened = pool.submit(writer_for, folder)
            assert not wait([opened], 0.1).done
        assert opened.result().done(0) is False


def test_a_claim_removes_what_is_left_of_its_own_shards_only(folder):
    writer = writer_for(folder)
    writer.parts.mkdir()
    names = [f"emb_0000{i}.npy.1-2.partial" for i in (1, 2)]
    names += [f"parts/0000{i}.json.1-2.partial" for i in (1, 2)]
    for name in names:
        (folder / name).touch()
    with disturbed(NO_LOCKS), writer.claimed([2]):
        assert all((folder / name).exists() for name in names)
    with writer.claimed([2]):
        assert [(folder / name).exists() for name in names] == [True, False] * 2
