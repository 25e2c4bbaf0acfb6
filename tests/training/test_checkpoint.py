import shutil
import subprocess
import sys
from contextlib import nullcontext
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from disturb import room

from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.training.checkpoint import OVERHEAD, Checkpoints


class State(NamedTuple):
    weights: dict[str, jnp.ndarray]
    count: jnp.ndarray


PLACE = {"next": 3, "nested": {"list": [1, 2], "text": "≠"}}


def state_of(value=0.0):
    """A small state: single precision, half precision, whole numbers."""
    weights = {"kernel": jnp.arange(6.0).reshape(2, 3) + value, "half": jnp.ones(4, jnp.float16)}
    return State(weights, jnp.array([7, 8]))


@pytest.fixture
def checkpoints(tmp_path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints")


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Checkpoints:
    """One of step 5. To be left, or left again, as it is."""
    checkpoints = Checkpoints(tmp_path_factory.mktemp("saved"))
    checkpoints.save(5, state_of(), PLACE)
    return checkpoints


def assert_holds(checkpoints, step, value=0.0):
    state, place = checkpoints.restore(step, state_of())
    wanted = state_of(value)
    assert isinstance(state, State)
    np.testing.assert_array_equal(state.weights["kernel"], wanted.weights["kernel"], strict=True)
    np.testing.assert_array_equal(state.weights["half"], wanted.weights["half"], strict=True)
    np.testing.assert_array_equal(state.count, wanted.count, strict=True)
    assert place == PLACE


def test_what_was_saved_comes_back_bit_by_bit(saved):
    assert saved.steps() == [5]
    assert_holds(saved, 5)


def test_one_altered_byte_in_any_file_is_noticed(saved):
    paths = [path for path in saved.folder.rglob("*") if path.is_file()]
    assert len([path for path in paths if path.stat().st_size]) > 5
    for path in paths:
        whole = path.read_bytes()
        for position in {0, len(whole) // 2, len(whole) - 1} if whole else ():
            altered = bytearray(whole)
            altered[position] ^= 1
            path.write_bytes(altered)
            with pytest.raises(FreeBindError):
                saved.restore(5, state_of())
        path.write_bytes(whole)
    assert_holds(saved, 5)


@pytest.mark.parametrize("change", ["altered", "missing", "new"])
def test_the_file_that_changed_is_named(saved, tmp_path, change):
    copied = Checkpoints(shutil.copytree(saved.folder, tmp_path / "copied"))
    path = copied.folder / "5" / "place" / "metadata"
    if change == "altered":
        path.write_bytes(path.read_bytes() + b" ")
    elif change == "missing":
        path.unlink()
    else:
        path = path.with_name("new")
        path.touch()
    with pytest.raises(FreeBindError, match="altered after it was written") as refused:
        copied.restore(5, state_of())
    assert f"where:    {path}\n" in str(refused.value)
    assert "delete" in str(refused.value)


KERNEL, HALF, COUNT = state_of().weights["kernel"], state_of().weights["half"], state_of().count


@pytest.mark.parametrize(
    ("like", "name", "wanted", "got"),
    [
        (State({"kernel": KERNEL.T, "half": HALF}, COUNT), "kernel", r"\[3, 2\]", r"\[2, 3\]"),
        (State({"kernel": KERNEL, "half": jnp.ones(4)}, COUNT), "half", "float32", "float16"),
        (State({"kernel": KERNEL}, COUNT), "half", "none of this name", "float16"),
        (State({**state_of().weights, "new": COUNT}, COUNT), "new", "int32", "none of this name"),
    ],
)
def test_arrays_of_another_model_are_named_with_both_forms(saved, like, name, wanted, got):
    pattern = rf"(?s)another model.*array weights\.{name}\n.*expected: .*{wanted}.*got: .*{got}"
    with pytest.raises(FreeBindError, match=pattern):
        saved.restore(5, like)


def test_only_the_newest_are_kept(checkpoints):
    for step in (1, 4, 9, 12):
        checkpoints.save(step, state_of(step), PLACE)
    assert checkpoints.steps() == [9, 12]
    assert {path.name for path in checkpoints.folder.iterdir()} == {"9", "9.json", "12", "12.json"}
    assert_holds(checkpoints, 9, value=9)
    assert_holds(checkpoints, 12, value=12)
    fewer = Checkpoints(checkpoints.folder, keep=1)
    fewer.save(13, state_of(), PLACE)
    assert fewer.steps() == [13]


def test_a_step_is_saved_once(checkpoints):
    checkpoints.save(1, state_of(1), PLACE)
    checkpoints.save(1, state_of(2), PLACE)
    assert_holds(checkpoints, 1, value=1)


def test_what_a_kill_left_does_not_count_and_is_replaced(checkpoints):
    checkpoints.save(1, state_of(1), PLACE)
    checkpoints.save(2, state_of(2), PLACE)
    (checkpoints.folder / "2.json").unlink()  # killed before the digests were there
    half_written = checkpoints.folder / "2.orbax-checkpoint-tmp-0" / "state"
    half_written.mkdir(parents=True)
    assert checkpoints.steps() == [1]
    checkpoints.save(2, state_of(3), PLACE)
    assert_holds(checkpoints, 2, value=3)
    assert not half_written.exists()


def test_digests_without_their_step_do_not_count(checkpoints):
    checkpoints.save(1, state_of(), PLACE)
    shutil.rmtree(checkpoints.folder / "1")
    assert checkpoints.steps() == []


def test_before_the_first_there_is_none(checkpoints):
    assert checkpoints.steps() == []


def test_a_folder_that_cannot_be_made_is_told(checkpoints):
    checkpoints.folder.touch()
    with pytest.raises(FreeBindError, match="could not be written") as refused:
        checkpoints.save(1, state_of(), PLACE)
    assert f"{checkpoints.folder / '1'}" in str(refused.value)
    assert "from the start" in str(refused.value)


@pytest.mark.parametrize("most", [0, 300], ids=["no room", "room for small files"])
def test_a_full_disk_is_told_and_leaves_the_step_before(checkpoints, most):
    big = {"noise": np.random.default_rng(0).normal(size=2000)}
    checkpoints.save(1, big, PLACE)
    with room(most), pytest.raises(FreeBindError, match=r"(?s)could not be .*from step 1"):
        checkpoints.save(2, big, PLACE)
    assert checkpoints.steps() == [1]
    checkpoints.save(2, big, PLACE)
    assert checkpoints.steps() == [1, 2]
    np.testing.assert_array_equal(checkpoints.restore(2, big)[0]["noise"], big["noise"])


def test_digests_are_of_every_file(saved):
    folder = saved.folder / "5"
    digests = files.read_json(folder.with_suffix(".json"))["files"]
    found = {path for path in folder.rglob("*") if path.is_file()}
    assert {folder / name: digest for name, digest in digests.items()} == {
        path: files.sha256_of(path) for path in found
    }


@pytest.mark.parametrize("lacking", [0, 1])
def test_a_checkpoint_is_begun_where_it_has_room(checkpoints, monkeypatch, lacking):
    room = OVERHEAD + KERNEL.nbytes - lacking
    monkeypatch.setattr(files, "free_bytes", lambda _: room)
    wanted = pytest.raises(FreeBindError, match=r"MB free, .* MB needed")
    with wanted if lacking else nullcontext():
        checkpoints.save(1, {"kernel": KERNEL}, PLACE)


TWO_DEVICES = """
import sys, jax
from pathlib import Path
from fb_jax.training.checkpoint import Checkpoints
device = jax.devices()[1]
Checkpoints(Path(sys.argv[1])).save(3, {"x": jax.device_put(jax.numpy.arange(4), device)}, {})
"""


def test_what_was_saved_on_one_device_comes_back_where_there_is_another(tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    subprocess.run([sys.executable, "-c", TWO_DEVICES, str(tmp_path)], check=True)
    state, _ = Checkpoints(tmp_path).restore(3, {"x": jnp.arange(4)})
    assert state["x"].tolist() == [0, 1, 2, 3]
