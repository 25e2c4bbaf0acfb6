import pytest

from fb_jax.errors import FreeBindError
from fb_jax.run import read_product
from fb_jax.run.recipe import HOME, products

CLAPS = ("clap_music", "clap_general")
TABLE_2 = {
    "imagebind_pp": [("imagebind", "combination", CLAPS, "versatile")],
    "internvl_ib": [("imagebind", "displacement", ("internvl",), "it_expertise")],
    "internvl_ib_pp": [
        ("imagebind", "displacement", ("internvl",), "it_expertise"),
        ("internvl_ib", "combination", CLAPS, "versatile"),
    ],
    "internvl_ib_tuned": [
        ("imagebind", "displacement", ("internvl",), "it_expertise"),
        ("internvl_ib", None, (), ""),
    ],
    "internvl_ib_tuned_pp": [
        ("imagebind", "displacement", ("internvl",), "it_expertise"),
        ("internvl_ib", None, (), ""),
        ("internvl_ib_tuned", "combination", CLAPS, "versatile"),
    ],
}


@pytest.fixture
def write(tmp_path):
    """Write a product's file; return its path as a user types it."""

    def write(name, text):
        (tmp_path / f"{name}.yaml").write_text(text)
        return str(tmp_path / f"{name}.yaml")

    return write


@pytest.mark.parametrize("name", TABLE_2)
def test_the_products_of_table_2_are_there(name):
    product = read_product(name)
    assert product.name == name
    assert [(s.unified, s.bond, s.experts, s.factors) for s in product.stages] == TABLE_2[name]


def test_a_tuned_product_takes_its_audio_from_the_tuned_encoder():
    assert read_product("internvl_ib_tuned").tuned == {"audio": "imagebind_tuned"}


@pytest.mark.parametrize("path", sorted(HOME.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_product_is_sound_and_tells_its_command(path):
    product = read_product(path.stem)
    assert product.natives[0] == "imagebind"
    assert f"# Command:   freebind train --product {path.stem} " in path.read_text()


def test_natives_are_the_first_unified_space_and_all_experts():
    assert read_product("internvl_ib_pp").natives == ("imagebind", "internvl", *CLAPS)


def test_a_file_of_ones_own_may_build_on_a_product_beside_it_or_of_the_package(write):
    write("mine", "{unified: u, bond: displacement, experts: [e], factors: {text: 0.3}}")
    path = write("next", "{unified: mine, bond: combination, experts: [f], factors: versatile}")
    assert [stage.name for stage in read_product(path).stages] == ["mine", "next"]
    path = write(
        "other", "{unified: internvl_ib, bond: combination, experts: [f], factors: versatile}"
    )
    assert [stage.name for stage in read_product(path).stages] == ["internvl_ib", "other"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1, 2]", "a product file must hold options by name"),
        ("{bond: combination}", "unified must be there"),
        ("{unified: u}", "expected: bond and experts; or tuned"),
        ("{unified: u, bond: combination}", "bond and experts"),
        ("{unified: u, bond: combination, tuned: {audio: a}}", "bond and experts"),
        ("{unified: imagebind, tuned: {audio: a}}", "or tuned, on a product"),
        ("{unified: internvl_ib, tuned: {audio: a}, factors: x}", "or tuned, on a product"),
        (
            "{unified: u, bond: direct_sum, experts: [e], factors: x, dim: true}",
            r"int(.|\n)*got `bool` - at `\$\.dim",
        ),
        ("{unified: u, bond: fusion, experts: [e], factors: x}", "there is no bond 'fusion'"),
        ("{unified: u, expert: e}", "there is no option of a product 'expert'"),
        (
            "{unified: u, bond: combination, experts: e, factors: x}",
            r"array(.|\n)*got `str` - at `\$\.experts",
        ),
        (
            "{unified: u, bond: displacement, experts: [e, f], factors: x}",
            "a displacement goes into one expert",
        ),
        ("{unified: mine, bond: combination, experts: [e], factors: x}", "built on itself"),
        ("unified: [", "a product file cannot be read"),
    ],
)
def test_what_is_no_product_is_refused(write, text, says):
    with pytest.raises(FreeBindError, match=says):
        read_product(write("mine", text))


def test_a_name_that_cannot_name_a_space_is_refused(write):
    path = write("my-sum", "{unified: u, bond: direct_sum, experts: [e], factors: equal}")
    with pytest.raises(FreeBindError, match="'my-sum' cannot name a product"):
        read_product(path)


def test_a_product_that_is_not_there_is_refused():
    with pytest.raises(FreeBindError, match=r"no product 'imagebind_p'\n(.|\n)*'imagebind_pp'"):
        read_product("imagebind_p")
    with pytest.raises(FreeBindError, match="a product file is missing"):
        read_product("nowhere.yaml")


def test_products_are_found_by_the_names_of_their_files():
    assert set(TABLE_2) <= set(products())
