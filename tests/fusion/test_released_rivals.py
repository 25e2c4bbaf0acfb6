"""C-MCR's and Ex-MCR's files as fused spaces, against torch modules in their layout."""

from copy import deepcopy

import jax
import numpy as np
import pytest
import torch
from torch.nn.functional import normalize
from twin.released import clap_clip, extension, ulip_clip

from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace
from fb_jax.fusion.released import families_to_released, products_from_released
from fb_jax.projector import Bond, BondSpec, End

MODULES = {
    "clap_clip": clap_clip(0),
    "ulip_clip": ulip_clip(1),
    "ex_clap": extension(2),
    "ex_ulip": extension(3),
}
MODALITIES = {"clip": ("text", "image"), "clap": ("text", "audio"), "ulip": ("image", "points")}
BROUGHT = {"clap": "audio", "ulip": "points"}


def states_of(*names):
    return {
        name: {"": {key: x.numpy().copy() for key, x in MODULES[name].state_dict().items()}}
        for name in names
    }


@pytest.fixture(scope="module")
def products():
    return products_from_released(states_of(*MODULES))


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    drawn = {name: rng.normal(size=(6, 512)).astype(np.float32) for name in MODALITIES}
    return {name: x / np.linalg.norm(x, axis=1, keepdims=True) for name, x in drawn.items()}


def torch_rows(modules, product, space, modality, x):
    """The way of native rows into a product, in float64."""
    with torch.no_grad():
        x = torch.from_numpy(x).double()
        if product == "exmcr":
            if space == "clip":
                return x
            heads = modules[f"ex_{space}"]
            far = modality == BROUGHT[space]
            return normalize(heads["Head2"](heads["Head1"](x) if far else x))
        heads = modules[product.removeprefix("cmcr_") + "_clip"]
        of_clip = {"cmcr_clap": "Head_B", "cmcr_ulip": "Head_A"}[product]
        of_expert = {"cmcr_clap": "Head_A", "cmcr_ulip": "Head_B"}[product]
        return normalize(heads[of_clip if space == "clip" else of_expert](x))


@pytest.fixture(scope="module")
def doubles():
    return {name: deepcopy(module).double() for name, module in MODULES.items()}


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("product", ["cmcr_clap", "cmcr_ulip", "exmcr"])
def test_every_modality_goes_the_way_of_the_released_inference(
    products, doubles, rows, product, factor
):
    space = products[product]
    space = space.with_factors(**dict.fromkeys(space.weighted, factor))
    for modality in space.modalities:
        names = space.spaces_of(modality)
        assert set(names) == {n for n in space.spaces if modality in MODALITIES[n]}
        found = space.fuse(modality, {name: rows[name] for name in names})
        parts = [torch_rows(doubles, product, n, modality, rows[n]) for n in names]
        weights = [1 - factor, factor] if len(parts) == 2 else [1.0]
        wanted = normalize(sum(w * part for w, part in zip(weights, parts, strict=True)))
        np.testing.assert_allclose(found, wanted.numpy(), atol=1e-6)


def test_products_have_the_spaces_and_the_factors_of_the_released_inference(products):
    assert {name: (space.name, space.spaces) for name, space in products.items()} == {
        "cmcr_clap": ("cmcr_clap", ("clip", "clap")),
        "cmcr_ulip": ("cmcr_ulip", ("clip", "ulip")),
        "exmcr": ("exmcr", ("clip", "clap", "ulip")),
    }
    assert products["exmcr"].modalities == ("text", "image", "audio", "points")
    assert {name: space.factors for name, space in products.items()} == {
        "cmcr_clap": {"text": 0.0},
        "cmcr_ulip": {"image": 0.0},
        "exmcr": {"text": 0.0, "image": 0.0},
    }
    for name in ("cmcr_clap", "cmcr_ulip"):
        assert products[name].last.bonds[0].direction.new


