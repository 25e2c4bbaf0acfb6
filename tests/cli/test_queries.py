"""``freebind bank rows`` and ``freebind search --queries``: rows know their space."""

import shutil

import numpy as np
import pytest

from fb_jax import files
from fb_jax.banks import open_banks
from fb_jax.cli.main import main
from fb_jax.evaluation import nearest
from fb_jax.fusion import FusedSpace
from fb_jax.run import Run

FUSED = "imagebind+clap_general"
ROWS = np.array([4, 40])


@pytest.fixture
def home(root, run_folder, tmp_path, must):
    """A bank root with a split test that a run of one's own has fused."""
    home, run = shutil.copytree(root, tmp_path / "home"), tmp_path / "run"
    shutil.copytree(run_folder, run)
    must(main, "fuse", "--run", run, "--split", "test", "--data", home, "--sigma-text", 0.6)
    return home


@pytest.fixture
def take(must, home, tmp_path):
    """Write two texts of a space to SPACE.npy."""

    def take(space, modality="text"):
        where = ["--split", "test", "--space", space, "--modality", modality]
        out = tmp_path / f"{space}.npy"
        must(main, "bank", "rows", home, *where, "--row", *ROWS, "--out", out)
        return out

    return take


@pytest.fixture
def search(invoke, home):
    """Search the audio of the fused banks."""
    where = ["--root", home, "--split", "test", "--space", FUSED, "--in", "audio", "--top", 3]
    return lambda *args: invoke(main, "search", *where, *args)


def found(out):
    """The rows that were found for each of the two queries."""
    lines = [line.split("│")[2].strip() for line in out.splitlines() if line.startswith("│")]
    return np.array(lines, int).reshape(2, 3).tolist()


def wanted(home, run, *spaces):
    """The rows that are nearest to the two texts, fused from the rows of some spaces."""
    space = Run(run).space.with_factors(text=0.6)
    rows = {name: open_banks(home, "test", spaces=[name])[name, "text"][ROWS] for name in spaces}
    audio = open_banks(home, "test", spaces=[FUSED])[FUSED, "audio"]
    return nearest(space.fuse("text", rows), audio, 3)[1].tolist()


# Rows that know their space


def test_some_rows_of_a_bank_become_a_file_that_knows_its_space(must, home, tmp_path):
    where = ["--split", "test", "--space", "clap_general", "--modality", "audio"]
    ids = ["--id", "synthetic-test-audio-9"]
    out = must(main, "bank", "rows", home, *where, "--row", 3, 1, *ids, "--out", "q.npy")
    assert out == (
        "q.npy: 3 rows of clap_general\n  audio 3: synthetic-test-audio-3\n"
        "  audio 1: synthetic-test-audio-1\n  audio 9: synthetic-test-audio-9\n"
    )
    bank = open_banks(home, "test", spaces=["clap_general"])["clap_general", "audio"]
    np.testing.assert_array_equal(np.load(tmp_path / "q.npy"), bank[np.array([3, 1, 9])])
    about = files.record_of(tmp_path / "q.npy", "a file")
    weights = bank.encoder.weights_sha256
    assert about == {"space": "clap_general", "modality": "audio", "weights_sha256": weights}


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--out", "q.npy"], "there is nothing to write|--row NUMBER ..., or --id ID"),
        (["--row", 99, "--out", "q.npy"], "there is no such row|99"),
        (["--id", "x", "--out", "q.npy"], "no item with this id"),
        (["--row", 0, "--out", "q.txt"], "rows are written as .npy|--out q.txt.npy"),
        (["--row", 0, "--out", "mine.npy"], "already there|mine.json|choose another --out"),
    ],
)
def test_rows_that_cannot_be_written_are_refused(invoke, root, tmp_path, args, says):
    (tmp_path / "mine.json").write_text("{}")
    where = ["--split", "test", "--space", "clap_general", "--modality", "text"]
    done = invoke(main, "bank", "rows", root, *where, *args)
    assert (done.status, [part for part in says.split("|") if part not in done.err]) == (2, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.json"]


@pytest.mark.parametrize("of", [[], ["--of", FUSED]])
def test_a_file_of_queries_that_is_missing_is_named(search, of):
    done = search("--queries", "nowhere.npy", *of)
    assert (done.status, done.err.splitlines()[:2]) == (
        2,
        ["error: a file of queries is missing", "  where:    nowhere.npy"],
    )


# Queries that are fused first


def test_queries_of_all_spaces_are_fused_at_the_factors_of_the_banks(search, take, home, tmp_path):
    queries = [take("imagebind"), take("clap_general")]
    right = wanted(home, tmp_path / "run", "imagebind", "clap_general")
    done = search("--queries", *queries)  # they know their space
    assert (done.err, found(done.out)) == ("", right)
    assert (
        found(search("--queries", *queries[::-1], "--of", "clap_general", "imagebind").out) == right
    )
    for path in queries:
        path.with_suffix(".json").unlink()
    args = ["--queries", *queries, "--of", "imagebind", "clap_general", "--as", "text"]
    assert found(search(*args).out) == right
    own = search("--like", "text", "--row", ROWS[0])
    assert [line.split("│")[2].strip() for line in own.out.splitlines() if "│" in line][-3:] == [
        str(row) for row in right[0]
    ]


def test_queries_of_the_unified_space_do_not_pass_for_fused_rows(search, take, home, tmp_path):
    """They have the same dimension, and find other items than queries of both spaces."""
    path = take("imagebind")
    done = search("--queries", path)
    alone = wanted(home, tmp_path / "run", "imagebind")
    assert found(done.out) == alone != wanted(home, tmp_path / "run", "imagebind", "clap_general")
    assert "text queries without rows of clap_general: fused from imagebind alone" in done.err
    path.with_suffix(".json").unlink()
    assert found(search("--queries", path, "--of", "imagebind", "--as", "text").out) == alone
    done = search("--queries", path)
    assert (done.status, done.out) == (2, "")
    assert "nothing says which space these queries are of" in done.err
    assert "--as MODALITY to fuse them first" in done.err


def test_rows_of_the_searched_space_are_taken_as_they_are(search, take, home, tmp_path):
    path = take(FUSED)
    right = wanted(home, tmp_path / "run", "imagebind", "clap_general")
    assert found(search("--queries", path).out) == right
    path.with_suffix(".json").unlink()
    assert found(search("--queries", path, "--of", FUSED).out) == right


def test_a_matrix_without_a_record_needs_its_space(search, tmp_path):
    from safetensors.numpy import save_file

    save_file({"q": np.ones((1, 64), np.float32)}, tmp_path / "q.safetensors")
    assert "nothing says which space" in search("--queries", "q.safetensors").err
    assert search("--queries", "q.safetensors", "--of", FUSED).status == 0


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (
            ["--of", "clap_general"],
            "of another space than asked for|clap_general, text|got:      im",
        ),
        (["--as", "audio"], "of another space than asked for|imagebind, audio|imagebind, text"),
        (["--of", "imagebind", "clap_general"], "a space of its own|1 files"),
        (["--like", "text"], "two kinds of query"),
    ],
)
def test_queries_that_do_not_fit_their_record_are_refused(search, take, args, says):
    done = search("--queries", take("imagebind"), *args)
    assert (done.status, [part for part in says.split("|") if part not in done.err]) == (2, [])


