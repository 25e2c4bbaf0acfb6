"""Tokenizers of RoBERTa's, BERT's and BART's kind, with a few hundred tokens, made here."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
MERGES = ("Ġ t", "h e", "Ġt he", "i n", "d o", "do g", "Ġ dog", "b ar", "a r", "b a")
WORDS = ("the", "dog", "bark", "##s")


def write_byte_pairs(folder: Path) -> int:
    """Write a byte-level BPE tokenizer as RoBERTa and BART have; return its number of tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    merged = [pair.replace(" ", "") for pair in MERGES]
    tokens = [*SPECIAL, *_byte_letters(), *dict.fromkeys(merged), "<mask>"]
    tokens = list(dict.fromkeys(tokens))
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]))
    (folder / "tokenizer_config.json").write_text("{}")
    return len(tokens)


def write_word_pieces(folder: Path) -> None:
    """Write a WordPiece tokenizer as BERT has."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(tokens))
    (folder / "tokenizer_config.json").write_text("{}")


def write_llama(folder: Path) -> None:
    """Write a sentencepiece tokenizer as InternVL has."""
    import sentencepiece  # only InternVL needs it

    folder.mkdir(parents=True, exist_ok=True)
    model = BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["summarize:a dog barks", "the quick brown fox jumps over it"] * 4),
        model_writer=model,
        vocab_size=60,
        hard_vocab_limit=False,
        model_type="bpe",
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    config = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "legacy": True}
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, **tokens}))


def _byte_letters() -> list[str]:
    """Return the letters that stand for the 256 bytes: themselves where printable (GPT-2)."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(byte) for byte in own] + [chr(256 + i) for i in range(256 - len(own))]
