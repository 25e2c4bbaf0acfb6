import re
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from disturb import NO_FOLDER_SYNC, NO_LOCKS, disturbed

from fb_jax.banks import Split, open_banks, verify_split
from fb_jax.errors import FreeBindError
from fb_jax.importing import import_bank, import_pairs

REASONS = r"another process is writing here|holds another array|another item list|differ in length"


def side_by_side(*works):
    """Run works at once; return what each returned, or the message of its error."""
    together = threading.Barrier(len(works))

    def attempt(work):
        together.wait()
        try:
            return work()
        except FreeBindError as error:
            return str(error)

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(attempt, works))


@pytest.fixture
def matrices(tmp_path):
    """Two matrices of one shape, and one of other items."""
    arrays = np.random.default_rng(0).normal(size=(2, 500, 4)).astype(np.float32)
    paths = [tmp_path / name for name in ("a.npy", "b.npy", "short.npy")]
    for path, array in zip(paths, [*arrays, arrays[0, :400]], strict=True):
        np.save(path, array)
    return paths


def test_two_banks_of_one_split_are_both_written(matrices, tmp_path):
    for number in range(10):
        split = Split(tmp_path / str(number) / "pool")
        works = [partial(import_bank, split, space, "text", matrices[0]) for space in ("u", "e")]
        works += [partial(import_bank, split, "u", "audio", matrices[1])]
        assert [len(bank) for bank in side_by_side(*works)] == [500] * 3
        assert verify_split(split)[0].startswith("items audio: 500")


@pytest.mark.parametrize("other", [0, 1, 2], ids=["the same", "another", "other items"])
def test_of_two_imports_of_one_bank_both_are_right_or_one_is_refused(matrices, tmp_path, other):
    for number in range(10):
        split = Split(tmp_path / str(number) / "pool")
        works = [partial(import_bank, split, "u", "text", matrices[i]) for i in (0, other)]
        results = side_by_side(*works)
        done = [i for i, result in enumerate(results) if not isinstance(result, str)]
        assert done, results
        for i in {0, 1} - set(done):
            assert re.search(REASONS, results[i]), results[i]
        verify_split(split)
        stored = open_banks(split.path.parent, spaces=["u"])["u", "text"][:]
        wanted = np.load(matrices[(0, other)[done[0]]])
        np.testing.assert_allclose(
            stored, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), atol=1e-3
        )


def test_two_pair_tables_leave_one_of_both(matrices, tmp_path):
    split = Split(tmp_path / "root" / "test")
    for modality in ("audio", "text"):
        import_bank(split, "u", modality, matrices[0])
    tables = [tmp_path / "p.csv", tmp_path / "q.csv"]
    for number, path in enumerate(tables):
        path.write_text("".join(f"{i},{(i + number) % 500}\n" for i in range(500)))
    for _ in range(5):
        works = [partial(import_pairs, split, "audio", "text", path) for path in tables]
        assert not any(isinstance(result, str) for result in side_by_side(*works))
        assert split.read_pairs("audio", "text")[0].tolist() in ([0, 0], [0, 1])


def test_a_disk_without_locks_and_folder_sync_takes_banks_and_says_what_it_lacks(
    matrices, tmp_path, caplog
):
    split = Split(tmp_path / "root" / "pool")
    with disturbed(NO_LOCKS, NO_FOLDER_SYNC):
        import_bank(split, "u", "text", matrices[0])
    verify_split(split)
    assert {re.sub(r".*: this disk", "", record.getMessage()) for record in caplog.records} == {
        " has no locks, so that two processes could write the same file; run one command at a "
        "time on it, or share an export by --num-shards and --shard-id",
        " cannot sync; a power cut may undo the last files here",
    }


def test_a_pair_table_may_be_read_while_it_is_replaced(matrices, tmp_path):
    split = Split(tmp_path / "root" / "test")
    for modality in ("audio", "text"):
        import_bank(split, "u", modality, matrices[0])
    tables = [np.stack([np.arange(500), np.arange(500)[::step]], 1) for step in (1, -1)]
    split.write_pairs("audio", "text", tables[0])
    done = threading.Event()

    def write():
        for number in range(40):
            split.write_pairs("audio", "text", tables[number % 2])
        done.set()

    def read():
        seen = 0
        while not done.is_set() or not seen:
            assert split.read_pairs("audio", "text").tolist() in [t.tolist() for t in tables]
            seen += 1
        return seen

    assert side_by_side(write, read)[1] > 0
