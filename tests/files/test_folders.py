import pytest
from disturb import NO_LOCKS, disturbed

from fb_jax import files
from fb_jax.errors import FreeBindError


def fill(folder):
    (folder / "inner").mkdir()
    (folder / "inner" / "file").write_text("whole")


def test_a_folder_appears_whole_and_what_dead_processes_left_of_it_goes(tmp_path):
    left = [tmp_path / name for name in ("mine.1-2.partial", "other.1-2.partial")]
    for path in left:
        path.mkdir()
    files.write_folder(tmp_path / "mine", fill, "a thing")
    assert (tmp_path / "mine/inner/file").read_text() == "whole"
    assert sorted(tmp_path.iterdir()) == [tmp_path / "mine", left[1]]


def test_a_failure_leaves_nothing(tmp_path):
    def fail(folder):
        fill(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(FreeBindError, match=r"a thing could not be written\n.*mine\n.*No space"):
        files.write_folder(tmp_path / "mine", fail, "a thing")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_kept(tmp_path):
    fill(tmp_path)
    with pytest.raises(FreeBindError, match="a thing could not be written"):
        files.write_folder(tmp_path / "inner", fill, "a thing")
    assert [path.name for path in tmp_path.rglob("*")] == ["inner", "file"]


def test_who_writes_is_not_disturbed(tmp_path):
    def twice(folder):
        fill(folder)
        with pytest.raises(FreeBindError, match="another process is writing here"):
            files.write_folder(tmp_path / "mine", fill, "a thing")
        with disturbed(NO_LOCKS):  # nobody knows whose the unfinished folder is
            files.write_folder(tmp_path / "mine", fill, "a thing")
        assert (folder / "inner/file").exists()

    with pytest.raises(FreeBindError, match="a thing could not be written"):  # it is there by now
        files.write_folder(tmp_path / "mine", twice, "a thing")
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "inner", "file"]
