from pathlib import Path

import pytest
import torch

from encoders_torch.imagebind.sizes import HUGE, TowerSize, size_of
from encoders_torch.imagebind.towers import TOWERS
from fb_jax.errors import FreeBindError

WHERE = Path("weights.pth")


@pytest.fixture
def huge():
    with torch.device("meta"):
        towers = [TOWERS[name](size).state_dict() for name, size in HUGE.items()]
    return {key: value for tower in towers for key, value in tower.items()}


def test_sizes_are_read_off_shapes(huge, state):
    assert {name: size_of(huge, name, WHERE) for name in HUGE} == HUGE
    assert {name: size_of(state, name, WHERE) for name in HUGE} == {
        "vision": TowerSize(width=64, depth=2, heads=4, dim=48),
        "text": TowerSize(width=32, depth=2, heads=2, dim=48),
        "audio": TowerSize(width=48, depth=2, heads=3, dim=48),
    }


def test_a_published_width_goes_with_the_published_depth(huge):
    lesser = {key: value for key, value in huge.items() if ".vision.blocks.31." not in key}
    with pytest.raises(
        FreeBindError,
        match=r"no such vision tower(.|\n)*weights\.pth(.|\n)*32 blocks of width 1280\n.*31 blocks",
    ):
        size_of(lesser, "vision", WHERE)


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        (None, "pos_embed with 3 axes\n.*no such key"),
        ((77, 32), r"pos_embed with 3 axes\n.*\[77, 32\]"),
        ((1, 77, 40), "2 blocks of width 40"),
    ],
)
def test_what_tells_no_size_is_refused(state, shape, says):
    key = "modality_preprocessors.text.pos_embed"
    del state[key]
    if shape:
        state[key] = torch.zeros(shape)
    with pytest.raises(FreeBindError, match=says):
        size_of(state, "text", WHERE)
