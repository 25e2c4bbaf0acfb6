import json
from pathlib import Path

import numpy as np
import pytest

from fb_jax import files
from fb_jax.banks import open_banks
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import sweep
from fb_jax.evaluation.surfaces.choosing import Aim, choose
from fb_jax.fusion import FusedSpace
from fb_jax.run import RunConfig, Silent
from fb_jax.run.choosing import Choosing, Validation, as_chosen, part_off, parted
from fb_jax.run.metrics import read_chosen, read_validation
from fb_jax.run.report import report_space

SPACES = ("imagebind", "clap_general")


@pytest.fixture(scope="module")
def evaluation(root):
    return {name: open_banks(root, name, spaces=SPACES) for name in ("test", "val")}


@pytest.fixture
def space(make_bond):
    return FusedSpace.of(make_bond("combination"))


def test_the_options_of_a_run_say_how_factors_are_chosen():
    config = RunConfig(data=Path("banks"), choose="audio-text", val="dev", val_fraction=0.25)
    assert config.choosing == Choosing("audio-text", "dev", 0.25)
    assert RunConfig(data=Path("banks")).choosing == Choosing("mean", "val", None)


@pytest.mark.parametrize("aim", ["mean", "audio-text"])
def test_factors_are_chosen_on_val_and_the_space_has_them(space, evaluation, tmp_path, aim):
    made = report_space(space, evaluation, tmp_path, Silent(), how=Choosing(aim))
    expected = choose(sweep(space, evaluation["val"]), Aim.parse(aim))
    assert made.space.factors == made.space.presets["chosen"] == expected.factors
    assert list(made.space.presets) == ["chosen", "versatile", "at_expertise"]
    assert list(made.results) == ["val", "test"]
    at = made.results["val"]["chosen"]
    assert {pair: at[pair]["R@1"] for pair in at} == pytest.approx(made.chosen.reached)
    assert made.results["test"]["versatile"]  # the paper's presets stay
    assert str(made.chosen).startswith("factors chosen on val, for ")


def test_the_whole_surface_is_recorded_and_the_choice_is_read_again(space, evaluation, tmp_path):
    made = report_space(space, evaluation, tmp_path, Silent())
    found = json.loads((tmp_path / "metrics.json").read_text())["chosen"]
    assert np.shape(found["sweep"]["surfaces"]["audio-text"]) == (21, 21)
    assert found["factors"] == dict(made.space.factors)
    assert read_chosen(tmp_path / "metrics.json", space) == made.chosen
    other = FusedSpace.of(space.last.bonds[0].only(("text",)))
    with pytest.raises(FreeBindError, match="of another space"):
        read_chosen(tmp_path / "metrics.json", other)
    assert read_chosen(tmp_path / "none.json", space) is None


def test_none_keeps_the_preset_without_a_word(space, evaluation, tmp_path, caplog):
    made = report_space(space, evaluation, tmp_path, Silent(), how=Choosing("none"))
    assert (made.space, made.chosen) == (space, None)
    assert not caplog.records
    assert "chosen" not in files.read_json(tmp_path / "metrics.json")


def test_without_validation_pairs_the_preset_is_kept_with_a_warning(
    space, evaluation, tmp_path, caplog
):
    made = report_space(space, {"test": evaluation["test"]}, tmp_path, Silent())
    assert made.space == space
    assert "not chosen for your data; --val-fraction 0.3" in caplog.text
    assert not (tmp_path / "sweep.png").exists()


def test_a_fraction_of_the_only_split_is_chosen_on_and_the_rest_is_tested(
    space, evaluation, tmp_path
):
    only = {"test": evaluation["test"]}
    made = report_space(space, only, tmp_path, Silent(), how=Choosing(fraction=0.3))
    assert list(made.results) == ["30 % of test", "the rest of test"]
    assert (made.chosen.split, made.chosen.fraction) == ("test", 0.3)
    again = as_chosen(only, read_chosen(tmp_path / "metrics.json", space))
    parts = part_off(only, "test", 0.3)
    assert list(again) == list(parts)
    for name, part in parts.items():
        np.testing.assert_array_equal(again[name].rows["audio"], part.rows["audio"])


