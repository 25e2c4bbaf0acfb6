import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from fb_jax.errors import FreeBindError
from fb_jax.importing import ItemColumns, describe_import, import_bank, list_items, open_source

SEPARATORS = "a\u2028b\x85c\x0bd"
"""A caption in one line, though ``str.splitlines`` would make four of it."""


@pytest.fixture
def listed(tmp_path):
    """Write a list and return its items."""

    def listed(name, content, **asked):
        path = tmp_path / name
        if isinstance(content, pa.Table):
            pyarrow.parquet.write_table(content, path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return list(list_items(path, ItemColumns(**asked)))

    return listed


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", 'uid,Caption,noise\n5,"a dog, ""Rex""",\n6,,1\n'),
        ("x.csv", '\ufeffuid,Caption,noise\r\n5,"a dog, ""Rex""",\r\n\r\n6,,1\r\n'),
        ("x.tsv", 'uid\tCaption\n5\t"a dog, ""Rex"""\n6\t'),
        ("x.parquet", pa.table({"uid": [5, 6], "Caption": ['a dog, "Rex"', None], "n": [1.5, 2]})),
        ("x.jsonl", '{"uid": 5, "Caption": "a dog, \\"Rex\\""}\n{"uid": 6, "Caption": null}'),
    ],
)
def test_a_list_gives_ids_as_text_and_leaves_null_captions_out(listed, name, content):
    items = listed(name, content)
    whole = {"uid", "Caption"} if name == "x.jsonl" else set()
    found = [{k: v for k, v in item.items() if k not in whole} for item in items]
    assert found == [{"id": "5", "caption": 'a dog, "Rex"'}, {"id": "6"}]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.txt", f"{SEPARATORS}\nrain\n"),
        ("x.csv", f"text\n{SEPARATORS}\nrain\n"),
        ("x.csv", f'text\n"{SEPARATORS}"\nrain\n'),
        ("x.tsv", f"text\n{SEPARATORS}\nrain"),
        ("x.jsonl", "".join(f"{json.dumps({'text': t})}\n" for t in (SEPARATORS, "rain"))),
        ("x.jsonl", '{"text": "a\u2028b\x85c\\u000bd"}\n{"text": "rain"}'),
        ("x.parquet", pa.table({"text": [SEPARATORS, "rain"]})),
    ],
)
def test_only_a_line_feed_ends_a_line(listed, name, text):
    assert [item["caption"] for item in listed(name, text)] == [SEPARATORS, "rain"]
    assert [item["id"] for item in listed(name, text)] == ["0", "1"]


def test_a_cell_in_quotes_may_hold_line_feeds(listed):
    assert listed("x.csv", 'id,text\na,"two\nlines"\nb,"cr\rlf\r\n"\n') == [
        {"id": "a", "caption": "two\nlines"},
        {"id": "b", "caption": "cr\rlf\r\n"},
    ]


def test_objects_of_a_jsonl_keep_all_their_fields(listed):
    assert listed("x.jsonl", '{"id": "a", "x": [1, null], "caption": null}') == [
        {"id": "a", "x": [1, None]}
    ]


def test_columns_can_be_named_or_left_out(listed):
    content = pa.table(
        {"id": ["a"], "k": [7], "text": ["t"], "alt": ["s"], "url": ["u"], "f": ["v"]}
    )
    assert listed("x.parquet", content) == [{"id": "a", "caption": "t", "path": "u"}]
    named = {"id_column": "k", "caption_column": "alt", "path_column": "f"}
    assert listed("x.parquet", content, **named) == [{"id": "7", "caption": "s", "path": "v"}]
    none = {"id_column": "-", "path_column": "-"}
    assert listed("x.parquet", content, **none) == [{"id": "0", "caption": "t"}]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["x.txt", "x.csv", "x.tsv", "x.jsonl"])
def test_utf_16_is_named(listed, name, encoding):
    with pytest.raises(FreeBindError, match=r"is UTF-16 text\n(.|\n)*save it as UTF-8"):
        listed(name, '{"id": "a"}\n'.encode(encoding))


