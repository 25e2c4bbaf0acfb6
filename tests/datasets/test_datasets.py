"""One battery over all nine data sets, through the registry."""

import json
import shutil

import numpy as np
import pytest

from fb_jax.banks import Split, verify_split
from fb_jax.datasets import DATASETS, MISSING, Choice, describe, named, read_content, split_name
from fb_jax.datasets import write_content as write
from fb_jax.errors import FreeBindError
from tests.datasets.conftest import CHOICES
from tests.datasets.layouts import CLIPS, LAYOUTS

EXPECTED = {
    # counts of items, then of pairs
    "audiocaps": ({"audio": 3, "text": 6}, {("audio", "text"): 6}),
    "clotho": ({"audio": 3, "text": 15}, {("audio", "text"): 15}),
    "vggss": ({"audio": 3, "image": 3}, {("audio", "image"): 3}),
    "flickrnet": ({"audio": 3, "image": 3}, {("audio", "image"): 3}),
    "coco": ({"image": 3, "text": 15}, {("image", "text"): 15}),
    "flickr30k": ({"image": 3, "text": 15}, {("image", "text"): 15}),
    "esc50": (
        {"audio": 3, "class": 2, "text": 2},
        {("audio", "class"): 3, ("class", "text"): 2},
    ),
    "audioset": (
        {"audio": 3, "class": 3, "text": 3},
        {("audio", "class"): 4, ("class", "text"): 3},
    ),
    "imagenet": (
        {"image": 4, "class": 3, "text": 6},
        {("class", "image"): 4, ("class", "text"): 6},
    ),
}


@pytest.fixture(params=DATASETS)
def name(request):
    return request.param


def content(name, root):
    return read_content(name, root, CHOICES.get(name, Choice()))


def test_every_data_set_has_a_layout_here():
    assert list(DATASETS) == list(LAYOUTS) == list(EXPECTED)


def test_a_data_set_becomes_items_and_pairs(name, official):
    root = official(name)
    found = content(name, root)
    items, pairs = found.tables.items, found.tables.pairs
    assert {m: len(rows) for m, rows in items.items()} == EXPECTED[name][0]
    assert {pair: len(table) for pair, table in pairs.items()} == EXPECTED[name][1]
    assert found.missing == []
    for rows in items.values():
        assert len({item["id"] for item in rows}) == len(rows)
        assert all((root / item["path"]).is_file() for item in rows if "path" in item)
        assert all(item["caption"].strip() == item["caption"] for item in rows if "caption" in item)


def test_captions_belong_to_the_item_of_their_id(name, official):
    tables = content(name, official(name)).tables
    for (left, right), table in tables.pairs.items():
        for row, other in table:
            first, second = tables.items[left][row]["id"], tables.items[right][other]["id"]
            if "text" in (left, right):
                assert second.rpartition("#")[0] == first
            elif "class" not in (left, right):
                assert second == first


def test_a_split_can_be_written_again_and_is_the_same_on_another_machine(
    name, official, tmp_path, contents
):
    roots = [official(name), official(name, "elsewhere")]
    splits = [Split(tmp_path / machine / name) for machine in ("here", "there")]
    for split, root in zip(splits, roots, strict=True):
        write(split, content(name, root))
    before = contents(splits[0].path)
    write(splits[0], content(name, roots[0]))
    assert contents(splits[0].path) == before == contents(splits[1].path)
    verify_split(splits[0])


def test_a_missing_file_is_listed_and_its_item_left_out(name, official, tmp_path):
    root, split = official(name), Split(tmp_path / "banks" / name)
    whole = content(name, root)
    modality = next(iter(whole.tables.items))
    gone = whole.tables.items[modality][1]
    (root / gone["path"]).unlink()
    part = content(name, root)
    ids = [item["id"] for item in part.tables.items[modality]]
    assert ids == [i["id"] for i in whole.tables.items[modality] if i["id"] != gone["id"]]
    texts = part.tables.items.get("text", []) if "class" not in part.tables.items else []
    assert not any(text["id"].startswith(f"{gone['id']}#") for text in texts)
    assert part.about["counts"]["listed"] == whole.about["counts"]["listed"]
    write(split, part)
    (line,) = (split.path / MISSING).read_text().splitlines()
    assert json.loads(line)["id"] == gone["id"]
    assert json.loads(line)["modality"] == modality
    assert json.loads(line)["path"] in "\n".join(describe(split, part))


