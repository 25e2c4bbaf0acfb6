"""Encoding of batches: whose fault a failure is, and batches that do not fit into memory."""

import re
import weakref

import numpy as np
import pytest
import torch

from encoders_torch.exporting.batches import bytes_of, first_of, groups, part
from encoders_torch.exporting.encoding import HOPELESS, Encoding
from fb_jax.errors import FreeBindError
from tests.encoders_torch.conftest import Toy


@pytest.fixture
def encoding():
    """Make an encoding whose encoder does this; ``sizes`` notes the batches that it got."""

    def encoding(encode):
        toy, sizes = Toy(), []
        toy.encode = lambda modality, batch: sizes.append(len(batch)) or encode(np.asarray(batch))
        made = Encoding(toy, "text")
        made.sizes = sizes
        return made

    return encoding


def ones(batch):
    return np.ones((len(batch), 4), np.float32)


def test_rows_are_unit_rows_and_those_without_direction_fail(encoding):
    batch = np.float32([[3, 4, 0, 0], [0, 0, 0, 0], [np.nan, 0, 0, 0], [0, 0, 2, 0]])
    rows, failed = encoding(lambda batch: batch).encode(batch, 4)
    np.testing.assert_allclose(rows, [[0.6, 0.8, 0, 0], [0] * 4, [0] * 4, [0, 0, 1, 0]])
    assert failed == dict.fromkeys([1, 2], "its embedding has no direction")


@pytest.mark.parametrize("bad", [{0}, {2}, {6}, {0, 5}, {1, 2, 3}, set(range(6))])
def test_the_items_at_fault_are_found_and_cost_the_others_nothing(encoding, bad):
    def encode(batch):
        if bad & set(batch[:, 0].astype(int).tolist()):
            raise ValueError("not this one")
        return np.hstack([batch, ones(batch)[:, :2]])

    batch = np.float32([[i, 1] for i in range(7)])
    rows, failed = encoding(encode).encode(batch, 7)
    assert failed == dict.fromkeys(sorted(bad), "ValueError: not this one")
    good = sorted(set(range(7)) - bad)
    wanted = encode(batch[good])
    np.testing.assert_allclose(rows[good], wanted / np.linalg.norm(wanted, axis=1)[:, None])
    assert not rows[sorted(bad)].any()


# Lack of memory


MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
]


@pytest.mark.parametrize("error", MEMORY, ids=lambda error: type(error).__name__)
def test_a_batch_that_does_not_fit_into_memory_is_halved_for_good(encoding, error, caplog):
    def encode(batch):
        if len(batch) > 2:
            raise error
        return ones(batch)

    made = encoding(encode)
    for _ in range(2):
        rows, failed = made.encode(np.zeros((7, 1)), 7)
        assert (rows.shape, failed) == ((7, 4), {})
        assert (rows == 0.5).all()
    assert made.sizes == [7, 4, 2, 2, 2, 1, 2, 2, 2, 1]
    assert re.search("memory ran out; from now on 2 items together", caplog.text)


def test_what_a_batch_left_in_memory_is_free_before_its_halves_are_encoded(encoding):
    alive = weakref.WeakSet()

    def encode(batch):
        here = torch.zeros(len(batch))
        alive.add(here)
        if sum(len(tensor) for tensor in alive) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return ones(batch)

    rows, failed = encoding(encode).encode(np.zeros((6, 1)), 6)
    assert (rows == 0.5).all()
    assert failed == {}


def test_one_item_that_does_not_fit_into_memory_ends_the_export(encoding):
    def encode(batch):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(FreeBindError, match=r"one item alone(.|\n)*larger device"):
        encoding(encode).encode(np.zeros((4, 1)), 4)


# Broken devices


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",
        "HIP error: invalid device function",
    ],
)
def test_an_error_of_the_device_is_no_items_fault(encoding, text):
    def encode(batch):
        raise RuntimeError(text)

    with pytest.raises(FreeBindError, match=r"device failed, not an item(.|\n)*is done is kept"):
        encoding(encode).encode(np.zeros((4, 1)), 4)


