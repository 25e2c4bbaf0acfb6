"""Translates LAION's names of weights into those of transformers.

transformers' CLAP models were converted from LAION's, and the towers compute the same. LAION keeps
query, key and value of the audio tower in one array.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor

from fb_jax.errors import FreeBindError

RENAMED = (
    ("text_branch.", "text_model."),
    ("audio_branch.", "audio_model.audio_encoder."),
    (".bn0.", ".batch_norm."),
    (".norm1.", ".layernorm_before."),
    (".norm2.", ".layernorm_after."),
    (".attn.proj.", ".attention.output.dense."),
    (".attn.", ".attention.self."),
    (".mlp.fc1.", ".intermediate.dense."),
    (".mlp.fc2.", ".output.dense."),
    ("_projection.0.", "_projection.linear1."),
    ("_projection.2.", "_projection.linear2."),
)
"""Parts of names, replaced one after another."""

UNUSED = re.compile(
    r"audio_branch\.(spectrogram_extractor|logmel_extractor)\..+"  # constants of the spectrogram
    r"|audio_branch\.layers\.\d+\.blocks\.\d+\.attn_mask"  # a constant
    r"|audio_branch\.(tscam_conv|head)\.(weight|bias)"  # labels of AudioSet
    r"|(audio|text)_transform\.sequential\.\d+\.(weight|bias)"  # used in training alone
    r"|text_branch\.embeddings\.(position_ids|token_type_ids)"  # constants
)
"""LAION's weights that ``ClapModel`` lacks. Embeddings do not depend on them."""

CONSTANTS = {f"text_model.embeddings.{name}" for name in ("position_ids", "token_type_ids")}
"""Constants that ``ClapModel`` fills itself."""


def to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return LAION's weights by the names of ``ClapModel``, without those that it lacks."""
    used = {name: value for name, value in state.items() if not UNUSED.fullmatch(name)}
    return {new: part for name, value in used.items() for new, part in _renamed(name, value)}


def _renamed(name: str, value: Tensor) -> Iterator[tuple[str, Tensor]]:
    for old, new in RENAMED:
        name = name.replace(old, new)
    if ".qkv." not in name:
        yield name, value
        return
    for part, rows in zip(("query", "key", "value"), value.chunk(3), strict=True):
        yield name.replace(".qkv.", f".{part}."), rows


def require_same_names(here: set[str], wanted: set[str], where: Path) -> None:
    """Raise a FreeBindError unless exactly the wanted weights are here; ``CONSTANTS`` may lack."""
    surplus, missing = sorted(here - wanted), sorted(wanted - here - CONSTANTS)
    if surplus or missing:
        raise FreeBindError(
            "a checkpoint is of another model",
            where=where,
            expected=f"{len(wanted)} weights of LAION-CLAP with HTSAT and RoBERTa",
            got=f"{_some(missing)} missing, {_some(surplus)} too many",
            fix="take the file that LAION-AI/CLAP publishes",
        )


def _some(names: list[str]) -> str:
    return f"{len(names)} ({names[0]}, ...)" if names else "none"
