import json
from dataclasses import replace

import numpy as np
import pytest

from encoders_torch.pipeline import ExportSettings, Failure, export_bank
from encoders_torch.sources import Source, open_source
from fb_jax.banks import Bank, Split, open_banks
from fb_jax.errors import FreeBindError, Interrupted

HOW = ExportSettings(dtype="float32", batch=2, workers=0, shard_rows=3)
WORDS = [f"{'a' * (i % 3)}{'e' * (i % 2)}xx" for i in range(11)]


def words(*others):
    return Source([{"id": str(i), "caption": w} for i, w in enumerate([*WORDS, *others])])


@pytest.fixture
def split(tmp_path):
    return Split(tmp_path / "banks" / "pool")


def run(encoder, source, split, how=HOW, modality="text", **options):
    return export_bank(encoder, source, split, "toy", modality, how, **options)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("modality", ["text", "image", "audio"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_bank_holds_the_embedding_of_every_item_in_order(toy, media, split, modality, workers):
    source = open_source(modality, media / ("text.txt" if modality == "text" else modality))
    made = run(toy, source, split, replace(HOW, workers=workers), modality)
    what = [i["caption"] if modality == "text" else source.folder / i["path"] for i in source.items]
    wanted = unit(np.stack([toy.read(modality, item) for item in what]))
    bank = open_banks(split.path.parent, spaces=["toy"])["toy", modality]
    np.testing.assert_allclose(bank[:], wanted, rtol=1e-6)
    assert (made.whole, made.failures, made.report.exists()) == (True, [], False)
    assert len(bank.missing) == 0
    assert (bank.encoder.name, bank.encoder.licence) == ("toy", "CC0-1.0")


# Items that fail


def test_items_that_fail_are_left_out_with_their_reason(toy, split):
    source = words("unreadable", "thirteen12345", "seven77")
    made = run(toy, source, split)
    assert made.failures == [
        Failure(11, "11", "ValueError: not a caption"),
        Failure(12, "12", "RuntimeError: thirteen letters"),
        Failure(13, "13", "its embedding has no direction"),
    ]
    lines = made.report.read_text().splitlines()
    assert [Failure(**json.loads(line)) for line in lines] == made.failures
    bank = Bank(split.bank_path("toy", "text"))
    assert bank.missing.tolist() == [11, 12, 13]
    assert bank.array[11:].any() == np.False_
    bank.verify()
    assert np.isfinite(bank[:11]).all()


def test_one_bad_item_costs_its_batch_nothing(toy, split, tmp_path):
    mixed = Source([{"id": c, "caption": c} for c in ("ab", "thirteen12345", "abc", "abcd")])
    run(toy, mixed, split, replace(HOW, batch=4))
    rows = Bank(split.bank_path("toy", "text"))[:]
    np.testing.assert_allclose(
        rows[[0, 2, 3]], unit(np.float32([[2, 1, 0, 1], [3, 1, 0, 1], [4, 1, 0, 1]]))
    )


def test_strict_stops_at_the_first_item_that_fails(toy, split):
    with pytest.raises(
        FreeBindError, match=r"an item failed\n.*11\n.*not a caption(.|\n)*--strict"
    ):
        run(toy, words("unreadable"), split, strict=True)


def test_a_bank_of_nothing_but_failures_is_refused(toy, split):
    source = Source([{"id": "0", "caption": "unreadable"}])
    with pytest.raises(FreeBindError, match=r"every item failed(.|\n)*not a caption"):
        run(toy, source, split)


def test_an_encoder_that_returns_another_shape_is_refused(toy, split):
    toy.dim = 5
    with pytest.raises(FreeBindError, match=r"another shape\n.*toy\n.*\[2, 5\]\n.*\[2, 4\]"):
        run(toy, words(), split)


# Going on


def stop_after(rows):
    done = 0

    def progress(more, _spent):
        nonlocal done
        done += more
        if done >= rows:
            raise Interrupted("stopped")

    return progress


@pytest.mark.parametrize("rows", [1, 3, 5, 7, 13])
def test_an_interrupted_export_ends_in_the_bytes_of_an_undisturbed_one(
    toy, split, tmp_path, contents, rows
):
    source = words("unreadable", "seven77")
    with pytest.raises(Interrupted):
        run(toy, source, split, progress=stop_after(rows))
    again = run(toy, source, split)
    other = Split(tmp_path / "other" / "pool")
    assert run(toy, source, other).failures == again.failures
    assert contents(split.path) == contents(other.path)


def test_what_is_finished_is_not_encoded_again(toy, split):
    run(toy, words("unreadable"), split)
    toy.encode = toy.read = pytest.fail
    assert [f.row for f in run(toy, words("unreadable"), split).failures] == [11]


def test_a_batch_does_not_reach_across_shards(toy, split):
    """So that an export that goes on behind a shard sees the batches of one that ran through."""
    sizes = []
    encode = toy.encode
    toy.encode = lambda modality, batch: sizes.append(len(batch)) or encode(modality, batch)
    run(toy, words(), split)
    assert sizes == [2, 1, 2, 1, 2, 1, 2]


@pytest.mark.parametrize("change", [{"batch": 3}, {"dtype": "float16"}, {"shard_rows": 4}])
def test_an_export_with_other_settings_is_refused(toy, split, change):
    run(toy, words(), split)
    with pytest.raises(FreeBindError, match="holds another array"):
        run(toy, words(), split, replace(HOW, **change))


def test_other_items_in_the_same_place_are_refused(toy, split):
    run(toy, words(), split)
    with pytest.raises(FreeBindError, match="another item list is here"):
        run(toy, words("more"), split)


def test_two_spaces_of_the_same_items_are_opened_together(toy, split):
    run(toy, words("unreadable"), split)
    export_bank(toy, words("unreadable"), split, "other", "text", HOW)
    assert len(open_banks(split.path.parent, spaces=["toy", "other"]).rows["text"]) == 11
