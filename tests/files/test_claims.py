import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fb_jax import files
from fb_jax.errors import NOTICED, FreeBindError


@settings(deadline=None, max_examples=25)
@given(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=4))
def test_the_digest_of_a_value_depends_on_the_value_and_not_on_the_order_of_its_keys(value):
    digest = files.sha256_of_json(value)
    assert files.sha256_of_json(dict(reversed(value.items()))) == digest
    assert files.sha256_of_json({**value, "longer": 0}) != digest


def test_a_claimed_folder_may_be_claimed_again_for_the_same_thing_only(tmp_path, contents):
    identity = {"rows": (1, 2), "seed": 0}
    first = files.claim(tmp_path / "a.json", identity, "pairs")
    before = contents(tmp_path)
    (tmp_path / "emb.npy").touch()
    assert files.claim(tmp_path / "a.json", identity, "pairs") == first
    says = r"pairs(.|\n)*expected: seed 1 .asked for.\n.*seed 0 .already there."
    with pytest.raises(FreeBindError, match=says):
        files.claim(tmp_path / "a.json", {**identity, "seed": 1}, "pairs")
    (tmp_path / "emb.npy").unlink()
    assert contents(tmp_path) == before


def test_a_filled_folder_that_lost_its_claim_is_refused(tmp_path, contents):
    (tmp_path / ".lock").touch()
    (tmp_path / "a.json.1-2.partial").touch()
    files.claim(tmp_path / "a.json", {"seed": 0}, "pairs")
    (tmp_path / "a.json").unlink()
    (tmp_path / "emb.npy").touch()
    before = contents(tmp_path)
    with pytest.raises(FreeBindError, match=r"lost a\.json(.|\n)*emb\.npy(.|\n)*restore"):
        files.claim(tmp_path / "a.json", {"seed": 0}, "pairs")
    assert contents(tmp_path) == before


def test_recorded_numbers_are_those_that_were_written_for_the_same_thing(tmp_path, caplog):
    NOTICED.clear()
    path, about = tmp_path / "a.npy", {"items": {"text": "1"}}
    read = lambda of=about: files.read_recorded(path, "a table", of, "import it again")  # noqa: E731
    files.write_recorded(path, np.arange(3), about)
    assert read().tolist() == [0, 1, 2]
    with pytest.raises(FreeBindError, match=r"belongs to something else(.|\n)*import it again"):
        read({"items": {"text": "2"}})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(FreeBindError, match=r"a table was altered\n.*a\.npy"):
        read()
    files.write_recorded(path, np.arange(4), about)
    assert read().tolist() == [0, 1, 2, 3]
    path.with_suffix(".json").unlink()
    assert not caplog.records
    assert read().tolist() == [0, 1, 2, 3]
    assert "without a record" in caplog.text