def test_rows_of_two_modalities_do_not_become_one_query(search, take):
    done = search("--queries", take("imagebind"), take("clap_general", "audio"))
    says = "expected: clap_general, text\n  got:      clap_general, audio"
    assert (done.status, says in done.err) == (2, True), done


def test_queries_that_were_altered_are_refused(search, take):
    path = take("imagebind")
    np.save(path, 2 * np.load(path))
    done = search("--queries", path, "--of", "imagebind", "--as", "text")
    assert (done.status, "a file of queries was altered" in done.err) == (2, True)
    assert f"delete {path.with_suffix('.json')}" in done.err


def test_fused_queries_at_other_factors_are_refused(search, take, must, home, tmp_path):
    path = take(FUSED)
    args = ["--split", "test", "--data", home, "--out", "other", "--sigma-text", 0.2]
    must(main, "fuse", "--run", tmp_path / "run", *args)
    done = search("--root", "other", "--queries", path)
    assert (done.status, "other factors must be fused again" in done.err) == (2, True)


def test_rows_of_another_encoder_of_a_native_space_are_refused(search, take, tmp_path):
    rows = np.load(take("imagebind"))
    about = {"space": "imagebind", "modality": "text", "weights_sha256": "f" * 64}
    files.write_recorded(tmp_path / "other.npy", rows, about)
    done = search("--queries", "other.npy")
    assert (done.status, f"got:      imagebind, text, {'f' * 64}" in done.err) == (2, True), done


# Where the fused space is


def test_a_run_that_was_moved_is_named(search, take, home, tmp_path):
    path = take("imagebind")
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    done = search("--queries", path)
    assert (done.status, f"{tmp_path / 'run'}\n" in done.err) == (2, True)
    assert "name its new place with --run FOLDER" in done.err
    assert found(search("--queries", path, "--run", moved).out) == wanted(home, moved, "imagebind")
    assert search("--like", "text", "--row", 0).status == 0  # needs no space


def test_another_space_than_that_of_the_banks_is_refused(search, take, make_bond, tmp_path):
    FusedSpace.of(make_bond("combination")).save(tmp_path / "other")
    done = search("--queries", take("imagebind"), "--run", tmp_path / "other")
    assert (done.status, "these banks were fused by another space" in done.err) == (2, True)


def test_without_a_record_the_presets_of_the_named_space_are_tried(
    search, take, must, home, tmp_path
):
    path, run = take("imagebind"), tmp_path / "run"
    where = ["--split", "test", "--data", home, "--out", "other", "--preset", "at_expertise"]
    must(main, "fuse", "--run", run, *where)
    (tmp_path / "other/test/embeddings" / FUSED / "fused.json").unlink()
    done = search("--root", "other", "--queries", path)
    assert (done.status, f"if {FUSED} is a fused space, name its folder" in done.err) == (2, True)
    assert search("--root", "other", "--queries", path, "--run", run).status == 0
