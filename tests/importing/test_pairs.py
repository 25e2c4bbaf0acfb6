from unicodedata import normalize

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from fb_jax.banks import write_items
from fb_jax.errors import FreeBindError
from fb_jax.importing import import_pairs

IDS = {"audio": ["a0", "a1", "a2"], "text": ["t0", "t1", "t2", "t3"], "image": ["2", "0", "1"]}


@pytest.fixture
def split(split):
    for modality, ids in IDS.items():
        write_items(split.items_path(modality), ({"id": name} for name in ids))
    return split


@pytest.fixture
def pairs(split, tmp_path):
    """Import a table and return it as stored."""

    def pairs(name, content, left="audio", right="text", **options):
        path = tmp_path / name
        if isinstance(content, pa.Table):
            pyarrow.parquet.write_table(content, path)
        elif isinstance(content, np.ndarray):
            with path.open("wb") as file:
                np.save(file, content)
        else:
            path.write_bytes(content.encode())
        return import_pairs(split, left, right, path, **options).tolist()

    return pairs


TABLES = [
    ("x.csv", "a1,t3\na0,t0\na1,t2\n", {}),
    ("x.csv", "\ufeffsound,words\r\na1,t3\r\na0,t0\r\na1,t2\r\n", {}),
    ("x.csv", "1,3\n0, 0\n1,2\n", {}),
    ("x.csv", "sound,words\n1,t3\n0,t0\n1,t2\n", {}),
    (
        "x.tsv",
        "n\twords\tsound\n1\tt3\ta1\n2\tt0\ta0\n3\tt2\ta1\n",
        {"left_column": "sound", "right_column": "words"},
    ),
    ("x.csv", "words,sound\nt3,a1\nt0,a0\nt2,a1\n", {"left_column": "sound"}),
    ("x.csv", "text,audio\n3,1\n0,0\n2,1\n", {}),
    ("x.csv", ",audio,text\n0,1,3\n1,0,0\n2,1,2\n", {}),
    ("x.csv", ",sound,words\n0,1,3\n1,0,0\n2,1,2\n", {}),
    ("x.csv", "n,text,audio\n3,0,1\n0,0,0\n2,0,1\n", {"right_column": "n"}),
    ("x.NPY", np.array([[1, 3], [0, 0], [1, 2]]), {}),
    ("x.npy", np.array([[1, 3], [0, 0], [1, 2]], np.uint8), {}),
    ("x.jsonl", '{"audio": "a1", "text": ["t3", "t2"]}\n{"audio": "a0", "text": "t0"}', {}),
    ("x.jsonl", '{"audio": 1, "text": 3}\n{"audio": 0, "text": 0}\n{"audio": 1, "text": 2}', {}),
    ("x.parquet", pa.table({"audio": ["a1", "a0"], "text": [["t3", "t2"], ["t0"]]}), {}),
    ("x.parquet", pa.table({"audio": [1, 0, 1], "text": [3, 0, 2]}), {}),
]


@pytest.mark.parametrize(("name", "content", "options"), TABLES)
def test_every_kind_of_table_takes_ids_or_rows(pairs, name, content, options):
    assert sorted(pairs(name, content, **options)) == [[0, 0], [1, 2], [1, 3]]


def test_what_was_chosen_is_said(pairs):
    said = []
    pairs("x.csv", "sound,words\n1,t3\n", say=said.append)
    assert said == ["audio: column `sound`, row numbers", "text: column `words`, ids"]


@pytest.mark.parametrize(("by", "expected"), [("id", [[0, 1], [1, 2]]), ("row", [[0, 0], [1, 1]])])
def test_numbers_that_are_ids_too_need_a_word(pairs, by, expected):
    content = "a0,0\na1,1\n" if by == "id" else "0,0\n1,1\n"
    with pytest.raises(
        FreeBindError, match=r"'0': row 0, or the id of row 1(.|\n)*--by id or --by"
    ):
        pairs("x.csv", content, right="image")
    assert pairs("x.csv", content, right="image", by=by) == expected


def test_ids_that_are_the_row_numbers_need_none(pairs, split):
    write_items(split.items_path("depth"), ({"id": str(row)} for row in range(3)))
    assert pairs("x.csv", "a0,2\na1,0\n", right="depth") == [[0, 2], [1, 0]]


def test_numbers_past_the_rows_are_ids_if_ids_have_them(pairs, split):
    write_items(split.items_path("depth"), ({"id": name} for name in ("10", "0")))
    assert pairs("x.csv", "a0,10\na1,0\n", right="depth") == [[0, 0], [1, 1]]


