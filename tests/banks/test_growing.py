"""Next week: new items at the end of a split, rows for them in a bank, and items that go."""

import re
import shutil

import numpy as np
import pytest
from disturb import FILE_STEPS, At, counted, disturbed, run, start

from fb_jax import files
from fb_jax.banks import (
    Bank,
    BankAbout,
    Split,
    append_items,
    bank_grower,
    open_bank,
    open_banks,
    remove_items,
    settle,
    since,
    verify_split,
)
from fb_jax.errors import NOTICED, FreeBindError

ROWS = [[1, 0], [0, 1], [-1, 0]]
NEW = [[0, -1], [1, 0], [0, 1]]


def new_items(first, count=3, modality="text"):
    return [{"id": f"{modality}{row}"} for row in range(first, first + count)]


def grow(split, space="a", rows=NEW, missing=(), start=None):
    """What one command does: items, then rows; again, it continues."""
    folder = split.bank_path(space, "text")
    settle(folder)
    bank = open_bank(split, space, "text")
    start = len(bank) if start is None else start
    if len(bank) == start + len(rows):
        return bank
    items = append_items(split, "text", new_items(start, len(rows)), start)
    about = BankAbout(
        space, "text", bank.encoder, items.digest, start + np.array(missing, np.int64)
    )
    with bank_grower(bank, about, start=start, count=len(items)) as writer:
        writer.append(np.asarray(rows, float)[writer.rows_done :])
    return Bank.open(folder)


KILLED_AT_EVERY_STEP = """
import os, sys
from banks.test_growing import Split, grow
from disturb import FILE_STEPS, At, disturbed
for step in range(1, int(sys.argv[2]) + 1):
    if not (child := os.fork()):
        with disturbed(At(FILE_STEPS, step)):
            grow(Split(f"{sys.argv[1]}/{step}/pool"), start=3)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9, step
"""


@pytest.fixture
def grown_in_one_go(split, make_bank, tmp_path):
    """Every file of a bank of 3 rows that has grown by 3, and how often a file was touched."""
    make_bank("a", "text", ROWS, missing=[1])
    shutil.copytree(split.path, tmp_path / "whole/pool")
    with counted(FILE_STEPS) as steps:
        grow(Split(tmp_path / "whole/pool"))
    return tmp_path / "whole/pool", len(steps)


def test_rows_are_added_and_nothing_that_was_there_changes(split, make_bank, contents):
    folder = make_bank("a", "text", ROWS, missing=[1])
    before, first = contents(split.path), Bank.open(folder)
    bank = grow(split, missing=[2], rows=[[0, -1], [1, 0], [0, 0]])
    np.testing.assert_array_equal(bank[:], [*ROWS, [0, -1], [1, 0], [0, 0]])
    assert (bank.missing.tolist(), [e.count for e in bank.earlier]) == ([1, 5], [3])
    assert bank.origin == bank.earlier[0].fingerprint == first.fingerprint == first.origin
    after = contents(split.path)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"items/text.jsonl", "embeddings/a/text/manifest.json"}
    assert after["items/text.jsonl"].startswith(before["items/text.jsonl"])
    assert sorted(p.name for p in folder.glob("*.npy")) == [f"emb_0000{i}.npy" for i in range(4)]
    assert not list(folder.glob("growing*"))
    grow(split, rows=ROWS)
    assert [e.count for e in Bank.open(folder).earlier] == [3, 6]
    told = verify_split(split)
    assert told[0] == "items text: 9, ids unique"
    assert "a/text: 9 x 2 float16, 2 missing, 6 shards" in told[1]
    assert told[1].endswith("grown from 3, 6")


def test_a_bank_without_the_newest_items_is_read_as_far_as_it_goes(split, make_bank, caplog):
    make_bank("a", "text", ROWS)
    make_bank("b", "text", [[1, 0, 0]] * 3, missing=[0])
    grow(split)
    NOTICED.clear()
    banks = open_banks(split.path.parent, spaces=["a", "b"])
    assert banks.rows["text"].tolist() == [1, 2]
    assert "b/text: lacks the newest 3 of 6 items; add their rows" in caplog.text
    assert "lacks the newest 3 of 6 items" in verify_split(split)[2]
    grow(split, "b", [[0, 0, 1]] * 3, start=3)
    banks = open_banks(split.path.parent, spaces=["a", "b"])
    assert banks.rows["text"].tolist() == [1, 2, 3, 4, 5]


