import pytest
import torch
from safetensors.torch import save_file

from encoders_torch.imagebind.checkpoint import load_towers
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
    found = load_towers(saved(state, name)).state_dict()
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert all(torch.equal(value, state[key].float()) for key, value in found.items())


def test_other_modalities_of_the_published_file_are_passed_over(state, saved):
    for modality in ("depth", "thermal", "imu"):
        for role in ("preprocessors", "trunks", "heads", "postprocessors"):
            state[f"modality_{role}.{modality}.0.weight"] = torch.zeros(3)
    assert len(load_towers(saved(state)).state_dict()) == 98


def spoiled(state, how):
    if how == "missing":
        del state[BIAS]
    if how == "surplus":
        state["modality_heads.smell.0.bias"] = torch.zeros(3)
    if how == "misshapen":
        state[BIAS] = torch.zeros(33)
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
        ("torn", r"14 missing: .*bias_k, .*bias_v, .*in_proj_bias, \.\.\.$"),
        ("wrapped", r"no state dict(.|\n)*model: dict"),
        ("list", r"no state dict(.|\n)*list"),
        ("other", r"no ImageBind checkpoint(.|\n)*no such key"),
    ],
)
def test_what_is_not_imagebind_is_refused(state, saved, how, says):
    with pytest.raises(FreeBindError, match=says) as caught:
        load_towers(saved(spoiled(state, how)))
    assert "weights.pth" in str(caught.value)


def test_a_suffix_of_another_kind_is_refused(tmp_path):
    with pytest.raises(FreeBindError, match=r"unknown(.|\n)*\.pth"):
        load_towers(tmp_path / "weights.bin")


def test_what_no_reader_can_read_is_refused(tmp_path):
    """See ``test_tensor_files`` for all that this means."""
    (tmp_path / "weights.pth").write_bytes(b"<html>404</html>")
    with pytest.raises(FreeBindError, match=r"it is damaged(.|\n)*get the file again"):
        load_towers(tmp_path / "weights.pth")
