import json
import os
import sys
from pathlib import Path
from unicodedata import normalize

import pyarrow
import pyarrow.parquet
import pytest

from encoders_torch.export import export
from encoders_torch.export_config import ExportConfig
from encoders_torch.exporting.pipeline import export_bank
from encoders_torch.exporting.target import ExportSettings
from encoders_torch.media.suffixes import suffixes
from encoders_torch.sources import Source, SourceOptions, list_items, open_source
from fb_jax.banks import Split, open_banks
from fb_jax.errors import FreeBindError

FIXTURES = Path(__file__).parent / "fixtures"


def items(modality, path):
    return list(open_source(modality, path).items)


@pytest.fixture
def split(tmp_path):
    return Split(tmp_path / "banks/pool")


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


def nfd(text):
    """Spell a name as macOS does."""
    return normalize("NFD", text)


def test_names_of_macos_and_linux_give_the_same_items_and_find_the_files(tmp_path, split):
    names = ["café/thé.png", "cafz.png"]  # in NFD, the accent comes before z, and é after it
    for folder, spell in (("mac", nfd), ("linux", str)):
        for name in names:
            (tmp_path / folder / spell(name)).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / spell(name)).write_text(folder)
    mac, linux = (open_source("image", tmp_path / folder) for folder in ("mac", "linux"))
    assert [i["id"] for i in mac.items] == [i["id"] for i in linux.items] == ["cafz.png", names[0]]
    listed = list_items(split, "image", mac)
    assert list_items(split, "image", linux, append=True).digest == listed.digest
    for item in listed:
        assert mac.content(item).path.read_text() == "mac"
        assert linux.content(item).path.read_text() == "linux"


def test_two_names_that_look_the_same_are_refused(tmp_path):
    for name in ("thé.png", nfd("thé.png")):
        (tmp_path / name).touch()
    with pytest.raises(FreeBindError, match=r"spell accents(.|\n)*'the\\u0301.*'th\\xe9"):
        open_source("image", tmp_path)


def test_what_nothing_reads_is_counted_and_named(media, caplog, monkeypatch):
    for name in ("a.md", "b.HEIC", "README"):
        (media / "image" / name).touch()
    core = suffixes("image") - {".heic"}
    monkeypatch.setattr("encoders_torch.sources.folder.suffixes", lambda _: core)
    monkeypatch.setattr(
        "encoders_torch.sources.folder.extra_for", lambda s, _: "heif" if s == ".heic" else None
    )
    open_source("image", media / "image")
    says = "left unread as image: 2 .md, 1 .heic (needs the extra heif), 1 without a suffix"
    assert says in caplog.text


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
    path = listed([{"id": "a", "heading": "x"}])
    with pytest.raises(FreeBindError, match=r"no (path|caption)\n(.|\n)*: id, heading"):
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
    "too large a number": b'{"caption": "a", "x": ' + b"9" * 5000 + b"}",
    "a list": b'["caption"]',
    "a number": b'{"caption": 5}',
    "an id that is none": b'{"id": [], "caption": "a"}',
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_an_item_that_fails_and_says_why(tmp_path, line):
    (tmp_path / "list.jsonl").write_bytes(b'{"caption": "a"}\n' + line + b'\n{"caption": "c"}\n')
    source = open_source("text", tmp_path / "list.jsonl")
    first, bad, last = source.items
    assert [first, last] == [{"id": "0", "caption": "a"}, {"id": "2", "caption": "c"}]
    assert bad["caption"] == ""
    with pytest.raises(FreeBindError, match=r"line 2 is no JSON|is no text|no valid Unicode"):
        source.content(bad)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("x", "line 3 has 1 cells, and the first one 3"),
        ("x,a,b,c", "line 3 has 4 cells, and the first one 3"),
        ('x,"a"b,c', "line 3: double quotes are wrong"),
        ("x,,c", "the caption is empty"),
        ("x,caf\udce9,c", r"the caption is no valid Unicode: 'caf\\udce9'"),
    ],
)
@pytest.mark.parametrize("separator", [",", "\t"])
def test_a_bad_line_of_a_table_costs_no_other_item(tmp_path, line, says, separator):
    path = tmp_path / ("list.csv" if separator == "," else "list.tsv")
    lines = f"id,caption,more\none,a,b\n{line}\nthree,c,d\n".replace(",", separator)
    path.write_bytes(lines.encode(errors="surrogateescape"))
    source = open_source("text", path)
    first, bad, last = source.items
    assert [first, last] == [{"id": "one", "caption": "a"}, {"id": "three", "caption": "c"}]
    assert bad["id"] == ("x" if "cells" not in says and "quotes" not in says else "row 1")
    with pytest.raises(FreeBindError, match=says):
        source.content(bad)


