"""Reads the sizes of a CLAP model from the shapes of its weights."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from torch import Tensor
from transformers import ClapConfig

from encoders_torch.explain import explained

AUDIO, TEXT = "audio_model.audio_encoder.", "text_model."
SPECTROGRAM = 256
"""Side of the square that HTSAT folds a spectrogram into, in all of LAION's models."""

HEAD = 64
"""Width of an attention head in RoBERTa; the shapes do not show it."""


def model_config(weights: Mapping[str, Tensor], where: Path) -> ClapConfig:
    """Return the configuration of the model that has these weights.

    Args:
        weights: By transformers' names.
        where: Their file, for errors.

    Raises:
        FreeBindError: A weight is missing, or has an impossible shape.
    """
    with explained(
        "a checkpoint is of another model",
        where=where,
        expected="LAION-CLAP with HTSAT and RoBERTa",
        fix="take the file that LAION-AI/CLAP publishes",
    ):
        return ClapConfig(
            audio_config=_audio(weights),
            text_config=_text(weights),
            projection_dim=len(weights["audio_projection.linear2.weight"]),
        )


def is_fused(weights: Mapping[str, Tensor]) -> bool:
    """Return whether the model fuses parts of long audio."""
    return f"{AUDIO}patch_embed.mel_conv2d.weight" in weights


def _audio(weights: Mapping[str, Tensor]) -> dict[str, object]:
    width, _, patch, _ = weights[f"{AUDIO}patch_embed.proj.weight"].shape
    depths = _depths(weights)
    first = f"{AUDIO}layers.0.blocks.0."
    tables = [_bias_table(weights, layer) for layer in range(len(depths))]
    return {
        "patch_embeds_hidden_size": width,
        "hidden_size": width * 2 ** (len(depths) - 1),
        "patch_size": patch,
        "patch_stride": [patch, patch],
        "depths": depths,
        "num_attention_heads": [table.shape[1] for table in tables],
        "num_hidden_layers": len(depths),
        "window_size": (math.isqrt(len(tables[0])) + 1) // 2,
        "mlp_ratio": len(weights[f"{first}intermediate.dense.weight"]) / width,
        "num_mel_bins": len(weights[f"{AUDIO}batch_norm.weight"]),
        "spec_size": SPECTROGRAM,
        "enable_fusion": is_fused(weights),
        "fusion_type": "aff_2d" if is_fused(weights) else None,
    }


def _depths(weights: Mapping[str, Tensor]) -> list[int]:
    pattern = re.compile(rf"{re.escape(AUDIO)}layers\.(\d+)\.blocks\.(\d+)\.")
    blocks = {match.groups() for match in map(pattern.match, weights) if match}
    layers = [int(layer) for layer, _ in blocks]
    return [layers.count(layer) for layer in range(1 + max(layers))]


def _bias_table(weights: Mapping[str, Tensor], layer: int) -> Tensor:
    name = "attention.self.relative_position_bias_table"
    return weights[f"{AUDIO}layers.{layer}.blocks.0.{name}"]


def _text(weights: Mapping[str, Tensor]) -> dict[str, object]:
    vocabulary, width = weights[f"{TEXT}embeddings.word_embeddings.weight"].shape
    layer = f"{TEXT}encoder.layer."
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_attention_heads": width // HEAD,
        "num_hidden_layers": next(
            i for i in count() if f"{layer}{i}.output.dense.weight" not in weights
        ),
        "intermediate_size": len(weights[f"{layer}0.intermediate.dense.weight"]),
        "max_position_embeddings": len(weights[f"{TEXT}embeddings.position_embeddings.weight"]),
        "type_vocab_size": len(weights[f"{TEXT}embeddings.token_type_embeddings.weight"]),
        "layer_norm_eps": 1e-5,  # RoBERTa's; transformers' default for CLAP is 1e-12
    }
