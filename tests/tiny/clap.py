"""Checkpoints of CLAP in LAION's layout, for towers small enough to run in a blink."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import ClapConfig, ClapModel

from tiny.tokenizers import write_byte_pairs

DIM = 32
LAION_NAMES = (
    ("text_model.", "text_branch."),
    ("audio_model.audio_encoder.", "audio_branch."),
    ("batch_norm.", "bn0."),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("projection.linear1", "projection.0"),
    ("projection.linear2", "projection.2"),
)
"""What both towers share; inside the audio tower's blocks more differs: ``_in_block``."""

IN_BLOCK = (
    ("attention.output.dense", "attn.proj"),
    ("attention.self", "attn"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
)


def write_clap(
    folder: Path, *, fused: bool, change: Callable[[dict], Any] | None = None, dim: int = DIM
) -> Path:
    """Write a checkpoint and RoBERTa's tokenizer beside it; return the checkpoint's path.

    Args:
        folder: Where.
        fused: Whether the model fuses parts of long audio.
        change: Called with the checkpoint before it is saved, to spoil it.
        dim: Dimensions of its space.
    """
    tokens = write_byte_pairs(folder / "roberta-base")
    checkpoint = {
        "epoch": 1,
        "best": {"mAP@10": np.float64(0.5), "steps": np.int64(3)},
        "optimizer": {"state": {0: torch.ones(3)}},
        "state_dict": laion_state(tiny_model(tokens, fused, dim)),
    }
    if change:
        change(checkpoint)
    torch.save(checkpoint, folder / "clap.pt")
    return folder / "clap.pt"


def tiny_model(tokens: int, fused: bool, dim: int = DIM) -> ClapModel:
    """Return a model with random weights and normalisation that suits real spectrograms."""
    audio = {"patch_embeds_hidden_size": 8, "hidden_size": 16, "depths": [2, 1]}
    fusion = {"enable_fusion": fused, "fusion_type": "aff_2d" if fused else None}
    text = {"vocab_size": tokens, "hidden_size": 64, "num_attention_heads": 1}
    layers = {"num_hidden_layers": 1, "intermediate_size": 32, "layer_norm_eps": 1e-5}
    config = ClapConfig(
        audio_config=audio | fusion | {"num_attention_heads": [2, 4], "num_hidden_layers": 2},
        text_config=text | layers,
        projection_dim=dim,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ClapModel(config)
        for value in model.parameters():
            value.data += 0.2 * torch.randn_like(value)
    model.audio_model.audio_encoder.batch_norm.running_mean.fill_(-30)
    model.audio_model.audio_encoder.batch_norm.running_var.fill_(400)
    return model.eval()


def laion_state(model: ClapModel) -> dict[str, Tensor]:
    """Return a model's weights as LAION's training saves them."""
    own = {name: value for name, value in model.state_dict().items() if "_ids" not in name}
    state: dict[str, Tensor] = {}
    for name, value in own.items():
        if ".key." in name or ".value." in name:
            continue
        if name.startswith("audio") and ".query." in name:
            parts = [own[name.replace("query", part)] for part in ("query", "key", "value")]
            name, value = name.replace("query", "qkv"), torch.cat(parts)
        state[f"module.{_laion_name(name)}"] = value
    text = {n: v for n, v in own.items() if n.startswith("text") and "attention.self" in n}
    return state | {f"module.{_laion_name(n)}": v for n, v in text.items()} | _leftovers()


def _laion_name(name: str) -> str:
    blocks = IN_BLOCK if name.startswith("audio") else ()
    for theirs, laions in (*blocks, *LAION_NAMES):
        name = name.replace(theirs, laions)
    return name


def _leftovers() -> dict[str, Tensor]:
    """Return what LAION's files hold besides, in small."""
    names = (
        "text_branch.embeddings.position_ids",
        "audio_branch.spectrogram_extractor.stft.conv_real.weight",
        "audio_branch.logmel_extractor.melW",
        "audio_branch.layers.0.blocks.1.attn_mask",
        "audio_branch.tscam_conv.weight",
        "audio_branch.head.bias",
        "audio_transform.sequential.0.weight",
        "text_transform.sequential.3.bias",
    )
    return {f"module.{name}": torch.zeros(2) for name in names}