@pytest.mark.parametrize(
    ("name", "content", "asked", "says"),
    [
        ("x.csv", "id,text\na,b\nc\n", {}, "line 3\n  expected: 2\n  got:      1"),
        ("x.csv", 'id,text\na,"b\n', {}, "cannot be read"),
        ("x.csv", "id,id\n", {}, "does not name the columns"),
        ("x.csv", "", {}, "does not name the columns"),
        ("x.csv", "animal\ncat\n", {}, r"no column of this list is known(.|\n)*animal"),
        ("x.csv", b"id\n\xff\n", {}, "not UTF-8 text\n.*line 2"),
        ("x.csv", "id,text\n,b\n", {}, r"no id(.|\n)*--id-column"),
        ("x.csv", "id,text\n", {"caption_column": "txt"}, r"no column 'txt'(.|\n)*'text'"),
        ("x.jsonl", '{"id": true}', {}, r"row 0, id\n.*text or a whole number\n.*True"),
        ("x.jsonl", '{"id": "a", "caption": [1]}', {}, "row 0, caption"),
        ("x.jsonl", "[1]", {}, "no JSON object"),
        ("x.jsonl", '{"text": "t"}\n{"id": "a"}', {}, "no id\n.*row 0"),
        ("x.xls", "", {}, r"cannot be read(.|\n)*\.txt, \.csv"),
        ("x.parquet", "PAR1", {}, "cannot be read"),
        ("x.parquet", pa.table({"id": [1, None]}), {}, "no id\n.*row 1"),
        ("x.parquet", pa.table({"id": [1.5]}), {}, r"row 0, id(.|\n)*1\.5"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(listed, name, content, asked, says):
    with pytest.raises(FreeBindError, match=says):
        listed(name, content, **asked)


@pytest.fixture
def source(tmp_path):
    vectors = pa.array([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]])
    captions = ["a dog", None, "rain"]
    paths = ["0.jpg", "1.jpg", None]
    whole = pa.table({"key": [3, 1, 3], "caption": captions, "image_path": paths, "v": vectors})
    pyarrow.parquet.write_table(whole, tmp_path / "x.parquet")
    return tmp_path / "x.parquet"


def test_items_come_with_the_rows_of_a_table(split, source, caplog):
    items = list_items(open_source(source, "text").columns, ItemColumns(id_column="-"))
    import_bank(split, "house", "text", source, items=items)
    assert list(split.items("text")) == [
        {"id": "0", "caption": "a dog", "path": "0.jpg"},
        {"id": "1", "path": "1.jpg"},
        {"id": "2", "caption": "rain"},
    ]


def test_repeated_ids_are_refused_with_both_rows(split, source):
    with pytest.raises(FreeBindError, match=r"same id(.|\n)*'3' in rows 0 and 2(.|\n)*--id-column"):
        import_bank(split, "house", "text", source)
    assert not split.path.exists()


def test_another_list_than_that_of_the_split_is_refused(split, source, tmp_path):
    np.save(tmp_path / "x.npy", np.eye(3))
    import_bank(split, "first", "text", tmp_path / "x.npy")
    items = list_items(open_source(source, "text").columns, ItemColumns(id_column="-"))
    with pytest.raises(FreeBindError, match="another item list is already here"):
        import_bank(split, "house", "text", source, items=items)
    none = ItemColumns(id_column="-", caption_column="-", path_column="-")
    items = list_items(open_source(source, "text").columns, none)
    import_bank(split, "house", "text", source, items=items)
    assert split.spaces() == {"first": ["text"], "house": ["text"]}


def test_a_table_that_says_nothing_of_its_items_takes_the_list_of_the_split(
    split, source, tmp_path
):
    (tmp_path / "captions.txt").write_text("x\ny\nz\n")
    np.save(tmp_path / "x.npy", np.eye(3))
    import_bank(split, "first", "text", tmp_path / "x.npy", items=tmp_path / "captions.txt")
    pyarrow.parquet.write_table(pa.table({"v": [[1.0]] * 3}), source)
    items = list_items(open_source(source, "text").columns)
    assert describe_import(split, "house", open_source(source, "text"), items, "float16")[-1] == (
        f"is there already: {split.items_path('text')}: 3 items"
    )
    import_bank(split, "house", "text", source)
    assert [item["caption"] for item in split.items("text")] == ["x", "y", "z"]


def test_what_was_chosen_is_said_once_a_line(split, source, caplog):
    with pytest.raises(FreeBindError):
        import_bank(split, "house", "text", source)
    said = [record.message.split(": ", 1)[1] for record in caplog.records]
    assert said[0].startswith("vectors: column `v`, list<")
    assert said[1:] == [
        "ids: column `key`",
        "captions: column `caption`",
        "paths: column `image_path`",
    ]


def test_a_dry_run_says_what_it_found_and_writes_nothing(split, source):
    opened = open_source(source, "text")
    items = list_items(opened.columns, ItemColumns(id_column="-"))
    lines = describe_import(split, "house", opened, items, "float16")
    assert lines[0] == f"{source}: Parquet, a file: 3 rows of 2 numbers, float64"
    assert lines[2:] == [
        "columns: key int64, caption string, image_path string",
        "ids: numbers of the rows",
        "captions: column `caption`",
        "paths: column `image_path`",
        "captions: 'a dog', none",
        "paths: '0.jpg', '1.jpg'",
        "bad rows: 0 of the first 3",
        f"would write {split.bank_path('house', 'text')}: 0.0 MB as float16",
        f"would write {split.items_path('text')}: 3 items",
    ]
    assert not split.path.exists()
    with pytest.raises(FreeBindError, match="same id"):
        describe_import(split, "house", opened, list_items(opened.columns), "float16")


def test_numbers_that_json_holds_stay_what_they_are(listed):
    big = 2**60 + 1
    assert listed("x.jsonl", json.dumps({"id": big}))[0]["id"] == str(big)
