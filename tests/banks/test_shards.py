import pickle
from pathlib import Path

import numpy as np
import pytest
from disturb import room
from hypothesis import given, settings
from hypothesis import strategies as st

from fb_jax import files
from fb_jax.banks import Concatenated, PartWriter, ShardedArray, ShardWriter
from fb_jax.errors import FreeBindError

X = np.arange(20, dtype=np.float32).reshape(10, 2)


def writer_for(folder: Path, x: np.ndarray = X, **options) -> ShardWriter:
    options = {"dtype": "float32", "shard_rows": 4, **options}
    return ShardWriter(PartWriter(folder, dim=x.shape[1], count=len(x), **options))


def write(folder: Path, x: np.ndarray = X, **options) -> Path:
    writer = writer_for(folder, x, **options)
    writer.append(x[writer.rows_done :])
    writer.close()
    return folder


@pytest.fixture
def whole(tmp_path_factory, contents) -> dict[str, bytes]:
    return contents(write(tmp_path_factory.mktemp("whole")))


# Reading


@pytest.fixture(scope="module", params=[1, 4, 99], ids="{} rows a shard".format)
def array(request, tmp_path_factory) -> ShardedArray:
    return ShardedArray(write(tmp_path_factory.mktemp("array"), shard_rows=request.param))


integers = st.sampled_from([np.int64, np.int32, np.uint8])
row_numbers = st.builds(np.array, st.lists(st.integers(0, 9), max_size=12), dtype=integers)


@settings(deadline=None, max_examples=100)
@given(st.slices(len(X)) | row_numbers)
def test_any_slice_or_row_numbers_of_the_shards_are_those_of_the_whole(array, rows):
    read = array[rows]
    np.testing.assert_array_equal(read, X[rows], strict=True)
    read[:] = -1  # a copy: the array stays as it is
    np.testing.assert_array_equal(array[rows], X[rows])


@pytest.mark.parametrize("rows", [[-1], [10], [0, 99]])
def test_a_row_out_of_range_is_an_index_error(array, rows):
    with pytest.raises(IndexError, match="row out of range"):
        array[np.array(rows)]


def test_parts_of_several_dtypes_are_read_as_one(array):
    parts = Concatenated([X[:1].astype(np.float16), array, X[:0]], 2, np.float64)
    both = np.concatenate([X[:1], X]).astype(np.float64)
    np.testing.assert_array_equal(parts[:], both, strict=True)
    np.testing.assert_array_equal(parts[np.array([10, 0, 1])], both[[10, 0, 1]], strict=True)


def test_an_array_without_rows_can_be_written_and_read(tmp_path):
    assert ShardedArray(write(tmp_path, X[:0]))[:].shape == (0, 2)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda shard: shard.unlink(), "a shard is missing"),
        (lambda shard: shard.write_bytes(shard.read_bytes()[:-1]), "truncated"),
        (lambda shard: shard.write_bytes(b""), "truncated"),
        (lambda shard: shard.rename(s := shard.with_name("s")) and shard.symlink_to(s), "opened"),
        (lambda shard: np.save(shard, X[4:7]), "is not what its manifest says"),
        (lambda shard: np.save(shard, X[4:8].astype(np.float64)), "is not what its manifest says"),
    ],
    ids=["missing", "truncated", "emptied", "a link", "reshaped", "retyped"],
)
def test_a_damaged_shard_is_named_when_the_array_is_opened(tmp_path, damage, says):
    damage(write(tmp_path) / "emb_00001.npy")
    says = rf"{says}.*\n.*emb_00001\.npy(.|\n)*fix: +restore the files"
    with pytest.raises(FreeBindError, match=says):
        ShardedArray(tmp_path)


def test_altered_bytes_are_noticed_by_verify_and_not_before(tmp_path):
    seen = []
    ShardedArray(write(tmp_path)).verify(seen.append)
    assert sum(seen) == 10
    np.save(tmp_path / "emb_00001.npy", -X[4:8])
    array = ShardedArray(tmp_path)
    with pytest.raises(FreeBindError, match=r"altered.*\n.*emb_00001\.npy"):
        array.verify()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": True}, "another format"),
        ({"version": 2}, r"another format(.|\n)*freebind-array, version 2"),
        ({"format": "zarr"}, r"another format(.|\n)*zarr, version 1"),
        ({"count": 9}, r"do not add up(.|\n)*expected: 9 rows\n.*10 rows"),
        ({"shards": 3}, "malformed"),
        *(({name: 0}, rf"malformed(.|\n)*{name}") for name in ("dim", "shard_rows")),
        *(({name: 1 << 49}, rf"malformed(.|\n)*{name}") for name in ("count", "dim", "shard_rows")),
        (lambda shards: [shards[0], shards[0], shards[2]], "do not add up"),  # as many rows
        (lambda shards: [shards[0] | {"sha256": shards[0]["sha256"] + "0"}], "malformed"),
        (lambda shards: [shards[0] | {"sha256": shards[0]["sha256"].upper()}], "malformed"),
        (lambda shards: [shards[0] | {"rows": 0}], "malformed"),
        ({"surprise": 1}, "malformed"),
        (None, "another format"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(tmp_path, change, says):
    path = write(tmp_path) / "manifest.json"
    whole = files.read_json(path)
    if callable(change):
        change = {"shards": change(whole["shards"])}
    files.write_json(path, whole | change if change else [])
    with pytest.raises(FreeBindError, match=says):
        ShardedArray(tmp_path)


# Writing


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(0, len(X)), max_size=4).map(sorted))
def test_the_bytes_do_not_depend_on_how_rows_were_appended(tmp_path_factory, contents, cuts):
    folder = tmp_path_factory.mktemp("cut")
    writer = writer_for(folder / "cut")
    for rows in np.split(X, cuts):
        writer.append(buffer := rows.copy())
        buffer[:] = -1  # the caller may use its memory again
    writer.close()
    assert contents(folder / "cut") == contents(write(folder / "whole"))


