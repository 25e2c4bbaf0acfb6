import numpy as np
import pytest
import torch
from twin.released import mixed, random_projector, weighted

from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace, released
from fb_jax.fusion.released import BASES, TUNED, families_to_released, products_from_released
from fb_jax.projector.layouts import FOLDERS, FREEBIND

HIDDEN = 8
FAMILIES = {name: f for name, f in released.FAMILIES.items() if f.layout is FREEBIND}
PRODUCTS = {name: made for name, made in released.PRODUCTS.items() if set(made) <= set(FAMILIES)}
DIMS = {"IB_PP": (512, 1024), "InternVL_IB": (1024, 768)}  # [C]; all the others: 512 to 768


def dims_of(family):
    return DIMS.get(family[: -len("_Proj")].removesuffix("_G").removesuffix("_M"), (512, 768))


@pytest.fixture(scope="module")
def modules():
    """Family to the seven modules of its members."""
    made = {}
    for number, family in enumerate(FAMILIES):
        dim_in, dim_out = dims_of(family)
        made[family] = {
            folder: random_projector(10 * number + seed, dim_in, HIDDEN, dim_out)
            for seed, folder in enumerate(FOLDERS.values())
        }
    return made


def states_of(modules, *families):
    return {
        family: {
            folder: {key: t.numpy() for key, t in module.state_dict().items()}
            for folder, module in modules[family].items()
        }
        for family in families
    }


@pytest.fixture(scope="module")
def products(modules):
    return products_from_released(states_of(modules, *FAMILIES), {"imagebind": "CC-BY-NC-SA-4.0"})


def native(space, count=6):
    rng = np.random.default_rng(1)
    rows = {s: rng.normal(size=(count, dim)).astype(np.float32) for s, dim in space.dims.items()}
    return {s: x / np.linalg.norm(x, axis=1, keepdims=True) for s, x in rows.items()}


def twin(modules, product, modality, rows, factors):
    """The released inference in float64: a unit vector after every weighted sum."""
    with torch.no_grad():
        rows = {space: torch.from_numpy(np.float64(x)) for space, x in rows.items()}
        double = {f: [m.double() for m in members.values()] for f, members in modules.items()}
        try:
            if product == "imagebind_pp":
                found = rows["imagebind"]
            elif "tuned" in product and modality == "audio":
                found = rows["imagebind_tuned"]
            else:
                found = mixed([(double["InternVL_IB_Proj"], rows["imagebind"])])
                if modality in ("text", "image"):
                    found = weighted(found, rows["internvl"], 0.9)
            if product.endswith("_pp") and modality in ("text", "audio"):
                claps = [
                    (double[family], rows[FAMILIES[family].expert]) for family in PRODUCTS[product]
                ]
                found = weighted(found, mixed(claps), factors[modality])
            return found.numpy()
        finally:
            for members in modules.values():
                for module in members.values():
                    module.float()


@pytest.mark.parametrize("modality", ["text", "image", "audio"])
@pytest.mark.parametrize("preset", ["versatile", "at_expertise"])
@pytest.mark.parametrize("product", [*PRODUCTS, TUNED])
def test_products_give_what_the_released_inference_gives(
    modules, products, product, preset, modality
):
    space = products[product]
    space = space.at(preset) if product.endswith("_pp") else space
    rows = native(space)
    found = space.fuse(modality, {s: rows[s] for s in space.spaces_of(modality)})
    wanted = twin(modules, product, modality, rows, space.factors)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_all_products_come_of_all_families(products):
    claps = ("clap_music", "clap_general")
    assert {name: (space.name, space.spaces) for name, space in products.items()} == {
        "imagebind_pp": ("imagebind_pp", ("imagebind", *claps)),
        "internvl_ib": ("internvl_ib", ("imagebind", "internvl")),
        "internvl_ib_pp": ("internvl_ib_pp", ("imagebind", "internvl", *claps)),
        "internvl_ib_tuned": ("internvl_ib_tuned", ("imagebind", "internvl", "imagebind_tuned")),
        "internvl_ib_tuned_pp": (
            "internvl_ib_tuned_pp",
            ("imagebind", "internvl", "imagebind_tuned", *claps),
        ),
    }
    assert {name: space.factors for name, space in products.items()} == {
        "imagebind_pp": {"audio": 0.5, "text": 0.1},
        "internvl_ib": {"image": 0.9, "text": 0.9},
        "internvl_ib_pp": {"audio": 0.5, "text": 0.1},
        "internvl_ib_tuned": {"image": 0.9, "text": 0.9},
        "internvl_ib_tuned_pp": {"audio": 0.5, "text": 0.1},
    }
    assert products["internvl_ib_pp"].base.factors == {"image": 0.9, "text": 0.9}
    assert products["internvl_ib"].licences == {"imagebind": "CC-BY-NC-SA-4.0"}
    assert products["internvl_ib_tuned"].last.tuned_rows == {"audio": "imagebind_tuned"}


def test_every_family_is_in_a_product_and_every_base_before_it():
    assert sorted(name for names in PRODUCTS.values() for name in names) == sorted(FAMILIES)
    order = [*PRODUCTS]
    order.insert(order.index("internvl_ib") + 1, TUNED)
    assert all(order.index(base) < order.index(product) for product, base in BASES.items())


def test_one_family_of_two_gives_a_space_of_one_expert(modules):
    found = products_from_released(states_of(modules, "IB_PP_G_Proj"))
    assert {name: space.spaces for name, space in found.items()} == {
        "imagebind_pp": ("imagebind", "clap_general")
    }


def test_a_product_without_the_family_of_its_base_is_refused(modules):
    with pytest.raises(FreeBindError, match=r"builds on internvl_ib(.|\n)*InternVL_IB_Proj"):
        products_from_released(states_of(modules, "InternVL_IB_PP_G_Proj"))


def test_a_family_in_the_folder_of_another_is_refused(modules):
    states = {"IB_PP_G_Proj": states_of(modules, "InternVL_IB_Proj")["InternVL_IB_Proj"]}
    with pytest.raises(
        FreeBindError, match=r"dimensions of(.|\n)*IB_PP_G.*: linear_in.ker(.|\n)*\[512, 8\]"
    ):
        products_from_released(states)


@pytest.mark.parametrize("product", PRODUCTS)
def test_products_go_out_in_the_released_layout_and_come_back_to_the_bit(products, product):
    families = families_to_released(products[product])
    first = ("InternVL_IB_Proj",) if product in BASES else ()
    wanted = (*first, *PRODUCTS[product])
    assert tuple(families) == wanted
    again = products_from_released(families, {"imagebind": "CC-BY-NC-SA-4.0"})[product]
    assert again == products[product]


def test_an_imported_space_is_kept_as_any(products, tmp_path):
    space = products["internvl_ib_pp"]
    space.save(tmp_path / "kept")
    assert FusedSpace.load(tmp_path / "kept") == space


def test_a_bond_that_was_not_released_does_not_go_out(product):
    with pytest.raises(FreeBindError, match=r"dimensions of the released(.|\n)*\[64, 8\]"):
        families_to_released(product)


def test_a_bond_of_other_spaces_does_not_go_out(make_bond):
    space = FusedSpace.of(make_bond("displacement"))
    with pytest.raises(
        FreeBindError, match=r"no such bond(.|\n)*displacement of clap_general and im"
    ):
        families_to_released(space)