def test_a_changed_disk_is_refused_with_a_remedy(name, official, tmp_path, contents):
    root, split = official(name), Split(tmp_path / "banks" / name)
    whole = content(name, root)
    write(split, whole)
    before = contents(split.path)
    modality = next(iter(whole.tables.items))
    (root / whole.tables.items[modality][0]["path"]).unlink()
    with pytest.raises(FreeBindError, match=r"other media(.|\n)*counts.here(.|\n)*--split NAME"):
        write(split, content(name, root))
    assert contents(split.path) == before


def test_files_under_another_suffix_are_refused_too(official, tmp_path):
    root, split = official("clotho"), Split(tmp_path / "banks" / "clotho")
    write(split, content("clotho", root))
    (root / "evaluation/a.b.c.wav").rename(root / "evaluation/a.b.c.flac")
    with pytest.raises(FreeBindError, match=r"another item list(.|\n)*a.b.c.flac(.|\n)*--split"):
        write(split, content("clotho", root))


def test_without_media_or_list_the_error_names_what_is_looked_for(name, official, tmp_path):
    root = official(name)
    for item in next(iter(content(name, root).tables.items.values())):
        (root / item["path"]).unlink()
    with pytest.raises(FreeBindError, match=r"no item of the list(.|\n)*files such as [\w-]+/"):
        content(name, root)
    shutil.rmtree(root)
    with pytest.raises(FreeBindError, match=r"list of the data set is missing|no labels"):
        content(name, root)


def test_counts_stand_in_three_columns_and_another_length_is_noticed(name, official, caplog):
    found = content(name, official(name))
    lines = describe(Split("banks/x"), found)
    head = next(line for line in lines if "in the list" in line)
    assert head.split() == ["in", "the", "list", "on", "the", "disk", "in", "the", "paper"]
    paper = next(iter(DATASETS[name].paper.values()))
    assert any(line.split()[-1] == str(paper) for line in lines[2:])
    assert "another version?" in caplog.text


def test_rows_are_in_the_order_of_the_list(official):
    items = content("audiocaps", official("audiocaps")).tables.items
    assert [item["id"] for item in items["audio"]] == list(CLIPS)
    assert [item["id"] for item in items["text"]] == [f"{c}#{k}" for c in CLIPS for k in range(2)]
    first = [item["caption"] for item in items["text"][:2]]
    assert first == ["Rain number 0, loud", "Rain number 1, loud"]


def test_labels_and_prompts(official):
    tables = content("audioset", official("audioset")).tables
    np.testing.assert_array_equal(tables.pairs["audio", "class"], [[0, 1], [1, 0], [1, 1], [2, 0]])
    assert tables.items["class"][2] == {"id": "/t/dd00088", "caption": "Gush, x"}
    assert tables.items["text"][2] == {
        "id": "/t/dd00088#0",
        "caption": "This is a sound of Gush, x.",
    }


def test_classes_of_esc50_are_in_the_order_of_their_targets(official):
    tables = content("esc50", official("esc50")).tables
    names = [
        {"id": "dog", "caption": "dog"},
        {"id": "drinking_sipping", "caption": "drinking sipping"},
    ]
    assert tables.items["class"] == names
    np.testing.assert_array_equal(tables.pairs["audio", "class"], [[0, 0], [1, 1], [2, 0]])


def test_targets_of_esc50_are_ordered_as_numbers(official):
    root = official("esc50")
    path = root / "meta/esc50.csv"
    path.write_text(path.read_text().replace(",0,dog", ",3,dog"))  # as text, 29 is before 3
    assert [item["id"] for item in content("esc50", root).tables.items["class"]] == [
        "dog",
        "drinking_sipping",
    ]


def test_subsets_have_splits_of_their_own():
    assert split_name("clotho", None) == split_name("clotho", "evaluation") == "clotho"
    assert split_name("clotho", "development") == "clotho-development"
    with pytest.raises(FreeBindError, match="did you mean 'clotho'"):
        named("cloth")


def test_the_counts_of_table_1():
    found = {name: next(iter(dataset.paper.values())) for name, dataset in DATASETS.items()}
    assert found == {
        "audiocaps": 964,
        "clotho": 1045,
        "vggss": 5158,
        "flickrnet": 5000,
        "coco": 5000,
        "flickr30k": 1000,
        "esc50": 400,
        "audioset": 19048,
        "imagenet": 50000,
    }