@pytest.mark.parametrize(
    ("name", "content", "options", "says"),
    [
        ("x.csv", "a0,t0\na9,t1\n", {}, r"'a9' is no item of audio(.|\n)*1 such values of 2"),
        ("x.csv", "a0,t0\n1,t1\n", {}, r"'1' is no item of audio(.|\n)*ids alone, or row numbers"),
        ("x.csv", "a0,t0\n", {"by": "row"}, r"'a0' is no item of audio\n(.|\n)*row numbers"),
        ("x.csv", "0,0\n", {"by": "id"}, r"'0' is no item of audio\n(.|\n)*expected: ids"),
        ("x.csv", "a0,\n", {}, "a pair is malformed"),
        ("x.csv", 'a0,t0\na1,"t1\n', {}, "cannot be read"),
        ("x.parquet", pa.table({"a": ["a0"], "b": [1.5]}), {}, "malformed"),
        ("x.csv", "a,b,c\na0,t0\n", {}, "line 2\n  expected: 3\n  got:      2"),
        ("x.csv", "a,b\na0,t0\n", {"left_column": "c"}, r"no column 'c'"),
        ("x.csv", "a\na0\n", {}, "got:      1"),
        ("x.jsonl", '{"audio": "a0"}', {}, r"wrong form(.|\n)*two columns(.|\n)*audio"),
        ("x.jsonl", '{"a": "a0", "b": null}', {}, "malformed"),
        ("x.jsonl", '{"a": "a0", "b": [[1]]}', {}, "malformed"),
        ("x.jsonl", '{"a": 0.0, "b": 1}', {}, "malformed"),
        ("x.jsonl", '{"a": "a0", "b": []}', {}, "wrong form"),
        ("x.npy", np.array([[0, -1]]), {}, "points past"),
        ("x.npy", np.array([[0, 4]]), {}, "points past an item list"),
        ("x.npy", np.zeros((2, 3), int), {}, "wrong form"),
        ("x.csv", "1" * 30 + ",0\n", {}, "is no item of audio"),
        ("x.jsonl", '{"a": 99999999999999999999, "b": 1}', {}, "is no item of audio"),
        ("x.xls", "", {}, "cannot be read"),
    ],
)
def test_a_table_that_pairs_nothing_is_refused(pairs, split, name, content, options, says):
    with pytest.raises(FreeBindError, match=says):
        pairs(name, content, **options)
    assert split.paired() == []


def test_a_modality_is_not_paired_with_itself(pairs, split):
    with pytest.raises(FreeBindError, match=r"audio with itself(.|\n)*two modalities(.|\n)*--left"):
        pairs("x.csv", "a0,a1\n", right="audio")
    assert split.paired() == []


def test_a_column_of_another_modality_is_taken_only_if_it_is_named(pairs, split):
    good = pairs("good.csv", "audio,image\na0,2\n", right="image", by="id")
    for content in ("audio,text\na0,1\n", "text,audio\n1,a0\n"):
        with pytest.raises(FreeBindError, match=r"none is called image(.|\n)*--right-column text"):
            pairs("x.csv", content, right="image", by="row")
    with pytest.raises(FreeBindError, match="columns audio, image; none is called text"):
        pairs("x.csv", "audio,image\na0,2\n")
    with pytest.raises(FreeBindError, match=r"none is called image(.|\n)*--left-column audio"):
        pairs("x.csv", "audio,text\n1,t0\n", left="image")
    assert split.read_pairs("audio", "image").tolist() == good
    assert split.paired() == [("audio", "image")]
    content, named = "audio,text\n0,1\n", {"right_column": "text"}
    assert pairs("x.csv", content, right="image", by="row", **named) == [[0, 1]]


def test_names_of_classes_become_a_list_in_sorted_order(pairs, split):
    content = "clip,label\na0,dog\na1,cat\na2,dog\na2,Füße\n"
    assert pairs("x.csv", content, right="class") == [[0, 2], [1, 1], [2, 2], [2, 0]]
    names = [{"id": name, "caption": name} for name in ("Füße", "cat", "dog")]
    assert list(split.items("class")) == names


def test_classes_go_by_their_names_also_with_row_numbers_and_a_list_that_is_there(pairs, split):
    classes = [{"id": "0", "caption": "dog"}, {"id": "1", "caption": "cat"}]
    write_items(split.items_path("class"), classes)
    assert pairs("x.csv", "0,cat\n1,dog\n", right="class", by="row") == [[0, 1], [1, 0]]
    with pytest.raises(FreeBindError, match=r"'cow' is no item of class"):
        pairs("x.csv", "0,cow\n", right="class")


def test_an_id_of_a_class_comes_before_the_caption_of_another(pairs, split):
    names = [("x", "y"), ("y", "z"), ("a", "twice"), ("b", "twice")]
    classes = [{"id": name, "caption": caption} for name, caption in names]
    write_items(split.items_path("class"), classes)
    assert pairs("x.csv", "a0,y\na1,z\na2,x\n", right="class") == [[0, 1], [1, 1], [2, 0]]
    with pytest.raises(FreeBindError, match="'twice' is no item of class"):
        pairs("x.csv", "a0,twice\n", right="class")


def test_numbers_name_classes_only_if_someone_says_so(pairs, split):
    with pytest.raises(FreeBindError, match=r"item list is missing(.|\n)*--by id"):
        pairs("x.csv", "a0,7\n", right="class")
    assert not split.items_path("class").exists()
    assert pairs("x.csv", "a0,7\na1,10\n", right="class", by="id") == [[0, 1], [1, 0]]


def test_ids_are_the_same_in_either_spelling_of_accents(split, pairs):
    """macOS spells names of files as NFD, Linux as NFC."""
    items = ({"id": normalize("NFD", name)} for name in ("café.wav", "thé.wav"))
    write_items(split.items_path("music"), items)
    table = "music,text\n" + normalize("NFC", "thé.wav,t1\ncafé.wav,t0\n")
    assert pairs("x.csv", table, "music", "text") == [[1, 1], [0, 0]]
    assert split.items("music").row_of(normalize("NFC", "thé.wav")) == 1
    again = ({"id": normalize("NFC", name)} for name in ("café.wav", "thé.wav"))
    assert write_items(split.items_path("music"), again).digest == split.items("music").digest