def test_an_append_is_whole_or_not_at_all_wherever_it_is_killed(
    split, grown_in_one_go, contents, tmp_path
):
    whole, steps = grown_in_one_go
    roots = [tmp_path / f"{step}/pool" for step in range(1, steps + 1)]
    for here in roots:
        shutil.copytree(split.path, here)
    killed = run("-c", KILLED_AT_EVERY_STEP, tmp_path, steps)
    assert killed.returncode == 0, killed.stderr
    lengths = [len(open_bank(Split(here), "a", "text")) for here in roots]
    assert lengths == sorted(lengths)
    assert set(lengths) == {3, 6}
    wanted = {name: data for name, data in contents(whole).items() if not hidden(name)}
    for here in roots:
        verify_split(Split(here))
        grow(Split(here), start=3)
        assert {n: d for n, d in contents(here).items() if not hidden(n)} == wanted, here


def hidden(name):
    return name.rsplit("/", 1)[-1].startswith(".")


def test_rows_from_the_first_changed_shard_on_are_written_again(split, make_bank):
    folder = make_bank("a", "text", [[0, 1], [1, 0], [0, 0], [1, 0], [1, 0]], missing=[2])
    bank = Bank.open(folder)
    about = BankAbout("a", "text", bank.encoder, split.items("text").digest)
    with bank_grower(bank, about, start=2, count=5) as writer:
        writer.append(np.array([[0, -1], [0, -1], [0, -1]], float))
    bank = Bank.open(folder)
    np.testing.assert_array_equal(bank[:], [[0, 1], [1, 0], [0, -1], [0, -1], [0, -1]])
    assert (bank.missing.tolist(), bank.earlier[0].count, bank.earlier[0].kept) == ([], 5, 2)
    assert bank.origin == bank.fingerprint
    assert sorted(p.name for p in folder.glob("*.npy")) == [
        "emb_00000.npy",
        "emb_00003.npy",
        "emb_00004.npy",
    ]


def test_other_rows_cannot_take_the_place_of_those_that_are_being_added(split, make_bank):
    bank = Bank.open(make_bank("a", "text", ROWS))
    items = append_items(split, "text", new_items(3), 3)
    about = lambda source: BankAbout("a", "text", bank.encoder, items.digest, made_from=source)  # noqa: E731
    with pytest.raises(KeyboardInterrupt), bank_grower(bank, about("x"), start=3, count=6):
        raise KeyboardInterrupt
    assert "new rows are not all written" in verify_split(split)[1]
    with (
        pytest.raises(FreeBindError, match=r"another array\n.*growing(.|\n)*made_from y"),
        bank_grower(bank, about("y"), start=3, count=6),
    ):
        pass
    with bank_grower(bank, about("x"), start=3, count=6) as writer:
        writer.append(np.array(NEW, float))
    with (
        pytest.raises(FreeBindError, match="another process has added rows"),
        bank_grower(bank, about("x"), start=3, count=6),
    ):
        pass


def test_two_processes_that_add_the_same_rows_add_them_once(split, make_bank):
    make_bank("a", "text", ROWS)
    code = (
        "import sys; from banks.test_growing import Split, grow; grow(Split(sys.argv[1]), start=3)"
    )
    both = [start("-c", code, split.path) for _ in range(2)]
    for process in both:
        _, err = process.communicate()
        assert process.returncode == 0 or re.search("another process|holds another", err), err
    assert [e.count for e in grow(split, start=3).earlier] == [3]
    verify_split(split)


def test_links_to_banks_that_have_grown_are_read_as_far_as_the_copied_list_goes(
    split, make_bank, tmp_path
):
    make_bank("a", "text", ROWS)
    copy = Split(tmp_path / "copy/pool")
    split.copy_items_to(copy)
    copy.bank_path("a", "text").parent.mkdir(parents=True)
    copy.bank_path("a", "text").symlink_to(split.bank_path("a", "text"))
    recorded = open_banks(tmp_path / "copy", spaces=["a"]).fingerprints()
    grow(split)
    banks = open_banks(tmp_path / "copy", spaces=["a"])
    assert banks.rows["text"].tolist() == banks.present("a", "text").tolist() == [0, 1, 2]
    assert since(recorded, banks) == (["the first 3 rows of a/text, which has 6 now"], [])
    verify_split(copy)
    split.copy_items_to(copy)
    assert len(open_banks(tmp_path / "copy", spaces=["a"]).rows["text"]) == 6


