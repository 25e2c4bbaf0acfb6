"""Parquet files and Hugging Face data sets, with media in their cells or beside them."""

import io
import pickle
from dataclasses import replace

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from disturb import run
from PIL import Image

from encoders_torch.exporting.pipeline import export_bank
from encoders_torch.exporting.target import ExportSettings
from encoders_torch.sources import SourceOptions, open_source
from encoders_torch.sources.datasets import _loaded
from encoders_torch.sources.row_group import _forwards
from fb_jax.banks import Split, open_banks
from fb_jax.errors import FreeBindError

from .test_tars import write_tar

COLOURS = [(10, 20, 30), (200, 0, 0), (0, 99, 0), (9, 8, 6), (250, 1, 250)]


def picture(colour):
    file = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(file, "PNG")
    return file.getvalue()


PICTURES = [picture(colour) for colour in COLOURS]


def as_structs(folder):
    """Return cells as Hugging Face writes them: bytes with a name, null, and a path alone."""
    (folder / "beside.png").write_bytes(PICTURES[4])
    cells = [{"bytes": data, "path": f"{i}.png"} for i, data in enumerate(PICTURES[:3])]
    return [*cells, None, {"bytes": None, "path": "beside.png"}]


@pytest.fixture(params=["structs", "bytes", "data set", "arrow file"])
def table(request, tmp_path, monkeypatch):
    """A table of five pictures with captions, of which the fourth is null; and its name."""
    about = {"uid": list("abcde"), "captions": [["x", "y"], ["z"], [], None, ["w"]]}
    if request.param in ("structs", "bytes"):
        cells = as_structs(tmp_path)
        if request.param == "bytes":
            cells = [*PICTURES[:3], None, PICTURES[4]]
        path = tmp_path / "t.parquet"
        pyarrow.parquet.write_table(pa.table(about | {"image": cells}), path, row_group_size=2)
        return path
    monkeypatch.chdir(tmp_path)  # paths of media in data sets are relative to it
    features = datasets.Features(
        {
            "uid": datasets.Value("string"),
            "captions": datasets.List(datasets.Value("string")),
            "image": datasets.Image(),
        }
    )
    datasets.Dataset.from_dict(about | {"image": as_structs(tmp_path)}, features).save_to_disk(
        tmp_path / "train"
    )
    if request.param == "data set":
        return tmp_path / "train"
    (path,) = (tmp_path / "train").glob("*.arrow")
    return path.rename(tmp_path / "t.arrow")


def test_media_in_cells_are_found_by_the_name_of_their_row_alone(table):
    source = pickle.loads(pickle.dumps(open_source("image", table)))
    rows = list(source.items)
    assert rows == [{"id": name, "path": f"{table.name}#{i}"} for i, name in enumerate("abcde")]
    _loaded.cache_clear()
    _forwards.cache_clear()
    for row in (4, 2, 0, 1):
        with source.content(rows[row]).open() as content:
            assert content.read() == PICTURES[row]
    with pytest.raises(FreeBindError, match=rf"the cell is null\n.*{table.name}#3"):
        source.content(rows[3])
    for path in (f"{table.name}#5", f"{table.name}#x", "1"):
        with pytest.raises(FreeBindError):
            source.content({"id": "x", "path": path})


def test_captions_of_a_row_are_items_of_their_own(table):
    named = SourceOptions(caption_column=("captions",))
    assert [tuple(item.values()) for item in open_source("text", table, named).items] == [
        *(("a#0", "x"), ("a#1", "y"), ("b#0", "z")),
        *(("c", ""), ("d", ""), ("e#0", "w")),
    ]


def test_a_column_of_paths_names_files_beside_the_table(tmp_path):
    (tmp_path / "a.png").write_bytes(PICTURES[0])
    rows = {"id": ["one"], "image": ["a.png"]}
    pyarrow.parquet.write_table(pa.table(rows), tmp_path / "t.parquet")
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "d")
    for name in ("t.parquet", "d"):
        source = open_source("image", tmp_path / name)
        assert list(source.items) == [{"id": "one", "path": "a.png"}]
        assert source.content(*source.items).path == tmp_path / "a.png"


def test_a_folder_of_parquet_files_is_one_source(tmp_path):
    for number in range(2):
        cells = PICTURES[2 * number : 2 * number + 2]
        pyarrow.parquet.write_table(pa.table({"image": cells}), tmp_path / f"{number}.parquet")
    source = open_source("image", tmp_path)
    assert [i["id"] for i in source.items] == [
        "0.parquet#0",
        "0.parquet#1",
        *("1.parquet#0", "1.parquet#1"),
    ]
    assert [source.content(item).data for item in source.items] == PICTURES[:4]


def test_a_folder_whose_later_file_lacks_a_column_is_refused(tmp_path, caplog):
    for number, name in enumerate(("text", "other")):
        table = pa.table({name: ["a"], "image": PICTURES[:1]})
        pyarrow.parquet.write_table(table, tmp_path / f"{number}.parquet")
    with pytest.raises(FreeBindError, match=r"no column 'text'\n.*1\.parquet"):
        list(open_source("text", tmp_path).items)
    assert len(list(open_source("image", tmp_path).items)) == 2
    assert "unread" not in caplog.text


