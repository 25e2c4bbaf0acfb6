from dataclasses import replace

import pytest

from fb_jax.errors import FreeBindError
from fb_jax.run import RunConfig
from fb_jax.run.naming import named

ALL = ("text", "image", "audio")


@pytest.fixture
def config(tmp_path):
    return RunConfig(data=tmp_path / "root")


def test_the_only_spaces_that_fit_are_taken_and_told(add_space, config, caplog):
    add_space("house", *ALL)
    add_space("phones", "text", "audio")
    assert named(config).spaces == ("house", "phones")
    assert "unified space: house; expert: phones" in caplog.text


def test_the_papers_defaults_need_no_word(add_space, config, caplog):
    add_space("imagebind", *ALL)
    add_space("clap_general", "text", "audio")
    assert named(config).spaces == ("imagebind", "clap_general")
    assert not caplog.records


@pytest.mark.parametrize("given", [{"unified": "house"}, {"expert": "phones"}])
def test_one_name_is_enough(add_space, config, given):
    add_space("house", *ALL)
    add_space("phones", "text", "audio")
    assert named(replace(config, **given)).spaces == ("house", "phones")


def test_fused_spaces_are_not_considered_and_the_papers_names_come_first(add_space, config):
    add_space("imagebind", *ALL)
    add_space("other", *ALL)
    add_space("clap_general", "text", "audio")
    add_space("internvl", "text", "image")
    add_space("imagebind+internvl", *ALL, licence="derived from unknown (imagebind)")
    assert named(config).spaces == ("imagebind", "clap_general")
    assert named(replace(config, expert="internvl")).spaces == ("imagebind", "internvl")


def test_an_expert_with_fewer_modalities_names_the_unified_space_that_has_them(add_space, config):
    add_space("a", "text", "image")
    add_space("b", "text", "audio", "depth")
    add_space("c", "text", "audio")
    assert named(replace(config, expert="c")).spaces == ("b", "c")


@pytest.mark.parametrize(
    ("spaces", "message"),
    [
        ({"a": ALL[:2], "b": ALL[1:]}, "unified one|--unified A --expert B|exmcr, cmcr or comb"),
        ({"a": ALL, "b": ALL}, "which space is the unified one|--unified NAME|a, b of a"),
        ({"a": ALL, "b": ALL[:2], "c": ALL[1:]}, "which space is the expert one|--expert NAME"),
        ({"a": ALL}, "which space is the expert one|none of a"),
        ({"a": ALL, "b": ("text",)}, "which space is the expert one|none of a .*; b"),
        ({"a": ("text",), "b": ("audio",)}, "which space is the unified one|none of a"),
    ],
)
def test_where_several_or_none_fit_the_names_are_asked_for(add_space, config, spaces, message):
    for space, modalities in spaces.items():
        add_space(space, *modalities)
    with pytest.raises(FreeBindError) as error:
        named(config)
    first, *others = message.split("|")
    assert first in str(error.value)
    for other in others:
        assert error.match(f"(?s).*{other}")


def test_names_that_are_given_are_kept_without_a_look_at_the_data(config):
    both = replace(config, unified="x", expert="y")
    assert named(both) is both


@pytest.mark.parametrize(
    ("given", "option", "near"),
    [({"unified": "hause"}, "--unified", "house"), ({"expert": "fones"}, "--expert", "phones")],
)
def test_a_space_that_is_not_there_is_named_with_its_option(add_space, config, given, option, near):
    add_space("house", *ALL)
    add_space("phones", "text", "audio")
    with pytest.raises(FreeBindError, match=rf"(?s)no space .*{option}, in .*mean '{near}'\?"):
        named(replace(config, **given))
