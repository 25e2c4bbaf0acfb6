"""Banks of a space with hub correction: rows to be found, which never ask as they are."""

import shutil

import numpy as np
import pytest
from made import corrected_scores, with_hubs

from fb_jax import files
from fb_jax.banks import open_banks
from fb_jax.cli.main import main
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace, sources

NAME, SPLIT = "mine", ("--split", "test")
ROW = 7


@pytest.fixture
def space(make_bond):
    return with_hubs(FusedSpace.of(make_bond("combination"), name=NAME))


@pytest.fixture
def home(root, space, tmp_path, must):
    """A bank root whose split test was fused with hub correction, and the space beside it."""
    home = shutil.copytree(root, tmp_path / "home")
    space.save(tmp_path / "space")
    out = must(main, "fuse", "--space", "space", "--data", home, *SPLIT, "--dtype", "float32")
    assert "hub correction of audio-text (k 3, alpha 0.75)" in out
    return home


@pytest.fixture
def search(must, home):
    where = ["--root", home, *SPLIT, "--space", NAME, "--in", "audio", "--top", 60]
    return lambda *args: table(must(main, "search", *where, *args))


def table(out):
    """The measure, and row to score."""
    lines = [line.split("│") for line in out.splitlines() if line.startswith("│")]
    measure = next(line for line in out.splitlines() if line.startswith("┃")).split("┃")[1].strip()
    return measure, {int(line[2]): float(line[1]) for line in lines}


@pytest.fixture
def wanted(space, root):
    """Row to the corrected score of the query, a text: computed from plain rows."""
    banks = open_banks(root, "test", spaces=space.spaces)
    rows = {m: space.fuse(m, sources(space, banks, m)) for m in ("text", "audio")}
    scores = corrected_scores(space, "text", rows["text"][[ROW]], "audio", rows["audio"])[0]
    return dict(enumerate(scores))


def test_items_and_rows_of_items_ask_as_queries(search, wanted, home, must, tmp_path):
    row = ["--row", ROW]
    out = must(
        main, "bank", "rows", home, *SPLIT, "--space", NAME, "--modality", "text", *row,
        "--out", "q.npy",
    )  # fmt: skip
    assert "to be found: freebind search --queries" in out
    assert files.record_of(tmp_path / "q.npy", "rows")["role"] == "item"
    for args in (["--like", "text", *row], ["--queries", "q.npy"]):
        measure, found = search(*args)
        assert measure == "score"
        assert list(found) == sorted(wanted, key=lambda item: -wanted[item])
        np.testing.assert_allclose([found[i] for i in wanted], list(wanted.values()), atol=6e-4)


def test_native_rows_ask_as_queries(search, wanted, home, must):
    for name in ("imagebind", "clap_general"):
        where = [*SPLIT, "--space", name, "--modality", "text", "--row", ROW]
        must(main, "bank", "rows", home, *where, "--out", f"{name}.npy")
    measure, found = search("--queries", "imagebind.npy", "clap_general.npy")
    assert measure == "score"
    assert list(found) == sorted(wanted, key=lambda item: -wanted[item])


def test_without_the_space_there_is_no_query(invoke, home, tmp_path):
    args = ["--root", home, *SPLIT, "--space", NAME, "--in", "audio", "--like", "text", "--row", 0]
    (tmp_path / "space").rename(tmp_path / "moved")
    done = invoke(main, "search", *args)
    assert "not there any more" in done.err
    record = home / "test/embeddings" / NAME / "fused.json"
    record.unlink()
    done = invoke(main, "search", *args)
    assert "nothing says which space" in done.err
    assert "--run FOLDER" in done.err
    assert invoke(main, "search", *args, "--run", "moved").status == 0


def test_an_export_says_how_to_ask(home, must, tmp_path):
    args = ["--root", home, *SPLIT, "--space", NAME, "--to", "parquet", "--out", "exported"]
    assert 'ask with FusedSpace.fuse(MODALITY, rows, role="query")' in must(
        main, "bank", "export", *args
    )
    assert files.read_json(tmp_path / "exported/export.json")["role"] == "item"


def test_other_work_refuses_rows_to_be_found_and_takes_plain_ones(
    home, space, must, invoke, tmp_path
):
    with pytest.raises(FreeBindError, match=r"only to be found(.|\n)*freebind fuse --plain"):
        open_banks(home, "test", spaces=[NAME])
    done = invoke(
        main, "diagnose", "--data", home, *SPLIT, "--unified", NAME, "--expert", "clap_general"
    )
    assert (done.status, "only to be found" in done.err) == (2, True)
    assert "rows to be found, with hub correction" in must(main, "bank", "info", home)
    fuse = ["fuse", "--space", "space", "--data", home, *SPLIT, "--plain", "--name", "plain"]
    must(main, *fuse, "--dtype", "float32")
    banks = open_banks(home, "test", spaces=[*space.spaces, "plain"])
    plain = space.fuse("audio", sources(space, banks, "audio"))
    np.testing.assert_allclose(banks["plain", "audio"][:], plain, atol=1e-6)
    about = files.read_json(tmp_path / "space/space.json")  # a tuning compares these two
    assert about["digest"] == banks["plain", "audio"].encoder.weights_sha256
    line = ["--root", home, *SPLIT, "--space", "plain", "--in", "audio", "--like", "text"]
    assert table(must(main, "search", *line, "--row", 0))[0] == "cosine"


def test_other_factors_end_the_correction_with_a_notice(home, invoke):
    args = ["--space", "space", "--data", home, *SPLIT, "--sigma-text", 0.9, "--name", "other"]
    done = invoke(main, "fuse", *args)
    assert "no hub correction at other factors" in done.err
    assert open_banks(home, "test", spaces=["other"]).dim("other") == 64
