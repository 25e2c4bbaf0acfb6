import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fb_jax import files
from fb_jax.errors import FreeBindError


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


@pytest.mark.parametrize("use", [files.require_writable, lambda path: files.write_json(path, {})])
def test_a_folder_that_is_a_file_is_named(tmp_path, use):
    (tmp_path / "a").touch()
    with pytest.raises(FreeBindError, match=r"(no permission to|could not be) writ.*\n.*a/b"):
        use(tmp_path / "a" / "b")


def test_a_folder_that_can_be_made_is_writable_and_is_not_made_yet(tmp_path):
    files.require_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_space_is_asked_for_where_the_folder_would_be(tmp_path):
    files.require_space({tmp_path / "a" / "b": 1, tmp_path: -1})
    with pytest.raises(FreeBindError, match=r"expected: 1000000\.00 GB free\n.*\d [MG]B free"):
        files.require_space({tmp_path: 4 * 10**14, tmp_path / "a" / "b": 6 * 10**14})  # one disk


def test_the_bytes_of_a_folder_are_those_of_all_files_in_it(tmp_path):
    files.write_json(tmp_path / "a" / "b.json", 7)
    assert files.folder_bytes(tmp_path) == len("7\n")
    assert files.folder_bytes(tmp_path / "nowhere") == 0


@settings(deadline=None, max_examples=25)
@given(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=4))
def test_the_digest_of_a_value_depends_on_the_value_and_not_on_the_order_of_its_keys(value):
    digest = files.sha256_of_json(value)
    assert files.sha256_of_json(dict(reversed(value.items()))) == digest
    assert files.sha256_of_json({**value, "longer": 0}) != digest


def test_json_is_written_for_people_and_read_back(tmp_path):
    value = {"caption": "Füße", "rows": [1, 2]}
    files.write_json(tmp_path / "a.json", value)
    assert '"caption": "Füße"' in (tmp_path / "a.json").read_text("utf-8")
    assert files.read_json(tmp_path / "a.json") == value


@pytest.mark.parametrize("text", [None, b"", b"{", b"\xff"])
def test_a_json_file_that_is_missing_or_malformed_is_named(tmp_path, text):
    if text is not None:
        (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(FreeBindError, match=r"(missing|not valid JSON)\n.*a\.json"):
        files.read_json(tmp_path / "a.json")


def test_a_claimed_folder_may_be_claimed_again_for_the_same_thing_only(tmp_path, contents):
    identity = {"rows": (1, 2), "seed": 0}
    files.claim(tmp_path / "a.json", identity, "pairs")
    before = contents(tmp_path)
    files.claim(tmp_path / "a.json", identity, "pairs")
    says = r"pairs(.|\n)*expected: seed 1 .asked for.\n.*seed 0 .already there."
    with pytest.raises(FreeBindError, match=says):
        files.claim(tmp_path / "a.json", {**identity, "seed": 1}, "pairs")
    assert contents(tmp_path) == before
