import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from twin.released import ReleasedProjector, mixed, random_projector

from fb_jax.errors import FreeBindError
from fb_jax.projector import Projector, fold, mean_output, project_members, subsets
from fb_jax.projector.layouts import FOLDERS
from fb_jax.projector.released import mixture_from_released, mixture_to_released

D_IN, HIDDEN, D_OUT = 12, 24, 10


@pytest.fixture
def modules():
    return {
        folder: random_projector(seed, D_IN, HIDDEN, D_OUT)
        for seed, folder in enumerate(FOLDERS.values())
    }


@pytest.fixture
def states(modules):
    return {folder: arrays(module) for folder, module in modules.items()}


def arrays(module):
    return {key: tensor.numpy().copy() for key, tensor in module.state_dict().items()}


def rows(count=9):
    found = np.random.default_rng(0).normal(size=(count, D_IN)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def output(module, x):
    with torch.no_grad():
        return module(torch.from_numpy(x)).numpy()


def test_the_folders_are_the_seven_subsets():
    assert set(FOLDERS) == set(subsets(["text", "image", "audio"]))
    assert sorted(FOLDERS.values()) == sorted(["mix", "A", "T", "V", "AT", "AV", "TV"])
    letters = {"text": "T", "image": "V", "audio": "A"}
    for member, folder in FOLDERS.items():
        assert folder == "mix" or {letters[start] for start in member} == set(folder)


def test_every_member_comes_in_with_its_function(modules, states):
    variables = mixture_from_released(states, "family")
    members = project_members(Projector(D_OUT, HIDDEN), variables, jnp.asarray(rows()))
    for found, folder in zip(members, FOLDERS.values(), strict=True):
        np.testing.assert_allclose(found, output(modules[folder], rows()), atol=1e-6)


def test_the_mixture_comes_in_with_its_function(modules, states):
    found = mean_output(fold(mixture_from_released(states, "family")), rows())
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    with torch.no_grad():
        wanted = mixed([(modules.values(), torch.from_numpy(rows()))]).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_what_came_in_goes_out_with_its_function_and_no_biases(modules, states):
    back = mixture_to_released(mixture_from_released(states, "family"), tuple(FOLDERS))
    assert back.keys() == modules.keys()
    for folder, module in modules.items():
        tensors = {key: torch.from_numpy(np.array(array)) for key, array in back[folder].items()}
        again = ReleasedProjector(D_IN, HIDDEN, D_OUT).eval()
        again.load_state_dict(tensors, strict=True)
        np.testing.assert_allclose(output(again, rows()), output(module, rows()), atol=1e-6)
        assert not tensors["Head2.mlps.0.bias"].any()
        assert not tensors["Head2.mlps.3.bias"].any()


def test_what_went_out_comes_in_to_the_bit(states):
    first = mixture_from_released(states, "family")
    again = mixture_from_released(mixture_to_released(first, tuple(FOLDERS)), "family")
    np.testing.assert_equal(tuple(again), tuple(first))


def test_members_go_out_by_their_starts_whatever_their_order(states):
    variables = mixture_from_released(states, "family")
    turned = jax.tree.map(lambda leaf: leaf[::-1], variables)
    order = [tuple(reversed(member)) for member in reversed(FOLDERS)]
    found = mixture_to_released(turned, tuple(order))
    np.testing.assert_equal(found, mixture_to_released(variables, tuple(FOLDERS)))


# What is refused

LINEAR, NORM = "Head2.mlps.0", "Head2.mlps.4"


def drop_member(states):
    del states["AV"]


def add_member(states):
    states["TVA"] = states["mix"]


def drop_key(states):
    del states["A"][f"{NORM}.running_var"]


def add_key(states):
    states["A"]["Head1.mlps.0.weight"] = states["A"][f"{LINEAR}.weight"]


def cut_rows(states):
    states["A"][f"{LINEAR}.weight"] = states["A"][f"{LINEAR}.weight"][:-1]


def cut_vector(states):
    states["mix"][f"{NORM}.bias"] = states["mix"][f"{NORM}.bias"][:-1]


def break_chain(states):
    states["mix"][f"{LINEAR}.weight"] = states["mix"][f"{LINEAR}.weight"][:-1]


def drop_matrix(states):
    del states["mix"][f"{LINEAR}.weight"]


def put_nan(states):
    states["T"][f"{LINEAR}.weight"][0, 0] = np.nan


def put_negative(states):
    states["T"][f"{NORM}.running_var"][0] = -1e-3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (drop_member, r"members are not(.|\n)*fam\n(.|\n)*missing: AV; unknown: none"),
        (add_member, r"members are not(.|\n)*missing: none; unknown: TVA"),
        (drop_key, r"keys are not(.|\n)*fam/A\n(.|\n)*missing: Head2.mlps.4.running_var; "),
        (add_key, r"keys are not(.|\n)*fam/A\n(.|\n)*unknown: Head1.mlps.0.weight"),
        (cut_rows, r"wrong shape\n.*fam/A: Head2.mlps.0.weight\n.*\[24, 12\]\n.*\[23, 12\]"),
        (cut_vector, r"wrong shape\n.*fam/mix: Head2.mlps.4.bias\n.*\[10\]\n.*\[9\]"),
        (break_chain, r"not a released projector\n.*fam/mix\n(.|\n)*\[23, 12\] and \[10, 24\]"),
        (drop_matrix, r"not a released projector\n.*fam/mix\n(.|\n)*\[\] and \[10, 24\]"),
        (put_nan, r"impossible numbers\n.*fam/T: Head2.mlps.0.weight\n.*finite numbers$"),
        (put_negative, r"impossible numbers\n.*fam/T: Head2.mlps.4.running_var\n.*none below 0"),
    ],
)
def test_a_family_of_another_layout_is_refused(states, change, says):
    change(states)
    with pytest.raises(FreeBindError, match=says):
        mixture_from_released(states, "fam")


def test_other_members_do_not_go_out(states):
    variables = mixture_from_released(states, "family")
    for members in (tuple(FOLDERS)[:6], (*tuple(FOLDERS)[:6], ("text", "depth"))):
        with pytest.raises(FreeBindError, match=r"seven members of text, image and audio"):
            mixture_to_released(variables, members)
