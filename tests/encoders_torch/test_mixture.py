import json

import numpy as np
import pytest
import torch
from made import random_bond, random_product

from encoders_torch.tuning.displacement import read_displacement
from encoders_torch.tuning.mixture import Mixture
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace, digest

ENDS = ("imagebind", 10), ("internvl", 6), ("text", "image")


@pytest.fixture
def space():
    """internvl_ib with random numbers: never trained."""
    bond = random_bond("displacement", *ENDS)
    return FusedSpace.of(bond, at="it_expertise", name="internvl_ib")


@pytest.fixture
def folder(space, tmp_path):
    space.save(tmp_path / "kept")
    return tmp_path / "kept"


def test_the_mixture_gives_the_products_audio_rows(space, folder):
    rows = np.random.default_rng(0).normal(size=(7, 10)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    with torch.no_grad():
        found = read_displacement(folder).mixture(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(found, space.fuse("audio", {"imagebind": rows}), atol=1e-6)


def test_what_the_folder_tells_is_read(space, folder):
    found = read_displacement(folder)
    assert (found.name, found.unified, found.expert) == ("internvl_ib", "imagebind", "internvl")
    assert (found.shared, found.digest) == (("text", "image"), digest(space))
    assert (found.mixture.dim_in, found.mixture.dim) == (10, 6)


def test_a_state_dict_comes_back(folder):
    mixture = read_displacement(folder).mixture
    again = Mixture.of(mixture.state_dict())
    rows = torch.eye(10)
    assert torch.equal(mixture(rows), again(rows))
    with pytest.raises(FreeBindError, match=r"no weights of a mixture(.|\n)*bias_out"):
        Mixture.of({"weight_in": torch.ones(7, 10, 8)})


def test_a_space_that_is_no_displacement_is_refused(tmp_path):
    random_product().save(tmp_path / "two_stages")
    with pytest.raises(FreeBindError, match="this fused space is no displacement"):
        read_displacement(tmp_path / "two_stages")
    combination = FusedSpace.of(random_bond("combination", *ENDS), at="it_expertise")
    combination.save(tmp_path / "combination")
    with pytest.raises(FreeBindError, match="combination"):
        read_displacement(tmp_path / "combination")


@pytest.mark.parametrize("content", ["{", "[]", '{"format": "other"}'])
def test_a_file_that_tells_of_no_space_is_refused(folder, content):
    (folder / "space.json").write_text(content)
    with pytest.raises(FreeBindError):
        read_displacement(folder)


@pytest.mark.parametrize("name", ["space.json", "weights.safetensors"])
def test_an_altered_folder_is_refused(folder, name):
    content = bytearray((folder / name).read_bytes())
    if name == "space.json":
        about = json.loads(content)
        about["stages"][0]["factors"]["text"] = 0.1
        content = json.dumps(about).encode()
    else:
        content[-3] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(FreeBindError, match="altered"):
        read_displacement(folder)


def test_a_folder_that_is_no_space_is_refused(tmp_path):
    with pytest.raises(FreeBindError, match=r"no fused space here\n(.|\n)*--product internvl_ib"):
        read_displacement(tmp_path)
