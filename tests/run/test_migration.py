import shutil
from itertools import pairwise

import numpy as np
import pytest

from fb_jax import files
from fb_jax.banks import BankSet, Synthetic, open_banks, open_split, write_synthetic
from fb_jax.errors import FreeBindError
from fb_jax.evaluation.memory import LEAST_BLOCK, bytes_for_rows
from fb_jax.fusion import write_fused
from fb_jax.run import migration
from fb_jax.run.migration import (
    RIDGE,
    Ends,
    banks_to_migrate,
    linear_migration,
    measured_splits,
    migrated_space,
)
from fb_jax.run.migration_report import embedded_again, migration_results, row_name

ENDS = Ends("old", "new")
NOISE = {"old": {"text": 0.2, "image": 0.3, "audio": 0.4}, "new": {"text": 0.2, "image": 0.2}}
DIMS = {"old": 20, "new": 12}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """An old space of three modalities and a new one of two. Read only."""
    root = tmp_path_factory.mktemp("migration")
    pool = {"text": 150, "image": 140, "audio": 130}
    write_synthetic(root, Synthetic(pool, {"val": 40, "docs": 30}, dims=DIMS, noise=NOISE))
    return root


@pytest.fixture
def pool(world):
    return open_banks(world, spaces=ENDS)


@pytest.fixture
def space(pool):
    return migrated_space(linear_migration(pool, ENDS))


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_the_linear_map_is_a_ridge_regression_by_blocks(pool, monkeypatch):
    monkeypatch.setattr(migration, "BLOCK_ROWS", 33)
    bond = linear_migration(pool, ENDS)
    x, y = (np.concatenate([pool[n, m][:] for m in ("image", "text")]).astype(float) for n in ENDS)
    weight = np.sqrt(RIDGE * len(x) / 20)
    left = np.vstack([x - x.mean(0), weight * np.eye(20)])
    right = np.vstack([y - y.mean(0), np.zeros((20, 12))])
    kernel = np.linalg.lstsq(left, right)[0]
    rows = pool["old", "audio"][:]
    wanted = unit((rows - x.mean(0)) @ kernel + y.mean(0))
    np.testing.assert_allclose(bond.project(rows), wanted, atol=2e-5)


def test_a_rotation_is_found_and_one_modality_is_enough():
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    rows = rng.normal(size=(400, 8))
    pool = BankSet.from_arrays({"old": {"text": rows}, "new": {"text": rows @ turn}})
    space = migrated_space(linear_migration(pool, ENDS))
    assert (space.title, space.modalities, space.dim) == ("new_from_old", ("text",), 8)
    found = space.fuse("text", {"old": rows})
    assert (found * unit(rows @ turn)).sum(axis=1).min() > 0.999


def test_new_rows_stay_as_they_are(space, pool):
    assert space.title == "new_from_old"
    both = {name: pool[name, "text"][:5] for name in ENDS}
    np.testing.assert_allclose(space.fuse("text", both), both["new"], atol=1e-6)
    moved = space.fuse("text", {"old": both["old"]})
    np.testing.assert_allclose(moved, space.last.bonds[0].project(both["old"]), atol=1e-6)
    assert space.spaces_of("audio") == ("old",)


def test_another_bond_is_no_migration(make_bond):
    with pytest.raises(FreeBindError, match="bond of a migration"):
        migrated_space(make_bond("combination"))


def test_items_embedded_again_are_a_fixed_draw_and_grow_with_the_share():
    draws = [embedded_again(200, share) for share in (0, 10, 25, 100)]
    assert [int(draw.sum()) for draw in draws] == [0, 20, 50, 200]
    for fewer, more in pairwise(draws):
        assert (more | ~fewer).all()
    assert (embedded_again(200, 10) == draws[1]).all()


def hits(queries, items):
    """R@1 in percent, where row i belongs to row i."""
    return 100 * np.mean(np.argmax(queries @ items.T, axis=1) == np.arange(len(queries)))


def test_the_report_is_what_new_queries_find(space, world):
    banks = measured_splits(world, "pool", ENDS)["val"]
    found = migration_results({"linear": space}, banks, ENDS)
    old, new = ({m: banks[n, m][:] for m in banks.modalities(n)} for n in ENDS)
    moved = {m: space.fuse(m, {"old": rows}) for m, rows in old.items()}
    half = {m: np.where(embedded_again(40, 50)[:, None], new[m], moved[m]) for m in new}
    own = found[row_name("linear", 50)]
    assert own["image-text"]["R@1 text->image"] == hits(new["text"], half["image"])
    ways = hits(new["text"], half["image"]), hits(new["image"], half["text"])
    assert own["image-text"]["R@1"] == np.mean(ways)
    assert own["audio-text"]["R@1"] == hits(new["text"], moved["audio"])  # one direction
    assert "R@1 audio->text" not in own["audio-text"]
    assert found["old"]["audio-text"]["R@1"] == hits(old["text"], old["audio"])
    assert set(found["new"]) == {"image-text"}
    assert list(found)[0::6] == ["old", "new"]


