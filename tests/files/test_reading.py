import os
import socket
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.files.kinds import Count, FileName


@dataclass(frozen=True)
class Shard:
    file: FileName
    rows: Count


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "^a file is missing"),
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b'"\\ud800"', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'[{"a":' * 32 + b"[]" + b"}]" * 32, "nested more than 64 deep"),
        (b"NaN", "not valid JSON"),
        (b"1e400", "not valid JSON"),
        (b"[]", "Expected `object`"),
        (b'{"file": "a.npy", "rows": true}', r"Expected `int`.*\.rows"),
        (b'{"file": "a.npy", "rows": 0.9}', r"Expected `int`.*\.rows"),
        (b'{"file": "a.npy", "rows": -3}', r">= 0.*\.rows"),
        (b'{"file": "a.npy", "rows": 1' + b"0" * 30 + b"}", r"<=.*\.rows"),
        (b'{"file": "../a.npy", "rows": 3}', r"regex.*\.file"),
        (b'{"file": "/a.npy", "rows": 3}', r"regex.*\.file"),
        (b'{"file": "..", "rows": 3}', r"regex.*\.file"),
        (b'{"file": "a.npy\\n", "rows": 3}', r"regex.*\.file"),
        (b'{"file": "a.npy"}', "rows"),
        (b'{"file": "a.npy", "rows": 3, "sha256": "0"}', r"altered(.|\n)*delete the line"),
    ],
)
def test_json_that_cannot_be_is_refused_by_name(tmp_path, content, says):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FreeBindError, match=rf"(?s)a\.json.*|{says}") as refused:
        files.read_json(path, Shard)
    assert len(str(refused.value)) < 5000
    refused.match(says)


def test_json_comes_back_as_its_kind(tmp_path):
    files.write_json(tmp_path / "a.json", {"file": "a.npy", "rows": 0, "later": 1, "sha256": 2})
    assert files.read_json(tmp_path / "a.json", Shard) == Shard("a.npy", 0)
    files.parse_json(b"[" * 64 + b"]" * 64, "a list", tmp_path)


def test_any_flipped_bit_of_a_written_object_changes_nothing_or_is_noticed(tmp_path):
    path, value = tmp_path / "a.json", {"caption": "Füße", "rows": [1, 2], "rate": 0.001}
    files.write_json(path, value)
    assert "Füße" in path.read_text("utf-8")
    whole = path.read_bytes()
    for position in range(len(whole)):
        for bit in range(8):
            content = bytearray(whole)
            content[position] ^= 1 << bit
            path.write_bytes(content)
            try:
                found = files.read_json(path, dict[str, Any])
            except FreeBindError:
                continue
            assert {name: found[name] for name in value} == value


def npy(shape="(2, 3)", dtype="<f4", data=b"\0" * 24, fortran=False):
    header = f"{{'descr': '{dtype}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        npy(data=b"\0" * 23),
        npy(shape="(200000000000,)"),
        npy(shape=f"(1{'0' * 30},)"),
        npy(shape=f"(0, 1{'0' * 30})"),
        npy(shape="(-2, -3)"),
        npy(shape="(2, 3"),
        npy(shape="'x'"),
        npy(shape="(True, 3)" + "[" * 300),
        npy(dtype="|O"),
        npy(dtype="|O", shape="(0, 3)"),
        npy(dtype="<q9"),
        b"\x93NUMPY\x03\x00" + b"\xff" * 100,
        b"\x93NUMPY\x02\x00" + b"\xff\xff\xff\x7f" + b"x" * 100,
    ],
)
def test_numbers_that_cannot_be_are_refused_before_anything_is_allocated(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(FreeBindError, match=r"a table cannot be read: .*\n.*a\.npy") as refused:
        files.read_npy(tmp_path / "a.npy", "a table")
    if content == npy(data=b"\0" * 23):
        refused.match("should hold 24 bytes of numbers and holds 23")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.empty((0, 3), ">i4"),
        np.array(3, np.float16),
    ],
)
def test_numbers_come_back(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    found = files.read_npy(tmp_path / "a.npy", "a table")
    np.testing.assert_array_equal(found, array, strict=True)
    found[...] = 1  # a copy
    files.write_npy(tmp_path / "b.npy", array)
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), array)


