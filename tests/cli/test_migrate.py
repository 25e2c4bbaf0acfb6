"""``freebind migrate``, from banks of two models to a search."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from fb_jax import files
from fb_jax.banks import Synthetic, open_banks, write_synthetic
from fb_jax.cli.main import main
from fb_jax.fusion import FusedSpace
from fb_jax.run.migration_report import SHARES

NOISE = {"old": {"text": 0.3, "image": 0.3, "audio": 0.3}, "new": {"text": 0.2, "image": 0.2}}
DIMS = {"old": 24, "new": 16}
QUICK = ["--training.batch", 20, "--training.epochs", 2, "--training.hidden", 24]
ENDS = ["--old", "old", "--new", "new", "--data", "mine"]


@pytest.fixture
def mine(tmp_path):
    """A bank root whose split docs only the old model has embedded."""
    pool = {"text": 83, "image": 82, "audio": 81}
    write_synthetic(
        tmp_path / "mine", Synthetic(pool, {"val": 40, "docs": 30}, dims=DIMS, noise=NOISE)
    )
    shutil.rmtree(tmp_path / "mine/docs/embeddings/new")
    return tmp_path / "mine"


def test_from_banks_of_two_models_to_a_search_in_the_new_space(invoke, mine):
    asked = ["migrate", *ENDS, "--split", "docs", "val", *QUICK]
    done = invoke(main, *asked)
    assert done.status == 0, done.err
    assert "audio: new lacks it, so its rows are projected" in done.err
    assert "docs: 30 text, 0 embedded again, 30 projected" in done.out
    assert "val: 40 text, 40 embedded again, 0 projected" in done.out
    folder = Path("runs/old-to-new")
    figures = files.read_json(folder / "migration_bond_val.json")["recall"]
    assert len(figures) == 2 + 2 * len(SHARES[:-1])
    for model in ("bond, 0 % again", "linear, 50 % again"):
        assert set(figures[model]) == {"audio-image", "audio-text", "image-text"}
    assert figures["linear, 0 % again"]["image-text"]["R@1"] > 10  # chance: 2.5
    assert (folder / "migration_bond_val.png").stat().st_size > 1000

    space = FusedSpace.load(folder / "bond")
    banks = open_banks(mine, "docs", spaces=["old", "new_from_old"])
    wanted = space.fuse("image", {"old": banks["old", "image"][:]})
    np.testing.assert_allclose(banks["new_from_old", "image"][:], wanted, atol=1e-3)

    again = invoke(main, *asked)
    assert "training: 24 done in 0.0 s, 24 of them before" in again.out
    assert files.read_json(folder / "migration_bond_val.json")["recall"] == figures
    queries = open_banks(mine, "val", spaces=["new"])["new", "text"][:3]
    np.save("queries.npy", queries)
    where = ["--root", mine, "--split", "docs", "val", "--space", "new_from_old", "--in", "audio"]
    found = invoke(main, "search", *where, "--queries", "queries.npy", "--of", "new_from_old")
    assert (found.status, found.err) == (0, "")
    of_new = invoke(
        main, "search", *where, "--queries", "queries.npy", "--of", "new", "--as", "text"
    )
    assert of_new == found

    about = {"space": "new", "modality": "text"}  # as freebind bank rows records it
    files.write_recorded(Path("queries.npy"), queries, about)
    assert invoke(main, "search", *where, "--queries", "queries.npy") == found
    rows = open_banks(mine, "val", spaces=["old"])["old", "text"][:3]
    files.write_recorded(Path("old.npy"), rows, {**about, "space": "old"})
    moved = invoke(main, "search", *where, "--queries", "old.npy")
    assert moved.status == 0
    assert "text queries without rows of new: fused from old alone" in moved.err


def test_each_map_and_split_has_a_report_of_its_own(invoke, mine):
    folder = Path("runs/old-to-new")
    assert invoke(main, "migrate", *ENDS, *QUICK).status == 0
    kept = (folder / "migration_bond_val.json").read_bytes()
    assert invoke(main, "migrate", *ENDS, "--map", "linear").status == 0
    assert invoke(main, "migrate", *ENDS, *QUICK, "--measure").status == 0
    names = ["migration_bond_val", "migration_linear_val"]
    assert sorted(path.stem for path in folder.glob("migration*.json")) == names
    assert (folder / "migration_bond_val.json").read_bytes() == kept


def test_other_rows_keep_their_name(invoke, mine):
    done = invoke(main, "migrate", *ENDS, "--split", "docs", "--name", "old", "--map", "linear")
    assert done.status == 2
    assert "`old` already exists: other weights" in done.err


def test_another_name_is_for_banks_alone(invoke, mine):
    for name in ("one", "two"):
        asked = ["migrate", *ENDS, "--split", "docs", "--map", "linear", "--name", name]
        done = invoke(main, *asked)
        assert done.status == 0, done.err
    space = FusedSpace.load("runs/old-to-new/linear")
    assert space.title == "new_from_old"
    assert space.licences == dict.fromkeys(("old", "new"), "Apache-2.0")
    banks = open_banks(mine, "docs", spaces=["one", "two"])
    np.testing.assert_array_equal(banks["one", "audio"][:], banks["two", "audio"][:])


def test_other_settings_need_another_folder(invoke, mine):
    quick = ["migrate", *ENDS, "--measure", *QUICK]
    assert invoke(main, *quick).status == 0
    done = invoke(main, *quick, "--training.seed", 1)
    assert done.status == 2
    assert "choose another folder (--out or --folder)" in done.err
    assert invoke(main, *quick, "--training.seed", 1, "--folder", "other").status == 0


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--new", "none"], "space"),
        (["--new", "old"], "the old and the new model are the same"),
        (["--name", "a/b"], "'a/b' cannot name a space"),
        (["--measure", "docs"], "split with rows of both models"),
        (["--split", "nowhere"], "nowhere"),
        (["--memory-gb", 0.03], "this evaluation needs more memory than it may take"),
        (["--memory-gb", -1], "evaluation memory_gb is out of range"),
    ],
)
def test_what_is_not_there_is_refused_before_training(invoke, mine, args, text):
    done = invoke(main, "migrate", *ENDS, *args)
    assert done.status == 2
    assert text in done.err
    assert not Path("runs").exists()


def test_one_modality_needs_the_linear_map(invoke, mine):
    for modality in ("image", "audio"):
        for space in ("old", "new"):
            shutil.rmtree(mine / f"pool/embeddings/{space}/{modality}", ignore_errors=True)
    done = invoke(main, "migrate", *ENDS)
    assert done.status == 2
    assert "use one linear map: --map linear" in done.err
    done = invoke(main, "migrate", *ENDS, "--map", "linear")
    assert done.status == 0, done.err
    assert "text: only 83 items have rows of both models" in done.err


@pytest.mark.parametrize("split", ["pool", "val", "docs"])
def test_damaged_banks_are_refused_before_training_unless_they_are_not_needed(invoke, mine, split):
    (shard,) = (mine / split / "embeddings/old/text").glob("*.npy")
    shard.write_bytes(shard.read_bytes()[:-4] + b"\0\0\0\1")
    asked = ["migrate", *ENDS, "--map", "linear"]
    done = invoke(main, *asked, "--split", "docs")
    assert done.status == 2
    assert f"{split}/embeddings/old/text" in done.err
    assert not Path("runs").exists()
    if split == "val":
        assert invoke(main, *asked, "--measure").status == 0