def test_damaged_new_rows_are_refused_and_the_bank_stays(split, make_bank):
    folder = make_bank("a", "text", ROWS)
    before = Bank.open(folder).fingerprint
    stopped = At("os.replace", do="EIO", on=r"text/emb_00002\.npy$")
    with disturbed(stopped), pytest.raises(FreeBindError, match="a bank could not be written"):
        grow(split)
    manifest = folder / "growing/manifest.json"
    found = files.read_json(manifest)
    for change, says in (
        ({"onto": "0" * 64}, "belong to another bank"),
        ({"start": 1}, "begin inside a shard"),
        ({"start": "x"}, "holds something else"),
    ):
        files.write_json(manifest, found | {"about": found["about"] | change})
        with pytest.raises(FreeBindError, match=says):
            settle(folder)
    files.write_json(manifest, found)
    (folder / "growing/emb_00000.npy").unlink()
    with pytest.raises(FreeBindError, match=r"new rows of a bank are lost(.|\n)*delete .*growing"):
        settle(folder)
    assert Bank.open(folder).fingerprint == before
    shutil.rmtree(folder / "growing")
    assert len(grow(split, start=3)) == 6


# Items


def test_the_same_items_may_be_added_again_but_no_others(split, make_bank):
    make_bank("a", "text", ROWS)
    for _ in range(2):
        assert len(append_items(split, "text", new_items(3), 3)) == 6
    with pytest.raises(FreeBindError, match=r"(?s)text\.jsonl, line 5.*text4.*text14"):
        append_items(split, "text", [*new_items(3, 1), *new_items(14, 1)], 3)
    with pytest.raises(FreeBindError, match=r"(?s)already here.*'text2', row 2, 'new', row 6"):
        append_items(split, "text", [{"id": i} for i in ("new", "new", "text2")], 6)
    assert len(split.items("text")) == 6


def test_a_list_whose_last_line_has_no_end_cannot_grow(split, make_bank):
    split.items_path("text").parent.mkdir(parents=True)
    split.items_path("text").write_text('{"id": "x"}')
    with pytest.raises(FreeBindError, match="its last line has no end"):
        append_items(split, "text", new_items(1), 1)


def test_a_list_knows_the_digests_that_it_had(split, make_bank):
    make_bank("a", "text", ROWS)
    digest, opened = split.items("text").digest, split.items("text")
    assert len(opened) == 3
    items = append_items(split, "text", new_items(3), 3)
    assert opened.digest == digest  # of the lines that were there when it was opened
    assert (items.digest_of(3), items.length_at(digest)) == (digest, 3)
    assert (items.length_at(items.digest), items.length_at("0" * 64)) == (6, None)


# Removing


def test_removed_items_are_missing_everywhere_and_keep_their_rows(split, make_bank):
    make_bank("a", "text", ROWS)
    make_bank("b", "text", ROWS)
    make_bank("a", "image", ROWS)
    split.write_pairs("image", "text", np.array([[0, 0], [1, 1], [2, 2]]))
    root = split.path.parent
    before = open_banks(root, spaces=["a", "b"])
    assert remove_items(split, "text", ["text1"]) == [1]
    assert remove_items(split, "text", ["text1"]) == []
    banks = open_banks(root, spaces=["a", "b"])
    assert banks.rows["text"].tolist() == [0, 2]
    np.testing.assert_array_equal(banks["b", "text"][:], np.array(ROWS)[[0, 2]])
    assert banks.pairs("image", "text").tolist() == [[0, 0], [2, 1]]
    assert split.read_pairs("text", "image").tolist() == [[0, 0], [2, 2]]
    new = set(banks.fingerprints().items()) - set(before.fingerprints().items())
    assert {name for name, _ in new} == {"items/text-removed"}
    assert verify_split(split)[1] == "items text: 3, 1 removed, ids unique"
    with pytest.raises(FreeBindError, match="there is no item with this id"):
        split.items("text").row_of("text1")
    append_items(split, "text", [{"id": "text1"}], 3)
    assert split.items("text").row_of("text1") == 3
    split.items("text").verify()
    assert remove_items(split, "text", ["text1", "text0"]) == [3, 0]
    assert open_banks(root, spaces=["a"]).rows["text"].tolist() == [2]
    remove_items(split, "text", ["text2"])
    with pytest.raises(FreeBindError, match=r"no text item has(.|\n)*a 3; 4 items were removed"):
        open_banks(root, spaces=["a"])


