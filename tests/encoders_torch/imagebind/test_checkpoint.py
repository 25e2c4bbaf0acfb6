import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from encoders_torch.imagebind.checkpoint import Checkpoint
from encoders_torch.imagebind.towers import TOWERS
from fb_jax.errors import FreeBindError

BIAS = "modality_heads.text.proj.0.bias"


@pytest.fixture
def saved(tmp_path):
    """Save a state dict by a name's suffix and return the path."""

    def saved(state, name="weights.pth", **options):
        path = tmp_path / name
        if path.suffix == ".safetensors":
            save_file(state, path)
        else:
            torch.save(state, path, **options)
        return path

    return saved


@pytest.mark.parametrize("name", ["weights.pth", "weights.pt", "weights.safetensors"])
def test_every_format_gives_the_same_towers_in_float32(state, saved, name):
    checkpoint = Checkpoint(saved(state, name))
    towers = [checkpoint.tower(tower).state_dict() for tower in TOWERS]
    found = {key: value for tower in towers for key, value in tower.items()}
    assert len(found) == 98
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert all(torch.equal(value, state[key].float()) for key, value in found.items())


def test_other_modalities_of_the_published_file_are_passed_over(state, saved):
    for modality in ("depth", "thermal", "imu"):
        for role in ("preprocessors", "trunks", "heads", "postprocessors"):
            state[f"modality_{role}.{modality}.0.weight"] = torch.zeros(3)
    assert len(Checkpoint(saved(state)).state) == 98


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_numbers_are_mapped_from_the_file(state, saved, name):
    """So a tower that nobody asks for takes no memory, whatever its size."""
    path = saved({key: value.float() for key, value in state.items()}, name)
    before = Checkpoint(path)
    mapped = Path("/proc/self/maps").read_text() if sys.platform == "linux" else str(path)
    assert str(path) in mapped
    weights = before.tower("audio").state_dict()
    assert all(value.data_ptr() == before.state[key].data_ptr() for key, value in weights.items())


def spoiled(state, how):
    if how == "missing":
        del state[BIAS]
    if how == "surplus":
        state["modality_heads.smell.0.bias"] = torch.zeros(3)
    if how == "misshapen":
        state[BIAS] = torch.zeros(33)
    if how == "narrower":
        state["modality_heads.audio.2.weight"] = torch.zeros(40, 48)
    if how == "torn":
        state = {k: v for k, v in state.items() if "audio.blocks.0" not in k}
    if how == "wrapped":
        state = {"model": state, "epoch": 3}
    if how == "list":
        state = list(state.values())
    if how == "other":
        state = {"visual.proj": torch.zeros(3, 3)}
    return state


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("missing", rf"not ImageBind's keys(.|\n)*1 missing: {BIAS}$"),
        ("surplus", r"not ImageBind's keys(.|\n)*1 surplus: modality_heads\.smell\.0\.bias$"),
        ("misshapen", rf"1 misshapen: {BIAS} of shape \[33\] instead of \[32\]$"),
        ("narrower", r"misshapen: modality_heads\.audio\.2\.weight of shape \[40, 48\] instead of"),
        ("torn", r"14 missing: .*bias_k, .*bias_v, .*in_proj_bias, \.\.\.$"),
        ("wrapped", r"no state dict(.|\n)*model: dict"),
        ("list", r"no state dict(.|\n)*list"),
        ("other", r"no ImageBind checkpoint(.|\n)*no such key"),
    ],
)
def test_what_is_not_imagebind_is_refused(state, saved, how, says):
    with pytest.raises(FreeBindError, match=says) as caught:
        Checkpoint(saved(spoiled(state, how)))
    assert "weights.pth" in str(caught.value)


def test_a_suffix_of_another_kind_is_refused(tmp_path):
    with pytest.raises(FreeBindError, match=r"unknown(.|\n)*in \.pth, \.pt, \.saf(.|\n)*fix:"):
        Checkpoint(tmp_path / "weights.bin")


def test_what_no_reader_can_read_is_refused(tmp_path):
    """See ``test_tensor_files`` for all that this means."""
    (tmp_path / "weights.pth").write_bytes(b"<html>404</html>")
    with pytest.raises(FreeBindError, match=r"it is damaged(.|\n)*get the file again"):
        Checkpoint(tmp_path / "weights.pth")
