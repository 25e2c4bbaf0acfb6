import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from made import random_product

from fb_jax import files
from fb_jax.banks import Split, open_banks
from fb_jax.banks.arrays import array_bank
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import evaluate, retrieval, sweep
from fb_jax.evaluation.models import sources_and_baseline
from fb_jax.fusion import FusedSpace, sources
from fb_jax.registry import METRICS

SPACES = ("imagebind", "clap_general")
EXPERT = "clap_general"
ALL = ("audio-image", "audio-text", "image-text")


@pytest.fixture
def split(root, tmp_path) -> Split:
    """A split test of one's own."""
    return Split(shutil.copytree(root, tmp_path / "home") / "test")


def reopen(split):
    return open_banks(split.path.parent, "test", spaces=SPACES)


# The tree


def test_models_are_compared_on_every_pair_of_modalities_that_they_have(metrics):
    assert {model: tuple(by_pair) for model, by_pair in metrics.items()} == {
        "unified": ALL,
        EXPERT: ("audio-text",),
        "versatile": ALL,
        "at_expertise": ALL,
        "mean_of_scores": ("audio-text",),
    }


def test_every_cell_has_the_same_figures(metrics):
    for by_pair in metrics.values():
        for pair, figures in by_pair.items():
            left, right = pair.split("-")
            ways = ("", f" {left}->{right}", f" {right}->{left}")
            assert list(figures) == [f"R@{k}{way}" for way in ways for k in (1, 5, 10)]


def test_results_are_json(metrics):
    assert json.loads(json.dumps(metrics.to_dict(), allow_nan=False)) == metrics


# The models


@pytest.mark.parametrize(("model", "owner"), [("unified", "imagebind"), (EXPERT, EXPERT)])
def test_a_source_is_evaluated_on_its_own_rows(metrics, test_banks, model, owner):
    audio, text = (test_banks[owner, modality][:] for modality in ("audio", "text"))
    found = retrieval(audio, text, test_banks.pairs("audio", "text"), ("audio", "text"))
    assert metrics[model]["audio-text"] == found


@pytest.mark.parametrize("preset", ["versatile", "at_expertise"])
@pytest.mark.parametrize("pair", ALL)
def test_a_preset_is_evaluated_on_the_fused_rows(metrics, space, test_banks, preset, pair):
    fused = FusedSpace.of(*space.last.bonds, at=preset)
    sides = pair.split("-")
    rows = [
        fused.fuse(m, {owner: test_banks[owner, m][:] for owner in fused.spaces_of(m)})
        for m in sides
    ]
    assert metrics[preset][pair] == retrieval(*rows, test_banks.pairs(*sides), tuple(sides))


def test_mean_of_scores_is_the_mean_of_both_score_matrices(metrics, test_banks):
    scores = [test_banks[owner, "audio"][:] @ test_banks[owner, "text"][:].T for owner in SPACES]
    mean, one_hot = np.mean(scores, axis=0), np.eye(60, dtype=np.float32)
    pairs = test_banks.pairs("audio", "text")
    # Rows of a score matrix find one-hot columns by just those scores.
    found = retrieval(mean, one_hot, pairs, ("audio", "text"))
    assert metrics["mean_of_scores"]["audio-text"] == found


def test_points_of_ones_own_replace_the_presets(space, test_banks, metrics):
    found = evaluate(space, test_banks, {"mine": {"audio": 0.8, "text": 0.5}})
    assert list(found) == ["unified", "clap_general", "mine", "mean_of_scores"]
    assert found["mine"] == metrics["at_expertise"]
    assert found["unified"] == metrics["unified"]


def test_a_point_that_names_one_factor_takes_the_other_from_the_space(space, test_banks, metrics):
    at = space.with_factors(text=0.5)
    assert evaluate(at, test_banks, {"p": {"audio": 0.8}})["p"] == metrics["at_expertise"]


@pytest.mark.parametrize("k", [1, 5])
def test_the_fused_space_beats_the_unified_one_where_the_expert_is_good(metrics, k):
    models = ("unified", "versatile", "at_expertise")
    scores = [metrics[model]["audio-text"][f"R@{k}"] for model in models]
    assert scores == sorted(set(scores))


# Products


@pytest.fixture(scope="module")
def product():
    """imagebind displaced into internvl, then clap_general combined; never trained."""
    return random_product().with_experts(["clap_general"])


@pytest.fixture(scope="module")
def native(root):
    return open_banks(root, "test", spaces=("imagebind", "internvl", "clap_general"))


def test_a_product_is_measured_against_its_native_spaces_and_its_base(product, native):
    found = evaluate(product, native)
    assert list(found) == [
        *("unified", "internvl", "clap_general", "internvl_ib"),
        *("versatile", "at_expertise", "mean_of_scores"),
    ]
    audio, text = (native["imagebind", modality][:] for modality in ("audio", "text"))
    table = native.pairs("audio", "text")
    assert found["unified"]["audio-text"] == retrieval(audio, text, table, ("audio", "text"))
    scores = [native[s, "image"][:] @ native[s, "text"][:].T for s in ("imagebind", "internvl")]
    mean = sources_and_baseline(product, native)["mean_of_scores"]
    shares = np.sqrt(2 * 3)  # images are in two spaces, texts in three
    np.testing.assert_allclose(mean["image"] @ mean["text"].T, sum(scores) / shares, atol=1e-6)


