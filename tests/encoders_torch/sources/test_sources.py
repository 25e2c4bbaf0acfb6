import json
import os
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from encoders_torch.media.suffixes import suffixes
from encoders_torch.sources import list_items, open_source
from fb_jax.banks import Split
from fb_jax.errors import FreeBindError


def items(modality, path):
    return list(open_source(modality, path).items)


# Folders


def test_a_folder_tree_is_its_media_in_the_order_of_their_paths(media):
    source = open_source("image", media / "image")
    names = ["0.png", "a/9.png", "a/x.png", "b/10.png", "b/2.png"]
    assert list(source.items) == [{"id": name, "path": name} for name in names]
    assert source.folder == media / "image"


def test_ids_do_not_depend_on_where_the_folder_is(media, tmp_path):
    first = items("audio", media / "audio")
    (media / "audio").rename(tmp_path / "elsewhere")
    assert items("audio", tmp_path / "elsewhere") == first


def test_hidden_files_and_folders_are_left_out(media):
    before = items("image", media / "image")
    (media / "image/._0.png").write_bytes(b"what a Mac leaves behind")
    (media / "image/.thumbnails").mkdir()
    (media / "image/0.png").rename(media / "image/.thumbnails/0.png")
    assert items("image", media / "image") == before[1:]


def test_suffixes_are_what_the_libraries_read():
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".gif", ".bmp"} < suffixes("image")
    assert not {".pdf", ".h5"} & suffixes("image")  # written only; a stub
    assert {".wav", ".flac", ".mp3", ".ogg", ".opus", ".aif"} < suffixes("audio")
    assert ".raw" not in suffixes("audio")


def test_capitals_of_a_suffix_do_not_matter(tmp_path):
    for name in ("x.JPG", "y.Png"):
        (tmp_path / name).touch()
    assert [item["id"] for item in items("image", tmp_path)] == ["x.JPG", "y.Png"]


def test_a_folder_of_another_modality_is_taken_whole(tmp_path):
    for name in ("b.npy", "a.anything"):
        (tmp_path / name).touch()
    assert [item["id"] for item in items("depth", tmp_path)] == ["a.anything", "b.npy"]


def test_a_name_that_is_not_unicode_is_refused(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")).touch()
    with pytest.raises(FreeBindError, match=r"no valid Unicode(.|\n)*caf"):
        open_source("image", tmp_path)


# Lists

ROWS = [
    {"id": "one", "path": "a/1.png", "caption": "a cat"},
    {"id": "two", "path": "2.png", "caption": 'a "dog",\nin two lines'},
    {"id": "three", "path": "3.png", "caption": "eine Kuh, größer"},
]


def write_list(path, rows):
    columns = {name: [row.get(name) for row in rows] for row in rows for name in row}
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        cells = [[row.get(name) or "" for name in columns] for row in rows]
        quoted = [[f'"{cell}"'.replace('"', '""')[1:-1] for cell in row] for row in cells]
        path.write_text("\n".join(",".join(cells) for cells in [columns, *quoted]) + "\n")
    return path


@pytest.fixture(params=[".csv", ".jsonl", ".parquet"])
def listed(request, tmp_path):
    """Write rows as a list of each kind."""
    return lambda rows: write_list(tmp_path / f"list{request.param}", rows)


def test_a_list_gives_captions_or_paths_in_its_order_with_its_ids(listed, tmp_path):
    path = listed(ROWS)
    source = open_source("text", path)
    wanted = [{"id": row["id"], "caption": row["caption"]} for row in ROWS]
    assert list(source.items) == list(source.items) == wanted
    assert source.folder is None
    pictures = open_source("image", path)
    assert list(pictures.items) == [{"id": row["id"], "path": row["path"]} for row in ROWS]
    assert pictures.folder == tmp_path


def test_without_ids_a_path_is_its_own_and_a_caption_has_its_number(listed):
    path = listed([{"path": row["path"], "caption": row["caption"]} for row in ROWS])
    assert [item["id"] for item in items("image", path)] == ["a/1.png", "2.png", "3.png"]
    assert [item["id"] for item in items("text", path)] == ["0", "1", "2"]


def test_a_number_is_an_id_too(listed):
    path = listed([{"id": 7, "caption": "seven"}])
    assert items("text", path) == [{"id": "7", "caption": "seven"}]


@pytest.mark.parametrize("modality", ["image", "text"])
def test_a_list_without_the_column_is_refused(listed, modality):
    path = listed([{"id": "a", "title": "x"}])
    with pytest.raises(FreeBindError, match=r"a list has no (path|caption)\n.*row 1"):
        open_source(modality, path)


@pytest.mark.parametrize("modality", ["image", "text"])
def test_what_is_null_or_left_out_is_empty_and_has_its_number(listed, modality):
    column = {"image": "path", "text": "caption"}[modality]
    path = listed([{column: "a", "x": "y"}, {column: None, "x": "y"}, {"x": "y"}])
    assert [item[column] for item in items(modality, path)] == ["a", "", ""]
    assert [item["id"] for item in items(modality, path)][1:] == ["1", "2"]


BAD_LINES = {
    "a lone surrogate": rb'{"caption": "\ud800"}',
    "a lone surrogate in an id": rb'{"id": "\udfff", "caption": "a"}',
    "no UTF-8": b'{"caption": "caf\xe9"}',
    "half": b'{"caption": ',
    "nested": b'{"x": ' + b"[" * 10**5,
    "too large a number": b'{"caption": "a", "x": 1e400}',
    "a list": b'["caption"]',
    "a number": b'{"caption": 5}',
    "an id that is none": b'{"id": [], "caption": "a"}',
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_refused_by_its_number(tmp_path, line):
    (tmp_path / "list.jsonl").write_bytes(b'{"caption": "a"}\n' + line)
    says = r"(not valid JSON|something else)\n.*list\.jsonl, .* 2\n"
    with pytest.raises(FreeBindError, match=says):
        items("text", tmp_path / "list.jsonl")


def test_two_items_of_one_id_are_refused_and_nothing_is_written(listed, tmp_path):
    source = open_source("text", listed([*ROWS, {"id": "two", "path": "x", "caption": "y"}]))
    with pytest.raises(FreeBindError, match=r"two items have the same id\n.*'two'"):
        list_items(Split(tmp_path / "pool"), "text", source)
    assert not list(tmp_path.glob("pool/items/*.jsonl*"))


def test_ids_whose_hashes_agree_are_not_the_same(tmp_path):
    class Weak(str):
        def __hash__(self):
            return 1

    source = open_source("text", write_list(tmp_path / "a.jsonl", ROWS))
    names = [{"id": Weak(i["id"]), "caption": i["caption"]} for i in source.items]
    listed = list_items(Split(tmp_path / "pool"), "text", type(source)(names))
    assert [item["id"] for item in listed] == ["one", "two", "three"]


def test_a_text_file_is_a_caption_a_line(media):
    assert items("text", media / "text.txt")[2:4] == [
        {"id": "2", "caption": "three"},
        {"id": "3", "caption": "four and a"},
    ]


def test_lines_end_where_files_say_so_and_nowhere_else(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffone\u2028still one\r\ntwo\x0b\x85".encode())
    wanted = ["one\u2028still one", "two\x0b\x85"]
    assert [item["caption"] for item in items("text", tmp_path / "a.txt")] == wanted


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "\ufeffcaption,id\none\0,1\n"),
        ("a.jsonl", '\ufeff{"caption":"one\\u0000","id":1}\n'),
    ],
)
def test_a_byte_order_mark_is_no_part_of_a_list_and_nul_is_one_of_a_caption(
    tmp_path, name, content
):
    (tmp_path / name).write_text(content)
    assert items("text", tmp_path / name) == [{"id": "1", "caption": "one\0"}]


