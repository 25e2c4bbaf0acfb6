import shutil
from fcntl import LOCK_EX

import numpy as np
import pytest
from disturb import NO_LOCKS, counted, disturbed

from fb_jax import files
from fb_jax.banks import (
    Bank,
    BankAbout,
    Encoder,
    Split,
    bank_writer,
    open_banks,
    open_split,
    require_name,
    split_in,
    splits,
    verify_split,
    write_items,
)
from fb_jax.errors import FreeBindError

ROWS = [[1, 0], [0, 1], [-1, 0], [0, -1]]
WIDE = [[1, 0, 0]] * 4


@pytest.fixture
def two_spaces(split, make_bank):
    """Space a lacks text 1 and audio 3; space b lacks text 0 and image 2, and has no audio."""
    make_bank("a", "audio", ROWS, missing=[3])
    make_bank("a", "image", ROWS[:3])
    make_bank("a", "text", ROWS, missing=[1])
    make_bank("b", "image", WIDE[:3], missing=[2])
    make_bank("b", "text", WIDE, missing=[0])
    return split.path.parent


@pytest.fixture
def save_pairs(split):
    def save_pairs(table, left="image", right="text"):
        path = split.pairs_path(left, right)
        path.parent.mkdir(exist_ok=True)
        np.save(path, table)
        return path

    return save_pairs


# Opening


@pytest.mark.parametrize(
    ("spaces", "kept"),
    [
        ("ab", {"audio": [0, 1, 2], "image": [0, 1], "text": [2, 3]}),
        ("ba", {"audio": [0, 1, 2], "image": [0, 1], "text": [2, 3]}),
        ("a", {"audio": [0, 1, 2], "image": [0, 1, 2], "text": [0, 2, 3]}),
        ("b", {"image": [0, 1], "text": [1, 2, 3]}),
    ],
)
def test_banks_are_restricted_to_the_rows_that_all_spaces_have(two_spaces, split, spaces, kept):
    opened = open_banks(two_spaces, spaces=list(spaces))
    assert {modality: rows.tolist() for modality, rows in opened.rows.items()} == kept
    for (space, modality), bank in opened.banks.items():
        whole = Bank.open(split.bank_path(space, modality))
        np.testing.assert_array_equal(bank[:], whole[:][kept[modality]])


def test_opened_banks_know_their_modalities_dimensions_and_fingerprints(two_spaces, split):
    opened = open_banks(two_spaces, spaces=["a", "b"])
    assert opened.modalities("a") == ("audio", "image", "text")
    assert (opened.dim("a"), opened.dim("b")) == (2, 3)
    assert opened.fingerprints()["b/text"] == Bank.open(split.bank_path("b", "text")).fingerprint
    assert len(set(opened.fingerprints().values())) == 5


def test_names_that_are_not_there_are_told_what_is(two_spaces):
    (two_spaces / "logs").mkdir()
    assert splits(two_spaces) == ["pool"]
    with pytest.raises(FreeBindError, match="one of: a, b"):
        open_banks(two_spaces, spaces=["a", "clap"])
    with pytest.raises(FreeBindError, match=r"one of: pool\n.*did you mean 'pool'"):
        open_banks(two_spaces, "pol", spaces=["a"])
    with pytest.raises(FreeBindError, match=r"no such bank root\n.*elsewhere"):
        open_banks(two_spaces / "elsewhere", spaces=["a"])


def test_a_space_without_a_finished_bank_is_not_there_yet(two_spaces, split):
    for modality in ("image", "text"):
        (split.bank_path("b", modality) / "manifest.json").unlink()
    with pytest.raises(FreeBindError, match="not finished"):
        open_banks(two_spaces, spaces=["a", "b"])


def test_spaces_without_a_common_row_are_refused(two_spaces, make_bank):
    make_bank("c", "text", ROWS, missing=[0, 2, 3])
    with pytest.raises(FreeBindError, match=r"no text item(.|\n)*a 3, c 1"):
        open_banks(two_spaces, spaces=["a", "c"])


def test_modalities_of_a_space_that_differ_in_dimension_are_refused(two_spaces, split, make_bank):
    make_bank("b", "audio", ROWS)
    with pytest.raises(FreeBindError, match="audio 2, image 3, text 3"):
        open_banks(two_spaces, spaces=["b"])
    with pytest.raises(FreeBindError, match="audio 2, image 3, text 3"):
        verify_split(split)


@pytest.mark.parametrize("rows", [[1, 0, 2, 3], [0, 1, 2]], ids=["another order", "fewer"])
def test_a_list_that_was_rewritten_no_longer_fits_its_bank(two_spaces, split, rows):
    split.items_path("text").unlink()
    write_items(split.items_path("text"), ({"id": f"text{row}"} for row in rows))
    with pytest.raises(FreeBindError, match="a bank belongs to another item list"):
        open_banks(two_spaces, spaces=["a"])