def test_rows_of_a_tuned_encoder_are_no_source(product, native):
    space = product.base.with_last(replace(product.base.last, tuned_rows={"audio": "tuned"}))
    tuned = array_bank("tuned", "audio", np.random.default_rng(0).normal(size=(60, 56)))
    found = evaluate(space, replace(native, banks={**native.banks, ("tuned", "audio"): tuned}))
    assert list(found) == ["unified", "internvl", "it_expertise", "mean_of_scores"]
    assert "audio-text" in found["it_expertise"]


def test_a_base_in_a_table_has_the_figures_of_its_own_table(product, native):
    own = evaluate(product.base, native)
    assert evaluate(product, native)["internvl_ib"] == own["it_expertise"]


def test_a_products_rows_are_those_of_the_space_at_the_preset(product, native):
    at = product.at("at_expertise")
    rows = {m: at.fuse(m, sources(at, native, m)) for m in ("audio", "text")}
    table = native.pairs("audio", "text")
    found = retrieval(rows["audio"], rows["text"], table, ("audio", "text"))
    assert evaluate(product, native)["at_expertise"]["audio-text"] == found


# Splits that lack something


def test_a_split_without_pairs_is_refused(space, pool):
    with pytest.raises(FreeBindError, match=r"nothing to evaluate(.|\n)*pool\n(.|\n)*bank pairs"):
        evaluate(space, pool)


def set_missing(split, space, modality, rows):
    path = split.bank_path(space, modality) / "manifest.json"
    manifest = files.read_json(path)
    files.write_json(path, manifest | {"about": manifest["about"] | {"missing": rows}})


def test_pairs_of_items_that_a_space_lacks_are_not_asked(space, split):
    set_missing(split, "clap_general", "text", [0, 1])
    split.write_pairs("audio", "text", np.array([[0, 0], [5, 1], [7, 7]]))
    for figures in (by_pair["audio-text"] for by_pair in evaluate(space, reopen(split)).values()):
        assert set(figures.values()) <= {0.0, 50.0, 100.0}  # one query in each direction


def test_a_pair_table_of_missing_items_alone_is_left_out(space, split):
    set_missing(split, "clap_general", "text", [0, 1])
    split.write_pairs("audio", "text", np.array([[0, 0], [5, 1]]))
    found = evaluate(space, reopen(split))
    assert tuple(found["unified"]) == ("audio-image", "image-text")
    assert found["clap_general"] == found["mean_of_scores"] == {}


@pytest.mark.parametrize(
    ("lacks", "pair"), [("audio", "image-text"), ("text", "audio-image"), ("image", "audio-text")]
)
def test_a_split_of_two_modalities_gives_their_figures(space, split, metrics, lacks, pair):
    for owner in SPACES:
        shutil.rmtree(split.bank_path(owner, lacks), ignore_errors=True)
    found = evaluate(space, reopen(split))
    assert found == {
        model: {pair: by_pair[pair]} if pair in by_pair else {}
        for model, by_pair in metrics.items()
    }


def test_a_fused_space_without_the_experts_side_of_a_modality_leaves_it_out(space, split, metrics):
    shutil.rmtree(split.bank_path("clap_general", "audio"))
    found = evaluate(space, reopen(split))
    assert found["unified"] == metrics["unified"]
    assert found["versatile"] == {"image-text": metrics["versatile"]["image-text"]}


# Metrics by name


def test_metrics_are_chosen_by_name_and_ones_own_has_a_column(space, test_banks, metrics):
    @METRICS.register("first")
    def first(ranks):
        return float(np.mean(ranks == 0))

    try:
        found = evaluate(space, test_banks, metrics=("R@1", "MRR", "median rank", "first"))
        identity = METRICS.identity("first")
    finally:
        del METRICS._methods["first"]
    for model, by_pair in metrics.items():
        for pair, figures in by_pair.items():
            own = found[model][pair]
            assert own["first"] == pytest.approx(figures["R@1"] / 100)
            assert figures["R@1"] <= own["MRR"] <= 100
            assert own["median rank"] >= 1
    assert "R@1 / MRR / median rank / first" in str(found)
    METRICS.register("first")(lambda ranks: 0.0)
    assert METRICS.identity("first") != identity
    del METRICS._methods["first"]
    with pytest.raises(FreeBindError, match="no metric 'R@7'"):
        evaluate(space, test_banks, metrics=("R@7",))


def test_banks_of_other_spaces_are_refused(space, root):
    others = open_banks(root, "test", spaces=["internvl"])
    for measure in (evaluate, sweep):
        with pytest.raises(FreeBindError, match=r"nothing to evaluate(.|\n)*rows of internvl"):
            measure(space, others)