@pytest.mark.usefixtures("nothing_stays_open")
def test_only_regular_files_are_opened_and_nothing_blocks(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("1")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    for name, kind in [("pipe", "a named pipe"), ("folder", "a folder"), ("socket", "")]:
        with pytest.raises(FreeBindError, match=rf"a list .*\n.*{name}(.|\n)*{kind}"):
            files.open_regular(tmp_path / name, "a list")
    with pytest.raises(FreeBindError, match="a device"):
        files.open_regular(tmp_path.joinpath("/dev/zero"))
    assert files.read_bytes(tmp_path / "link", 1) == b"1"
    with pytest.raises(FreeBindError, match="a link"):
        files.open_regular(tmp_path / "link", follow=False)
    with pytest.raises(FreeBindError, match="longer than it should be"):
        files.read_bytes(tmp_path / "file", 0)
    os.truncate(tmp_path / "file", 1 << 40)
    with pytest.raises(FreeBindError, match="longer than it should be"):  # and no memory is full
        files.read_bytes(tmp_path / "file", 9)
    with pytest.raises(FreeBindError, match="cannot be opened"):
        files.open_regular(tmp_path / "nul\0l")
    assert [files.special(tmp_path / name) for name in ("pipe", "folder", "file", "nul\0l")] == [
        "a named pipe",
        None,
        None,
        None,
    ]


def test_lines_end_at_a_line_feed_and_the_first_may_have_a_byte_order_mark(tmp_path):
    lines = ["\ufeff{}", '["\u2028\x85"]', "[]\r", "\ufeff[]"]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), "utf-8", newline="")
    read = files.read_jsonl(tmp_path / "a.jsonl", Any)
    assert [next(read) for _ in range(3)] == [{}, ["\u2028\x85"], []]
    with pytest.raises(FreeBindError, match=r"not valid JSON\n.*a\.jsonl, line 4"):
        next(read)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "cannot be read"),
        ("a: " + "[" * 5000, "cannot be read"),
        ("a: &x [*x]", "inside its own anchor"),
        ("a: &x {y: *x}", "inside its own anchor"),
        ("a: &x [1]\nb: [" + "*x, " * 17 + "]", "more than 16 aliases"),
        ("a: 2001-99-99", "cannot be read"),
        ("a: 1" + "0" * 5000, "cannot be read"),
        ("a: !!python/object:os.system x", "cannot be read"),
        ("- 1", "options by name"),
        ("1: 2", "options by name"),
        ("", "options by name"),
        ("a: '" + "x" * (1 << 17) + "'", "longer than it should be"),
    ],
)
def test_yaml_that_cannot_be_is_refused(tmp_path, text, says):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(FreeBindError, match=rf"(?s){says}") as refused:
        files.read_yaml(tmp_path / "a.yaml", "a config file")
    assert "a.yaml" in str(refused.value)


def test_yaml_may_reuse_a_part(tmp_path):
    text = "\ufeffa: &x {b: 1}\nc:\n  <<: *x\n  d: [" + "*x, " * 15 + "]\n"
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    found = files.read_yaml(tmp_path / "a.yaml", "a config file")
    assert found["c"] == {"b": 1, "d": [{"b": 1}] * 15}


def test_on_and_off_are_words_in_yaml(tmp_path):
    (tmp_path / "a.yaml").write_text("{hubs: off, b: On, c: true, d: no, e: 1}")
    found = files.read_yaml(tmp_path / "a.yaml", "a config file")
    assert found == {"hubs": "off", "b": "On", "c": True, "d": False, "e": 1}


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"\xef\xbb\xbf", []),
        (b"\xef\xbb\xbfa\r\nb", ["a", "b"]),
        ("a\u2028b\vc\x85d\re\n\n\ufefff\n".encode(), ["a\u2028b\vc\x85d\re", "", "\ufefff"]),
    ],
)
def test_lines_end_at_a_line_feed_only_and_a_mark_counts_at_the_start_only(
    tmp_path, content, lines
):
    (tmp_path / "a.txt").write_bytes(content)
    assert list(files.read_lines(tmp_path / "a.txt")) == lines
    (tmp_path / "a.txt").write_bytes(content + b"\n\xff")
    with pytest.raises(FreeBindError, match=r"not UTF-8 text\n.*a\.txt, line \d"):
        list(files.read_lines(tmp_path / "a.txt"))
