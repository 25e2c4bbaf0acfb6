import hashlib
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fb_jax.banks import ItemList, write_items
from fb_jax.errors import FreeBindError

ITEMS = [{"id": "a", "caption": "a dog"}, {"id": "b", "caption": "Füße"}, {"id": "c"}]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "text.jsonl"


@settings(deadline=None, max_examples=25)
@given(captions=st.lists(st.text(), max_size=4))
def test_any_caption_is_read_back_as_it_was_written(tmp_path_factory, captions):
    items = [{"id": str(row), "caption": caption} for row, caption in enumerate(captions)]
    written = write_items(tmp_path_factory.mktemp("items") / "text.jsonl", items)
    assert list(written) == [written[row] for row in range(len(written))] == items


def test_the_same_list_may_be_written_again(path):
    write_items(path, ITEMS)
    again = write_items(path, [dict(reversed(item.items())) for item in ITEMS])
    assert again.digest == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("other", [ITEMS[:2], ITEMS[::-1], [], [*ITEMS, {"id": "d"}]])
def test_another_list_is_refused_and_the_first_stays(path, other):
    write_items(path, ITEMS)
    with pytest.raises(FreeBindError, match="another item list is already here"):
        write_items(path, other)
    assert list(ItemList(path)) == ITEMS


def test_the_digest_follows_the_file(path):
    write_items(path, ITEMS)
    found, now = [], path.stat().st_mtime_ns
    for content, changed in (b"1", now), (b"22", now), (b"33", now + 10**6):
        path.write_bytes(content)
        os.utime(path, ns=(now, changed))
        found.append(ItemList(path).digest == hashlib.sha256(content).hexdigest())
    path.rename(path.with_name("old.jsonl"))
    path.write_bytes(b"44")
    os.utime(path, ns=(now, now + 10**6))
    assert found == [True] * 3
    assert ItemList(path).digest == hashlib.sha256(b"44").hexdigest()


def test_a_missing_list_is_named(path):
    with pytest.raises(FreeBindError, match=r"missing\n.*text\.jsonl"):
        ItemList(path)


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'"id"', b'{"id": 3}', b"\xff"])
@pytest.mark.parametrize("read", [ItemList.verify, list, lambda items: items[1]])
def test_a_malformed_line_is_named(path, line, read):
    path.write_bytes(b'{"id": "a"}\n' + line + b'\n{"id": "c"}\n')
    with pytest.raises(FreeBindError, match=r"text\.jsonl, line 2\n"):
        read(ItemList(path))


def test_items_are_verified_unless_two_have_the_same_id(path):
    write_items(path, ITEMS).verify()
    with pytest.raises(FreeBindError, match=r"same id\n(.*\n)*.*'b' in rows 1 and 3"):
        write_items(path.with_name("more.jsonl"), [*ITEMS, {"id": "b"}]).verify()


@pytest.mark.parametrize("row", [-1, 3])
def test_a_row_past_the_list_says_which_rows_there_are(path, row):
    with pytest.raises(FreeBindError, match=f"expected: 0 to 2\n.*got: +{row}"):
        write_items(path, ITEMS)[row]


def test_an_item_is_found_by_its_id_and_by_no_other(path):
    assert write_items(path, ITEMS).row_of("b") == 1
    with pytest.raises(FreeBindError, match="nobody"):
        ItemList(path).row_of("nobody")
