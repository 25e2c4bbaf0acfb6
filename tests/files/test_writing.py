import errno
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from disturb import NO_FOLDER_SYNC, At, counted, disturbed

from fb_jax import files
from fb_jax.errors import NOTICED, FreeBindError


@pytest.mark.parametrize(
    ("failure", "seen"),
    [
        (OSError("disk full"), FreeBindError),
        (ValueError("bad row"), ValueError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_write_that_fails_halfway_leaves_the_old_file_alone(tmp_path, contents, failure, seen):
    def write(file):
        file.write(b"half")
        raise failure

    files.write_atomic(tmp_path / "new" / "a", lambda file: file.write(b"old"))
    with pytest.raises(seen):
        files.write_atomic(tmp_path / "new" / "a", write)
    assert contents(tmp_path) == {"new/a": b"old"}


def test_writers_of_one_name_do_not_disturb_each_other(tmp_path, contents):
    """Whoever is last wins, whole; the others see no error."""
    values = [{"number": i, "long": "x" * 5000 * i} for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            list(pool.map(lambda value: files.write_json(tmp_path / "a.json", value), values))
            assert files.read_json(tmp_path / "a.json") in values
    assert list(contents(tmp_path)) == ["a.json"]


@contextmanager
def sizes():
    """Fill a list with the sizes of what is synced."""
    found, sync = [], os.fsync
    with mock.patch("os.fsync", lambda file: found.append(os.fstat(file).st_size) or sync(file)):
        yield found


@pytest.mark.usefixtures("nothing_stays_open")
def test_content_is_on_disk_before_it_gets_its_name_and_the_name_before_it_returns(tmp_path):
    path = tmp_path / "a.npy"
    with sizes() as synced, counted("os.fsync os.replace") as calls:
        files.write_npy(path, np.ones(3))
    content, rename, folder = calls
    assert content.endswith(".partial")
    assert synced[0] == path.stat().st_size
    assert rename.split()[0] == content
    assert folder == f"{tmp_path}/"


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("ENOSPC", "free some space"),
        ("EDQUOT", "free some space"),
        ("EFBIG", "ulimit -f"),
        ("EACCES", "choose a folder you may write to"),
        ("EPERM", "choose a folder you may write to"),
        ("EROFS", "choose a folder you may write to"),
        ("EIO", "look at the disk"),
    ],
)
@pytest.mark.parametrize("call", ["disturb.write", "os.fsync"])
def test_the_advice_fits_the_error_and_nothing_is_left(tmp_path, contents, call, error, advice):
    files.write_json(tmp_path / "a.json", 1)
    before = contents(tmp_path)
    with disturbed(At(call, 1, error)), pytest.raises(FreeBindError, match=advice):
        files.write_json(tmp_path / "a.json", 2)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("error", ["EINVAL", "ENOTSUP", "ENOSYS", "EBADF"])
def test_a_disk_that_cannot_sync_folders_is_named_once_and_the_work_goes_on(
    tmp_path, caplog, error
):
    with disturbed(NO_FOLDER_SYNC._replace(do=error)):
        for number in range(3):
            files.write_json(tmp_path / f"{number}" / "a.json", number)
        assert not files.sync_folder(tmp_path)
    assert files.sync_folder(tmp_path)
    assert files.read_json(tmp_path / "2" / "a.json") == 2
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{tmp_path}/0: this disk cannot sync")
    assert {("sync", tmp_path.stat().st_dev)} == NOTICED


def test_numbers_that_json_lacks_become_null(tmp_path):
    files.write_json(tmp_path / "a.json", {"x": [float("nan"), (float("inf"), 1.5)], "y": None})
    assert files.read_json(tmp_path / "a.json") == {"x": [None, [None, 1.5]], "y": None}
    assert '\n  "y": null\n' in (tmp_path / "a.json").read_text()  # for people to read


def test_files_have_the_permissions_of_the_user_and_any_name_that_fits(tmp_path):
    before = os.umask(0o027)
    try:
        files.write_json(tmp_path / "a.json", 1)
        with files.locked(tmp_path):  # others of the group may lock it too
            pass
    finally:
        os.umask(before)
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o777 == 0o640


def test_what_fills_a_disk_is_what_the_system_says():
    full = files.not_written(Path("x"), OSError(errno.ENOSPC, "No space left on device"))
    assert "free some space" in str(full)
    assert "free some space" not in str(files.not_written(Path("x"), OSError(errno.EINVAL, "?")))
