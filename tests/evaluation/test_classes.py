from dataclasses import replace

import numpy as np
import pytest

from fb_jax.banks import BankSet
from fb_jax.errors import FreeBindError
from fb_jax.evaluation.bootstrap import Bootstrap
from fb_jax.evaluation.classes import class_rows, labelled, with_classes
from fb_jax.evaluation.metrics import ACCURACIES
from fb_jax.evaluation.models import compare
from fb_jax.evaluation.retrieval import class_samples
from fb_jax.evaluation.spaces import native_space

PROMPTS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
TABLE = np.array([[0, 0], [0, 1], [1, 2]])  # two prompts of class 0, one of class 1


def test_a_class_is_the_unit_mean_of_its_prompts():
    half = np.sqrt(0.5)
    np.testing.assert_allclose(class_rows(PROMPTS, TABLE), [[half, half, 0], [0, 0, 1]])


def test_a_class_without_a_prompt_is_refused():
    with pytest.raises(FreeBindError, match=r"no prompt(.|\n)*row 1"):
        class_rows(PROMPTS, np.array([[0, 0], [2, 1]]))


def test_an_item_is_right_if_one_of_its_classes_is_among_the_first():
    classes = np.eye(6, dtype=np.float32)
    items = np.array([[6, 5, 4, 3, 2, 1]] * 3, np.float32)  # classes in descending order
    labels = np.array([[0, 0], [1, 5], [2, 5], [2, 4]])
    found = class_samples(items, classes, labels, ACCURACIES, Bootstrap(0))
    assert found == {"top-1": pytest.approx(100 / 3), "top-5": pytest.approx(200 / 3)}


def banks(**tables):
    arrays = {"u": {"audio": np.eye(3), "text": PROMPTS}}
    pairs = {tuple(name.split("_")): table for name, table in tables.items()}
    return BankSet.from_arrays(arrays, pairs)


def test_media_are_classified_if_their_classes_have_prompts():
    labels = np.array([[0, 0], [1, 1]])
    assert labelled(banks(audio_class=labels, class_text=TABLE)) == ["audio"]
    assert labelled(banks(audio_class=labels)) == []
    assert labelled(banks(class_text=TABLE)) == []


def test_a_space_without_texts_has_no_classes():
    split = banks(class_text=TABLE)
    assert set(with_classes({"text": PROMPTS}, split)) == {"text", "class"}
    assert set(with_classes({"audio": PROMPTS}, split)) == {"audio"}


@pytest.mark.parametrize("labels", [[[0, 0], [1, 2]], [[0, 0]]])
def test_a_last_class_without_an_embedded_prompt_is_refused(labels):
    split = banks(audio_class=np.array(labels), class_text=np.array([[0, 0], [1, 1], [2, 2]]))
    kept = {"audio": np.arange(3), "text": np.arange(2)}  # nothing embedded the prompt of class 2
    held = {key: bank.restrict(kept[key[1]]) for key, bank in split.banks.items()}
    fewer = replace(split, banks=held, rows=kept)
    with pytest.raises(FreeBindError, match=r"no prompt(.|\n)*in memory(.|\n)*row 2"):
        native_space("u", fewer)


def test_a_label_of_a_class_that_never_had_a_prompt_is_refused():
    with pytest.raises(FreeBindError, match=r"no prompt(.|\n)*row 2"):
        with_classes({"text": PROMPTS}, banks(audio_class=np.array([[0, 2]]), class_text=TABLE))


def test_a_data_set_whose_items_may_have_several_classes_has_map_alone():
    labels = {("audio", "class"): np.array([[0, 0], [1, 1]])}
    model = {"audio": np.eye(3, dtype=np.float32), "class": np.eye(2, 3, dtype=np.float32)}
    assert list(compare(model, labels)["audio-class"]) == ["top-1", "top-5"]
    assert compare(model, labels, several=True)["audio-class"] == {"mAP": 100.0}


def test_a_resample_without_a_labelled_item_has_no_mean_average_precision():
    items, classes = np.eye(3, dtype=np.float32), np.eye(2, 3, dtype=np.float32)
    found = class_samples(items, classes, np.array([[0, 0]]), ["mAP"], Bootstrap(50))["mAP"]
    assert found[0] == 100
    assert 0 < np.isnan(found).sum() < 50