def test_lines_that_a_quote_has_swallowed_are_named(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text('caption\na\n"b\nc\n"d\ne\n')
    first, bad, last = open_source("text", path).items
    assert (first["caption"], last["caption"]) == ("a", "e")
    assert bad["fault"] == "lines 3 to 5: double quotes are wrong"


def test_empty_lines_of_a_jsonl_are_no_items(tmp_path):
    path = tmp_path / "list.jsonl"
    path.write_text('{"caption": "a"}\r\n\r\n{"caption": "b"}\n\n')
    found = list(open_source("text", path).items)
    assert found == [{"id": "0", "caption": "a"}, {"id": "1", "caption": "b"}]


def test_a_split_from_before_ids_were_guessed_is_exported_again_without_them(
    split, tmp_path, caplog
):
    path = tmp_path / "list.csv"
    path.write_text("uid,caption\nx,a\n")
    list_items(split, "text", Source([{"id": "0", "caption": "a"}]))
    with pytest.raises(FreeBindError, match="another item list"):
        list_items(split, "text", open_source("text", path))
    assert "ids from column `uid` (for none: --id-column -)" in caplog.text
    with pytest.raises(FreeBindError, match=r"here under other ids(.|\n)*'0'(.|\n)*'x'"):
        list_items(split, "text", open_source("text", path), append=True)
    path.write_text("uid,caption\nx,a\ny,b\n")
    with pytest.raises(FreeBindError, match="--id-column, - for none"):
        list_items(split, "text", open_source("text", path), append=True)
    path.write_text("uid,caption\nx,a\n")
    without = SourceOptions(id_column="-")
    assert len(list_items(split, "text", open_source("text", path, without))) == 1


def test_a_file_whose_name_ends_like_a_segment_is_itself(tmp_path):
    for name in ("clip", "clip#t=5"):
        (tmp_path / name).write_text(name)
    source = open_source("depth", tmp_path)
    for item in source.items:
        with source.content(item).open() as file:
            assert file.read().decode() == item["path"]


def test_a_folder_of_many_suffixes_is_counted_in_a_short_line(media, caplog):
    for number in range(99):
        (media / f"log.{number}").touch()
    open_source("image", media)
    (line,) = (line for line in caplog.text.splitlines() if "unread" in line)
    assert line.endswith(" others")
    assert len(line) < 400


def test_a_quote_that_is_never_closed_is_refused_since_it_would_take_all_rows(tmp_path):
    (tmp_path / "a.csv").write_text('caption\na\n"b\nc\n')
    with pytest.raises(FreeBindError, match=r"a double quote is never closed\n.*a\.csv, line 3"):
        list(open_source("text", tmp_path / "a.csv").items)


@pytest.mark.parametrize("name", ["c.jsonl", "c.parquet"])
def test_one_null_caption_is_one_failure(name):
    source = open_source("text", FIXTURES / name)
    dog, null, rain = source.items
    assert [source.content(dog), source.content(rain)] == ["a dog", "rain"]
    assert null == {"id": "b", "caption": ""}
    with pytest.raises(FreeBindError, match="the caption is empty"):
        source.content(null)


def test_nan_is_null_and_its_id_is_kept(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": 7, "caption": NaN}\n')
    assert items("text", tmp_path / "a.jsonl") == [{"id": "7", "caption": ""}]


# Columns


def test_usual_names_are_found_and_said(listed, caplog):
    path = listed([{"Key": "k", "image": "a.png", "audio_path": "a.wav", "Title": "t"}])
    assert items("image", path) == [{"id": "k", "path": "a.png"}]
    assert items("audio", path) == [{"id": "k", "path": "a.wav"}]
    assert items("text", path) == [{"id": "k", "caption": "t"}]
    assert f"{path}: paths from column `audio_path`, ids from column `Key`" in caplog.text
    assert f"{path}: captions from column `Title`, ids from column `Key`" in caplog.text


def test_columns_can_be_named(listed):
    path = listed([{"id": "1", "k": "a", "path": "x", "p": "a.png", "caption": "c", "t": "d"}])
    named = SourceOptions(path_column="p", caption_column=("t",), id_column="k")
    assert list(open_source("image", path, named).items) == [{"id": "a", "path": "a.png"}]
    assert list(open_source("text", path, named).items) == [{"id": "a", "caption": "d"}]
    with pytest.raises(FreeBindError, match="there is no column 'q'"):
        open_source("image", path, SourceOptions(path_column="q"))


def test_several_captions_of_a_row_are_items_of_their_own(listed):
    path = listed([{"id": "7", "en": "a dog", "de": "ein Hund"}, {"id": "8", "en": "", "de": "x"}])
    both = open_source("text", path, SourceOptions(caption_column=("en", "de")))
    assert list(both.items) == [
        {"id": "7#0", "caption": "a dog"},
        {"id": "7#1", "caption": "ein Hund"},
        {"id": "8#0", "caption": ""},
        {"id": "8#1", "caption": "x"},
    ]


def test_a_list_of_captions_in_one_cell_is_several_items(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"caption": ["a", "b"]}\n{"caption": "c"}\n{"caption": []}')
    assert items("text", tmp_path / "a.jsonl") == [
        {"id": "0#0", "caption": "a"},
        {"id": "0#1", "caption": "b"},
        {"id": "1", "caption": "c"},
        {"id": "2", "caption": ""},
    ]


def test_a_segment_belongs_to_the_path_and_to_the_id(listed, tmp_path):
    source = open_source("audio", listed([{"path": "a/b.wav#t=30,40"}]))
    (item,) = source.items
    assert item == {"id": "a/b.wav#t=30,40", "path": "a/b.wav#t=30,40"}
    medium = source.content(item)
    assert (medium.path, medium.start, medium.stop) == (tmp_path / "a/b.wav", 30, 40)


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
        ("text", "empty.csv", r"first line does not name the columns\n.*empty\.csv"),
        ("text", "head.csv", "there is no text here(.|\n)*a list"),
        ("text", "bad.parquet", "Parquet file cannot be read"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused(media, modality, path, says):
    for name in ("empty.txt", "empty.csv"):
        (media / name).touch()
    (media / "head.csv").write_text("caption\n")
    for name in ("pipe.txt", "pipe.parquet"):
        os.mkfifo(media / name)
    (media / "bad.parquet").write_text("no parquet")
    with pytest.raises(FreeBindError, match=says):
        open_source(modality, media / path)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)  # as if it were not installed
    says = r"pyarrow\.parquet is not installed(.|\n)*pip install 'freebind-jax\[parquet\]'"
    with pytest.raises(FreeBindError, match=says):
        open_source("text", tmp_path / "a.parquet")


def test_paths_may_be_strings(media):
    for modality, path in (("text", media / "text.txt"), ("image", media / "image")):
        assert items(modality, str(path)) == items(modality, path)


# Exports


def test_broken_rows_are_failures_that_say_why_and_the_others_are_exported(toy, split, tmp_path):
    lines = ['{"caption": "a dog"}', '{"caption": null}', '{"caption": ', '{"caption": 5}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    source, how = open_source("text", tmp_path / "a.jsonl"), ExportSettings(workers=0)
    result = export_bank(toy, source, split, "toy", "text", how)
    failures = map(json.loads, result.report.read_text().splitlines())
    assert [(f["row"], f["reason"]) for f in failures] == [
        (1, "the caption is empty"),
        (2, "line 3 is no JSON object"),
        (3, "the caption is no text: 5"),
    ]
    assert open_banks(split.path.parent, spaces=["toy"]).rows["text"].tolist() == [0]


@pytest.mark.parametrize("split", ["", "../x", "a/b"])
def test_a_bad_split_is_refused_before_anything_is_read(tmp_path, split):
    config = ExportConfig(("a",), tmp_path / "banks", split, text=tmp_path / "missing.txt")
    with pytest.raises(FreeBindError, match="cannot name a split"):
        export(config)
    assert not (tmp_path / "banks").exists()
