import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from encoders_torch.exporting.pipeline import Failure, export_bank, export_banks
from encoders_torch.exporting.report import FailureRate, read_failures
from encoders_torch.exporting.retrying import retry_bank
from encoders_torch.exporting.target import ExportSettings
from encoders_torch.exporting.work import ShardWork
from encoders_torch.sources import Source, open_source
from fb_jax.banks import Bank, Split, open_banks, remove_items, verify_split
from fb_jax.errors import FreeBindError, Interrupted
from tests.encoders_torch.conftest import Toy

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
    result = run(toy, source, split, replace(HOW, workers=workers), modality)
    what = [i["caption"] if modality == "text" else source.folder / i["path"] for i in source.items]
    wanted = unit(np.stack([toy.read(modality, item) for item in what]))
    bank = open_banks(split.path.parent, spaces=["toy"])["toy", modality]
    np.testing.assert_allclose(bank[:], wanted, rtol=1e-6)
    assert (result.complete, result.failures, result.report.exists()) == (True, [], False)
    assert len(bank.missing) == 0
    assert (bank.encoder.name, bank.encoder.licence) == ("toy", "CC0-1.0")


# Items that fail


def test_items_that_fail_are_left_out_with_their_reason(toy, split):
    source = words("unreadable", "thirteen12345", "seven77")
    result = run(toy, source, split)
    assert result.failures == [
        Failure(11, "11", "ValueError: not a caption"),
        Failure(12, "12", "RuntimeError: thirteen letters"),
        Failure(13, "13", "its embedding has no direction"),
    ]
    lines = result.report.read_text().splitlines()
    assert [Failure(**json.loads(line)) for line in lines] == result.failures
    bank = Bank.open(split.bank_path("toy", "text"))
    assert bank.missing.tolist() == [11, 12, 13]
    assert bank.array[11:].any() == np.False_
    bank.verify()
    assert np.isfinite(bank[:11]).all()


def test_one_bad_item_costs_its_batch_nothing(toy, split, tmp_path):
    mixed = Source([{"id": c, "caption": c} for c in ("ab", "thirteen12345", "abc", "abcd")])
    run(toy, mixed, split, replace(HOW, batch=4))
    rows = Bank.open(split.bank_path("toy", "text"))[:]
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
    says = r"every item failed(.|\n)*not a caption(.|\n)*delete items/text.jsonl of this split"
    with pytest.raises(FreeBindError, match=says):
        run(toy, source, split)


def test_new_items_that_all_fail_leave_the_bank_as_it_is(toy, split):
    run(toy, words(), split)
    result = run(toy, words("unreadable"), split, append=True)
    assert (result.complete, [f.row for f in result.failures]) == (True, [11])
    run(toy, words("unreadable", "abc"), split, append=True)
    bank = Bank.open(split.bank_path("toy", "text"))
    assert (len(bank), bank.missing.tolist()) == (13, [11])


# Going on


def stop_after(rows):
    done = 0

    def progress(more, _timings):
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
    for line in ("", "[]", '{"row": "11", "id": "", "reason": ""}', '{"row": 11}'):
        (split.bank_path("toy", "text") / "failures.jsonl").write_text(f"{line}\n")
        with pytest.raises(FreeBindError, match=r"failures\.jsonl, line 1\n"):
            run(toy, words("unreadable"), split)


def test_a_batch_does_not_reach_across_shards(toy, split):
    """An export that continues after a shard then sees the batches of an uninterrupted one."""
    sizes = []
    encode = toy.encode
    toy.encode = lambda modality, batch: sizes.append(len(batch)) or encode(modality, batch)
    run(toy, words(), split)
    assert sizes == [2, 1, 2, 1, 2, 1, 2]


def test_an_export_in_another_format_is_refused(toy, split):
    run(toy, words(), split)
    with pytest.raises(FreeBindError, match=r"another format(.|\n)*float32(.|\n)*float16"):
        run(toy, words(), split, replace(HOW, dtype="float16"))


@pytest.mark.parametrize("change", [{"batch": 3}, {"shard_rows": 4}, {"batch_mb": 1}])
def test_how_it_is_computed_is_no_part_of_a_bank(toy, split, change):
    run(toy, words(), split)
    toy.encode = pytest.fail
    assert run(toy, words(), split, replace(HOW, **change)).complete


def test_other_items_in_the_same_place_are_refused(toy, split):
    run(toy, words(), split)
    with pytest.raises(FreeBindError, match="another item list is already here"):
        run(toy, words("more"), split)


