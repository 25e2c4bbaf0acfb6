import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fb_jax.banks import BankSet
from fb_jax.errors import FreeBindError
from fb_jax.evaluation.groups import groups
from fb_jax.evaluation.parting import part_by_item


def bank_set(count, tables):
    rows = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    names = sorted({m for pair in tables for m in pair})
    return BankSet.from_arrays({"house": dict.fromkeys(names, rows)}, pairs=tables, split="test")


def items(part, modality):
    return set(part.rows[modality].tolist())


@given(seed=st.integers(0, 1000), fraction=st.sampled_from([0.1, 0.3, 0.7]))
@settings(deadline=None, max_examples=20)
def test_no_pair_crosses_and_every_pair_is_kept(seed, fraction):
    rng = np.random.default_rng(seed)
    texts = np.stack([np.repeat(np.arange(20), 2), rng.permutation(40)], axis=1)
    tables = {("audio", "text"): texts, ("audio", "image"): np.stack([np.arange(20)] * 2, axis=1)}
    whole = bank_set(40, tables)
    val, rest = part_by_item(whole, fraction)
    assert len(val.pairs("audio", "image")) == round(fraction * 20)
    for pair, table in tables.items():
        kept = {
            tuple(part.rows[m][row] for m, row in zip(pair, rows, strict=True))
            for part in (val, rest)
            for rows in part.pairs(*pair)
        }
        assert kept == set(map(tuple, table.tolist()))
    for modality in ("audio", "image", "text"):
        assert not items(val, modality) & items(rest, modality)
        assert items(val, modality) | items(rest, modality) == items(whole, modality)


def test_rows_are_those_of_the_items_and_the_parts_are_always_the_same():
    whole = bank_set(10, {("audio", "text"): None})
    val, rest = part_by_item(whole, 0.3)
    np.testing.assert_array_equal(
        val["house", "audio"][:], whole["house", "audio"][:][val.rows["audio"]]
    )
    assert len(rest["house", "text"]) == 7
    np.testing.assert_array_equal(part_by_item(whole, 0.3)[0].rows["text"], val.rows["text"])
    assert val.rows["text"].tolist() != [0, 1, 2]  # drawn, not the first ones


LABELS = np.stack([np.arange(10), np.arange(10) % 2], axis=1)
PROMPTS = np.array([[0, 0], [0, 1], [1, 2], [1, 3]])


def test_labelled_items_are_parted_and_their_classes_stay_whole():
    tables = {("audio", "class"): LABELS, ("class", "text"): PROMPTS}
    rows = np.random.default_rng(0).normal(size=(10, 3))
    whole = BankSet.from_arrays({"house": {"audio": rows, "text": rows[:4]}}, tables, "test")
    val, rest = part_by_item(whole, 0.3)
    assert (len(val.rows["audio"]), len(rest.rows["audio"])) == (3, 7)
    assert not items(val, "audio") & items(rest, "audio")
    for part in (val, rest):
        assert part.pairs("class", "text").tolist() == PROMPTS.tolist()
        kept = part.pairs("audio", "class")
        np.testing.assert_array_equal(kept[:, 0], np.arange(len(part.rows["audio"])))
        np.testing.assert_array_equal(kept[:, 1], LABELS[part.rows["audio"], 1])


def test_captions_are_parted_and_prompts_among_them_are_not():
    captions = np.stack([np.arange(10), 4 + np.arange(10)], axis=1)
    tables = {("audio", "text"): captions, ("audio", "class"): LABELS, ("class", "text"): PROMPTS}
    rows = np.random.default_rng(0).normal(size=(14, 3))
    whole = BankSet.from_arrays({"house": {"audio": rows[:10], "text": rows}}, tables, "test")
    val, rest = part_by_item(whole, 0.5)
    assert items(val, "text") & items(rest, "text") == {0, 1, 2, 3}
    assert len(val.pairs("audio", "text")) == len(rest.pairs("audio", "text")) == 5


def test_items_without_a_pair_are_in_the_rest():
    val, rest = part_by_item(bank_set(10, {("audio", "text"): np.array([[0, 0], [1, 1]])}), 0.5)
    assert (len(val.rows["audio"]), len(rest.rows["audio"])) == (1, 9)


@pytest.mark.parametrize(
    ("table", "fraction", "message"),
    [
        (np.array([[0, 0], [0, 1], [1, 1]]), 0.5, "cannot be parted by item\n.*test"),
        (None, 0.01, "val_fraction"),
        (None, 0.99, "val_fraction"),
    ],
)
def test_what_cannot_be_parted_is_refused(table, fraction, message):
    with pytest.raises(FreeBindError, match=message):
        part_by_item(bank_set(10, {("audio", "text"): table}), fraction)


def test_a_long_chain_of_pairs_is_one_group_and_found_fast():
    """Each row goes with itself and the next one: with a step a round this takes minutes."""
    row = np.random.default_rng(0).permutation(100_000)
    chain = np.concatenate([np.stack([row, row], 1), np.stack([row[:-1], row[1:]], 1)])
    labels = groups({"audio": len(row), "text": len(row) + 1}, {("audio", "text"): chain})
    assert not labels["audio"].any()
    np.testing.assert_array_equal(np.flatnonzero(labels["text"]), [len(row)])  # without a pair
