"""Turns captions into RoBERTa's tokens."""

from __future__ import annotations

from pathlib import Path

from transformers import RobertaTokenizer

from encoders_torch.explain import explained
from fb_jax.errors import FreeBindError

MAX_TOKENS = 77
NAME = "roberta-base"


def load_tokenizer(weights: Path, vocabulary: int) -> RobertaTokenizer:
    """Load RoBERTa's tokenizer from the folder ``roberta-base`` beside the weights, or the hub.

    Args:
        weights: The checkpoint.
        vocabulary: Number of tokens that it has embeddings for: 50265 in LAION's.

    Raises:
        FreeBindError: It is missing, or has another vocabulary.
    """
    beside = weights.parent / NAME
    source = str(beside) if beside.is_dir() else NAME
    with explained(
        "RoBERTa's tokenizer is missing",
        where=beside,
        expected=f"a tokenizer of {vocabulary} tokens",
        fix=f"put vocab.json, merges.txt and tokenizer_config.json of FacebookAI/{NAME} on "
        "huggingface.co (licence MIT) there, or run once with a network",
    ):
        tokenizer = RobertaTokenizer.from_pretrained(source)
        if len(tokenizer) != vocabulary:  # without a network, transformers may return an empty one
            raise ValueError(f"{len(tokenizer)} tokens from {source}")
        return tokenizer


def tokenize(tokenizer: RobertaTokenizer, caption: str) -> list[int]:
    """Return the token ids of a caption that is not empty, at most 77 with start and end."""
    require_caption(caption)
    return tokenizer(caption, truncation=True, max_length=MAX_TOKENS)["input_ids"]


def require_caption(caption: str) -> str:
    """Return a caption; raise a FreeBindError if it is empty."""
    if not caption.strip():
        raise FreeBindError("a caption is empty")
    return caption