def test_a_bank_that_is_shorter_than_its_list_is_refused(two_spaces, split):
    about = BankAbout("c", "text", Encoder("by hand"), split.items("text").digest)
    with bank_writer(split.bank_path("c", "text"), about, dim=2, count=3) as writer:
        writer.append(np.array(ROWS[:3], float))
    with pytest.raises(FreeBindError, match=r"another item list(.|\n)*: 4 items(.|\n)*: +3 items"):
        open_banks(two_spaces, spaces=["c"])


@pytest.mark.parametrize("place", ["b/text", "a/image"])
def test_a_bank_in_the_wrong_folder_is_refused(two_spaces, split, place):
    here = split.bank_path(*place.split("/"))
    shutil.rmtree(here)
    shutil.copytree(split.bank_path("a", "text"), here)
    with pytest.raises(FreeBindError, match=rf"wrong folder(.|\n)*{place}\n.*a/text"):
        open_banks(two_spaces, spaces=[place[0]])


@pytest.mark.parametrize("name", ["", "a/b", "..", ".a", "a-b", "a b", "a\n", "ü"])
def test_a_name_must_be_able_to_name_a_folder(name):
    for good in ("imagebind", "internvl_ib++", "v1.5", "7b"):
        require_name("space", good)
    with pytest.raises(FreeBindError, match="cannot name a space"):
        require_name("space", name)


def test_the_name_of_a_split_may_have_hyphens(tmp_path):
    assert split_in(tmp_path, "val-2017") == Split(tmp_path / "val-2017")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/x", "-x", "a b", "a\n"])
def test_a_split_whose_name_could_be_another_folder_is_refused(tmp_path, name):
    with pytest.raises(FreeBindError, match="cannot name a split"):
        split_in(tmp_path, name)
    with pytest.raises(FreeBindError, match="there is no split"):
        open_split(tmp_path, name)


def test_an_empty_name_is_asked_about(tmp_path):
    with pytest.raises(FreeBindError, match="a shell variable that is not set"):
        split_in(tmp_path, "")


def test_splits_that_older_versions_wrote_under_bad_names_are_named(tmp_path, split, caplog):
    for folder in ("a/b", "a c"):
        write_items(Split(tmp_path / folder).items_path("text"), [{"id": "0"}])
    assert splits(tmp_path) == ["a c"]
    assert f"{tmp_path}/a/b: no command finds this split: move its folder" in caplog.text
    assert open_split(tmp_path, "a c").items("text")[0] == {"id": "0"}
    write_items(Split(tmp_path / "").items_path("text"), [{"id": "0"}])
    with pytest.raises(FreeBindError, match="written under an empty name"):
        open_split(tmp_path, "a c")


# Pairs


def test_pairs_many_to_many_are_renumbered_to_the_rows_kept(two_spaces, save_pairs):
    save_pairs([[1, 3], [0, 2], [1, 2], [0, 0], [2, 3], [2, 1], [0, 3]])
    opened = open_banks(two_spaces, spaces=["a", "b"])  # images 0 and 1, texts 2 and 3
    assert opened.pairs("image", "text").tolist() == [[1, 1], [0, 0], [1, 0], [0, 1]]
    assert opened.pairs("text", "image").tolist() == [[1, 1], [0, 0], [0, 1], [1, 0]]


def test_paired_are_the_modalities_with_a_table_that_were_opened(two_spaces, save_pairs):
    for modalities in (("image", "text"), ("text", "audio"), ("audio", "class")):
        save_pairs([[0, 0]], *modalities)
    assert open_banks(two_spaces, spaces=["b"]).paired() == [("image", "text")]
    assert open_banks(two_spaces, spaces=["a"]).paired() == [("audio", "text"), ("image", "text")]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ([[0, 0], [0, 4]], r"rows below 3 and 4\n.*1 pairs outside, the first is \[0, 4\]"),
        ([[3, 0]], "points past an item list"),
        ([[0, -1]], "points past an item list"),
        ([[0, 1], [1, 1], [0, 1]], "a pair twice"),
        ([[0.0, 1.0]], "wrong form"),
        ([[0, 1, 2]], "wrong form"),
        ([0, 1], "wrong form"),
        (np.empty((0, 2), int), "wrong form"),
        (None, r"missing\n.*image-text\.npy"),
        (np.array([{}]), r"cannot be read.*\n.*image-text\.npy"),
    ],
)
def test_a_pair_table_that_cannot_be_is_refused(two_spaces, save_pairs, table, says):
    if table is not None:
        save_pairs(table)
    with pytest.raises(FreeBindError, match=says):
        open_banks(two_spaces, spaces=["a"]).pairs("text", "image")