def test_a_text_file_of_media_is_a_path_a_line(media):
    (media / "some.txt").write_text("image/0.png\nimage/b/2.png\n")
    source = open_source("image", media / "some.txt")
    assert [source.folder / item["path"] for item in source.items] == [
        media / "image/0.png",
        media / "image/b/2.png",
    ]


def test_a_caption_may_be_as_long_as_a_book(listed):
    book = "word " * 100_000
    assert items("text", listed([{"caption": book}]))[0]["caption"] == book


@pytest.mark.parametrize(
    ("modality", "path", "says"),
    [
        ("image", "no", r"no such source of image(.|\n)*/no(.|\n)*a folder of .*\.apng"),
        ("image", "text.md", "no such source of image"),
        ("image", "audio", "there is no image here(.|\n)*png"),
        ("text", "audio", r"no such source of text(.|\n)*\.csv"),
        ("text", "no.csv", "is missing"),
        ("text", "pipe.txt", r"cannot be read\n.*pipe\.txt\n(.|\n)*a named pipe"),
        ("image", "pipe.parquet", "a named pipe"),
        ("text", "empty.txt", "there is no text here(.|\n)*a list"),
        ("text", "empty.csv", "there is no text here(.|\n)*a list"),
        ("text", "latin.txt", r"list is not UTF-8 text\n.*latin\.txt, line 1"),
        ("text", "bad.parquet", "Parquet file cannot be read"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused(media, modality, path, says):
    for name in ("empty.txt", "empty.csv"):
        (media / name).touch()
    (media / "latin.txt").write_bytes(b"caf\xe9")
    for name in ("pipe.txt", "pipe.parquet"):
        os.mkfifo(media / name)
    (media / "bad.parquet").write_text("no parquet")
    with pytest.raises(FreeBindError, match=says):
        open_source(modality, media / path)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as if it were not installed
    says = r"Parquet lists need pyarrow(.|\n)*pip install 'freebind-jax\[parquet\]'"
    with pytest.raises(FreeBindError, match=says):
        open_source("text", tmp_path / "a.parquet")


def test_paths_may_be_strings(media):
    for modality, path in (("text", media / "text.txt"), ("image", media / "image")):
        assert items(modality, str(path)) == items(modality, path)
