import hashlib
import os
import threading
import time
from pathlib import Path

import pytest
from disturb import counted

from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.files import remembered

HASHING = "fb_jax.files.remembered.sha256_of_stream"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, which also remembers files that were just written."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(remembered, "SETTLED", -(10**12))
    return tmp_path / "cache/freebind/digests"


@pytest.fixture
def path(tmp_path):
    (tmp_path / "weights").write_bytes(b"abc")
    return tmp_path / "weights"


def reads(path):
    """Return how often the file was read to tell its digest, which must be right."""
    with counted(HASHING) as calls:
        digest = files.remembered_sha256(path)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    return len(calls)


def test_a_file_is_read_once_under_whatever_name_and_again_after_it_changed(cache, path):
    assert [reads(path), reads(path)] == [1, 0]
    link = path.with_name("link")
    link.symlink_to(path)
    assert reads(link) == 0
    assert len(list(cache.iterdir())) == 1
    stat = path.stat()
    path.write_bytes(b"abd")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as if it had not changed
    assert [reads(path), reads(path)] == [1, 0]
    path.with_name("other").write_bytes(b"xyz")
    path.with_name("other").replace(path)
    assert [reads(path), reads(path)] == [1, 0]
    assert files.remembered_sha256(path) == files.sha256_of(path)


def test_a_file_that_has_just_changed_is_not_remembered(cache, path, monkeypatch):
    monkeypatch.setattr(remembered, "SETTLED", 2 * 10**9)
    assert [reads(path), reads(path)] == [1, 1]
    assert not cache.exists()
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 3 * 10**9)
    assert [reads(path), reads(path)] == [1, 0]


def test_a_file_that_changes_while_it_is_read_is_not_remembered(cache, path, monkeypatch):
    def read(file, was=remembered.sha256_of_stream):
        digest = was(file)
        with path.open("ab") as same:
            same.write(b"d")
        return digest

    monkeypatch.setattr(remembered, "sha256_of_stream", read)
    files.remembered_sha256(path)
    monkeypatch.undo()
    assert not cache.exists()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"size": 3}', b'{"sha256": "0", "digest": "1"}', b"\xff" * 99]
)
def test_a_damaged_cache_is_written_again(cache, path, content):
    reads(path)
    (entry,) = cache.iterdir()
    entry.write_bytes(content)
    assert [reads(path), reads(path)] == [1, 0]


def test_an_altered_digest_is_noticed(cache, path):
    reads(path)
    (entry,) = cache.iterdir()
    digest = hashlib.sha256(b"abc").hexdigest()
    entry.write_text(entry.read_text().replace(digest, digest[::-1]))
    assert reads(path) == 1


@pytest.mark.parametrize("asked", ["", "relative"])
def test_without_a_cache_the_file_is_read(tmp_path, path, monkeypatch, asked):
    (tmp_path / "a file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "a file"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", asked)
    assert [reads(path), reads(path)] == [1, 1]
    assert {p.name for p in tmp_path.iterdir()} == {"a file", "weights"}


def test_without_a_home_the_file_is_read(tmp_path, path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert [reads(path), reads(path)] == [1, 1]


def test_many_may_remember_at_once(cache, path):
    digests = []
    read = lambda: digests.append(files.remembered_sha256(path))  # noqa: E731
    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(digests) == {hashlib.sha256(b"abc").hexdigest()}
    assert len(list(cache.iterdir())) == 1


def test_what_cannot_be_read_is_told_as_without_a_cache(cache, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FreeBindError, match=r"the weights cannot be read(.|\n)*a named pipe"):
        files.remembered_sha256(tmp_path / "pipe", "the weights")
    with pytest.raises(FreeBindError, match="the weights is missing"):
        files.remembered_sha256(tmp_path / "nothing", "the weights")