@pytest.mark.parametrize("modality", ["image", "text"])
def test_a_table_belongs_to_the_item_lists_of_both_its_columns(two_spaces, split, modality):
    split.write_pairs("text", "image", np.array([[0, 1], [3, 2]]))
    assert split.read_pairs("image", "text").tolist() == [[1, 0], [2, 3]]
    digest = files.sha256_of(split.pairs_path("image", "text"))
    opened = open_banks(two_spaces, spaces=["a"])
    assert opened.pair_fingerprints() == {"pairs/image-text": digest}
    path = split.items_path(modality)
    path.write_bytes(path.read_bytes().replace(b"0", b"9"))
    with pytest.raises(FreeBindError, match="a pair table belongs to something else"):
        split.read_pairs("image", "text")


def test_lists_and_tables_are_copied_unless_others_are_there(two_spaces, split, tmp_path):
    split.write_pairs("text", "image", np.array([[0, 1], [3, 2]]))
    copy = Split(tmp_path / "copy" / "pool")
    for _ in range(2):
        with counted("fcntl.flock", on=f"{copy.path}/items/.lock {int(LOCK_EX)}$") as locks:
            split.copy_items_to(copy)
        assert len(locks) == 1
        assert copy.read_pairs("text", "image").tolist() == [[0, 1], [3, 2]]
    split.write_pairs("text", "image", np.array([[0, 1], [3, 1]]))
    with pytest.raises(FreeBindError, match="holds other pairs"):
        split.copy_items_to(copy)
    path = copy.items_path("text")
    path.write_bytes(path.read_bytes().replace(b"0", b"9"))
    with pytest.raises(FreeBindError, match=r"holds other items(.|\n)*text\.jsonl"):
        split.copy_items_to(copy)


def test_what_a_killed_process_left_of_lists_and_tables_is_removed(two_spaces, split, save_pairs):
    left = [split.items_path("text"), save_pairs([[0, 0]])]
    for path in left:
        path.with_name(f"{path.name}.1-2.partial").touch()
    with disturbed(NO_LOCKS), split.writing():
        assert len(list(split.path.glob("*/*.partial"))) == 2
    with split.writing():
        assert not list(split.path.glob("*/*.partial"))
    assert all(path.exists() for path in left)


# Verifying


def test_a_whole_split_is_told_line_by_line(two_spaces, split, save_pairs):
    save_pairs([[0, 1], [2, 3]])
    seen = []
    about = "float16, {} missing, 2 shards, 0.0 MB, by hand, licence CC0-1.0"
    assert verify_split(split, seen.append) == [
        "items audio: 4, ids unique",
        "items image: 3, ids unique",
        "items text: 4, ids unique",
        f"a/audio: 4 x 2 {about.format(1)}",
        f"a/image: 3 x 2 {about.format(0)}",
        f"a/text: 4 x 2 {about.format(1)}",
        f"b/image: 3 x 3 {about.format(1)}",
        f"b/text: 4 x 3 {about.format(1)}",
        "pairs image-text: 2, without a digest: freebind bank pairs writes one",
    ]
    assert sum(seen) == 4 + 3 + 4 + 3 + 4
    split.write_pairs("image", "text", np.array([[0, 1], [2, 3]]))
    assert verify_split(split)[-1] == "pairs image-text: 2"


@pytest.mark.parametrize(
    ("file", "damage", "says"),
    [
        ("items/image.jsonl", '{"id": "x"}\n{"id": "x"}\n', "same id"),
        ("items/image.jsonl", '{"id": "x"}\n', "another item list"),
        ("embeddings/b/text/emb_00001.npy", np.ones((2, 3), np.float16), "altered"),
        ("embeddings/b/text/emb_00001.npy", np.ones((2, 2), np.float16), "not what its manifest"),
        ("pairs/image-text.npy", np.array([[9, 9]]), "points past an item list"),
        ("embeddings/b/text/manifest.json", None, "a bank is not finished"),
    ],
)
def test_damage_to_any_part_of_a_split_is_found(two_spaces, split, save_pairs, file, damage, says):
    save_pairs([[0, 0]])
    (split.path / "embeddings" / "b" / "text" / "partial.json").touch()
    if damage is None:
        (split.path / file).unlink()
    elif isinstance(damage, str):
        (split.path / file).write_text(damage)
    else:
        np.save(split.path / file, damage)
    with pytest.raises(FreeBindError, match=says):
        verify_split(split)


def test_a_bank_that_has_lost_its_manifest_is_noticed(two_spaces, split):
    (split.bank_path("b", "text") / "manifest.json").unlink()
    with pytest.raises(FreeBindError, match=r"lost its manifest\n.*b/text(.|\n)*restore"):
        verify_split(split)
