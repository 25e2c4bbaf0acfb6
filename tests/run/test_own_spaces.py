"""Which spaces the product ``one`` is made of."""

from dataclasses import replace

import pytest

from fb_jax.errors import FreeBindError
from fb_jax.pseudo import Retrieval
from fb_jax.run import RunConfig, parse_config, product_of, read_product

ALL = ("text", "image", "audio")
IT, AT = ALL[:2], ("text", "audio")


@pytest.fixture
def one(tmp_path, add_space):
    """Return the product ``one`` of a pool with some spaces."""

    def one(spaces, **options):
        for space, modalities in spaces.items():
            add_space(space, *modalities)
        return product_of(replace(RunConfig(data=tmp_path / "root", product="one"), **options))

    return one


def stages(product):
    return [(stage.name, stage.unified, stage.experts) for stage in product.stages]


PAPER = {"imagebind": ALL, "internvl": IT, "clap_music": AT, "clap_general": AT}


def test_on_the_papers_spaces_one_is_what_its_file_says(one, caplog):
    assert one(PAPER) == read_product("one")
    assert caplog.text == ""
    assert one({"other": AT, "words": ("text",)}) == read_product("one")
    assert "one: without other (with all spaces: --unified imagebind)" in caplog.text


def test_with_the_unified_space_named_one_has_all_spaces(one):
    made = one({**PAPER, "other": AT}, unified="imagebind")
    assert made.natives == ("imagebind", "internvl", "clap_general", "clap_music", "other")
    assert made.base == read_product("one").base


def test_on_other_spaces_the_rule_gives_the_same_stages_as_the_file(one, caplog):
    names = dict(zip(PAPER, ("house", "pics", "music", "phones"), strict=True))
    made = one({names[name]: modalities for name, modalities in PAPER.items()})
    assert stages(made) == [
        ("house_pics_sum", "house", ("pics",)),
        ("one", "house_pics_sum", ("music", "phones")),
    ]
    first, last = made.stages
    assert (first.bond, first.dim, first.router, first.hubs) == ("direct_sum", None, (), None)
    recipe = read_product("one")
    assert replace(last, unified="", experts=(), base=None) == replace(
        recipe, unified="", experts=(), base=None
    )
    assert "one: house, and beside it pics; then music, phones" in caplog.text


def test_experts_with_the_anchor_of_the_pairs_are_the_first_stage(one):
    spaces = {"house": ALL, "phones": AT, "pics": IT}
    assert [stage.experts for stage in one(spaces).stages] == [("pics",), ("phones",)]
    made = one({}, pairs=Retrieval(anchor="audio"))  # of the same pool
    assert [stage.experts for stage in made.stages] == [("phones",), ("pics",)]


def test_one_expert_gives_one_stage_and_spaces_without_two_shared_modalities_are_left_out(one):
    made = one({"house": ALL, "phones": AT, "words": ("text",)})
    assert stages(made) == [("one", "house", ("phones",))]


def test_a_space_with_a_modality_that_the_unified_one_lacks_is_left_out_and_named(one, caplog):
    made = one({"house": ALL, "phones": AT, "more": (*AT, "depth")}, unified="house")
    assert stages(made) == [("one", "house", ("phones",))]
    assert "one: without more: house has no depth" in caplog.text


def test_fused_spaces_are_neither_unified_spaces_nor_experts(one, add_space):
    add_space("house+phones", *ALL, licence="derived from unknown (house)")
    assert stages(one({"house": ALL, "phones": AT})) == [("one", "house", ("phones",))]


def test_a_unified_space_that_is_named_is_taken_whatever_the_data_have(one):
    made = one({**PAPER, "house": ALL}, unified="house")
    assert made.natives == ("house", "imagebind", "internvl", "clap_general", "clap_music")


@pytest.mark.parametrize(
    ("spaces", "unified", "message"),
    [
        ({"a": ALL, "b": ALL}, None, "which space is the unified one"),
        ({"a": IT, "b": AT}, None, "(?s)none of a .*without --product, an expert may bring"),
        ({"a": ALL, "b": ("text",)}, None, "no space has two or more modalities of a"),
        ({"a": ALL, "b": AT}, "c", "--unified"),
    ],
)
def test_spaces_that_do_not_fit_are_refused(one, spaces, unified, message):
    with pytest.raises(FreeBindError, match=message):
        one(spaces, unified=unified)


def test_only_one_takes_a_unified_space_on_the_command_line():
    args = ["--unified", "house", "--data", "mine", "--product"]
    assert parse_config([*args, "one"]).unified == "house"
    with pytest.raises(FreeBindError, match="sets these options itself"):
        parse_config([*args, "imagebind_pp"])
