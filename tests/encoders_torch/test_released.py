import numpy as np
import pytest
import torch
from twin.released import random_projector

from encoders_torch.released import read_arrays, read_families, write_families
from fb_jax.errors import FreeBindError

FAMILY = "IB_PP_G_Proj"


@pytest.fixture
def state():
    return random_projector(0, 3, 4, 2).state_dict()


def put(folder, content, member="mix"):
    path = folder / FAMILY / member / "best.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def test_a_file_is_read_as_arrays_by_the_names_in_it(tmp_path, state):
    found = read_arrays(put(tmp_path, state))
    assert found.keys() == state.keys()
    for key, tensor in state.items():
        np.testing.assert_array_equal(found[key], tensor.numpy())


def test_half_precision_is_read_as_float32(tmp_path, state):
    halves = {key: t.bfloat16() if t.is_floating_point() else t for key, t in state.items()}
    found = read_arrays(put(tmp_path, halves))
    assert {array.dtype.name for array in found.values()} == {"float32", "int64"}


def test_families_and_members_are_those_that_are_there(tmp_path, state):
    for member in ("mix", "A"):
        put(tmp_path, state, member)
    (tmp_path / "unrelated").mkdir()
    (tmp_path / FAMILY / "README").write_text("not a member")
    found = read_families(tmp_path, [FAMILY, "IB_PP_M_Proj"])
    assert {family: set(members) for family, members in found.items()} == {FAMILY: {"mix", "A"}}


def test_what_is_written_is_read_by_torch_and_by_us(tmp_path, state):
    arrays = {key: tensor.numpy() for key, tensor in state.items()}
    write_families(tmp_path, {FAMILY: {"mix": arrays}})
    path = tmp_path / FAMILY / "mix" / "best.pt"
    random_projector(1, 3, 4, 2).load_state_dict(torch.load(path, weights_only=True))
    np.testing.assert_equal(read_families(tmp_path, [FAMILY]), {FAMILY: {"mix": arrays}})


def test_files_of_one_member_are_read_from_a_folder_or_alone(tmp_path, state):
    arrays = {key: tensor.numpy() for key, tensor in state.items()}
    write_families(tmp_path, {"ex_clap": {"": arrays}, FAMILY: {"mix": arrays}})
    torch.save(state, tmp_path / "clap.pt")  # an encoder's
    known = [FAMILY, "ex_clap", "ex_ulip"]
    found = read_families(tmp_path, known)
    np.testing.assert_equal(found, {FAMILY: {"mix": arrays}, "ex_clap": {"": arrays}})
    np.testing.assert_equal(
        read_families(tmp_path / "ex_clap.pt", known), {"ex_clap": {"": arrays}}
    )


# What is refused


def test_a_file_of_another_name_and_one_that_is_not_there_are_refused(tmp_path, state):
    torch.save(state, tmp_path / "mine.pt")
    with pytest.raises(FreeBindError, match=r"no released family(.|\n)*mine.pt(.|\n)*ex_clap"):
        read_families(tmp_path / "mine.pt", [FAMILY, "ex_clap"])
    with pytest.raises(FreeBindError, match=r"ex_clap.pt"):
        read_families(tmp_path / "ex_clap.pt", [FAMILY, "ex_clap"])
    torch.save(state, tmp_path / "ex_clap.pt")
    with pytest.raises(FreeBindError, match=r"there already\n.*ex_clap.pt"):
        write_families(tmp_path, {"ex_clap": {"": {}}})


def test_a_folder_without_a_family_is_refused(tmp_path):
    with pytest.raises(FreeBindError, match=r"no released family here(.|\n)*IB_PP_G_Proj"):
        read_families(tmp_path, [FAMILY])


def test_a_member_without_its_file_is_refused(tmp_path):
    (tmp_path / FAMILY / "mix").mkdir(parents=True)
    with pytest.raises(
        FreeBindError, match=r"member of a released family is missing\n.*mix/best.pt"
    ):
        read_families(tmp_path, [FAMILY])


def test_a_family_that_is_there_is_never_overwritten(tmp_path, state, contents):
    put(tmp_path, state)
    before = contents(tmp_path)
    with pytest.raises(FreeBindError, match=r"there already\n.*IB_PP_G_Proj\n.*--out"):
        write_families(tmp_path, {FAMILY: {"mix": {}}})
    assert contents(tmp_path) == before
