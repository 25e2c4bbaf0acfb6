import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from fb_jax.banks import BankSet
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import evaluate, sweep
from fb_jax.evaluation.surfaces import class_surfaces
from fb_jax.evaluation.surfaces.bilinear import Mixture, norms_of
from fb_jax.evaluation.surfaces.choosing import Aim, choose
from fb_jax.evaluation.surfaces.class_surfaces import (
    accuracy_surface,
    class_mixtures,
    precision_surface,
)
from fb_jax.fusion import FusedSpace

GRID = (0.0, 0.3, 1.0)
ITEMS, CLASSES, DIM = 40, 6, 5


def drawn(rng, count):
    components = rng.normal(size=(2, count, DIM)).astype(np.float32)
    shares = np.array([(1 - s, s) for s in GRID], np.float32)
    return Mixture(components, shares, norms_of(components, shares))


def problem(seed, templates, several=False):
    """Media and prompts over a grid of factors, labels of the media, prompts of the classes."""
    rng = np.random.default_rng(seed)
    media, prompts = drawn(rng, ITEMS), drawn(rng, CLASSES * templates)
    order = rng.permutation(CLASSES * templates)
    of_class = np.stack([order % CLASSES, np.arange(CLASSES * templates)], axis=1)
    labels = np.stack([np.arange(ITEMS), rng.integers(0, CLASSES, ITEMS)], axis=1)
    if several:
        labels = np.unique([*labels, *((i, (c + 1) % CLASSES) for i, c in labels[::3])], axis=0)
    return media, prompts, of_class, labels


def scores_at(media, prompts, of_class, g, h):
    """Scores [n, c] in float64, from the fused rows at two factors."""
    unit = lambda rows: rows / np.linalg.norm(rows, axis=-1, keepdims=True)  # noqa: E731
    items, texts = (
        unit(np.tensordot(np.float64([1 - GRID[i], GRID[i]]), np.float64(side.components), 1))
        for side, i in ((media, g), (prompts, h))
    )
    classes = [texts[of_class[of_class[:, 0] == c, 1]].mean(axis=0) for c in range(CLASSES)]
    return items @ unit(np.stack(classes)).T


@given(seed=st.integers(0, 10_000), templates=st.integers(1, 3))
@settings(deadline=None, max_examples=8)
def test_accuracy_is_counted_at_every_pair_of_factors(seed, templates):
    media, prompts, of_class, labels = problem(seed, templates)
    surface = accuracy_surface(media, class_mixtures(prompts, of_class), labels)
    assert surface.shape == (3, 3)
    for point in np.ndindex(3, 3):
        found = scores_at(media, prompts, of_class, *point).argmax(axis=1)
        assert surface[point] == pytest.approx(100 * np.mean(found == labels[:, 1]))


@given(seed=st.integers(0, 10_000), templates=st.integers(1, 3))
@settings(deadline=None, max_examples=8)
def test_precision_is_that_of_sklearn_at_every_pair_of_factors(seed, templates):
    media, prompts, of_class, labels = problem(seed, templates, several=True)
    surface = precision_surface(media, class_mixtures(prompts, of_class), labels)
    truth = np.zeros((ITEMS, CLASSES), int)
    truth[tuple(labels.T)] = 1
    there = truth.any(axis=0)
    for point in np.ndindex(3, 3):
        scores = scores_at(media, prompts, of_class, *point)
        expected = average_precision_score(truth[:, there], scores[:, there], average="macro")
        assert surface[point] == pytest.approx(100 * expected, abs=1e-3)


def test_blocks_of_classes_change_nothing(monkeypatch):
    media, prompts, of_class, labels = problem(0, 2, several=True)
    whole = precision_surface(media, class_mixtures(prompts, of_class), labels)
    monkeypatch.setattr(class_surfaces, "SCORE_BYTES", 4 * 8 * ITEMS * 4)
    blocks = precision_surface(media, class_mixtures(prompts, of_class), labels)
    np.testing.assert_allclose(blocks, whole)


@pytest.mark.parametrize("templates", [1, 2])
def test_a_class_without_a_prompt_is_refused(templates):
    _, prompts, of_class, _ = problem(0, templates)
    with pytest.raises(FreeBindError, match="no prompt"):
        list(class_mixtures(prompts, of_class[of_class[:, 0] != 2]))


def labelled_banks(space, several):
    """A split of random rows with labels of audios and of images, two prompts a class."""
    rng = np.random.default_rng(0)
    counts = {"text": 12, "image": 30, "audio": 40}
    spaces = {
        name: {m: rng.normal(size=(counts[m], space.dims[name])) for m in space.modalities_of(name)}
        for name in space.spaces
    }
    labels = lambda n: np.stack([np.arange(n), np.arange(n) % 6], axis=1)  # noqa: E731
    more = [(i, 5) for i in range(0, 40, 6)] if several else []
    prompts = np.stack([np.arange(12) // 2, np.arange(12)], axis=1)
    tables = {("audio", "class"): np.concatenate([labels(40), np.reshape(more, (-1, 2))])}
    tables |= {("image", "class"): labels(30), ("class", "text"): prompts}
    return BankSet.from_arrays(spaces, {p: t.astype(int) for p, t in tables.items()}, "labelled")


@pytest.mark.parametrize("kind", ["combination", "displacement", "direct_sum"])
@pytest.mark.parametrize("normalise", [True, False])
def test_labels_are_swept_as_they_are_evaluated(make_bond, kind, normalise):
    space = FusedSpace.of(make_bond(kind), normalise=normalise)
    banks = labelled_banks(space, several=False)
    swept = sweep(space, banks, GRID)
    assert swept.metrics == {"audio-class": "top-1", "image-class": "top-1"}
    points = {"here": dict(zip(swept.modalities, (0.3, 1.0, 0.3), strict=False))}
    figures = evaluate(space, banks, points)
    for task in swept.surfaces:
        assert swept.unified[task] == figures["unified"][task]["top-1"]
        place = tuple(GRID.index(factor) for factor in points["here"].values())
        every = np.broadcast_to(swept.over_factors(task), [3] * len(place))
        assert every[place] == pytest.approx(figures["here"][task]["top-1"])


def test_factors_are_chosen_on_labels(make_bond):
    """The factor of class is that of text; several labels are swept by their precision."""
    space = FusedSpace.of(make_bond("combination"))
    swept = sweep(space, labelled_banks(space, several=True), GRID)
    assert swept.metrics == {"audio-class": "mAP", "image-class": "top-1"}
    shapes = {task: swept.over_factors(task).shape for task in swept.surfaces}
    assert shapes == {"audio-class": (3, 3), "image-class": (3, 1)}  # over text, audio
    assert swept.surfaces["audio-class"][0, 0] == pytest.approx(swept.unified["audio-class"])
    chosen = choose(swept, Aim.parse("class-audio"))
    assert chosen.reached["audio-class"] == pytest.approx(swept.surfaces["audio-class"].max())
    assert choose(swept, Aim.parse("class-image")).reached["image-class"] == pytest.approx(
        swept.surfaces["image-class"].max()
    )
