from pathlib import Path

import pytest

from fb_jax.datasets import DATASETS

PAGE = (Path(__file__).parents[2] / "docs/datasets.md").read_text()


@pytest.mark.parametrize("name", DATASETS)
def test_the_page_says_of_every_data_set_what_the_registry_says(name):
    dataset = DATASETS[name]
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}` | `--root "))
    assert dataset.licence.replace("(unconfirmed)", "(?)").partition(";")[0] in row
    assert all(part in row for part in dataset.source.split() if part.startswith("https"))
    counts = next(
        line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |") and line != row
    ).replace(",", "")
    assert str(dataset.subsets[dataset.default]) in counts
    assert str(next(iter(dataset.paper.values()))) in counts


def test_the_page_names_all_subsets():
    others = {subset for dataset in DATASETS.values() for subset in list(dataset.subsets)[1:]}
    options = next(line for line in PAGE.splitlines() if line.startswith("| `--subset`"))
    assert all(f"`{subset}`" in options for subset in others)