def test_what_is_done_of_a_shard_is_kept_by_time(toy, split, monkeypatch):
    """So that little is lost when a process is killed, not only when it is asked to stop."""
    kept = []
    monkeypatch.setattr(ShardWork, "keep", lambda work: kept.append((work.shard, work.done)))
    run(toy, words(), split, replace(HOW, keep_minutes=0.0, shard_rows=5))
    assert kept == [(0, 2), (0, 4), (0, 5), (1, 2), (1, 4), (1, 5), (2, 1)]
    kept.clear()
    export_bank(toy, words(), split, "other", "text", HOW)
    assert kept == []


def test_a_failing_device_stops_the_export_with_what_was_done_kept(toy, split, tmp_path, contents):
    encode, seen = toy.encode, []

    def broken(modality, batch):
        if len(seen) == 3:
            raise RuntimeError("CUDA error: device-side assert triggered")
        seen.append(batch)
        return encode(modality, batch)

    toy.encode = broken
    how = replace(HOW, shard_rows=50)
    with pytest.raises(FreeBindError, match="not an item"):
        run(toy, words(), split, how)
    assert split.spaces() == {}
    toy.encode = lambda modality, batch: seen.append(batch) or encode(modality, batch)
    result = run(toy, words(), split, how)
    assert (result.failures, sum(map(len, seen))) == ([], 11)
    other = Split(tmp_path / "other" / "pool")
    run(toy, words(), other, how)
    assert contents(split.path) == contents(other.path)


def test_failures_are_told_by_their_rate_over_time(caplog):
    failed = [Failure(row, "x.png", "is missing") for row in range(4)]
    rate = FailureRate(seconds=0.0, share=0.5)
    for failures in ([], failed[:2], failed[:2] * 2, failed[:3]):  # twice: of two encoders
        rate.add(4, failures)
    assert caplog.messages == ["3 of the last 4 items failed, the last one x.png: is missing"]
    slow = FailureRate()
    slow.add(4, failed)
    assert len(caplog.messages) == 1


# Trying again


def test_items_that_failed_are_tried_again_and_the_others_stay_as_they_are(toy, split, tmp_path):
    items = [{"id": w, "caption": w} for w in (*WORDS[:9], "unreadable", "thirteen12345")]
    items = [item | {"id": str(i)} for i, item in enumerate(items)]
    run(toy, Source(items), split, replace(HOW, shard_rows=4))
    folder = split.bank_path("toy", "text")
    before, files = Bank.open(folder)[:9], {p: p.read_bytes() for p in folder.glob("emb_0000[01]*")}
    read, tried = toy.read, []
    toy.read = lambda modality, item: tried.append(item) or read(modality, item.replace("un", ""))
    result = retry_bank(toy, Source(items), split, "toy", "text", HOW)
    assert tried == ["unreadable", "thirteen12345"]
    assert result.failures == [Failure(10, "10", "RuntimeError: thirteen letters")]
    assert read_failures(result.report) == result.failures
    bank = Bank.open(folder)
    assert bank.missing.tolist() == [10]
    np.testing.assert_array_equal(bank[:9], before)
    np.testing.assert_allclose(bank[9:10], unit(np.float32([[8, 2, 2, 1]])), rtol=1e-6)
    assert {path: path.read_bytes() for path in files} == files
    toy.encode = lambda modality, batch: np.ones((len(batch), 4))
    assert retry_bank(toy, Source(items), split, "toy", "text", HOW).failures == []
    assert not result.report.exists()
    verify_split(split)


def test_the_report_is_right_though_trying_again_was_stopped(toy, split):
    source = words(*["unreadable"] * 4)  # rows 11, in one shard, and 12 to 14, in the next
    run(toy, source, split)
    toy.read = lambda modality, item: np.float32([1, 2, 3, 4])
    done = []

    def progress(rows):
        done.append(rows)
        if len(done) == 2:
            raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        retry_bank(toy, source, split, "toy", "text", HOW, progress)
    assert Bank.open(split.bank_path("toy", "text")).missing.tolist() == [12, 13, 14]
    assert [f.row for f in run(toy, source, split).failures] == [12, 13, 14]


def test_removed_items_are_not_tried_again(toy, split):
    run(toy, words("unreadable"), split)
    remove_items(split, "text", ["3", "11"])
    toy.read = pytest.fail
    assert [f.row for f in retry_bank(toy, words(), split, "toy", "text", HOW).failures] == [11]


# Several encoders


