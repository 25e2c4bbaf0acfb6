import threading
from functools import partial

import pytest
from disturb import NO_LOCKS, At, disturbed, run

from fb_jax import files
from fb_jax.errors import NOTICED, FreeBindError
from fb_jax.files import locks


def test_a_folder_is_held_by_one_and_free_after_it(tmp_path):
    folder = tmp_path / "new"
    with files.locked(folder) as held:
        assert held
        with pytest.raises(FreeBindError, match=rf"another process is writing here\n.*{folder}"):
            files.locked(folder).__enter__()
        with files.locked(folder, name=".other"), files.locked(folder, name=""):
            pass
    with files.locked(folder):
        pass


@pytest.mark.parametrize("name", [".lock", ""])
def test_one_that_waits_goes_on_when_the_other_is_done(tmp_path, name):
    done = []

    def second():
        with files.locked(tmp_path, wait=True, name=name):
            done.append("second")

    thread = threading.Thread(target=second)
    with files.locked(tmp_path, name=name):
        thread.start()
        thread.join(0.1)
        done.append("first")
    thread.join()
    assert done == ["first", "second"]


def test_the_lock_of_a_folder_itself_leaves_no_file(tmp_path):
    with files.locked(tmp_path, name=""):
        assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    (tmp_path / "a.json.1-2.partial").touch()
    (tmp_path / "space.1-2.partial" / "inner").mkdir(parents=True)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.partial").touch()
    (tmp_path / "own.txt").touch()
    (tmp_path / "link.partial").symlink_to(tmp_path / "sub")
    with files.locked(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == {".lock", "sub", "own.txt"}
        (tmp_path / "mine.partial").touch()
        with files.locked(tmp_path, name=".other"):  # others may write meanwhile
            assert (tmp_path / "mine.partial").exists()
    assert (tmp_path / "sub" / "b.partial").exists()


@pytest.mark.parametrize("error", ["ENOLCK", "ENOTSUP", "ENOSYS", "EINVAL", "EBADF"])
def test_a_disk_without_locks_is_named_once_and_the_work_goes_on(tmp_path, caplog, error):
    (tmp_path / "of another.partial").touch()
    for folder in (tmp_path, tmp_path, tmp_path / "sub"):
        with disturbed(NO_LOCKS._replace(do=error)), files.locked(folder) as held:
            assert not held
    assert (tmp_path / "of another.partial").exists()  # who knows whose it is
    assert {("locks", tmp_path.stat().st_dev)} == NOTICED
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{tmp_path}: this disk has no locks")


@pytest.mark.parametrize(
    ("error", "says"), [("EIO", "a lock could"), ("EAGAIN", "another"), ("EACCES", "another")]
)
def test_a_lock_that_fails_in_another_way_is_told(tmp_path, error, says):
    with disturbed(At("fcntl.flock", 1, error)), pytest.raises(FreeBindError, match=says):
        files.locked(tmp_path).__enter__()


def test_a_disk_may_lock_whole_files_but_no_ranges(tmp_path):
    assert files.has_locks(tmp_path)
    with disturbed(NO_LOCKS._replace(calls="fcntl.lockf")):
        assert not files.has_locks(tmp_path)


NUMBERED = partial(files.locked_number, what="part")


def test_numbers_of_a_folder_are_held_one_by_one(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    with NUMBERED(tmp_path, 3) as held, NUMBERED(tmp_path, 4):
        assert held
        for folder in (tmp_path, tmp_path / "link"):
            with pytest.raises(files.Taken, match=r"another process(.|\n)*part 3 is taken"):
                NUMBERED(folder, 3).__enter__()
        with NUMBERED(tmp_path, 3, name=".other"), NUMBERED(tmp_path / "sub", 3):
            pass
        with NUMBERED(tmp_path, 5):
            pass
        assert not_in_another_process(tmp_path, 3)  # the locks of 3 and 4 are still there
        assert not_in_another_process(tmp_path, 4)
        assert not not_in_another_process(tmp_path, 5)
    assert not not_in_another_process(tmp_path, 3)
    assert not locks._NUMBERS


def not_in_another_process(folder, number):
    """Return whether another process is refused a number."""
    code = f"""
from pathlib import Path
from fb_jax import files
with files.locked_number(Path({str(folder)!r}), {number}, "part"):
    pass
"""
    return "is taken" in run("-c", code).stderr


FORKED = """
import os, sys
from pathlib import Path
from fb_jax import files

folder, (here, there) = Path(sys.argv[1]), os.pipe()
with files.locked(folder), files.locked_number(folder, 3, "part"):
    if not os.fork():
        os.close(there)
        os.read(here, 1)  # until its parent ends
        os._exit(0)
with files.locked(folder), files.locked_number(folder, 3, "part"):
    print("free")
"""


def test_a_forked_process_holds_no_lock_of_its_parent(tmp_path):
    """Such as one that reads ahead, and lives on."""
    done = run("-c", FORKED, tmp_path)
    assert (done.stdout, done.stderr) == ("free\n", "")


def test_numbers_of_a_disk_without_locks_are_held_in_this_process_alone(tmp_path):
    with disturbed(NO_LOCKS), NUMBERED(tmp_path, 3) as held:
        assert not held
        with pytest.raises(files.Taken):
            NUMBERED(tmp_path, 3).__enter__()
    assert {("locks", tmp_path.stat().st_dev)} == NOTICED
    with disturbed(At("fcntl.lockf", 1, "EIO")), pytest.raises(FreeBindError, match="a lock could"):
        NUMBERED(tmp_path, 3).__enter__()
    assert not locks._NUMBERS
