import subprocess
import sys

import numpy as np
import pytest

from fb_jax import files
from fb_jax.banks import Bank, Encoder, unit_rows
from fb_jax.errors import FreeBindError

ROWS = [[3, 4], [0, 2], [-1, 0], [8, 6], [1 / 3, 1]]


@pytest.fixture
def bank(make_bank) -> Bank:
    return Bank.open(make_bank("clap", "text", ROWS, missing=[3, 1]))


def test_rows_are_single_precision_unit_rows_of_what_is_stored(bank):
    stored = np.array(ROWS, np.float16)
    np.testing.assert_array_equal(bank.array[:], stored, strict=True)
    np.testing.assert_array_equal(bank[:], unit_rows(stored), strict=True)
    np.testing.assert_allclose(bank[:2], [[0.6, 0.8], [0, 1]], rtol=1e-6)


def test_a_bank_says_whose_it_is_and_what_it_has(bank):
    assert (bank.space, bank.modality, bank.shape) == ("clap", "text", (5, 2))
    assert bank.encoder == Encoder("by hand", licence="CC0-1.0")
    assert bank.present().tolist() == [0, 2, 4]


@pytest.mark.parametrize("keep", [[0, 2, 4], [3], [4, 3, 2, 1, 0]])
@pytest.mark.parametrize("rows", [slice(None), np.array([0, -1, 0])], ids=["slice", "rows"])
def test_a_restricted_bank_is_numbered_anew_and_remains_the_same_bank(bank, keep, rows):
    restricted = bank.restrict(np.array(keep))
    rows = np.arange(len(keep))[rows]
    np.testing.assert_array_equal(restricted[rows], bank[:][keep][rows])
    assert restricted.shape == (len(keep), 2)
    assert restricted.fingerprint == bank.fingerprint


@pytest.mark.parametrize(
    ("bad", "kind"),
    [([np.nan, 1], "NaN or infinite"), ([1, -np.inf], "NaN or infinite"), ([0, 0], "zero")],
)
def test_verify_counts_bad_rows_that_are_not_listed_as_missing(make_bank, bad, kind):
    rows = [[1, 0], bad, [0, 1], bad, bad]
    Bank.open(make_bank("clap", "text", rows, missing=[1, 3, 4])).verify()
    for missing, got in ([], "3 .* row 1"), ([1], "2 .* row 3"), ([3, 1, 0], "1 .* row 4"):
        folder = make_bank(f"clap{len(missing)}", "text", rows, missing)
        with pytest.raises(FreeBindError, match=got.replace(".*", f"{kind} rows, the first is")):
            Bank.open(folder).verify()


def test_verify_reads_every_row_and_notices_altered_bytes(bank):
    seen = []
    bank.verify(seen.append)
    assert sum(seen) == 5
    np.save(bank.folder / "emb_00000.npy", np.ones((2, 2), np.float16))
    with pytest.raises(FreeBindError, match="altered"):
        bank.verify()


@pytest.mark.parametrize(
    "about",
    [None, {}, {"encoder": None}, {"encoder": {"surprise": 1}}]
    + [{"missing": rows} for rows in ([5], [3, 1], [1, 1], [-1], [0.5])],
)
def test_an_array_without_the_description_of_a_bank_is_refused(bank, about):
    manifest = files.read_json(bank.folder / "manifest.json")
    manifest["about"] = manifest["about"] | about if about else {}
    files.write_json(bank.folder / "manifest.json", manifest)
    with pytest.raises(FreeBindError, match="not a bank"):
        Bank.open(bank.folder)


def test_a_bank_is_written_by_one_process_at_a_time(bank, make_bank):
    alone = files.locked(bank.folder, name=".writing")
    with alone, pytest.raises(FreeBindError, match="another process"):
        make_bank("clap", "text", ROWS, missing=[3, 1])


def test_banks_are_imported_without_the_heavy_libraries():
    program = "import sys, fb_jax.banks; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout
    assert "fb_jax.banks" in loaded.split()
    assert not {"jax", "flax", "optax", "orbax", "grain", "torch"} & set(loaded.split())
