import numpy as np
import pytest

from fb_jax.errors import FreeBindError
from fb_jax.evaluation.surfaces.choosing import Aim, choose
from fb_jax.evaluation.surfaces.sweep import Sweep

AUDIO_TEXT = np.array([[10.0, 20.0, 30.0], [10.0, 50.0, 60.0], [10.0, 50.0, 70.0]])
SWEPT = Sweep(
    ("text", "audio"),
    (0.0, 0.5, 1.0),
    {
        "audio-text": AUDIO_TEXT,
        "image-text": np.array([[80.0, 78.0, 20.0]]),
        "audio-image": np.array([[12.0], [12.0], [9.0]]),
    },
    {"audio-text": 10.0, "image-text": 80.0, "audio-image": 12.0},
)


@pytest.mark.parametrize(
    ("aim", "text", "audio"),
    [
        ("mean", 0.5, 0.5),  # 50 + 78 + 12
        ("audio-text", 1.0, 1.0),
        ("text-audio", 1.0, 1.0),
        ("image-text", 0.0, 0.0),  # of equal ones the middle; of two the lower
        ("audio-image", 0.5, 0.5),  # but before that, those with the best mean: text is left open
        ("audio-text, others no worse than unified", 0.0, 0.0),
        ("mean,  others no worse  than unified ", 0.0, 0.0),
        ("audio-text, others within 2 of unified", 0.5, 0.5),
        ("audio-text , others within 60.5 of unified", 1.0, 1.0),
    ],
)
def test_an_aim_has_its_factors(aim, text, audio):
    choice = choose(SWEPT, Aim.parse(aim))
    assert list(choice.factors.items()) == [("audio", audio), ("text", text)]
    assert choice.short == 0
    at = [round(2 * audio), round(2 * text)]
    assert choice.reached["audio-text"] == AUDIO_TEXT[*at]


def test_if_no_factors_keep_the_others_the_least_loss_is_chosen():
    swept = Sweep(
        SWEPT.modalities, SWEPT.grid, SWEPT.surfaces, {**SWEPT.unified, "image-text": 81.0}
    )
    choice = choose(swept, Aim.parse("audio-text, others no worse than unified"))
    assert (choice.factors["text"], choice.short) == (0.0, 1.0)


@pytest.mark.parametrize(
    "text", ["", "best", "audio-text-image", "audio-text, others", "mean mean"]
)
def test_another_aim_is_refused(text):
    with pytest.raises(FreeBindError, match="no aim to choose factors by"):
        Aim.parse(text)


def test_an_aim_at_a_pair_that_was_not_evaluated_names_those_that_were():
    with pytest.raises(FreeBindError, match="audio-depth") as error:
        choose(SWEPT, Aim.parse("depth-audio"))
    assert "audio-text" in str(error.value)


@pytest.mark.parametrize(
    ("aim", "text"),
    [
        (Aim(), "the mean R@1 of all pairs"),
        (Aim("audio-text", 0.0), "the R@1 of audio-text, others no worse than unified"),
        (Aim("audio-text", 0.5), "the R@1 of audio-text, others within 0.5 of unified"),
    ],
)
def test_an_aim_in_words(aim, text):
    assert str(aim) == text


def test_of_a_plateau_the_middle_is_chosen():
    flat = np.full((5, 5), 40.0)
    flat[1:4, 2:5] = 100.0
    swept = Sweep(("text", "audio"), (0.0, 0.25, 0.5, 0.75, 1.0), {"audio-text": flat}, {})
    assert choose(swept, Aim()).factors == {"audio": 0.5, "text": 0.75}


@pytest.mark.parametrize(
    ("points", "says"), [("1.2.3", "no number of points"), ("101", "0 to 100")]
)
def test_points_that_cannot_be_are_refused(points, says):
    with pytest.raises(FreeBindError, match=says):
        Aim.parse(f"mean, others within {points} of unified")
