import pytest
from made import changed, linear_bond

from fb_jax.errors import FreeBindError
from fb_jax.fusion import PRESETS, FusedSpace

COMBINATION = linear_bond("combination", [[0, 1], [1, 0]])


def test_the_presets_are_the_papers():
    assert PRESETS == {
        "versatile": {"audio": 0.5, "text": 0.1},
        "at_expertise": {"audio": 0.8, "text": 0.5},
        "it_expertise": {"image": 0.9, "text": 0.9},
    }


@pytest.mark.parametrize(
    ("shared", "names"),
    [
        (("text", "audio"), ["versatile", "at_expertise"]),
        (("text", "image"), ["it_expertise"]),
        (("image", "audio"), ["halfway"]),
        (("text", "depth"), ["halfway"]),
        (("text", "image", "audio"), ["halfway"]),
    ],
)
def test_an_expert_has_the_presets_of_its_modalities_and_the_first_is_its_default(shared, names):
    space = FusedSpace.of(changed(COMBINATION, shared=shared))
    assert list(space.presets) == names
    assert space.factors == space.presets[names[0]]


@pytest.mark.parametrize("kind", ["combination", "displacement"])
def test_a_preset_sets_all_factors(kind):
    space = FusedSpace.of(linear_bond(kind, [[1, 0], [0, 1]]), at="at_expertise")
    assert (space.factors, space.last.normalise) == ({"audio": 0.8, "text": 0.5}, True)


def test_halfway_sets_every_factor_to_a_half():
    space = FusedSpace.of(changed(COMBINATION, shared=("text", "depth")), at="halfway")
    assert space.factors == {"text": 0.5, "depth": 0.5}


def test_a_direct_sum_has_one_preset_at_which_every_space_has_the_same_weight(one, two):
    assert one.presets == {"equal": dict.fromkeys(("text", "audio", "image"), 0.5)}
    assert two.presets["equal"]["image"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("name", "says"), [("versatil", "did you mean 'versatile'"), ("it_expertise", "at_expertise")]
)
def test_a_preset_that_this_expert_lacks_is_refused_with_those_it_has(name, says):
    with pytest.raises(FreeBindError, match=rf"no preset '{name}'\n.*u \+ e(.|\n)*{says}"):
        FusedSpace.of(COMBINATION, at=name)


def test_a_space_can_have_presets_of_its_own():
    presets = {"mine": {"text": 0.3, "audio": 0.7}, "no": {"image": 1.0}}
    mine = FusedSpace.of(COMBINATION, at={"text": 0.25, "audio": 0.5}, presets=presets)
    assert mine.at("mine").factors == {"text": 0.3, "audio": 0.7}
    for other in ("no", "versatile"):
        with pytest.raises(FreeBindError, match=rf"no preset '{other}'\n.*u \+ e\n.*one of: mine$"):
            mine.at(other)
