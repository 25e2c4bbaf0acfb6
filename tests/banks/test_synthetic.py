import shutil

import numpy as np
import pytest

from fb_jax.banks import Synthetic, open_banks, open_split, splits, verify_split, write_synthetic

SMALL = {"pool": {"text": 6, "audio": 4}, "evaluation": {"val": 3}, "shard_rows": 4}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    write_synthetic(root := tmp_path_factory.mktemp("synthetic"))
    return root


def recall_at_1(root, space, modality) -> float:
    """How often text i is nearest of all to item i of a modality."""
    banks = open_banks(root, "test", spaces=[space])
    scores = banks[space, modality][:] @ banks[space, "text"][:].T
    return float(np.mean(scores.argmax(axis=1) == np.arange(len(scores))))


def test_the_unified_space_is_good_at_images_and_an_expert_better_at_what_it_knows(made):
    assert recall_at_1(made, "imagebind", "image") > 0.7
    assert recall_at_1(made, "internvl", "image") > recall_at_1(made, "imagebind", "image") + 0.1
    assert (
        recall_at_1(made, "clap_general", "audio") > recall_at_1(made, "imagebind", "audio") + 0.3
    )


def test_every_split_is_whole_and_has_the_spaces_and_pairs_it_should(made):
    assert splits(made) == ["pool", "test", "val"]
    for name, pairs in (("pool", 0), ("test", 3), ("val", 3)):
        split = open_split(made, name)
        assert len(split.paired()) == pairs
        assert len(verify_split(split)) == 3 + 7 + pairs
        assert split.spaces() == {
            "clap_general": ["audio", "text"],
            "imagebind": ["audio", "image", "text"],
            "internvl": ["image", "text"],
        }


def test_item_i_of_every_modality_is_one_thing_in_evaluation_and_not_in_the_pool(tmp_path):
    write_synthetic(tmp_path, Synthetic(**SMALL))
    assert open_split(tmp_path, "val").read_pairs("text", "audio").tolist() == [
        [0, 0],
        [1, 1],
        [2, 2],
    ]
    pool = open_banks(tmp_path, spaces=["imagebind", "clap_general"])
    assert {modality: len(rows) for modality, rows in pool.rows.items()} == SMALL["pool"]
    assert pool.paired() == []


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path, contents):
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    for path, seed in ((first, 0), (again, 0), (other, 1)):
        write_synthetic(path, Synthetic(**SMALL, seed=seed))
    assert contents(first) == contents(again)
    shards = {name: data for name, data in contents(first).items() if "emb_" in name}
    assert len(shards) == 5 * (1 + 1) + 3
    assert all(contents(other)[name] != data for name, data in shards.items())


def test_a_root_that_was_left_half_written_is_completed_to_the_same_bytes(tmp_path, contents):
    write_synthetic(tmp_path, Synthetic(**SMALL))
    before = contents(tmp_path)
    shutil.rmtree(tmp_path / "val")
    write_synthetic(tmp_path, Synthetic(**SMALL))
    assert contents(tmp_path) == before
