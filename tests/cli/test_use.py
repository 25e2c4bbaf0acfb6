import shutil

import numpy as np
import pytest

from fb_jax import files
from fb_jax.banks import Split, open_banks
from fb_jax.cli.main import main
from fb_jax.fusion import FusedSpace, parts_of
from fb_jax.importing import import_bank
from fb_jax.run import Run, default

MODALITIES = ("audio", "image", "text")
COMPASS = np.array([[1, 0], [0, 1], [-1, 0], [0.8, 0.6]], np.float32)
CAPTIONS = ["a dog", "a cat", "silence", "a puppy"]


# Fusing


@pytest.fixture
def fuse(invoke, run_folder):
    """Run ``freebind fuse`` on the split test of the finished run."""
    return lambda *args: invoke(main, "fuse", "--run", run_folder, "--split", "test", *args)


def test_fusing_tells_what_was_written_and_how_to_search_it(fuse, tmp_path):
    done = fuse("--out", "made", "--preset", "versatile")
    assert done.status == 0
    assert (
        "60 audio, 60 image, 60 text items in made/test, space imagebind+clap_general; " in done.out
    )
    assert "weights of the experts: audio 0.5, text 0.1 (preset versatile)\n" in done.out
    assert (
        "freebind search --root made --split test --space imagebind+clap_general --in " in done.out
    )
    assert Split(tmp_path / "made/test").spaces() == {"imagebind+clap_general": list(MODALITIES)}


def test_fused_banks_go_into_the_root_that_is_read_unless_told_otherwise(fuse, root, tmp_path):
    home = shutil.copytree(root, tmp_path / "home")
    assert fuse("--data", home).status == 0
    assert "imagebind+clap_general" in Split(home / "test").spaces()
    bank = Split(home / "test").bank_path("imagebind+clap_general", "text")
    assert np.load(bank / "emb_00000.npy").dtype == np.float16


def test_nothing_is_written_into_the_package(invoke, run_folder, root, tmp_path, monkeypatch):
    home = tmp_path / "package" / "word_world"
    shutil.copytree(root, home / "banks")
    run = shutil.copytree(run_folder, tmp_path / "run")
    monkeypatch.setattr(default, "PACKAGE", home.parent)
    Run(run).space.save(tmp_path / "product/space")
    for source in (run, tmp_path / "product"):
        done = invoke(main, "fuse", "--run", source, "--split", "test", "--data", home / "banks")
        assert done.status == 0, done.err
        assert "imagebind+clap_general" in Split(source / "fused/test").spaces()
    assert "imagebind+clap_general" not in Split(home / "banks/test").spaces()


@pytest.fixture
def gaps(root, tmp_path):
    """A bank root of one's own: CLAP lacks two texts, and the unified space an image."""
    home = shutil.copytree(root, tmp_path / "home")
    for space, modality, missing in (
        ("clap_general", "text", [0, 33]),
        ("imagebind", "image", [9]),
    ):
        manifest = Split(home / "test").bank_path(space, modality) / "manifest.json"
        content = files.read_json(manifest)
        files.write_json(manifest, content | {"about": content["about"] | {"missing": missing}})
    return home


@pytest.mark.parametrize(
    ("args", "told", "count"),
    [
        ([], "text: 2 without clap_general, fused from the other spaces", 60),
        (
            ["--missing", "leave-out"],
            "text: 2 without a fused row, which no search finds",
            58,
        ),
    ],
)
def test_items_that_a_space_lacks_are_told(fuse, invoke, gaps, args, told, count):
    done = fuse("--data", gaps, "--name", "made", *args)
    assert (done.status, done.err) == (0, "")
    assert f"60 audio, 59 image, {count} text items" in done.out
    assert done.out.splitlines()[2:-1] == [
        "image: 1 without a fused row, which no search finds",
        told,
    ]
    about = "60 x 64 float16, 0 missing, 2 fused without clap_general, 1 shards"
    assert (about in invoke(main, "bank", "info", gaps).out) == (count == 60)


@pytest.mark.parametrize(
    ("args", "factors"),
    [
        (["--preset", "at_expertise"], {"audio": 0.8, "text": 0.5}),
        (["--preset", "versatile", "--sigma-audio", 0.3], {"audio": 0.3, "text": 0.1}),
        (["--preset", "at_expertise", "--sigma-text", 0.0], {"audio": 0.8, "text": 0.0}),
    ],
)
def test_fused_rows_are_those_of_the_run_at_the_factors_asked_for(
    fuse, run_folder, test_banks, args, factors
):
    assert fuse("--out", "made", "--name", "mine", "--dtype", "float32", *args).status == 0
    fused = open_banks("made", "test", spaces=["mine"])
    at = FusedSpace.of(Run(run_folder).bond, at=factors)
    for modality, parts in parts_of(at, test_banks).items():
        np.testing.assert_allclose(fused["mine", modality][:], at.mix(modality, parts), atol=1e-6)


def test_a_preset_of_another_expert_is_refused(fuse):
    done = fuse("--preset", "it_expertise")
    assert done.status == 2
    assert done.err.startswith("error: there is no preset 'it_expertise'\n")
    assert "at_expertise, chosen, versatile" in done.err


# Searching


@pytest.fixture
def directions(tmp_path):
    """Write a space s of four directions, audio and text, and return the split."""

    def directions(captions=CAPTIONS):
        split, source = Split(tmp_path / "banks" / "test"), tmp_path / "compass.npy"
        np.save(source, COMPASS)
        (tmp_path / "captions.txt").write_text("\n".join(captions) + "\n")
        import_bank(split, "s", "audio", source)
        import_bank(split, "s", "text", source, items=tmp_path / "captions.txt")
        return split

    return directions


