import json
from pathlib import Path

import pytest
import torch
from transformers import ClapModel

from encoders_torch.clap.renaming import CONSTANTS, to_transformers
from encoders_torch.clap.sizes import is_fused, model_config

NAMES = json.loads((Path(__file__).parent / "laion_names.json").read_text())
"""Names and shapes in laion_clap 1.1.7's two models; its RoBERTa here has 2 layers, 271 tokens."""


@pytest.fixture(params=["clap_general", "clap_music"])
def laion(request):
    """Weights of a published model without numbers in them."""
    shapes = NAMES[request.param]
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    return request.param, state


def test_laions_names_and_shapes_become_those_of_transformers(laion):
    renamed = to_transformers(laion[1])
    with torch.device("meta"):
        model = ClapModel(model_config(renamed, Path("some.pt")))
    wanted = {n: v.shape for n, v in model.state_dict().items() if n not in CONSTANTS}
    assert {name: value.shape for name, value in renamed.items()} == wanted


def test_what_is_left_out_is_constants_and_heads_of_training(laion):
    _, state = laion
    kept = len(to_transformers(state)) - 2 * sum(".qkv." in name for name in state)
    masks = sum(name.endswith("attn_mask") for name in state)
    assert len(state) - kept == 3 + masks + 4 + 8  # spectrogram; AudioSet's heads; two transforms


def test_sizes_are_those_of_the_published_models(laion):
    space, state = laion
    renamed = to_transformers(state)
    audio = model_config(renamed, Path("some.pt")).audio_config
    general = (True, 96, 768, [2, 2, 6, 2], "aff_2d")
    music = (False, 128, 1024, [2, 2, 12, 2], None)
    found = (audio.patch_embeds_hidden_size, audio.hidden_size, audio.depths, audio.fusion_type)
    assert (is_fused(renamed), *found) == (general if space == "clap_general" else music)
    assert (audio.window_size, audio.num_attention_heads) == (8, [4, 8, 16, 32])
    assert (audio.mlp_ratio, audio.num_mel_bins, audio.patch_size) == (4, 64, 4)


def test_sizes_of_the_text_tower_are_robertas(laion):
    config = model_config(to_transformers(laion[1]), Path("some.pt"))
    text = config.text_config
    assert (text.hidden_size, text.num_attention_heads, text.intermediate_size) == (768, 12, 3072)
    assert (text.num_hidden_layers, text.vocab_size, text.max_position_embeddings) == (2, 271, 514)
    assert text.layer_norm_eps == 1e-5
    assert config.projection_dim == 512
