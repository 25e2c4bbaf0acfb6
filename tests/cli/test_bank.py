import numpy as np
import pytest

from fb_jax.banks import Split, Synthetic, open_banks, splits, write_synthetic
from fb_jax.cli.main import main

COMPASS = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], np.float32)


@pytest.fixture
def bank(invoke):
    """Run ``freebind bank ...``."""
    return lambda *args: invoke(main, "bank", *args)


@pytest.fixture
def matrix(tmp_path):
    """Save a matrix under a name and return its path."""

    def matrix(rows, name="emb.npy"):
        np.save(tmp_path / name, rows)
        return tmp_path / name

    return matrix


@pytest.fixture
def import_(bank, matrix):
    """Import a matrix as the bank s/text or another of the split test."""

    def import_(rows=COMPASS, space="s", modality="text", *more):
        where = ["--root", "banks", "--split", "test", "--space", space, "--modality", modality]
        return bank("import", matrix(rows), *where, *more)

    return import_


def test_synthetic_banks_say_that_they_are_made_up(bank, tmp_path, contents):
    done = bank("synthetic", "made/up", "--pool", 30, "--seed", 7)
    assert done.status == 0
    assert "made/up: random embeddings: they show that the commands work" in done.out
    assert splits(tmp_path / "made/up") == ["pool", "test", "val"]
    write_synthetic("again", Synthetic(pool=30, seed=7))
    assert contents(tmp_path / "made/up") == contents(tmp_path / "again")


def test_info_names_every_bank_and_pair_table(bank, root):
    done = bank("info", root)
    assert done.status == 0
    lines = done.out.splitlines()
    assert [line for line in lines if line in ("pool", "test", "val")] == ["pool", "test", "val"]
    assert "  clap_general/audio: 110 x 48 float16, 0 missing, 3 shards, 0.0 MB, " in done.out
    assert "  pairs audio-text: 60" in lines


@pytest.mark.parametrize("split", [None, "val"])
def test_verify_names_everything_that_is_whole(bank, root, split):
    done = bank("verify", root, *(["--split", split] if split else []))
    assert done.status == 0
    assert "  items audio: 40, ids unique" in done.out
    assert "  imagebind/image: 40 x 64 float16" in done.out
    assert ("verify pool: " in done.out) == (split is None)


def test_verify_names_what_is_damaged(bank, import_, tmp_path):
    import_()
    shard = Split(tmp_path / "banks/test").bank_path("s", "text") / "emb_00000.npy"
    np.save(shard, -np.load(shard))
    done = bank("verify", "banks")
    assert done.status == 2
    assert done.err.startswith("error: a shard was altered after it was written\n")
    assert "banks/test/embeddings/s/text/emb_00000.npy" in done.err


def test_verify_of_nothing_is_an_error(bank):
    assert bank("verify", "nowhere").err.startswith("error: there is no such bank root")


def test_an_imported_matrix_becomes_a_bank_of_unit_rows(import_, tmp_path):
    (tmp_path / "captions.txt").write_text("north\neast\nsouth\nwest\n")
    more = ["--encoder.name", "a model", "--encoder.licence", "CC0-1.0", "--dtype", "float32"]
    done = import_(9 * COMPASS, "s", "text", "--items", "captions.txt", *more)
    assert done.status == 0
    assert "banks/test/embeddings/s/text: 4 x 2 float32, 0 missing, 1 shards" in done.out
    assert ", a model, licence CC0-1.0\n" in done.out
    opened = open_banks("banks", "test", spaces=["s"])
    np.testing.assert_array_equal(opened["s", "text"][:], COMPASS)
    assert opened.split.items("text")[1]["caption"] == "east"


def test_bad_rows_are_refused_or_listed_as_missing(import_):
    rows = COMPASS * [[1], [np.nan], [0], [1]]
    done = import_(rows)
    assert done.status == 2
    assert "NaN or infinite rows" in done.err
    assert "--bad-rows missing" in done.err
    done = import_(rows, "s", "text", "--bad-rows", "missing")
    assert ": 4 x 2 float16, 2 missing, " in done.out


def test_pairs_are_stored_in_the_order_of_the_alphabet(bank, import_, tmp_path):
    import_()
    import_(COMPASS[:2], "s", "audio")
    (tmp_path / "pairs.csv").write_text("3,0\n2,1\n3,1\n")
    sides = ["--root", "banks", "--split", "test", "--left", "text", "--right", "audio"]
    done = bank("pairs", "pairs.csv", *sides)
    said = "text: first column, ids\naudio: second column, ids\n3 pairs of text and audio\n"
    assert (done.status, done.out) == (0, said)
    table = np.load(tmp_path / "banks/test/pairs/audio-text.npy")
    assert table.tolist() == [[0, 3], [1, 2], [1, 3]]


def test_pairs_past_an_item_list_are_refused(bank, import_, matrix):
    import_()
    import_(COMPASS[:2], "s", "audio")
    sides = ["--root", "banks", "--split", "test", "--left", "audio", "--right", "text"]
    done = bank("pairs", matrix(np.array([[0, 0], [2, 0]]), "pairs.npy"), *sides)
    assert done.status == 2
    assert "points past an item list" in done.err
    assert "[2, 0]" in done.err


def test_a_command_that_does_not_exist_is_refused_with_those_that_do(invoke):
    done = invoke(main, "bnak")
    assert done.status == 2
    assert "bank" in done.err
    assert "search" in done.err