def test_an_array_is_there_when_its_writer_was_closed_and_not_before(tmp_path):
    writer = writer_for(tmp_path)
    writer.append(X)
    assert not writer.finished
    with pytest.raises(FreeBindError, match=r"missing\n.*manifest\.json"):
        ShardedArray(tmp_path)
    assert writer.close() == ShardedArray(tmp_path).manifest


@pytest.mark.parametrize("done", range(11))
def test_a_new_writer_continues_after_the_finished_shards(tmp_path, contents, whole, done):
    writer_for(tmp_path).append(X[:done])
    assert writer_for(tmp_path).rows_done == done // 4 * 4
    assert contents(write(tmp_path)) == whole


@pytest.mark.parametrize(("rows", "kept"), [(0, 0), (3, 0), (4, 4), (9, 8), (10, 10), (99, 10)])
def test_rewinding_keeps_whole_shards_and_ends_in_the_same_bytes(
    tmp_path, contents, whole, rows, kept
):
    writer = writer_for(write(tmp_path))
    writer.rewind(rows)
    assert (writer.rows_done, writer.finished) == (kept, kept == 10)
    assert contents(write(tmp_path)) == whole


def test_rewinding_forgets_rows_that_were_not_yet_written(tmp_path, contents, whole):
    writer = writer_for(tmp_path)
    writer.append(X[:9])
    writer.rewind(4)
    writer.append(X[4:])
    writer.close()
    assert contents(tmp_path) == whole


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    "change",
    [{"x": X[:, :1]}, {"x": X[:9]}, {"dtype": "float16"}, {"shard_rows": 5}, {"about": {"a": 1}}],
    ids=["dim", "count", "dtype", "shard_rows", "about"],
)
def test_a_folder_with_another_array_is_refused_and_left_alone(
    tmp_path, contents, change, finished
):
    writer_for(write(tmp_path)).rewind(10 if finished else 8)
    before = contents(tmp_path)
    with pytest.raises(FreeBindError, match="this folder holds another array"):
        write(tmp_path, **change)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("rows", "got"),
    [(X[:7], "2 columns, 11 rows"), (X[:1, :1], "1 columns, 5 rows")],
    ids=["too many", "too narrow"],
)
def test_rows_that_do_not_fit_are_refused_and_change_nothing(tmp_path, contents, whole, rows, got):
    writer = writer_for(tmp_path)
    writer.append(X[:4])
    with pytest.raises(FreeBindError, match=rf"at most 10 rows(.|\n)*{got}"):
        writer.append(rows)
    writer.append(X[4:])
    writer.close()
    assert contents(tmp_path) == whole


def test_closing_too_early_is_refused_and_the_rest_can_follow(tmp_path, contents, whole):
    writer = writer_for(tmp_path)
    writer.append(X[:9])
    with pytest.raises(FreeBindError, match=r"expected: 10 rows\n.*got: +9 rows"):
        writer.close()
    writer.append(X[9:])
    writer.close()
    assert contents(tmp_path) == whole


def test_double_precision_is_not_stored(tmp_path):
    with pytest.raises(FreeBindError, match=r"float16 or float32(.|\n)*float64"):
        writer_for(tmp_path, dtype="float64")


# Disturbances


def write_row_by_row(folder: Path, dim: int, until: int = 10) -> None:
    parts = PartWriter(folder, dim=dim, count=10, dtype="float32", shard_rows=3)
    with parts.claimed(parts.shards):
        writer = ShardWriter(parts)
        for row in range(writer.rows_done, until):
            writer.append(np.full((1, dim), row, np.float32))
        if until == 10:
            writer.close()


@pytest.mark.parametrize("shards", [0, 2])
@pytest.mark.parametrize("dim", [256, 1024], ids=["one page", "many pages"])
def test_after_a_full_disk_a_rerun_ends_in_the_same_bytes(tmp_path, contents, shards, dim):
    write_row_by_row(tmp_path / "a", dim, 3 * shards + 1)
    with room(2000), pytest.raises(FreeBindError, match="a file could not be written"):
        write_row_by_row(tmp_path / "a", dim)
    finished = {f"emb_{shard:05d}.npy" for shard in range(shards)}
    assert {name for name in contents(tmp_path / "a") if name.startswith("emb")} == finished
    for name in ("a", "undisturbed"):
        write_row_by_row(tmp_path / name, dim)
    assert contents(tmp_path / "a") == contents(tmp_path / "undisturbed")


def test_a_sharded_array_pickles_by_its_folder(tmp_path):
    array = pickle.loads(pickle.dumps(ShardedArray(str(write(tmp_path)))))
    np.testing.assert_array_equal(array[:], X)
    assert repr(array) == f"ShardedArray('{tmp_path}', [10, 2] float32)"
