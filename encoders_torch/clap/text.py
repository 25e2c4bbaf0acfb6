"""Captions as RoBERTa's tokens."""

from __future__ import annotations

from pathlib import Path

from transformers import RobertaTokenizer

from fb_jax.errors import FreeBindError

MAX_TOKENS = 77
NAME = "roberta-base"


def load_tokenizer(weights: Path, vocabulary: int) -> RobertaTokenizer:
    """Load RoBERTa's tokenizer from ``roberta-base`` beside the weights, or from the hub.

    Args:
        weights: The checkpoint.
        vocabulary: Tokens that it has embeddings for: 50265 in LAION's.

    Raises:
        FreeBindError: It is missing or is of another vocabulary.
    """
    beside = weights.parent / NAME
    where = str(beside) if beside.is_dir() else NAME
    try:
        tokenizer = RobertaTokenizer.from_pretrained(where)
    except Exception as error:  # by version and network, one of many
        raise _unusable(beside, vocabulary, f"{type(error).__name__} from {where}") from error
    if len(tokenizer) != vocabulary:  # without a network, an empty one comes without a word
        raise _unusable(beside, vocabulary, f"{len(tokenizer)} tokens from {where}")
    return tokenizer


def tokenize(tokenizer: RobertaTokenizer, caption: str) -> list[int]:
    """Return the token ids of a caption, cut to 77 with start and end.

    Raises:
        FreeBindError: There is nothing in it.
    """
    require_caption(caption)
    return tokenizer(caption, truncation=True, max_length=MAX_TOKENS)["input_ids"]


def require_caption(caption: str) -> str:
    """Return a caption; raise a FreeBindError if there is nothing in it."""
    if not caption.strip():
        raise FreeBindError("a caption is empty")
    return caption


def _unusable(beside: Path, vocabulary: int, got: str) -> FreeBindError:
    return FreeBindError(
        "RoBERTa's tokenizer is missing",
        where=beside,
        expected=f"a tokenizer of {vocabulary} tokens",
        got=got,
        fix=f"put vocab.json, merges.txt and tokenizer_config.json of FacebookAI/{NAME} on "
        "huggingface.co (licence MIT) there, or run once with the network",
    )