def test_a_device_that_fails_with_any_other_error_is_found_by_an_item_that_worked_before(encoding):
    broken = []

    def encode(batch):
        if broken or batch.max() > 4:
            broken.append(True)
            raise RuntimeError("unspecified failure")
        return ones(batch)

    made = encoding(encode)
    assert made.encode(np.zeros((4, 1)), 4)[1] == {}
    with pytest.raises(FreeBindError, match=r"not an item(.|\n)*unspecified failure"):
        made.encode(np.float32([[1], [5], [1]]), 3)


def test_an_encoder_that_never_worked_ends_the_export_early(encoding):
    def encode(batch):
        raise RuntimeError("no kernel image")

    made = encoding(encode)
    made.encode(np.zeros((HOPELESS - 1, 1)), HOPELESS - 1)
    with pytest.raises(FreeBindError, match=rf"each of the first {HOPELESS} items(.|\n)*no kernel"):
        made.encode(np.zeros((1, 1)), 1)


def test_rows_of_another_shape_are_refused(encoding):
    with pytest.raises(FreeBindError, match=r"another shape\n.*toy\n.*\[2, 4\]\n.*\[2, 5\]"):
        encoding(lambda batch: np.ones((2, 5))).encode(np.zeros((2, 1)), 2)


@pytest.mark.parametrize(
    "batch",
    [
        [np.zeros((3, 2)), np.zeros((3, 1))],  # the default for reads that are tuples
        {"ids": np.zeros((3, 2)), "long": True},
        {"ids": np.zeros((3, 2)), "rest": [1, 2]},
    ],
)
def test_a_batch_that_cannot_be_cut_into_its_items_is_refused(encoding, batch):
    with pytest.raises(FreeBindError, match=r"cannot be cut(.|\n)*toy(.|\n)*3 items"):
        encoding(ones).encode(batch, 3)


# Batches


def test_parts_of_batches_of_every_kind():
    tensor = torch.arange(6).reshape(3, 2)
    batch = {"a": tensor, "b": {"c": [1, 2, 3]}}
    found = part(batch, 1, 3)
    assert found["a"].tolist() == [[2, 3], [4, 5]]
    assert found["b"] == {"c": [2, 3]}


def test_the_first_item_of_a_batch_holds_no_memory_of_the_others():
    """It is kept for as long as the export runs, and batches are in /dev/shm."""
    batch = {"a": torch.arange(1000), "b": np.arange(1000), "c": ["x"] * 1000}
    first = first_of(batch)
    assert (first["a"].tolist(), first["b"].tolist(), first["c"]) == ([0], [0], ["x"])
    assert first["a"].untyped_storage().nbytes() == 8
    assert first["b"].base is None


@pytest.mark.parametrize(
    ("sizes", "most", "wanted"),
    [
        ([], 5, []),
        ([9], 5, [1]),
        ([2, 2, 2, 2], 4, [2, 2]),
        ([1, 1, 9, 1], 5, [3, 1]),
        ([5, 5, 1], 5, [1, 1, 1]),
    ],
)
def test_groups_end_when_they_reach_a_size(sizes, most, wanted):
    found = groups(sizes, most)
    assert [cut.stop - cut.start for cut in found] == wanted
    assert [i for cut in found for i in range(len(sizes))[cut]] == list(range(len(sizes)))


def test_sizes_of_what_encoders_read():
    from dataclasses import dataclass

    from PIL import Image

    @dataclass
    class Two:
        left: np.ndarray
        right: torch.Tensor

    two = Two(np.zeros(3, np.float32), torch.zeros(2, dtype=torch.float64))
    assert bytes_of(two) == 12 + 16
    assert bytes_of({"a": [two, two]}) == 56
    assert bytes_of(Image.new("RGB", (5, 2))) == 30
    with pytest.raises(Exception, match="pickle"):
        bytes_of(lambda: 0)
