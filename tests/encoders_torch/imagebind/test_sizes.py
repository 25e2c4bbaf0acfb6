from pathlib import Path

import pytest
import torch

from encoders_torch.imagebind.sizes import HUGE, Sizes, TowerSize, sizes_of
from encoders_torch.imagebind.towers import Towers
from fb_jax.errors import FreeBindError

WHERE = Path("weights.pth")


@pytest.fixture
def huge():
    with torch.device("meta"):
        return Towers(HUGE).state_dict()


def test_sizes_are_read_off_shapes(huge, state):
    assert sizes_of(huge, WHERE) == HUGE
    assert sizes_of(state, WHERE) == Sizes(
        vision=TowerSize(64, 2, 4), text=TowerSize(32, 2, 2), audio=TowerSize(48, 2, 3), dim=48
    )


def test_a_published_width_goes_with_the_published_depth(huge):
    lesser = {key: value for key, value in huge.items() if ".vision.blocks.31." not in key}
    with pytest.raises(
        FreeBindError,
        match=r"no such vision tower(.|\n)*weights\.pth(.|\n)*32 blocks of width 1280\n.*31 blocks",
    ):
        sizes_of(lesser, WHERE)


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
        sizes_of(state, WHERE)
