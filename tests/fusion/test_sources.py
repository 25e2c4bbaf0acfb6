from dataclasses import replace

import numpy as np
import pytest

from fb_jax.banks import Bank, BankSet
from fb_jax.fusion import FusedSpace, fusable, licences_of, parts_of, sources
from fb_jax.fusion.sources import by_spaces


@pytest.fixture
def space(make_bond):
    return FusedSpace.of(make_bond("combination"))


def some_of(banks, spaces):
    keys = [(space, modality) for space, modalities in spaces.items() for modality in modalities]
    return type(banks)(banks.split, {key: banks[key] for key in keys}, {})


@pytest.mark.parametrize(
    ("spaces", "modalities"),
    [
        ({"imagebind": ["text", "image"], "clap_general": ["text"]}, ("text", "image")),
        ({"imagebind": ["text", "image"], "clap_general": ["audio"]}, ("image",)),
        ({"imagebind": ["audio"], "clap_general": ["audio", "text"]}, ("audio",)),
        ({"clap_general": ["audio", "text"]}, ()),
    ],
)
def test_modalities_that_can_be_fused_are_those_for_which_all_sides_are_here(
    space, test_banks, spaces, modalities
):
    assert fusable(space, some_of(test_banks, spaces)) == modalities


def test_a_space_is_fused_from_the_rows_of_its_sources(space, test_banks):
    found = sources(space, test_banks, "text", slice(5, 9))
    assert list(found) == ["imagebind", "clap_general"]
    for name, rows in found.items():
        np.testing.assert_array_equal(rows, test_banks[name, "text"][5:9])
    assert list(sources(space, test_banks, "image")) == ["imagebind"]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_parts_are_those_of_every_modality_that_can_be_fused(space, test_banks, precision):
    found = parts_of(space, test_banks, precision)
    assert tuple(found) == fusable(space, test_banks)
    for modality, parts in found.items():
        wanted = space.parts(modality, sources(space, test_banks, modality), precision)
        for side, rows in zip(parts, wanted, strict=True):
            np.testing.assert_array_equal(side, rows)


def test_licences_are_those_that_the_banks_record(space, test_banks):
    licence = test_banks.banks["imagebind", "text"].encoder.licence
    assert licence != "unknown"
    wanted = dict.fromkeys(space.spaces, licence)
    assert licences_of(space, test_banks) == wanted
    one = some_of(test_banks, {"clap_general": ["text"]})
    assert licences_of(space, one) == {"clap_general": licence}


def test_items_are_grouped_by_the_spaces_that_have_them(product):
    gone = {"imagebind": [5], "internvl": [5, 7], "clap_music": [9], "clap_general": []}
    memory = BankSet.from_arrays({space: {"text": np.ones((60, 2))} for space in gone})
    banks = {
        key: Bank(bank.array, replace(bank.about, missing=np.array(gone[key[0]], np.int64)))
        for key, bank in memory.banks.items()
    }
    groups = by_spaces(product, replace(memory, banks=banks), "text")
    found = {tuple(s for s, _ in group.banks): group.rows["text"].tolist() for group in groups}
    assert found == {
        ("imagebind", "clap_music", "clap_general"): [7],
        ("imagebind", "internvl", "clap_general"): [9],
        tuple(gone): [row for row in range(60) if row not in (5, 7, 9)],
    }
    assert all(len(b) == len(g.rows["text"]) for g in groups for b in g.banks.values())


def test_removed_items_do_not_come_back(space, test_banks):
    """Neither among the items that all spaces have nor among those that an expert lacks."""
    removed = replace(test_banks, removed={"text": np.array([3, 5])})
    for _ in range(2):
        (removed,) = by_spaces(space, removed, "text")
        np.testing.assert_array_equal(removed.rows["text"], np.delete(np.arange(60), [3, 5]))