@pytest.fixture
def search(invoke):
    """Run ``freebind search`` on them."""
    where = ["--root", "banks", "--space", "s"]
    return lambda *args, split=("test",): invoke(main, "search", *where, "--split", *split, *args)


def table(out):
    """The cells of every printed row."""
    return [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in out.splitlines()
        if line.startswith("│")
    ]


FOUND = [["1.000", "0", "0"], ["0.800", "3", "3"]]  # cosine, row, item


@pytest.mark.parametrize(
    "query", [["--like", "text", "--row", 0], ["--like", "text", "--id", "0"]], ids=["row", "id"]
)
def test_the_nearest_items_to_an_item_are_found(search, directions, query):
    directions()
    done = search("--in", "audio", *query, "--top", 2)
    assert (done.status, done.err) == (0, "")
    assert "text 0: a dog" in done.out
    assert table(done.out) == FOUND


def test_the_nearest_items_to_every_row_of_a_file_are_found(search, directions, tmp_path):
    directions()
    np.save(tmp_path / "queries.npy", 7 * COMPASS[[0, 1]])
    done = search("--in", "audio", "--queries", "queries.npy", "--of", "s", "--top", 2)
    assert done.status == 0
    assert "queries.npy, row 1" in done.out
    assert table(done.out) == [*FOUND, ["1.000", "1", "1"], ["0.600", "3", "3"]]


def test_items_are_told_by_their_captions(search, directions):
    directions()
    done = search("--in", "text", "--like", "audio", "--row", 3, "--top", 2)
    assert [row[2] for row in table(done.out)] == ["a puppy", "a dog"]


@pytest.mark.parametrize("caption", ["a cat [music]", "[/b] silence"])
def test_captions_are_told_as_they_are(search, directions, caption):
    directions([caption, *CAPTIONS[1:]])
    done = search("--in", "text", "--like", "text", "--row", 0, "--top", 1)
    assert table(done.out) == [["1.000", "0", caption]]


def test_missing_items_are_neither_found_nor_asked(search, directions, tmp_path):
    rows = COMPASS.copy()
    rows[0] = np.nan
    np.save(tmp_path / "gaps.npy", rows)
    import_bank(directions(), "gaps", "text", tmp_path / "gaps.npy", bad_rows="missing")
    args = ["--space", "gaps", "--in", "text", "--like", "text"]
    done = search(*args, "--row", 3, "--top", 9)
    assert [row[1] for row in table(done.out)] == ["3", "1", "2"]
    done = search(*args, "--row", 0)
    assert done.status == 2
    assert "this item has no embedding" in done.err
    assert "text 0: a dog" in done.err


def test_fused_banks_are_searched_like_any(fuse, invoke):
    fuse("--out", "made")
    where = ["--root", "made", "--split", "test", "--space", "imagebind+clap_general"]
    done = invoke(main, "search", *where, "--in", "text", "--like", "text", "--row", 7, "--top", 1)
    assert table(done.out) == [["1.000", "7", "synthetic-test-text-7"]]


def test_a_query_of_an_altered_bank_is_refused(search, directions):
    text = directions().bank_path("s", "text") / "emb_00000.npy"
    text.write_bytes(text.read_bytes()[:-1] + b"\x55")
    done = search("--in", "audio", "--like", "text", "--row", 0)
    assert (done.status, "a shard was altered" in done.err) == (2, True), done.err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--in", "audio"], "there is no query\n|--like MODALITY with one of --row and --id"),
        (["--in", "audio", "--like", "text"], "there is no query"),
        (["--in", "audio", "--like", "text", "--row", 0, "--id", "0"], "there is no query"),
        (["--in", "audio", "--row", 0], "there is no query"),
        (["--in", "audio", "--of", "s"], "--of and --as are about files|--queries FILE.npy"),
        (["--in", "video", "--like", "text", "--row", 0], "no modality of s 'video'|audio, text"),
        (["--in", "audio", "--like", "txt", "--row", 0], "no modality of s 'txt'|mean 'text'"),
        (["--in", "audio", "--like", "text", "--row", 4], "no such row|text.jsonl|4"),
        (["--in", "audio", "--like", "text", "--id", "x"], "no item with this id|text.jsonl|x"),
        (["--in", "audio", "--queries", "nowhere.npy", "--of", "s"], "is missing|nowhere.npy"),
        (
            ["--in", "audio", "--queries", "wide.npy", "--of", "s"],
            "differ in dimension|2 columns|3 columns",
        ),
    ],
)
def test_a_search_that_cannot_be_is_refused(search, directions, tmp_path, args, says):
    directions()
    np.save(tmp_path / "wide.npy", np.ones((1, 3), np.float32))
    done = search(*args)
    assert (done.status, done.out) == (2, "")
    assert [part for part in says.split("|") if part not in done.err] == []


def test_a_search_of_no_split_is_refused(search):
    done = search("--in", "audio", split=())
    assert (done.status, "there is nothing to search" in done.err) == (2, True)
    assert "--split NAME" in done.err


@pytest.mark.parametrize("command", ["fuse", "search"])
def test_altered_banks_are_neither_fused_nor_searched(invoke, run_folder, root, tmp_path, command):
    home = shutil.copytree(root, tmp_path / "home")
    (shard, *_) = sorted((home / "test/embeddings/imagebind/text").glob("*.npy"))
    damaged = bytearray(shard.read_bytes())
    damaged[-3] ^= 1
    shard.write_bytes(damaged)
    args = {
        "fuse": ("--run", run_folder, "--data", home, "--split", "test"),
        "search": ("--root", home, "--split", "test", "--space", "imagebind", "--in", "text"),
    }
    query = ("--like", "text", "--row", 0) if command == "search" else ()
    done = invoke(main, command, *args[command], *query)
    assert (done.status, "a shard was altered" in done.err) == (2, True)
