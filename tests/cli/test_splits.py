"""``freebind search`` over several splits."""

import shutil

import numpy as np
import pytest

from fb_jax.banks import Encoder, Split
from fb_jax.cli.main import main
from fb_jax.importing import import_bank

EAST, NORTH, WEST, NEARLY_EAST = np.float32([[1, 0], [0, 1], [-1, 0], [0.8, 0.6]])
ROWS = {"pool": [NORTH, EAST, WEST], "test": [NEARLY_EAST, EAST, EAST]}


@pytest.fixture
def search(invoke, tmp_path):
    """Search the texts of a space in both splits; a text is a query, too."""
    for split, rows in ROWS.items():
        np.save(tmp_path / "rows.npy", rows)
        (tmp_path / "texts.txt").write_text("".join(f"{split} {i}\n" for i in range(3)))
        import_bank(Split(tmp_path / "banks" / split), "s", "text", "rows.npy", items="texts.txt")
    where = ["--root", "banks", "--space", "s", "--in", "text"]
    return lambda *args: invoke(main, "search", *where, *args)


def table(out):
    rows = [line.strip("│").split("│") for line in out.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in row] for row in rows]


def test_splits_are_searched_as_one_and_rows_say_theirs(search):
    """Among equal cosines, the split that is named first comes first, then the lower row."""
    query = ["--like", "text", "--row", 1, "--top", 4]
    done = search("--split", "pool", "test", *query)
    assert (done.status, done.err) == (0, "")
    assert "text 1: pool 1" in done.out
    wanted = [
        ["1.000", "pool", "1", "pool 1"],
        ["1.000", "test", "1", "test 1"],
        ["1.000", "test", "2", "test 2"],
        ["0.800", "test", "0", "test 0"],
    ]
    assert table(done.out) == wanted
    again = table(search("--split", "test", "pool", "test", *query).out)  # a split counts once
    assert again == [*wanted[1:3], wanted[0], wanted[3]]


def test_one_split_is_not_told(search):
    done = search("--split", "test", "--like", "text", "--row", 0, "--top", 1)
    assert table(done.out) == [["1.000", "0", "test 0"]]


def test_missing_rows_of_the_first_split_do_not_shift_the_second(search, tmp_path):
    gaps = [np.zeros(2), EAST, WEST]
    shutil.rmtree(tmp_path / "banks/pool/embeddings")
    np.save(tmp_path / "rows.npy", np.float32(gaps))
    import_bank(Split(tmp_path / "banks/pool"), "s", "text", "rows.npy", bad_rows="missing")
    done = search("--split", "pool", "test", "--like", "text", "--row", 2, "--top", 2)
    assert table(done.out) == [["1.000", "pool", "2", "pool 2"], ["-0.800", "test", "0", "test 0"]]


@pytest.mark.parametrize(
    ("rows", "digest", "says"),
    [(np.eye(3), "unknown", "2 dimensions|3 dimensions"), (np.eye(2), 64 * "b", 64 * "a")],
)
def test_splits_with_other_spaces_of_one_name_are_refused(search, tmp_path, rows, digest, says):

    np.save(tmp_path / "rows.npy", np.float32(rows))
    import_bank(
        Split(tmp_path / "banks/other"), "s", "text", "rows.npy", encoder=Encoder("e", digest)
    )
    np.save(tmp_path / "rows.npy", np.eye(2, dtype=np.float32))
    encoder = Encoder("e", 64 * "a")
    import_bank(Split(tmp_path / "banks/first"), "s", "text", "rows.npy", encoder=encoder)
    done = search("--split", "first", "other", "--like", "text", "--row", 0)
    assert (done.status, done.out) == (2, "")
    assert "different spaces under one name" in done.err
    assert [part for part in says.split("|") if part not in done.err] == []


def test_a_split_with_a_hyphen_works_in_every_command(must, run_folder, root, tmp_path):
    home = shutil.copytree(root, tmp_path / "home")
    (home / "test").rename(home / "val-2017")
    name = ("--split", "val-2017")
    assert "val-2017" in must(main, "eval", "--run", run_folder, "--data", home, *name)
    must(main, "fuse", "--run", run_folder, "--data", home, *name)
    where = ("--root", home, *name, "--space", "imagebind+clap_general", "--in", "audio")
    assert "text 7" in must(main, "search", *where, "--like", "text", "--row", 7)
    np.save(tmp_path / "rows.npy", np.eye(60, dtype=np.float32))
    must(main, "bank", "import", "rows.npy", *where[:4], "--space", "x", "--modality", "audio")
    (tmp_path / "pairs.csv").write_text("0,0\n1,2\n")
    must(
        main,
        "bank",
        "pairs",
        "pairs.csv",
        *where[:4],
        "--left",
        "audio",
        "--right",
        "text",
        "--append",
    )
