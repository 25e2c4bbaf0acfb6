"""Next week's rows from files: appended to banks, with their items."""

import numpy as np
import pytest
from disturb import At, disturbed

from fb_jax.banks import Bank, Encoder, fill_rows, open_banks, remove_items
from fb_jax.errors import NOTICED, FreeBindError
from fb_jax.importing import append_to_bank, import_bank, import_pairs

ROWS = np.array([[3.0, 4.0], [0.0, 5.0], [-2.0, 0.0]])
NEW = np.array([[0.0, -1.0], [1.0, 0.0]])


@pytest.fixture
def save(tmp_path):
    def save(name, content):
        path = tmp_path / name
        path.write_text(content) if isinstance(content, str) else np.save(path, content)
        return path

    return save


@pytest.fixture
def captioned(split, save):
    """A bank of three captions in the space clap."""
    captions = save("captions.txt", "a\nb\nc\n")
    import_bank(split, "clap", "text", save("x.npy", ROWS), items=captions)
    return split


def test_rows_and_captions_are_added_and_a_second_space_brings_rows_alone(captioned, save, caplog):
    split, new, captions = captioned, save("new.npy", NEW), save("new.txt", "d\ne\n")
    import_bank(split, "imagebind", "text", save("y.npy", np.eye(3)))
    for _ in range(2):
        NOTICED.clear()
        bank = append_to_bank(split, "clap", "text", new, items=captions)
        assert [bank.shape, [e.count for e in bank.earlier]] == [(5, 2), [3]]
    assert "these rows are here already" in caplog.text
    np.testing.assert_allclose(bank[3:], NEW, atol=1e-3)
    assert [split.items("text")[row] for row in (2, 3, 4)] == [
        {"id": "2", "caption": "c"},
        {"id": "3", "caption": "d"},
        {"id": "4", "caption": "e"},
    ]
    assert open_banks(split.path.parent, spaces=["clap", "imagebind"]).rows["text"].tolist() == [
        *range(3)
    ]
    append_to_bank(split, "imagebind", "text", save("z.npy", np.eye(3)[:2]))
    assert len(open_banks(split.path.parent, spaces=["clap", "imagebind"]).rows["text"]) == 5


def test_numbers_go_on(split, save):
    import_bank(split, "clap", "text", save("x.npy", ROWS))
    append_to_bank(split, "clap", "text", save("new.npy", NEW))
    assert [item["id"] for item in split.items("text")] == ["0", "1", "2", "3", "4"]


def test_bad_rows_are_missing_where_they_are(captioned, save):
    bad, items = save("new.npy", np.vstack([NEW, [[0, 0]]])), save("new.txt", "d\ne\nf\n")
    with pytest.raises(FreeBindError, match="zero rows"):
        append_to_bank(captioned, "clap", "text", bad, items=items)
    assert len(captioned.items("text")) == 3
    bank = append_to_bank(captioned, "clap", "text", bad, items=items, bad_rows="missing")
    assert bank.missing.tolist() == [5]
    bank.verify()


def test_the_same_rows_may_be_appended_again_after_missing_ones_were_filled_in(captioned, save):
    bad, items = save("bad.npy", np.array([[0.0, 0.0], [1, 0]])), save("new.txt", "d\ne\n")
    append = lambda: append_to_bank(  # noqa: E731
        captioned, "clap", "text", bad, items=items, bad_rows="missing"
    )
    filled = fill_rows(append(), np.array([3]), np.array([[0.0, 1.0]]))
    assert append().fingerprint == filled.fingerprint


def test_a_changed_item_is_removed_and_appended(captioned, save):
    items = '{"id": "1", "caption": "b, corrected"}\n'
    row, items = save("one.npy", NEW[:1]), save("one.jsonl", items)
    with pytest.raises(FreeBindError, match=r"already here(.|\n)*'1', row 1(.|\n)*bank remove"):
        append_to_bank(captioned, "clap", "text", row, items=items)
    remove_items(captioned, "text", ["1"])
    append_to_bank(captioned, "clap", "text", row, items=items)
    banks = open_banks(captioned.path.parent, spaces=["clap"])
    assert banks.rows["text"].tolist() == [0, 2, 3]
    assert captioned.items("text").row_of("1") == 3


def test_what_cannot_be_appended_is_refused_before_anything_is_written(captioned, save, contents):
    before = {n: d for n, d in contents(captioned.path).items() if "/." not in n}
    append = lambda *args, **options: append_to_bank(captioned, "clap", *args, **options)  # noqa: E731
    two, new = save("two.txt", "d\ne\n"), save("new.npy", NEW)
    with pytest.raises(FreeBindError, match=r"no finished bank(.|\n)*without --append"):
        append("audio", new, items=two)
    with pytest.raises(FreeBindError, match=r"must come from the model(.|\n)*got: +3 columns"):
        append("text", save("wide.npy", np.eye(3)), items=two)
    with pytest.raises(FreeBindError, match="must come from the model"):
        append("text", new, items=two, encoder=Encoder("another"))
    with pytest.raises(FreeBindError, match="nobody knows what they are"):
        append("text", new)
    with pytest.raises(FreeBindError, match="differ in length"):
        append("text", save("three.npy", ROWS), items=two)
    assert {n: d for n, d in contents(captioned.path).items() if "/." not in n} == before


def test_a_killed_append_goes_on_and_other_rows_are_refused_meanwhile(captioned, save):
    new, captions = save("new.npy", NEW), save("new.txt", "d\ne\n")
    stopped = At("os.replace", do="ENOSPC", on=r"growing/manifest\.json$")
    with disturbed(stopped), pytest.raises(FreeBindError, match="could not be written"):
        append_to_bank(captioned, "clap", "text", new, items=captions)
    assert len(Bank.open(captioned.bank_path("clap", "text"))) == 3
    with pytest.raises(FreeBindError, match=r"another array(.|\n)*growing"):
        append_to_bank(captioned, "clap", "text", save("other.npy", -NEW), items=captions)
    assert len(append_to_bank(captioned, "clap", "text", new, items=captions)) == 5


def test_pairs_are_added_to_a_table(captioned, save):
    import_bank(captioned, "clap", "audio", save("a.npy", ROWS))
    import_pairs(captioned, "audio", "text", save("p.csv", "0,0\n1,1\n"))
    append_to_bank(captioned, "clap", "text", save("new.npy", NEW), items=save("n.txt", "d\ne\n"))
    more = save("more.csv", "2,4\n1,1\n")
    for _ in range(2):
        table = import_pairs(captioned, "audio", "text", more, append=True)
        assert table.tolist() == [[0, 0], [1, 1], [2, 4]]
    captioned.pairs_path("audio", "text").unlink()
    with pytest.raises(FreeBindError, match=r"a pair table is missing\n.*audio-text"):
        import_pairs(captioned, "audio", "text", more, append=True)