def test_the_report_does_not_depend_on_its_memory(space, world, monkeypatch):
    banks = measured_splits(world, "pool", ENDS)["val"]
    wanted = migration_results({"linear": space}, banks, ENDS)
    rows = (
        4 * 12 * (3 * 3 * 40 + 40)
    )  # moved, mixed and new rows of 3 modalities; one on the device
    assert bytes_for_rows({"linear": space}, banks, list(banks.paired())) == rows
    monkeypatch.setattr("fb_jax.evaluation.spaces.BLOCK_ROWS", 7)
    memory = LEAST_BLOCK + rows + 10
    assert migration_results({"linear": space}, banks, ENDS, memory=memory) == wanted
    with pytest.raises(FreeBindError, match="needs more memory than it may take"):
        migration_results({"linear": space}, banks, ENDS, memory=memory - 11)


def test_without_pairs_new_rows_look_for_their_own_items():
    rows = np.random.default_rng(0).normal(size=(60, 8))
    banks = BankSet.from_arrays({"old": {"text": rows}, "new": {"text": rows[:, ::-1]}})
    space = migrated_space(linear_migration(banks, ENDS))
    found = migration_results({"linear": space}, banks, ENDS)
    assert found[row_name("linear", 0)]["text-text"]["R@1"] == 100


def test_a_split_that_nobody_embedded_again_is_projected(space, pool, world, tmp_path):
    docs = copy_of(world, tmp_path, "docs", without="new")
    banks = banks_to_migrate(docs, pool, ENDS)
    counts = write_fused(space, banks, tmp_path, "moved", dtype="float32")
    assert counts == dict.fromkeys(("audio", "image", "text"), 30)
    for modality in counts:
        bank = open_banks(tmp_path, "docs", spaces=["moved"])["moved", modality]
        wanted = space.fuse(modality, {"old": banks["old", modality][:]})
        np.testing.assert_allclose(bank[:], wanted, atol=1e-6)
        assert list(bank.partial) == (["new"] if modality != "audio" else [])
    assert write_fused(space, banks, tmp_path, "moved", dtype="float32") == counts  # nothing to do


def test_new_and_projected_rows_stand_in_one_bank(space, pool, world, tmp_path):
    docs = copy_of(world, tmp_path, "docs")
    leave_out(docs.bank_path("new", "text"), list(range(10, 30)))
    leave_out(docs.bank_path("old", "text"), [3, 12])
    banks = banks_to_migrate(docs, pool, ENDS)
    assert write_fused(space, banks, tmp_path, "moved", dtype="float32")["text"] == 28
    bank = open_banks(tmp_path, "docs", spaces=["moved"])["moved", "text"]
    assert bank.missing.tolist() == [3, 12]
    assert bank.partial["new"].tolist() == [10, 11, *range(13, 30)]
    np.testing.assert_allclose(bank.array[:3], banks["new", "text"][:3], atol=1e-6)
    moved = space.fuse("text", {"old": banks["old", "text"][13:]})
    np.testing.assert_allclose(bank.array[13:], moved, atol=1e-6)


def leave_out(bank, rows):
    """Let a bank lack some rows: its manifest is JSON."""
    manifest = files.read_json(bank / "manifest.json")
    files.write_json(
        bank / "manifest.json", manifest | {"about": manifest["about"] | {"missing": rows}}
    )


def copy_of(world, tmp_path, split, without=None):
    """Return a copy of a split, without a space if one is named."""
    shutil.copytree(world / split, tmp_path / split)
    if without:
        shutil.rmtree(tmp_path / split / "embeddings" / without)
    return open_split(tmp_path, split)


def test_spaces_without_a_common_modality_teach_nothing():
    rows = np.eye(4)
    pool = BankSet.from_arrays({"old": {"text": rows}, "new": {"image": rows}})
    with pytest.raises(FreeBindError, match=r"nothing to learn(.|\n)*old: text; new: image"):
        linear_migration(pool, ENDS)


def test_the_old_model_must_be_there(pool, world, tmp_path):
    with pytest.raises(FreeBindError, match="old"):
        banks_to_migrate(copy_of(world, tmp_path, "docs", without="old"), pool, ENDS)
