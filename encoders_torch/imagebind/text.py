"""Turns a caption into ids: CLIP's byte-pair encoding (Radford et al., 2021)."""

from __future__ import annotations

import gzip
import html
from importlib.resources import files
from typing import Any

import numpy as np
from jaxtyping import Int64

from encoders_torch.explain import explained

CONTEXT = 77
START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = r"(?i)'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
MERGES = "clip_merges.txt.gz"
"""The first 48894 merges of OpenAI's bpe_simple_vocab_16e6.txt.gz; MIT, see clip_merges.LICENSE."""


class ClipTokenizer:
    """CLIP's tokenizer with 49408 ids. Texts are repaired by ftfy, unescaped and lower-cased.

    Args:
        keeps_end: Whether a text of more than 75 ids is cut before its end token, or includes it
            in what is cut off.

    Raises:
        FreeBindError: ``tokenizers`` or ``ftfy`` is not installed.
    """

    def __init__(self, keeps_end: bool = True) -> None:
        with explained(
            "a package that reads captions is missing",
            expected="tokenizers and ftfy",
            fix="pip install tokenizers ftfy (the extra 'encoders' has them)",
        ):
            import ftfy
            import tokenizers
        self.repair = ftfy.fix_text
        self.tokenizer = _tokenizer(tokenizers, _merges())
        self.tokenizer.enable_truncation(CONTEXT + (not keeps_end))

    def __call__(self, text: str) -> Int64[np.ndarray, " context"]:
        """Return the ids of a text: start, at most 75 ids, end, then zeros.

        If ends are not kept, a longer text is start and 76 ids.
        """
        text = html.unescape(html.unescape(self.repair(text)))
        clean = " ".join(text.split()).lower()
        return np.array(self.tokenizer.encode(clean).ids[:CONTEXT], np.int64)


def _merges() -> list[tuple[str, str]]:
    packed = (files("encoders_torch.imagebind") / MERGES).read_bytes()
    pairs = (line.split(" ") for line in gzip.decompress(packed).decode().splitlines())
    return [(left, right) for left, right in pairs]


def _tokenizer(tokenizers: Any, merges: list[tuple[str, str]]) -> Any:
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    ends = [letter + "</w>" for letter in letters]
    vocabulary = [*letters, *ends, *map("".join, merges), START, END]
    ids = {token: number for number, token in enumerate(vocabulary)}
    model = tokenizers.models.BPE(ids, merges, end_of_word_suffix="</w>")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.add_special_tokens([START, END])
    split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(WORDS), "removed", invert=True)
    as_bytes = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([split, as_bytes])
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(t, ids[t]) for t in (START, END)]
    )
    tokenizer.enable_padding(length=CONTEXT, pad_id=0)
    return tokenizer
