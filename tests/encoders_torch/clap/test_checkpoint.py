import pytest
import torch
from tiny.clap import tiny_model, write_clap

from encoders_torch.clap.model import load_model, read_checkpoint
from encoders_torch.clap.published import GENERAL, MUSIC
from fb_jax.errors import FreeBindError


@pytest.mark.parametrize("published", [GENERAL, MUSIC])
def test_a_loaded_model_has_the_weights_and_sizes_of_the_saved_one(checkpoints, published):
    loaded = load_model(checkpoints[published.space], published)
    saved = tiny_model(loaded.config.text_config.vocab_size, published.fused).state_dict()
    assert loaded.state_dict().keys() == saved.keys()
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, saved[name]), name
    assert not loaded.training
    assert not any(value.requires_grad for value in loaded.parameters())


@pytest.mark.parametrize("published", [GENERAL, MUSIC])
def test_a_bare_state_dict_without_the_wrappers_prefix_is_loaded_too(
    checkpoints, published, tmp_path
):
    torch.save(read_checkpoint(checkpoints[published.space]), tmp_path / "bare.pt")
    load_model(tmp_path / "bare.pt", published)


def surplus(checkpoint):
    checkpoint["state_dict"]["module.audio_branch.extra.weight"] = torch.ones(1)


def gone(name):
    return lambda checkpoint: checkpoint["state_dict"].pop(f"module.{name}")


def reshaped(checkpoint):
    checkpoint["state_dict"]["module.text_branch.pooler.dense.bias"] = torch.ones(7)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            surplus,
            r"0 missing|none missing, 1 \(audio_model\.audio_encoder\.extra\.weight, \.\.\.\)",
        ),
        (gone("logit_scale_a"), r"1 \(logit_scale_a, \.\.\.\) missing, none too many"),
        (gone("audio_branch.bn0.weight"), "batch_norm"),
        (gone("audio_branch.patch_embed.proj.weight"), "patch_embed"),
        (gone("text_branch.encoder.layer.0.intermediate.dense.weight"), "intermediate"),
        (reshaped, r"mismatch for text_model\.pooler\.dense\.bias"),
    ],
)
def test_weights_of_another_model_are_told(tmp_path, change, says):
    path = write_clap(tmp_path, fused=True, change=change)
    with pytest.raises(FreeBindError, match=rf"checkpoint(.|\n)*clap\.pt(.|\n)*({says})"):
        load_model(path, GENERAL)


@pytest.mark.parametrize(("space", "published"), [("clap_music", GENERAL), ("clap_general", MUSIC)])
def test_a_checkpoint_with_other_fusion_is_not_taken_for_the_space(checkpoints, space, published):
    with pytest.raises(FreeBindError, match=rf"not for {published.space}(.|\n)*{published.file}"):
        load_model(checkpoints[space], published)
