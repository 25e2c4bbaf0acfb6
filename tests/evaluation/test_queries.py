from dataclasses import replace

import numpy as np
import pytest
from made import corrected_scores, with_hubs
from matplotlib.image import imread

from fb_jax.banks import BankSet, Split, open_banks, write_items
from fb_jax.evaluation import direction_ranks, plot_queries
from fb_jax.evaluation.models import fused_rows
from fb_jax.evaluation.queries import Changed, Found, _name, changed_queries


@pytest.fixture(scope="module")
def changed(space, test_banks):
    return changed_queries(space, test_banks, "audio", "text", count=7)


def test_what_is_found_after_fusing_is_what_the_fused_space_ranks_first(space, test_banks, changed):
    rows, table = fused_rows(space, test_banks), test_banks.pairs("audio", "text")
    ranks = direction_ranks(rows["audio"], rows["text"], table)["left->right"]
    names = [item["id"] for item in test_banks.split.items("audio")]
    for query in changed:
        row = names.index(query.query)
        place = np.unique(table[:, 0]).tolist().index(row)
        right = [found.right for found in query.after]
        assert (True in right) == (ranks[place] < 3)
        assert not (ranks[place] < 3) or right.index(True) == ranks[place]
    assert len({query.query for query in changed}) == 7


def test_hub_corrected_scores_order_what_is_found(space, test_banks):
    corrected, plain = with_hubs(space), fused_rows(space, test_banks)
    changed = changed_queries(corrected, test_banks, "audio", "text", count=7)
    scores = corrected_scores(corrected, "audio", plain["audio"], "text", plain["text"])
    items = {m: test_banks.split.items(m) for m in ("audio", "text")}
    names = [item["id"] for item in items["audio"]]
    for query in changed:
        best = np.argsort(-scores[names.index(query.query)], kind="stable")[:3]
        assert [found.text for found in query.after] == [items["text"][int(i)]["id"] for i in best]


def test_without_the_expert_nothing_changes(space, test_banks):
    same = space.with_factors(audio=0.0, text=0.0)
    for query in changed_queries(same, test_banks, "text", "audio"):
        assert query.before == query.after


def test_an_item_is_called_by_its_caption_else_its_path_else_its_id(tmp_path):
    items = [{"id": "a", "caption": "one"}, {"id": "b", "path": "two.wav"}, {"id": "c"}]
    split = Split(tmp_path / "test")
    items = {"text": write_items(split.items_path("text"), items)}
    rows = {"text": np.array([0, 1, 2])}
    assert [_name(items, rows, "text", i) for i in range(3)] == ["one", "two.wav", "c"]


def test_banks_in_memory_have_no_names_and_lacking_spaces_no_queries(space, root):
    lacking = open_banks(root, "test", spaces=["imagebind"])
    assert changed_queries(space, lacking, "audio", "text") == []
    arrays = {"imagebind": {"text": np.eye(3), "audio": np.eye(3)}}
    memory = BankSet.from_arrays(arrays, {("audio", "text"): None})
    assert changed_queries(space, replace(lacking, split=memory.split), "audio", "text") == []


def test_a_picture_shades_what_is_right(tmp_path):
    seen = []
    for right in (False, True):
        found = (Found("a caption that costs $5 and is far too long to be shown whole", right),)
        path = tmp_path / f"{right}.png"
        plot_queries([Changed("q", found, found)], "title", path)
        seen.append(imread(path))
    assert not np.array_equal(*seen)