def test_one_read_serves_several_spaces_which_get_the_banks_of_separate_exports(
    media, split, tmp_path, contents, monkeypatch
):
    opened = []
    monkeypatch.setattr(Image, "open", lambda file, open=Image.open: opened.append(1) or open(file))
    toys = {"a": Toy(), "b": Toy(name="other")}
    source = open_source("image", media / "image")
    how = replace(HOW, batch=3)
    export_banks(toys, source, split, "image", how)
    other = Split(tmp_path / "other" / "pool")
    for space, toy in toys.items():
        export_bank(toy, source, other, space, "image", how)
    assert contents(split.path) == contents(other.path)


def test_spaces_that_are_begun_go_on_together_each_from_where_it_is(toy, split):
    second = Toy(name="second")
    run(toy, words(), split)
    with pytest.raises(Interrupted):
        export_bank(second, words(), split, "second", "text", HOW, progress=stop_after(4))
    encoded = {"toy": 0, "second": 0, "third": 0}

    def counting(space, encoder):
        encode = encoder.encode

        def counted(modality, batch):
            encoded[space] += len(batch)
            return encode(modality, batch)

        encoder.encode = counted
        return encoder

    three = {"toy": toy, "second": second, "third": Toy()}
    more = words("abc", "unreadable")
    results = export_banks(
        {space: counting(space, encoder) for space, encoder in three.items()},
        more,
        split,
        "text",
        HOW,
        append=True,
    )
    assert encoded == {"toy": 1, "second": 7, "third": 12}
    assert all(result.complete for result in results.values())
    assert {f.row for result in results.values() for f in result.failures} == {12}
    rows = [Bank.open(split.bank_path(space, "text"))[:] for space in three]
    np.testing.assert_array_equal(rows[0], rows[1])
    np.testing.assert_array_equal(rows[0], rows[2])


def test_captions_of_like_length_are_encoded_together_and_stored_in_order(toy, split):
    lengths, encode = [], toy.encode
    toy.encode = lambda modality, batch: (
        lengths.append(batch[:, 0].tolist()) or encode(modality, batch)
    )
    captions = ["aaaaa", "e", "aaa", "ee", "aaaa", "eeeeee"]
    source = Source([{"id": str(i), "caption": c} for i, c in enumerate(captions)])
    run(toy, source, split, replace(HOW, shard_rows=6))
    assert lengths == [[1, 2], [3, 4], [5, 6]]
    wanted = unit(np.float32([[len(c), c.count("a"), c.count("e"), 1] for c in captions]))
    np.testing.assert_allclose(Bank.open(split.bank_path("toy", "text"))[:], wanted, rtol=1e-6)


# Next week


def test_only_new_items_are_encoded(toy, split):
    run(toy, words("unreadable"), split)
    old = Bank.open(split.bank_path("toy", "text"))
    before, encoded, encode = old[:], [], toy.encode
    toy.encode = lambda modality, batch: encoded.extend(batch) or encode(modality, batch)
    longer = words("unreadable", "abc", "seven77", "ab", "abcd")
    result = run(toy, longer, split, append=True)
    assert len(encoded) == 4
    assert [failure.row for failure in result.failures] == [11, 13]
    bank = Bank.open(old.folder)
    assert (bank.missing.tolist(), bank.origin, len(bank)) == ([11, 13], old.fingerprint, 16)
    np.testing.assert_array_equal(bank[:12], before)
    np.testing.assert_allclose(
        bank[np.array([12, 14])], unit(np.float32([[3, 1, 0, 1], [2, 1, 0, 1]]))
    )
    for append in (True, False):
        assert run(toy, longer, split, append=append).failures == result.failures
    assert len(encoded) == 4
    assert Bank.open(old.folder).fingerprint == bank.fingerprint
    verify_split(split)


def test_a_second_space_needs_no_append_and_may_be_late(toy, split):
    for space in ("toy", "late"):
        export_bank(toy, words(), split, space, "text", HOW)
    run(toy, words("abc"), split, append=True)
    assert len(open_banks(split.path.parent, spaces=["toy", "late"]).rows["text"]) == 11
    export_bank(toy, words("abc"), split, "late", "text", HOW)
    assert len(open_banks(split.path.parent, spaces=["toy", "late"]).rows["text"]) == 12


def test_new_items_that_are_stopped_go_on_to_the_same_bytes(toy, split, tmp_path, contents):
    run(toy, words(), split)
    other = Split(shutil.copytree(split.path, tmp_path / "other/pool"))
    more = [f"a{'e' * i}" for i in range(8)]
    run(toy, words(*more), other, append=True)
    encode, seen = toy.encode, []

    def stopped(modality, batch):
        seen.append(batch)
        if len(seen) > 3:
            raise KeyboardInterrupt
        return encode(modality, batch)

    toy.encode = stopped
    with pytest.raises(KeyboardInterrupt):
        run(toy, words(*more), split, append=True)
    assert len(Bank.open(split.bank_path("toy", "text"))) == 11
    toy.encode = lambda modality, batch: seen.append(batch) or encode(modality, batch)
    run(toy, words(*more), split, append=True)
    assert sum(map(len, seen[4:])) == 3  # a shard of 3 was safe, and a batch of the next
    visible = lambda folder: {n: d for n, d in contents(folder).items() if "/." not in n}  # noqa: E731
    assert visible(split.path) == visible(other.path)