def test_the_part_for_choosing_is_recorded_also_where_the_factors_are_not_chosen(
    space, evaluation, tmp_path
):
    only, how = {"test": evaluation["test"]}, Choosing("none", fraction=0.3)
    made = report_space(space, only, tmp_path, Silent(), how=how)
    known = read_validation(tmp_path / "metrics.json", space)
    assert (known.on, known.split, known.fraction) == ("30 % of test", "test", 0.3)
    assert read_chosen(tmp_path / "metrics.json", space) is None
    assert (
        list(as_chosen(only, known)) == list(made.results) == ["30 % of test", "the rest of test"]
    )
    with pytest.raises(FreeBindError, match="of another space"):
        read_validation(tmp_path / "metrics.json", space.with_factors(audio=0.123), stored=True)


def test_other_names_for_validation_and_the_order_of_tables(evaluation):
    three = {"test": evaluation["test"], "dev": evaluation["val"], "a": evaluation["test"]}
    sets, known = parted(three, Choosing(val="dev"))
    assert (list(sets), known) == (["dev", "a", "test"], Validation("dev"))
    assert parted({}, Choosing(fraction=0.5)) == ({}, None)
    assert list(as_chosen(three, None)) == ["dev", "a", "test"]


@pytest.mark.parametrize(
    ("how", "names", "message"),
    [
        (Choosing(val="dev"), ["val"], "no evaluation split 'dev'"),
        (
            Choosing(fraction=0.3),
            ["val", "test"],
            "no split to choose factors on(.|\n)*chosen on v",
        ),
        (Choosing(fraction=0.3), ["a", "b"], "no split to choose factors on(.|\n)*--val"),
    ],
)
def test_what_cannot_be_chosen_on_is_refused(evaluation, how, names, message):
    with pytest.raises(FreeBindError, match=message):
        parted(dict.fromkeys(names, evaluation["val"]), how)


def test_a_later_stage_keeps_the_factors_that_it_was_built_on(space, evaluation, tmp_path):
    """Nothing is written for other ones."""
    first = report_space(space, evaluation, tmp_path, Silent())
    names = ("metrics.json", "sweep.png", "queries.png")
    before = [(tmp_path / name).read_bytes() for name in names]
    how = Choosing(built_on=first.space.factors)
    assert report_space(space, evaluation, tmp_path, Silent(), how=how).space == first.space
    for aim in ("none", "audio-text"):
        how = Choosing(aim, built_on=first.space.factors)
        with pytest.raises(FreeBindError, match=r"a later stage was built on(.|\n)*--out"):
            report_space(space, evaluation, tmp_path, Silent(), how=how)
        assert [(tmp_path / name).read_bytes() for name in names] == before


def test_a_picture_of_an_earlier_choice_does_not_stay(space, evaluation, tmp_path):
    report_space(space, evaluation, tmp_path, Silent())
    assert (tmp_path / "sweep.png").exists()
    report_space(space, evaluation, tmp_path, Silent(), how=Choosing("none"))
    assert not (tmp_path / "sweep.png").exists()


def test_with_several_splits_the_advice_is_to_name_one(space, evaluation, tmp_path, caplog):
    two = {"test": evaluation["test"], "dev": evaluation["val"]}
    report_space(space, two, tmp_path, Silent())
    assert "your data; --val chooses them on dev, or test" in caplog.text
    assert "--val-fraction" not in caplog.text


def test_a_split_that_has_changed_is_not_parted_as_if_it_had_not(
    space, evaluation, tmp_path, caplog
):
    """Else items that factors were chosen on would be among the rest."""
    how = Choosing(fraction=0.3)
    made = report_space(space, {"test": evaluation["test"]}, tmp_path, Silent(), how=how)
    other = part_off({"test": evaluation["test"]}, "test", 0.9)["90 % of test"]
    assert list(as_chosen({"test": other}, made.chosen)) == ["test"]
    assert "something was chosen on 30 % of test: it is evaluated whole" in caplog.text


def test_the_choice_of_a_stored_space_is_the_one_that_it_is_stored_with(
    space, evaluation, tmp_path
):
    """A process that is killed before it stores the space leaves a choice without a space."""
    path = tmp_path / "metrics.json"
    made = report_space(space, evaluation, tmp_path, Silent())
    assert read_chosen(path, made.space, stored=True) == made.chosen
    with pytest.raises(FreeBindError, match=r"of another space(.|\n)*freebind train again"):
        read_chosen(path, made.space.with_factors(audio=0.123), stored=True)