READ_A_LARGE_GROUP = """
import resource, sys
from encoders_torch.sources import open_source
source = open_source("image", sys.argv[1])
items = list(source.items)
source.content(items[0])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert all(source.content(item).data[0] == i % 251 for i, item in enumerate(items))
assert source.content(items[3]).data[0] == 3
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_large_row_group_is_never_in_memory_whole(tmp_path):
    cells = [bytes([i % 251]) * 1_000_000 for i in range(300)]
    table = pa.table({"image": cells})
    path = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(table, path, row_group_size=300, compression="none")
    found = run("-c", READ_A_LARGE_GROUP, path)
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) < 150_000  # kilobytes, of 300 MB


def test_of_a_damaged_row_group_rows_before_the_damage_are_read(tmp_path):
    cells = [bytes([number]) * 40_000 for number in range(200)]
    table, path = pa.table({"image": cells}), tmp_path / "t.parquet"
    form = {"use_dictionary": False, "write_batch_size": 8, "compression": "none"}
    pyarrow.parquet.write_table(table, path, write_page_checksum=True, **form)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 1000] = bytes(1000)
    path.write_bytes(content)
    source = open_source("image", path)
    items = list(source.items)
    for number in (199, 198, 0, 180, 1):
        if number < 2:
            assert source.content(items[number]).data == cells[number]
        else:
            with pytest.raises(
                FreeBindError, match=r"a Parquet file cannot be read\n(.|\n)*OSError"
            ):
                source.content(items[number])


def test_two_columns_of_one_name_are_refused(tmp_path):
    twice = pa.Table.from_arrays([pa.array(["a"])] * 2, names=["caption"] * 2)
    pyarrow.parquet.write_table(twice, tmp_path / "t.parquet")
    with pytest.raises(FreeBindError, match="the schema does not name the columns"):
        open_source("text", tmp_path / "t.parquet")


@pytest.mark.parametrize("kind", ["parquet", "data set"])
def test_a_table_that_was_written_again_is_read_again(tmp_path, kind):
    features = datasets.Features({"image": datasets.Image()})
    for number in range(2):
        if kind == "parquet":
            path = tmp_path / "t.parquet"
            pyarrow.parquet.write_table(pa.table({"image": [PICTURES[number]]}), path)
        else:
            path = tmp_path / "t"
            cells = [{"bytes": PICTURES[number], "path": None}]
            datasets.Dataset.from_dict({"image": cells}, features).save_to_disk(path)
        source = open_source("image", path)
        assert [source.content(item).data for item in source.items] == [PICTURES[number]]


def test_a_data_set_may_be_the_folder_where_one_is(tmp_path, monkeypatch):
    cells = [{"bytes": PICTURES[0], "path": None}]
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": cells}, features).save_to_disk(tmp_path / "train")
    monkeypatch.chdir(tmp_path / "train")
    source = open_source("image", ".")
    assert list(source.items) == [{"id": "train#0", "path": "train#0"}]
    assert source.content(*source.items).data == PICTURES[0]


def test_a_data_set_of_several_splits_must_name_one(tmp_path, caplog):
    part = datasets.Dataset.from_dict({"text": ["a"]})
    datasets.DatasetDict({"train": part}).save_to_disk(tmp_path / "one")
    assert list(open_source("text", tmp_path / "one").items) == [{"id": "0", "caption": "a"}]
    assert "one: its split train" in caplog.text
    datasets.DatasetDict({"train": part, "test": part}).save_to_disk(tmp_path / "two")
    with pytest.raises(FreeBindError, match=r"several splits\n(.|\n)*two/test, .*two/train"):
        open_source("text", tmp_path / "two")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["tar", "parquet", "data set"])
def test_worker_processes_read_them(toy, tmp_path, kind, workers):
    if kind == "tar":
        path = write_tar(tmp_path / "s.tar", {str(i): {"png": p} for i, p in enumerate(PICTURES)})
    elif kind == "parquet":
        path = tmp_path / "t.parquet"
        pyarrow.parquet.write_table(pa.table({"image": PICTURES}), path, row_group_size=2)
    else:
        path = tmp_path / "train"
        cells = [{"bytes": data, "path": None} for data in PICTURES]
        features = datasets.Features({"image": datasets.Image()})
        datasets.Dataset.from_dict({"image": cells}, features).save_to_disk(path)
    how = replace(ExportSettings(dtype="float32", batch=2), workers=workers)
    split = Split(tmp_path / "banks/pool")
    result = export_bank(toy, open_source("image", path), split, "toy", "image", how)
    assert (result.complete, result.failures) == (True, [])
    wanted = np.float32([[*colour, 1] for colour in COLOURS])
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    rows = open_banks(split.path.parent, spaces=["toy"])["toy", "image"][:]
    np.testing.assert_allclose(rows, wanted, rtol=1e-6)
