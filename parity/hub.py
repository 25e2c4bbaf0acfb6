"""Writes a Hugging Face cache with the three models that laion_clap loads.

laion_clap loads three tokenizers when it is imported, and ``roberta-base`` for every model. Its
code runs unchanged on this cache with ``HF_HUB_OFFLINE=1``. The text tower is a RoBERTa of two
layers with random weights.
"""

from __future__ import annotations

import os
from pathlib import Path

from tiny.tokenizers import write_byte_pairs, write_word_pieces

COMMIT = "0" * 40
LAYERS = 2


def use_local_hub(home: Path) -> Path:
    """Fill ``home``, make Hugging Face's libraries use it, and return roberta-base's folder."""
    os.environ |= {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    write_word_pieces(_snapshot(home, "bert-base-uncased"))
    write_byte_pairs(_snapshot(home, "facebook--bart-base"))
    roberta = _snapshot(home, "roberta-base")
    _write_roberta(roberta, write_byte_pairs(roberta))
    return roberta


def _snapshot(home: Path, name: str) -> Path:
    folder = home / "hub" / f"models--{name}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    return folder / "snapshots" / COMMIT


def _write_roberta(folder: Path, tokens: int) -> None:
    from transformers import RobertaConfig, RobertaModel  # the import reads the environment

    config = RobertaConfig(
        vocab_size=tokens,
        num_hidden_layers=LAYERS,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
    )
    RobertaModel(config).save_pretrained(folder)
