import json
import pickle

from fb_jax.evaluation import Results
from fb_jax.evaluation.results import MEAN_OF_SCORES
from fb_jax.fusion.card import HUBS


def figures(*recalls):
    return {f"R@{k}": recall for k, recall in zip((1, 5, 10), recalls, strict=True)}


METRICS = {
    "unified": {
        "audio-text": figures(9.24, 27.47, 40.0),
        "image-text": figures(57.28, 79.54, 88.0),
    },
    "expert": {"audio-text": figures(40.25, 76.21, 100.0)},
    "a model": {"image-text": figures(57.0, 79.0, 88.0)},
}
RESULTS = Results(METRICS, "test: u + e")


TABLE = """
test: u + e (R@1 / R@5 / R@10)
┏━━━━━━━━━┳━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━┓
┃ model   ┃      audio-text ┃     image-text ┃
┡━━━━━━━━━╇━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━┩
│ unified │   9.2/27.5/40.0 │ 57.3/79.5/88.0 │
│ expert  │ 40.2/76.2/100.0 │                │
│ a model │                 │ 57.0/79.0/88.0 │
└─────────┴─────────────────┴────────────────┘
"""


def test_a_row_has_r_at_1_5_and_10_for_every_pair_and_blanks_where_a_space_lacks_one():
    assert [line.rstrip() for line in str(RESULTS).splitlines()] == TABLE.splitlines()[1:]


def test_a_table_fits_80_columns():
    pairs = ("audio-image", "audio-text", "image-text")
    wide = {
        f"a model with a long name {i}": dict.fromkeys(pairs, figures(100.0, 100.0, 100.0))
        for i in range(3)
    }
    table = str(Results(wide, "internvl_ib_tuned_pp"))
    assert max(map(len, table.splitlines())) <= 80
    assert table.count(" 100.0/100.0/100.0 ") == 9


CLASSES = {
    "unified": {"audio-class": {"top-1": 60.0, "top-5": 90.0}, "image-class": {"mAP": 20.0}},
    "expert": {"audio-class": {"top-1": 70.0, "top-5": 80.0}},
    "a model": {"audio-class": {"top-1": 69.0, "top-5": 95.0}, "image-class": {"mAP": 21.0}},
}


def test_classes_name_their_metrics_and_are_compared_by_the_first():
    results = Results(CLASSES, "test", sources=("unified", "expert"))
    assert str(results).splitlines()[0].strip() == "test"
    heads = str(results).splitlines()[2:4]
    assert heads[1].split() == ["┃", "model", "┃", "top-1/top-5", "┃", "mAP", "┃"]
    assert "│ a model │   69.0/95.0 │        21.0 │" in str(results)
    assert results.verdicts() == [
        "test: a model is worse than a space alone: audio-class 69.0 against 70.0 of expert"
    ]


def test_hub_corrected_models_are_compared_with_hub_corrected_sources_which_are_no_models():
    score = lambda value: {"image-text": {"R@1": value}}  # noqa: E731
    figures = {"unified": score(70.0), "chosen": score(69.0), f"chosen{HUBS}": score(71.0)}
    figures |= {f"unified{HUBS}": score(72.0), f"{MEAN_OF_SCORES}{HUBS}": score(60.0)}
    assert Results(figures, "test", sources=("unified",)).verdicts() == [
        "test: chosen is worse than a space alone: image-text 69.0 against 70.0 of unified",
        "test: chosen, hub-corrected is worse than a space alone: "
        "image-text 71.0 against 72.0 of unified, hub-corrected",
    ]


def test_what_a_run_keeps_is_compared_with_the_mean_of_scores_corrected_if_it_is():
    score = lambda *values: dict(  # noqa: E731
        zip(("image-text", "audio-text"), ({"R@1": value} for value in values), strict=False)
    )
    figures = {"unified": score(70.0), "chosen": score(69.0, 50.0), "versatile": score(68.0, 50.0)}
    figures[MEAN_OF_SCORES] = score(69.5, 48.0)
    assert Results(figures, "test").gain("chosen") == (
        "test: the space is chosen; points above mean_of_scores: audio-text +2.0, image-text -0.5"
    )
    figures[f"chosen{HUBS}"], figures[f"{MEAN_OF_SCORES}{HUBS}"] = score(72.0), score(71.0)
    assert Results(figures, "test").gain(f"chosen{HUBS}") == (
        "test: the space is chosen, hub-corrected; points above mean_of_scores, hub-corrected: "
        "image-text +1.0"
    )
    del figures[f"{MEAN_OF_SCORES}{HUBS}"]
    assert Results(figures).gain(f"chosen{HUBS}") is None
    assert Results(figures).gain("") is None


def test_results_read_compare_and_pickle_like_the_figures_they_hold():
    assert RESULTS["unified"]["audio-text"]["R@1"] == 9.24
    assert RESULTS == METRICS == RESULTS.to_dict()
    assert pickle.loads(pickle.dumps(RESULTS)) == RESULTS
    assert Results({"unified": {}}) != RESULTS
    assert json.loads(json.dumps(RESULTS.to_dict())) == METRICS
    assert len(repr(RESULTS)) < 80


def test_results_can_be_hashed():
    assert hash(Results({"m": {}}, "a")) == hash(Results({"m": {}}, "a"))