def test_if_one_id_is_unknown_nothing_is_removed(split, make_bank, contents):
    make_bank("a", "text", ROWS)
    remove_items(split, "text", ["text0"])
    before = contents(split.path)
    with pytest.raises(FreeBindError, match=r"(?s)nothing was removed.*'text9', 'x'"):
        remove_items(split, "text", ["text1", "text9", "x"])
    assert contents(split.path) == before


def test_removed_rows_of_another_list_are_refused(split, make_bank):
    make_bank("a", "text", ROWS)
    make_bank("a", "image", [*ROWS, [1, 0]])
    remove_items(split, "image", ["image3"])
    shutil.copy(split.items("image").removed_path, split.items("text").removed_path)
    with pytest.raises(FreeBindError, match="the removed rows belong to another item list"):
        open_banks(split.path.parent, spaces=["a"])


# Pairs


def test_pair_tables_outlive_their_growing_lists_and_grow_themselves(split, make_bank):
    make_bank("a", "text", ROWS)
    make_bank("a", "image", ROWS)
    split.write_pairs("text", "image", np.array([[0, 0], [1, 2]]))
    digest = split.pairs_digest("image", "text")
    append_items(split, "text", new_items(3), 3)
    assert split.read_pairs("text", "image").tolist() == [[0, 0], [1, 2]]
    assert split.append_pairs("text", "image", np.array([[5, 2], [1, 2]])) == 1
    assert split.append_pairs("text", "image", np.array([[5, 2]])) == 0
    assert split.read_pairs("text", "image").tolist() == [[0, 0], [1, 2], [5, 2]]
    assert split.pairs_at("text", "image", digest) == 2
    with pytest.raises(FreeBindError, match="points past an item list"):
        split.append_pairs("text", "image", np.array([[6, 0]]))
    path = split.items_path("text")
    path.write_bytes(path.read_bytes().replace(b"text0", b"text9"))
    with pytest.raises(FreeBindError, match="a pair table belongs to something else"):
        split.read_pairs("image", "text")


def test_copies_grow_with_what_they_are_copied_from(split, make_bank, tmp_path):
    make_bank("a", "text", ROWS)
    make_bank("a", "image", ROWS)
    split.write_pairs("text", "image", np.array([[0, 0]]))
    copy = Split(tmp_path / "copy/pool")
    split.copy_items_to(copy)
    append_items(split, "text", new_items(3), 3)
    remove_items(split, "text", ["text0"])
    split.append_pairs("text", "image", np.array([[4, 1]]))
    for _ in range(2):
        split.copy_items_to(copy)
    assert copy.items("text").digest == split.items("text").digest
    assert copy.items("text").removed.tolist() == [0]
    assert copy.read_pairs("text", "image").tolist() == [[4, 1]]
    remove_items(copy, "text", ["text5"])
    with pytest.raises(FreeBindError, match="holds other removed items"):
        split.copy_items_to(copy)
    append_items(copy, "image", new_items(3, 1, "image"), 3)
    with pytest.raises(FreeBindError, match=r"holds other items(.|\n)*image\.jsonl"):
        split.copy_items_to(copy)


# What was there


def test_what_was_recorded_is_known_after_it_has_grown_and_lost_items(split, make_bank):
    make_bank("a", "text", ROWS)
    make_bank("a", "image", ROWS)
    split.write_pairs("text", "image", np.array([[0, 0]]))
    opened = lambda: open_banks(split.path.parent, spaces=["a"])  # noqa: E731
    recorded = opened().fingerprints() | opened().pair_fingerprints()
    assert since(recorded, opened()) == ([], [])
    grow(split)
    remove_items(split, "text", ["text0", "text4"])
    split.append_pairs("text", "image", np.array([[5, 2]]))
    between = opened().fingerprints()
    remove_items(split, "text", ["text5"])
    assert since(recorded, opened()) == (
        [
            "the first 3 rows of a/text, which has 6 now",
            "the first 1 of pairs/image-text, which has more now",
            "3 text items that were removed since",
        ],
        [],
    )
    assert since(between, opened())[0] == ["1 text items that were removed since"]
    other = {"a/text": "0" * 64, "a/image": recorded["a/image"], "b/text": "1" * 64}
    assert since(other, opened())[1] == ["a/text", "b/text"]
    split.items("text").removed_path.unlink()
    assert since(between, opened())[1] == ["items/text-removed"]
