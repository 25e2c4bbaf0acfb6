import numpy as np
import pytest
from disturb import At, disturbed
from hypothesis import given, settings
from hypothesis import strategies as st

from fb_jax import files
from fb_jax.errors import FreeBindError


@settings(deadline=None, max_examples=25)
@given(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=4))
def test_the_digest_of_a_value_depends_on_the_value_and_not_on_the_order_of_its_keys(value):
    digest = files.sha256_of_json(value)
    assert files.sha256_of_json(dict(reversed(value.items()))) == digest
    assert files.sha256_of_json({**value, "longer": 0}) != digest
    assert files.canonical_json({"b": "Fuß", "a": (1, 0.5)}) == '{"a":[1,0.5],"b":"Fuß"}'.encode()


def test_a_claimed_folder_may_be_claimed_again_for_the_same_thing_only(tmp_path, contents):
    identity = {"rows": (1, 2), "seed": 0}
    first = files.claim(tmp_path / "a.json", identity, "pairs")
    assert first == files.sha256_of_json(identity)
    before = contents(tmp_path)
    (tmp_path / "emb.npy").touch()
    assert files.claim(tmp_path / "a.json", identity, "pairs") == first
    says = r"pairs(.|\n)*expected: seed 1 .asked for.\n.*seed 0 .already there."
    with pytest.raises(FreeBindError, match=says):
        files.claim(tmp_path / "a.json", {**identity, "seed": 1}, "pairs")
    (tmp_path / "emb.npy").unlink()
    assert contents(tmp_path) == before


def test_of_many_differences_the_first_are_told():
    here, none = dict.fromkeys("abcdefg", 1), ", ".join(f"{name} not there" for name in "abcde")
    ones = ", ".join(f"{name} 1" for name in "abcde")
    assert files.differences(here, {}) == (f"{ones}, and 2 more", f"{none}, and 2 more")
    assert files.differences({}, here) == (f"{none}, and 2 more", f"{ones}, and 2 more")
    assert files.differences({"a": {"b": []}}, {"a": {"b": {}}}) == ("a.b []", "a.b {}")


def test_a_filled_folder_that_lost_its_claim_is_refused(tmp_path, contents):
    (tmp_path / ".lock").touch()
    (tmp_path / "a.json.1-2.partial").touch()
    files.claim(tmp_path / "a.json", {"seed": 0}, "pairs")
    (tmp_path / "a.json").unlink()
    for number in range(7):
        (tmp_path / f"emb_{number}.npy").touch()
    before = contents(tmp_path)
    with pytest.raises(FreeBindError, match=r"lost a\.json(.|\n)*emb_4\.npy\n.*restore"):
        files.claim(tmp_path / "a.json", {"seed": 0}, "pairs")
    assert contents(tmp_path) == before


def test_recorded_numbers_are_those_that_were_written_for_the_same_thing(tmp_path, caplog):
    path, about = tmp_path / "a.npy", {"items": {"text": "1"}}
    read = lambda of=about: files.read_recorded(path, "a table", of, "import it again")  # noqa: E731
    files.write_recorded(path, np.arange(3), about)
    assert read().tolist() == [0, 1, 2]
    for other in ({"items": {"text": "2"}}, {}, {**about, "seed": 0}):
        with pytest.raises(FreeBindError, match=r"belongs to something else(.|\n)*import it again"):
            read(other)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(FreeBindError, match=r"a table was altered\n.*a\.npy"):
        read()
    files.write_recorded(path, np.arange(4), about)
    assert read().tolist() == [0, 1, 2, 3]
    assert not caplog.records
    for place in (r"\.json", r"\.npy"):  # a full disk keeps the old numbers
        full = disturbed(At("disturb.begin", 1, "ENOSPC", on=place))
        with full, pytest.raises(FreeBindError, match="could not be written"):
            files.write_recorded(path, np.arange(5), about)
        assert read().tolist() == [0, 1, 2, 3]
    path.write_bytes(content)
    full = disturbed(At("disturb.begin", 1, "ENOSPC", on=r"\.npy"))
    with full, pytest.raises(FreeBindError, match="could not be written"):
        files.write_recorded(path, np.arange(5), about)
    with pytest.raises(FreeBindError, match="altered"):  # and altered ones stay altered
        read()
    path.with_suffix(".json").unlink()
    assert not caplog.records
    assert len(read()) == 3
    assert f"{path}: a table without a record" in caplog.text


@pytest.mark.parametrize("content", [None, "[]", "{}"])
def test_a_file_without_a_record_of_ours_has_none(tmp_path, content):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(3))
    if content is not None:
        path.with_suffix(".json").write_text(content)
    assert files.record_of(path, "a table") is None


def test_a_record_says_what_unaltered_numbers_belong_to(tmp_path):
    path = tmp_path / "a.npy"
    files.write_recorded(path, np.arange(3), {"space": "u"})
    assert files.record_of(path, "a table") == {"space": "u"}
    np.save(path, np.arange(4))
    with pytest.raises(FreeBindError, match=r"a table was altered(.|\n)*delete .*a\.json"):
        files.record_of(path, "a table")
    path.unlink()
    with pytest.raises(FreeBindError, match="a table is missing"):
        files.record_of(path, "a table")
