"""Next week: fusing again what has grown, item by item the same as fusing it all at once."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from disturb import FILE_STEPS, At, counted, disturbed

from fb_jax.banks import (
    Bank,
    BankAbout,
    Split,
    append_items,
    bank_grower,
    bank_writer,
    fill_rows,
    open_banks,
    remove_items,
    since,
    unit_rows,
    verify_split,
)
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace, write_fused
from fb_jax.fusion import banks as fused_banks

SPACES = ("imagebind", "clap_general")
DIMS = {"imagebind": 64, "clap_general": 48}
NEW = 30


@pytest.fixture
def home(root, tmp_path):
    return shutil.copytree(root, tmp_path / "home")


@pytest.fixture(scope="session")
def space(make_bond):
    return FusedSpace.of(make_bond("combination"), at="versatile")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(fused_banks, "BLOCK_ROWS", 25)  # 60 items: shards of 25, 25 and 10


def grow(home, *spaces):
    """Add the embeddings of 30 new texts to the split test, in some spaces."""
    split = Split(home / "test")
    items = append_items(split, "text", [{"id": f"new {i}"} for i in range(NEW)], 60)
    for name in spaces:
        bank, rng = Bank.open(split.bank_path(name, "text")), np.random.default_rng(len(name))
        about = BankAbout(name, "text", bank.encoder, items.digest)
        with bank_grower(bank, about, start=60, count=90) as writer:
            writer.append(unit_rows(rng.normal(size=(NEW, DIMS[name]))))


def fuse(space, home, progress=lambda _rows: None):
    banks = open_banks(home, "test", spaces=SPACES)
    return write_fused(space, banks, home, "fused", dtype="float32", progress=progress)


def fused(home, modality="text"):
    return Bank.open(Split(home / "test").bank_path("fused", modality))


def shards(bank):
    return [(shard.file, shard.rows) for shard in bank.manifest.shards]


@pytest.fixture
def at_once(space, home, tmp_path):
    """Return the rows that fusing the grown split gives, and what becomes of each."""

    def at_once(*spaces):
        copy = shutil.copytree(home, tmp_path / "-".join(("once", *spaces)))
        grow(copy, *spaces)
        fuse(space, copy)
        return fused(copy)

    return at_once


def same(bank, other):
    np.testing.assert_allclose(bank[:], other[:], atol=1e-6)
    assert bank.missing.tolist() == other.missing.tolist()
    assert {k: v.tolist() for k, v in bank.partial.items()} == {
        k: v.tolist() for k, v in other.partial.items()
    }
    return True


def test_only_new_rows_are_fused(space, home, at_once, monkeypatch):
    wanted = at_once(*SPACES)
    fuse(space, home)
    before, image = fused(home), fused(home, "image").fingerprint
    grow(home, *SPACES)
    seen = []
    monkeypatch.setattr(
        fused_banks, "_fused", lambda *args, was=fused_banks._fused: seen.append(args) or was(*args)
    )
    done = []
    assert fuse(space, home, done.append) == {"audio": 60, "image": 60, "text": 90}
    assert [args[-1].tolist() for args in seen] == [[*range(60, 85)], [*range(85, 90)]]
    assert done == [60 + 60 + 60, 25, 5]
    bank = fused(home)
    assert same(bank, wanted)
    np.testing.assert_array_equal(bank[:60], before[:])
    assert shards(bank) == [(f"emb_0000{i}.npy", n) for i, n in enumerate((25, 25, 10, 25, 5))]
    assert (bank.origin, fused(home, "image").fingerprint) == (before.fingerprint, image)
    seen.clear()
    fuse(space, home)
    assert not seen
    assert fused(home).fingerprint == bank.fingerprint
    verify_split(Split(home / "test"))


def test_rows_whose_expert_comes_later_are_fused_again(space, home, at_once):
    later, wanted = at_once("imagebind"), at_once(*SPACES)
    fuse(space, home)
    grow(home, "imagebind")
    fuse(space, home)
    assert same(fused(home), later)
    assert fused(home).partial["clap_general"].tolist() == [*range(60, 90)]
    grow(home, "clap_general")
    fuse(space, home)
    bank = fused(home)
    assert same(bank, wanted)
    assert not any(len(rows) for rows in bank.partial.values())
    assert [n for _, n in shards(bank)] == [25, 25, 10, 25, 5]
    assert {p.name for p in bank.folder.glob("*.npy")} == {name for name, _ in shards(bank)}
    assert (bank.earlier[-1].count, bank.earlier[-1].kept) == (90, 60)


LATE = {"imagebind": [30], "clap_general": [28, 55]}
"""Space to texts whose rows are missing at first."""


def take_out(home):
    """Write the banks of texts again without some rows; return these."""
    rows = {}
    for name, missing in LATE.items():
        bank = Bank.open(Split(home / "test").bank_path(name, "text"))
        every, form = bank.array[:], {"dim": bank.shape[1], "count": 60, "shard_rows": 50}
        rows[name], every[missing] = every[missing], 0
        about = replace(bank.about, missing=np.array(missing))
        shutil.rmtree(bank.folder)
        with bank_writer(bank.folder, about, dtype=bank.manifest.dtype, **form) as writer:
            writer.append(every)
    return rows


def test_rows_that_were_missing_and_have_come_are_fused(space, home):
    fuse(space, home)
    wanted, rows = fused(home), take_out(home)
    shutil.rmtree(wanted.folder.parent)
    fuse(space, home)
    before = fused(home)
    assert (before.missing.tolist(), before.partial["clap_general"].tolist()) == ([30], [28, 55])
    for name, missing in LATE.items():
        bank = Bank.open(Split(home / "test").bank_path(name, "text"))
        fill_rows(bank, np.array(missing), rows[name])
    fuse(space, home)
    assert same(fused(home), wanted)
    assert fused(home).earlier[-1].kept == 25  # the first shard of 25 rows was not fused again
    banks = open_banks(home, "test", spaces=["fused"])
    known = since({"fused/text": before.fingerprint}, banks)
    assert known == (["all 60 rows of fused/text, written again from row 25 on"], [])
    fuse(space, home)
    assert len(fused(home).earlier) == 1
    verify_split(Split(home / "test"))


def test_removed_items_change_no_row_of_a_fused_bank(space, home):
    fuse(space, home)
    before = fused(home).fingerprint
    remove_items(Split(home / "test"), "text", ["synthetic-test-text-3"])
    fuse(space, home)
    assert fused(home).fingerprint == before
    rows = open_banks(home, "test", spaces=["fused"]).rows["text"]
    assert rows.tolist() == [*range(3), *range(4, 60)]
    grow(home, *SPACES)
    assert fuse(space, home)["text"] == 89
    assert fused(home).origin == before


def test_a_fuse_that_is_stopped_goes_on(space, home, at_once):
    wanted = at_once(*SPACES)
    fuse(space, home)
    grow(home, *SPACES)
    copy = shutil.copytree(home, home.parent / "copy")
    with counted(FILE_STEPS, on=str(copy)) as steps:
        fuse(space, copy)
    for step in range(1, len(steps) + 1, 3):
        shutil.rmtree(copy)
        shutil.copytree(home, copy)
        stopped = At(FILE_STEPS, step, "EIO", on=str(copy))
        try:
            with disturbed(stopped):
                fuse(space, copy)
        except (FreeBindError, OSError):
            verify_split(Split(copy / "test"))
        fuse(space, copy)
        assert same(fused(copy), wanted)


def test_another_root_grows_along(space, home):
    banks = lambda: open_banks(home, "test", spaces=SPACES)  # noqa: E731
    out = home.parent / "out"
    write_fused(space, banks(), out, "fused")
    grow(home, *SPACES)
    write_fused(space, banks(), out, "fused")
    assert len(open_banks(out, "test", spaces=["fused"]).rows["text"]) == 90
    verify_split(Split(out / "test"))


def test_other_factors_or_other_sources_are_still_refused(space, home, make_bond):
    fuse(space, home)
    grow(home, *SPACES)
    with pytest.raises(FreeBindError, match="holds another array"):
        fuse(FusedSpace.of(make_bond("combination"), at="at_expertise"), home)
    with pytest.raises(FreeBindError, match="holds another array"):
        write_fused(space, open_banks(home, "test", spaces=SPACES), home, "fused")
