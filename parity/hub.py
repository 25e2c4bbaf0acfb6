"""A cache of Hugging Face's hub with the three models that laion_clap asks for, made here.

laion_clap loads three tokenizers when it is imported and ``roberta-base`` when a model is made.
Its code runs as it is on this cache with ``HF_HUB_OFFLINE=1``; the text tower is RoBERTa's, two
layers deep, with random weights.
"""

from __future__ import annotations

import os
from pathlib import Path

from tiny.tokenizers import write_byte_pairs, write_word_pieces

COMMIT = "0" * 40
LAYERS = 2


def use_local_hub(home: Path) -> Path:
    """Fill ``home`` and point Hugging Face's libraries to it; return roberta-base's folder."""
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
    from transformers import RobertaConfig, RobertaModel  # reads the environment when imported

    config = RobertaConfig(
        vocab_size=tokens,
        num_hidden_layers=LAYERS,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
    )
    RobertaModel(config).save_pretrained(folder)