def test_half_an_mlp_ends_in_a_relu(products, rows):
    points = products["cmcr_ulip"].fuse("points", {"ulip": rows["ulip"]})
    assert points.min() == 0
    assert np.linalg.norm(points, axis=1) == pytest.approx(1)


def test_one_file_of_ex_mcr_extends_clip_by_one_modality():
    (space,) = products_from_released(states_of("ex_ulip")).values()
    assert (space.name, space.modalities) == ("exmcr", ("text", "image", "points"))


@pytest.mark.parametrize("product", ["cmcr_clap", "cmcr_ulip", "exmcr"])
def test_products_go_out_in_their_layout_and_come_back_to_the_bit(products, doubles, rows, product):
    space = products[product]
    families = families_to_released(space)
    assert products_from_released(families)[product] == space
    for name, states in families.items():
        again = {"clap_clip": clap_clip, "ulip_clip": ulip_clip}.get(name, extension)(9)
        tensors = {key: torch.from_numpy(np.array(x)) for key, x in states[""].items()}
        again.load_state_dict(tensors, strict=True)
        expert = "clap" if "clap" in name else "ulip"
        sides = ({name: again.double()}, doubles)
        found, wanted = (
            torch_rows(m, product, expert, BROUGHT[expert], rows[expert]) for m in sides
        )
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), atol=1e-6)


def test_a_space_is_kept_as_any(products, tmp_path):
    for name, space in products.items():
        space.save(tmp_path / name)
        assert FusedSpace.load(tmp_path / name) == space


# What is refused


def change_key(states):
    states["ex_clap"][""]["Head2.mlp1.net1.2.weight"] = np.ones(1)


def cut_gap(states):
    states["ex_clap"][""]["Head1.weight"] = states["ex_clap"][""]["Head1.weight"][:-1]
    states["ex_clap"][""]["Head1.bias"] = states["ex_clap"][""]["Head1.bias"][:-1]


def drop_gap(states):
    del states["ex_clap"][""]["Head1.weight"]


def break_chain(states):
    for key, x in extension(0, hidden=9).state_dict().items():
        if "mlp2" in key:
            states["ex_clap"][""][key] = x.numpy()


def take_the_other_file(states):
    states["ex_clap"] = states_of("clap_clip")["clap_clip"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (change_key, r"keys are not(.|\n)*ex_clap\n(.|\n)*unknown: Head2.mlp1.net1.2.weight"),
        (cut_gap, r"not the dimensions of(.|\n)*ex_clap: gap.bias(.|\n)*\[511\]"),
        (drop_gap, r"not a released projector\n.*ex_clap\n.*Head1.weight \[d_out, d_in\]\n.*\[\]"),
        (break_chain, r"not the dimensions of(.|\n)*second.linear_in.kernel(.|\n)*\[512, 9\]"),
        (take_the_other_file, r"not a released projector\n(.|\n)*Head2.mlp1.net1.0.weight"),
    ],
)
def test_a_file_of_another_layout_is_refused(change, says):
    states = states_of("ex_clap")
    change(states)
    with pytest.raises(FreeBindError, match=says):
        products_from_released(states)


def bond_of(expert, modalities):
    ends = End("clip", ("text", "image"), 512), End(expert, modalities, 512)
    spec = BondSpec.between("cmcr", *ends, 512)
    return Bond(spec, spec.init(jax.random.key(0)))


def test_a_whole_mlp_does_not_go_out_as_half_of_one():
    with pytest.raises(FreeBindError, match=r"half an MLP(.|\n)*linear_out(.|\n)*a whole one"):
        families_to_released(FusedSpace.of(bond_of("ulip", ("image", "points"))))


def test_ours_goes_out_in_the_layout_of_c_mcr():
    space = FusedSpace.of(bond_of("clap", ("text", "audio")), name="cmcr_clap")
    families = families_to_released(space)
    clap_clip(0, hidden=512).load_state_dict(
        {key: torch.from_numpy(np.array(x)) for key, x in families["clap_clip"][""].items()}
    )
    assert products_from_released(families) == {"cmcr_clap": space}
