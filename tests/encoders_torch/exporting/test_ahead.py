"""Reading ahead in worker processes: order, bounds, and readers that die or hang."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encoders_torch.exporting import ahead as ahead_module
from encoders_torch.exporting.ahead import Ahead, read_ahead
from encoders_torch.exporting.reading import ItemReader, Task
from encoders_torch.exporting.watching import WorkerWatch
from encoders_torch.sources import Source
from fb_jax.banks import write_items
from fb_jax.errors import FreeBindError
from tests.encoders_torch.conftest import Toy

TWO = Ahead(workers=2)


@pytest.fixture
def reader(tmp_path):
    """Make a reader of files with these names, which exist."""

    def reader(names, read, encoders=None, column="path"):
        for name in names if column == "path" else ():
            (tmp_path / name).touch()
        items = [{"id": str(i), column: name} for i, name in enumerate(names)]
        listed = write_items(tmp_path / "items.jsonl", items)
        toy = Toy()
        toy.read = read
        source = Source(items, tmp_path if column == "path" else None)
        modality = "image" if column == "path" else "text"
        return ItemReader(encoders or [toy], modality, listed, source)

    return reader


def rows(reads):
    """Return the values that were read of all tasks in order, or why there are none."""
    found = []
    for (read,) in reads:
        values = dict(read.failed)
        for at, batch in read.chunks:
            values |= dict(zip(at, np.asarray(batch).tolist(), strict=True))
        found += [values[i] for i in sorted(values)]
    return found


def tasks(count, batch=2):
    return [Task(list(range(i, min(i + batch, count)))) for i in range(0, count, batch)]


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("batch", [1, 7])
def test_tasks_come_in_order_whatever_the_workers_do(reader, workers, batch):
    def read(modality, item):
        time.sleep(0.002 * (len(item.path.name) % 3))
        return float(len(item.path.name))

    made = reader(["x" * (i + 1) for i in range(40)], read)
    how = Ahead(workers=workers, tasks=3)
    assert rows(read_ahead(made, tasks(40, batch), how)) == list(range(1, 41))


def test_what_is_read_ahead_is_bounded_by_its_bytes(reader, tmp_path):
    """Workers stop when so much waits; only the next task is always read."""

    def read(modality, item):
        (tmp_path / f"seen-{item.path.name}").touch()
        return np.zeros(250_000, np.float32)  # 1 MB

    made = reader([f"{i:02}" for i in range(30)], read)
    reads = read_ahead(made, tasks(30, 1), Ahead(workers=2, tasks=10, most_bytes=3_100_000))
    for done in range(1, 21):
        next(reads)
        time.sleep(0.05)
        assert len(list(tmp_path.glob("seen-*"))) <= done + 5  # two workers may be past the check
    reads.close()


def test_one_read_serves_several_encoders_and_a_task_may_leave_some_out(reader):
    opened = []

    class Other(Toy):
        def read(self, modality, item):
            opened.append(id(item))
            return np.float32([len(item.path.name), self.dim])

    made = reader(["a", "bb"], None, [Other(), Other(), Other()])
    (reads,) = read_ahead(made, [Task([0, 1], [0, 2])], Ahead(workers=0))
    assert [chunk.batch.tolist() for read in reads for chunk in read.chunks] == [
        [[1, 4], [2, 4]]
    ] * 2
    assert len(opened) == 4
    assert opened[0] == opened[1]
    assert opened[2] == opened[3]


def test_items_that_do_not_fit_together_become_several_batches(reader):
    made = reader(["a", "bb", "cc", "d"], lambda modality, item: np.zeros(len(item.path.name)))
    ((reads,),) = read_ahead(made, [Task([0, 1, 2, 3])], Ahead(workers=0))
    assert [chunk.at for chunk in reads.chunks] == [[0], [1], [2], [3]]
    assert reads.failed == {}


def test_what_cannot_be_handed_over_is_a_reason(reader):
    made = reader(["a", "b"], lambda modality, item: (lambda: 0) if item.path.name == "b" else 1.0)
    found = rows(read_ahead(made, tasks(2), TWO))
    assert found[0] == 1
    assert "pickle" in found[1]


# Readers that die or hang


@pytest.mark.parametrize(
    ("kill", "how"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "was ended by SIGSEGV"),
        (lambda: sys.exit(3), "ended with status 3"),
    ],
)
def test_an_item_that_kills_its_reader_is_passed_over_and_the_others_are_read(reader, kill, how):
    def read(modality, item):
        if item.path.name == "bad":
            kill()
        return 1.0

    made = reader(["a", "b", "bad", "c", "d", "e"], read)
    found = rows(read_ahead(made, tasks(6), TWO))
    assert found == [1, 1, f"the process that read it {how}, twice", 1, 1, 1]


def test_a_reader_that_was_killed_once_is_not_held_against_the_item(reader, tmp_path):
    """As by the operating system when memory was short for a moment."""

    def read(modality, item):
        if item.path.name == "b" and not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return 1.0

    assert rows(read_ahead(reader(["a", "b", "c"], read), tasks(3), TWO)) == [1, 1, 1]


def test_a_reader_that_hangs_is_ended_and_its_item_named(reader):
    def read(modality, item):
        if item.path.name == "b":
            time.sleep(60)
        return 1.0

    began = time.monotonic()
    found = rows(read_ahead(reader(["a", "b", "c"], read), tasks(3), replace(TWO, seconds=1.0)))
    assert found == [1, "reading it took longer than 1 s", 1]
    assert time.monotonic() - began < 30


def test_a_worker_that_dies_between_items_is_no_items_fault(reader):
    class Dying(Toy):
        def read(self, modality, item):
            return 1.0

        def collate(self, modality, reads):
            os._exit(1)

    made = reader(["a"], None, [Dying()])
    with pytest.raises(FreeBindError, match=r"process that reads items died(.|\n)*--workers"):
        list(read_ahead(made, tasks(1), TWO))


def test_too_little_memory_in_a_worker_is_no_items_fault(reader):
    def read(modality, item):
        raise MemoryError

    with pytest.raises(FreeBindError, match=r"too little memory(.|\n)*is done is kept"):
        list(read_ahead(reader(["a"], read), tasks(1), TWO))


def test_an_error_of_the_caller_ends_the_workers(reader):
    made = reader([f"{i}" for i in range(50)], lambda modality, item: 1.0)
    reads = read_ahead(made, tasks(50), TWO)
    next(reads)
    assert multiprocessing.active_children()
    reads.close()
    assert not multiprocessing.active_children()


# What workers hand over


def test_a_worker_that_dies_while_its_pipe_is_full_is_found(reader):
    """Lists travel as bytes; the worker of a slow export has many on their way."""

    def read(modality, item):
        if item.path.name == "9":
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGKILL)
        return np.zeros(500_000, np.uint8)

    made = reader([str(i) for i in range(12)], read)
    made.encoders[0].collate = lambda modality, reads: list(reads)
    failed = []
    for (reads,) in read_ahead(made, tasks(12), Ahead(workers=1)):
        failed.append(reads.failed)
        time.sleep(0.3)
    assert failed == [{}] * 4 + [{1: "the process that read it was ended by SIGKILL, twice"}, {}]


def test_a_batch_that_cannot_be_handed_over_is_no_items_fault_and_nobody_waits_for_it(reader):
    made = reader(["a", "b"], lambda modality, item: 1.0)
    made.encoders[0].collate = lambda modality, reads: [(lambda: 0) for _ in reads]
    with pytest.raises(FreeBindError, match=r"handed over(.|\n)*pickle(.|\n)*--workers 0"):
        list(read_ahead(made, tasks(2), TWO))


def test_a_full_shared_memory_is_no_items_fault(reader):
    text = "unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)"

    def collate(modality, reads):
        raise RuntimeError(text)

    made = reader(["a", "b"], lambda modality, item: 1.0)
    made.encoders[0].collate = collate
    with pytest.raises(FreeBindError, match=r"No space left(.|\n)*/dev/shm(.|\n)*--workers"):
        list(read_ahead(made, tasks(2), TWO))


def test_the_item_is_named_for_which_memory_does_not_suffice(reader):
    def read(modality, item):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")

    with pytest.raises(FreeBindError, match=r"item 0: (.|\n)*can't allocate memory"):
        list(read_ahead(reader(["a"], read), tasks(1), TWO))


def test_a_worker_that_died_before_it_began_is_told(reader, monkeypatch):
    monkeypatch.setattr(WorkerWatch, "start", lambda watch, worker: os._exit(1))
    with pytest.raises(FreeBindError, match="process that reads items died"):
        list(read_ahead(reader(["a"], lambda modality, item: 1.0), tasks(1), TWO))


def test_workers_that_wait_for_room_end_at_once_when_the_export_ends(reader):
    made = reader([f"{i}" for i in range(50)], lambda modality, item: np.zeros(10_000))
    reads = read_ahead(made, tasks(50), Ahead(workers=2, most_bytes=100))
    next(reads)
    time.sleep(0.2)
    began = time.monotonic()
    reads.close()
    assert time.monotonic() - began < 4  # torch waits five seconds for each


@pytest.mark.filterwarnings("ignore:.*fork")  # JAX may be here, but is not used
def test_workers_end_when_the_exporting_process_was_killed(reader, tmp_path):
    def read(modality, item):
        (tmp_path / f"worker-{os.getpid()}").touch()
        return np.zeros(10_000)

    def export():
        os.setpgid(0, 0)
        how = Ahead(workers=2, most_bytes=100)
        next(read_ahead(reader([f"{i}" for i in range(50)], read), tasks(50), how))
        os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=export)
    process.start()
    process.join()
    until = time.monotonic() + 10
    workers = [int(path.name.split("-")[1]) for path in tmp_path.glob("worker-*")]
    while any(map(is_running, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert workers
    assert not any(map(is_running, workers))


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


# Captions


def test_few_captions_start_no_worker(reader, monkeypatch):
    monkeypatch.setattr(ahead_module, "_started", pytest.fail)
    made = reader(["one", "three"], lambda modality, text: float(len(text)), column="caption")
    assert rows(read_ahead(made, tasks(2), TWO)) == [3, 5]


def test_captions_that_take_long_go_to_workers_in_order(reader):
    def read(modality, caption):
        time.sleep(0.06)
        return float(caption), float(os.getpid())

    made = reader([str(i) for i in range(12)], read, column="caption")
    made.encoders[0].collate = lambda modality, reads: list(reads)
    found = np.array(rows(read_ahead(made, tasks(12, 1), TWO)))
    assert found[:, 0].tolist() == list(range(12))
    here = found[:, 1] == os.getpid()
    assert 1 <= here.sum() <= 6
    assert not here[here.sum() :].any()


def test_the_encoder_is_not_sent_to_the_workers_which_share_it(reader):
    """So it may hold what cannot be pickled, as a model on a GPU or a lock."""
    toy = Toy()
    toy.lock, toy.read = threading.Lock(), lambda modality, item: 1.0
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    try:
        assert rows(read_ahead(reader(["a"], None, [toy]), tasks(1), TWO)) == [1]
    finally:
        multiprocessing.set_start_method(before, force=True)