def test_an_export_that_was_begun_before_the_list_grew_goes_on_and_adds_the_rest(toy, split):
    shares = replace(HOW, num_shards=2)
    assert not run(toy, words(), split, shares).complete
    export_bank(toy, words("abc"), split, "other", "text", HOW, append=True)
    assert run(toy, words("abc"), split).complete
    banks = open_banks(split.path.parent, spaces=["toy", "other"])
    assert len(banks.rows["text"]) == 12
    np.testing.assert_array_equal(banks["toy", "text"][:], banks["other", "text"][:])


def test_several_processes_encode_new_items_together(toy, split):
    run(toy, words(), split)
    more, shares = words("abc", "ab", "abcd", "a", "aa"), replace(HOW, num_shards=2)
    first = run(toy, more, split, replace(shares, shard_id=1), append=True)
    assert not first.complete
    assert run(toy, more, split, replace(shares, shard_id=0), append=True).complete
    assert len(Bank.open(split.bank_path("toy", "text"))) == 16


def test_removed_items_are_neither_encoded_nor_added_again(toy, split):
    run(toy, words(), split)
    remove_items(split, "text", ["3"])
    run(toy, words("abc"), split, append=True)
    export_bank(toy, words("abc"), split, "other", "text", HOW, strict=True)
    bank = Bank.open(split.bank_path("other", "text"))
    assert (len(bank), bank.missing.tolist()) == (12, [3])


def test_a_changed_item_must_be_removed_first(toy, split):
    run(toy, words(), split)
    changed = Source([{"id": "3", "caption": "new"}])
    with pytest.raises(FreeBindError, match=r"already here(.|\n)*'3', row 3(.|\n)*bank remove"):
        run(toy, changed, split, append=True)
    remove_items(split, "text", ["3"])
    run(toy, changed, split, append=True)
    assert split.items("text").row_of("3") == 11


def test_new_rows_come_from_the_encoder_of_the_bank(toy, split):
    run(toy, words(), split)
    toy.licence = "another"
    with pytest.raises(FreeBindError, match=r"another encoder(.|\n)*CC0-1.0(.|\n)*another"):
        run(toy, words("abc"), split, append=True)


def test_two_spaces_of_the_same_items_are_opened_together(toy, split):
    run(toy, words("unreadable"), split)
    export_bank(toy, words("unreadable"), split, "other", "text", HOW)
    assert len(open_banks(split.path.parent, spaces=["toy", "other"]).rows["text"]) == 11


# Batches and reading ahead


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_is_cut_by_what_its_items_hold(toy, split, workers):
    sizes = []
    toy.read = lambda modality, item: np.zeros(150_000, np.float32)  # 0.6 MB
    toy.encode = lambda modality, batch: sizes.append(len(batch)) or np.ones((len(batch), 4))
    how = ExportSettings(batch=4, batch_mb=1, workers=workers, shard_rows=5)
    run(toy, words(), split, how)
    assert sizes == [2, 2, 1, 2, 2, 1, 1]


# Several processes


def test_shards_of_several_processes_make_the_same_bank(toy, split, tmp_path, contents):
    source = words("unreadable", "seven77")
    for shard_id in (2, 0):
        result = run(toy, source, split, replace(HOW, shard_id=shard_id, num_shards=3))
        assert not result.complete
        assert split.spaces() == {}
    result = run(toy, source, split, replace(HOW, shard_id=1, num_shards=3))
    assert (result.complete, [f.row for f in result.failures]) == (True, [11, 12])
    other = Split(tmp_path / "other" / "pool")
    run(toy, source, other)
    assert contents(split.path) == contents(other.path)


@pytest.mark.parametrize("count", [0, 1, 3, 10, 11, 13])
def test_shares_add_up(count):
    shares = [replace(HOW, shard_id=i, num_shards=4).share(count) for i in range(4)]
    assert sum(shares) == count
    assert shares[0] == min(3, count) + max(0, min(count - 12, 3))


def test_strict_tells_of_a_failure_that_an_earlier_run_left_out(toy, split):
    run(toy, words("unreadable"), split)
    with pytest.raises(FreeBindError, match="an item failed"):
        run(toy, words("unreadable"), split, strict=True)
