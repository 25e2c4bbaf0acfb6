import pytest

from fb_jax.errors import FreeBindError
from fb_jax.run.ablation import ROWS, Roles, plan
from fb_jax.run.ablation_results import own_settings
from fb_jax.training import Training

WORLD = ("imagebind", "internvl", "clap_general", "clap_music", "imagebind_tuned")
RECIPES = {
    "table5": ["", "imagebind_internvl", "internvl_ib"],
    "table6": ["only_sequential", "only_parallel", "internvl_ib_tuned_pp"],
    "table7": ["", "imagebind_general", "imagebind_music", "imagebind_pp"],
    "table8": ["internvl_ib"] * 8,
    "table9": ["imagebind_internvl"] * 3 + ["internvl_ib"] * 3,
    "figures": ["imagebind_pp", "internvl_ib", "internvl_ib_pp"],
}


@pytest.mark.parametrize("table", ROWS)
def test_every_row_is_a_product_of_the_package(table):
    rows, notes = plan(table, Roles(), WORLD)
    assert [row.key[0] for row in rows] == RECIPES[table]
    assert not notes


def test_table_5_combines_at_the_papers_factors_and_table_7_at_versatile():
    (_, combined, displaced), _ = plan("table5", Roles(), WORLD)
    assert (combined.product.factors, displaced.product.factors) == ("it_expertise",) * 2
    assert (combined.product.bond, displaced.product.bond) == ("combination", "displacement")
    assert {row.product.factors for row in plan("table7", Roles(), WORLD)[0][1:]} == {"versatile"}


def test_table_8_has_every_projector_and_the_mixture():
    rows, _ = plan("table8", Roles(), WORLD)
    members = {row.row.label: row.row.member for row in rows}
    assert len(set(members.values())) == 8
    assert (members["AT"], members["mixture"]) == (("text", "audio"), ())


def test_table_9_trains_both_bonds_in_three_ways():
    rows, _ = plan("table9", Roles(), WORLD)
    assert len({row.key for row in rows}) == 6
    assert [row.row.pipeline for row in rows[:3]] == ["cmcr", "exmcr", "freebind"]
    table8, _ = plan("table8", Roles(), WORLD)
    assert {row.row.pipeline for row in table8} == {None}  # as the options say


def test_without_tuned_rows_the_untuned_product_is_taken():
    rows, (note,) = plan("table6", Roles(), WORLD[:4])
    assert rows[-1].key[0] == "internvl_ib_pp"
    assert note == (
        "sequential and parallel: internvl_ib_pp, as there are no rows of imagebind_tuned"
    )


def test_a_row_whose_spaces_are_missing_is_left_out():
    rows, notes = plan("table7", Roles(), ("imagebind", "clap_general"))
    assert [row.row.label for row in rows] == ["ImageBind", "+general"]
    assert notes == ["without +music: no clap_music", "without both: no clap_music"]
    rows, notes = plan("table7", Roles(audio_text=("clap_general",)), WORLD)
    assert [row.row.label for row in rows] == ["ImageBind", "+general"]
    assert notes == [
        f"without {row}: no second expert of audio and text" for row in ("+music", "both")
    ]


def test_other_spaces_play_the_parts_under_names_of_their_own():
    roles = Roles("house", "siglip", ("phones", "clap_music"))
    here = ("house", "siglip", "phones", "clap_music", "house_tuned")
    last = plan("table6", roles, here)[0][-1].product
    assert [stage.name for stage in last.stages] == [
        "internvl_ib_with_house_siglip",
        "internvl_ib_tuned_with_house_siglip",
        "internvl_ib_tuned_pp_with_house_siglip_phones",
    ]
    assert last.natives == ("house", "siglip", "clap_music", "phones")
    assert last.stages[1].tuned == {"audio": "house_tuned"}
    assert str(roles) == (
        "house plays ImageBind, siglip InternVL, phones CLAP general, clap_music CLAP music"
    )


def test_a_product_of_the_papers_spaces_alone_keeps_its_name():
    rows, _ = plan("table7", Roles(image_text="siglip", audio_text=("mine", "clap_music")), ())
    assert not rows
    product = plan("table7", Roles(image_text="siglip"), WORLD)[0][-1].product
    assert product.name == "imagebind_pp"  # its bonds are those of freebind train --product


@pytest.mark.parametrize("names", [(), ("a", "b", "c")])
def test_one_or_two_experts_of_audio_and_text(names):
    with pytest.raises(FreeBindError, match="one or two experts"):
        Roles(audio_text=names)


def test_a_table_says_which_settings_are_not_the_papers():
    assert own_settings(Training(seed=3, batch=4096)) == ()
    assert own_settings(Training(epochs=2, hidden=256)) == (
        "Trained with epochs 2 (the paper: 5 for a displacement, 20 for a combination), "
        "hidden 256 (the paper: 2048).",
    )
