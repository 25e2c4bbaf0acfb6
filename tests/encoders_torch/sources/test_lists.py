import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from encoders_torch.sources import Source, SourceOptions, list_items, open_source
from fb_jax.banks import Split, remove_items
from fb_jax.errors import FreeBindError


def items(modality, path):
    return list(open_source(modality, path).items)


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


def test_a_quote_that_is_never_closed_is_refused_since_it_would_take_all_rows(tmp_path):
    (tmp_path / "a.csv").write_text('caption\na\n"b\nc\n')
    with pytest.raises(FreeBindError, match=r"a double quote is never closed\n.*a\.csv, line 3"):
        list(open_source("text", tmp_path / "a.csv").items)


@pytest.mark.parametrize("name", ["null_captions.jsonl", "null_captions.parquet"])
def test_one_null_caption_is_one_failure(name):
    source = open_source("text", Path(__file__).parents[1] / "media/bad_media" / name)
    dog, null, rain = source.items
    assert [source.content(dog), source.content(rain)] == ["a dog", "rain"]
    assert null == {"id": "b", "caption": ""}
    with pytest.raises(FreeBindError, match="the caption is empty"):
        source.content(null)


def test_nan_is_null_and_its_id_is_kept(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": 7, "caption": NaN}\n')
    assert items("text", tmp_path / "a.jsonl") == [{"id": "7", "caption": ""}]


def test_usual_names_are_found_and_said(listed, caplog):
    path = listed([{"Key": "k", "image": "a.png", "audio_path": "a.wav", "Title": "t"}])
    assert items("image", path) == [{"id": "k", "path": "a.png"}]
    assert items("audio", path) == [{"id": "k", "path": "a.wav"}]
    assert items("text", path) == [{"id": "k", "caption": "t"}]
    for says in ("media from column `audio_path`", "captions from column `Title`"):
        assert f"{path}: {says}\n" in caplog.text
    assert f"{path}: ids from column `Key`" in caplog.text


def test_a_column_is_said_if_another_fits_too(tmp_path, caplog):
    for name, columns in (("one", {"caption": "a"}), ("two", {"text": "b", "caption": "a"})):
        path = write_list(tmp_path / f"{name}.csv", [{"id": "1", **columns}])
        assert items("text", path) == [{"id": "1", "caption": "a"}]
    assert "one.csv" not in caplog.text
    assert "two.csv: captions from column `caption`\n" in caplog.text
    assert "ids" not in caplog.text


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


LISTS_AND_TEXTS = [
    {"id": "1", "caption": ["a", "b"], "alt": ["c", "d"]},
    {"id": "2", "caption": [], "alt": ["q"]},
    {"id": "3", "caption": None, "alt": ["t", None]},
    {"id": "4", "caption": [], "alt": []},
]
TEXT_BEFORE_A_LIST = {"id": "5", "caption": "s", "alt": ["t"]}  # Parquet has one type a column


@pytest.mark.parametrize(
    ("suffix", "more"), [(".jsonl", [TEXT_BEFORE_A_LIST]), (".jsonl", []), (".parquet", [])]
)
def test_every_caption_of_every_column_is_an_item_and_no_row_is_lost(tmp_path, suffix, more):
    path = write_list(tmp_path / f"a{suffix}", [*LISTS_AND_TEXTS, *more])
    both = open_source("text", path, SourceOptions(caption_column=("caption", "alt")))
    assert [tuple(item.values()) for item in both.items] == [
        *(("1#0", "a"), ("1#1", "b"), ("1#2", "c"), ("1#3", "d")),
        ("2#0", "q"),
        *(("3#0", ""), ("3#1", "t"), ("3#2", "")),
        ("4#0", ""),
        *(("5#0", "s"), ("5#1", "t"))[: 2 * len(more)],
    ]


def test_options_that_nothing_can_follow_are_refused_before_work():
    with pytest.raises(FreeBindError, match=r"names a column twice\n.*alt caption alt"):
        SourceOptions(caption_column=("alt", "caption", "alt"))
    for second in (-1.0, float("nan"), float("inf")):
        with pytest.raises(FreeBindError, match="no video has such a frame"):
            SourceOptions(frame_at=second)


def test_a_segment_belongs_to_the_path_and_to_the_id(listed, tmp_path):
    source = open_source("audio", listed([{"path": "a/b.wav#t=30,40"}]))
    (item,) = source.items
    assert item == {"id": "a/b.wav#t=30,40", "path": "a/b.wav#t=30,40"}
    medium = source.content(item)
    assert (medium.path, medium.start, medium.stop) == (tmp_path / "a/b.wav", 30, 40)


SAME_ID = r"two items have the same id\n.*/list\.\w+\n.*'two': items 2 and 4, counted from 1"


@pytest.mark.parametrize("end", ["t=x", "t=1,2&x", "xywh=", "1.wav"])
def test_a_missing_file_whose_name_ends_with_no_segment_says_it(tmp_path, end):
    (tmp_path / "a.wav").touch()
    source = open_source("audio", write_list(tmp_path / "l.jsonl", [{"path": f"a.wav#{end}"}]))
    with pytest.raises(FreeBindError, match=r"a file is missing, .* no segment(.|\n)*#t=30,40"):
        source.content(*source.items)


def test_two_items_of_one_id_are_refused_and_nothing_is_written(listed, tmp_path):
    source = open_source("text", listed([*ROWS, {"id": "two", "path": "x", "caption": "y"}]))
    with pytest.raises(FreeBindError, match=SAME_ID):
        list_items(Split(tmp_path / "pool"), "text", source)
    assert not list(tmp_path.glob("pool/items/*.jsonl*"))


def test_other_items_are_refused_with_what_to_do(split, tmp_path):
    def listed_again(text, **how):
        (tmp_path / "a.csv").write_text(text)
        source = open_source("text", tmp_path / "a.csv")
        return [item["caption"] for item in list_items(split, "text", source, **how)]

    listed_again("id,caption\n1,a\n2,\n3,c\n")
    for text, says in (
        ("id,caption\n0,z\n1,a\n2,\n3,c\n4,d\n", "fix: +--append adds the 2 new ones$"),
        ("id,caption\n3,c\n2,\n1,a\n", "fix: +--append keeps the order of the list$"),
        ("id,caption\n1,a\n2,b\n", "2 items of .* changed, the first is '2'.* adds the 1 new"),
    ):
        with pytest.raises(FreeBindError, match=says):
            listed_again(text)
    remove_items(split, "text", ["2"])  # a caption that was mended goes to the end
    mended = "id,caption\n1,a\n2,b\n3,c\n"
    assert listed_again(mended, append=True) == ["a", "", "c", "b"]


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
