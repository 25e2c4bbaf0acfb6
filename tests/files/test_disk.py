import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from fb_jax import files
from fb_jax.errors import FreeBindError


@pytest.mark.parametrize("use", [files.require_writable, lambda path: files.write_json(path, {})])
def test_a_folder_that_is_a_file_is_named(tmp_path, use):
    (tmp_path / "a").touch()
    with pytest.raises(
        FreeBindError, match=r"(a file, not a folder|could not be writ).*\n.*/a(/b)?\n"
    ):
        use(tmp_path / "a" / "b")


def test_a_folder_that_can_be_made_is_writable_and_is_not_made_yet(tmp_path):
    files.require_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_space_is_asked_for_where_the_folder_would_be(tmp_path):
    files.require_space({tmp_path / "a" / "b": 1, tmp_path: -1})
    with pytest.raises(FreeBindError, match=r"expected: 1000000\.00 GB free\n.*\d [MG]B free"):
        files.require_space({tmp_path: 4 * 10**14, tmp_path / "a" / "b": 6 * 10**14})  # one disk
    with pytest.raises(FreeBindError, match=r"expected: 1000000\.00 GB free"):
        files.require_space({tmp_path: -(10**15), tmp_path / "a" / "b": 10**15})


def test_space_suffices_if_it_is_just_enough_on_each_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=9))
    files.require_space({tmp_path: 9, Path("/proc"): 9})


def test_sizes_are_in_megabytes_below_one_gigabyte():
    assert [files.gigabytes(n) for n in (0, 999e6, 10**9)] == ["0.0 MB", "999.0 MB", "1.00 GB"]


def test_the_bytes_of_a_folder_are_those_of_all_files_in_it(tmp_path):
    files.write_json(tmp_path / "a" / "b.json", 7)
    assert files.folder_bytes(tmp_path) == len("7\n")
    assert files.folder_bytes(tmp_path / "nowhere") == 0


@pytest.mark.parametrize(
    ("name", "says"),
    [("a\0", "null"), ("a\udcff", "Unicode"), ("ü" * 128, "255"), ("x" * 256, "255")],
)
def test_what_cannot_be_a_path_is_refused(tmp_path, name, says):
    files.require_path(tmp_path / ("ü" * 127))
    for use in (files.require_path, files.require_writable):
        with pytest.raises(FreeBindError, match=rf"cannot be a path(.|\n)*{says}"):
            use(tmp_path / name / "run")
