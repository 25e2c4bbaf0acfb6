"""CLAP through LAION's own package ``laion_clap``, in an environment with NumPy 1.

The reference for ``encoders_torch.clap``, and for who wants LAION's code to make the rows. One
recording at a time, each under its own seed, since ``laion_clap`` crops by NumPy's global state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float32

from encoders_torch.clap.audio import read_waveform, seed_of
from encoders_torch.clap.checkpoint import read_checkpoint
from encoders_torch.clap.encoder import describe
from encoders_torch.clap.published import GENERAL, LICENCE, MUSIC, Published
from encoders_torch.clap.text import require_caption
from fb_jax.banks import files
from fb_jax.errors import FreeBindError


class LaionClap:
    """A model of LAION-CLAP in ``laion_clap.CLAP_Module``: meets ``FrozenEncoder``."""

    published: ClassVar[Published]
    dim = 512
    modalities = ("audio", "text")
    licence = LICENCE

    def __init__(self, weights: Path | None = None, device: str = "cpu") -> None:
        """Load a model.

        Raises:
            FreeBindError: The package or the weights are missing, or damaged.
        """
        path = self.published.find(weights)
        read_checkpoint(path)  # laion_clap would run code that is in it
        self.name = f"{describe(self.published, 'seeded')}, laion_clap"
        self.model = _made(self.published, device)
        self.model.load_ckpt(str(path), verbose=False)
        self.weights_sha256 = files.sha256_of(path)

    def read(self, modality: str, item: str | Path) -> str | Path:
        """Return the item, if laion_clap can use it: it cannot tell what is wrong with one.

        Raises:
            FreeBindError: The recording is unreadable, empty, NaN; the caption is empty.
        """
        if modality == "text":
            return require_caption(str(item))
        read_waveform(Path(item))
        return item

    def encode(self, modality: str, batch: Sequence[Any]) -> Float32[np.ndarray, "b d"]:
        """Return unit rows."""
        with torch.inference_mode():  # it would keep everything for gradients
            if modality == "text":
                return self.model.get_text_embedding(list(batch))
            return np.concatenate([self._recording(path) for path in batch])

    def _recording(self, path: Path) -> Float32[np.ndarray, "1 d"]:
        with _numpy_seed(seed_of(path)):
            return self.model.get_audio_embedding_from_filelist([str(path)])


def _made(published: Published, device: str) -> Any:
    try:
        import laion_clap  # needs tokenizers of the hub already here

        return laion_clap.CLAP_Module(published.fused, device, amodel=published.audio_tower)
    except Exception as error:  # its libraries raise of many kinds
        raise FreeBindError(
            "laion_clap cannot be used",
            expected="an environment of its own, with laion-clap 1.1.7 and NumPy 1; roberta-base, "
            "bert-base-uncased and facebook/bart-base in Hugging Face's cache, or the network",
            got=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
            fix="make parity-encoders builds one (parity/README.md); or leave out --backend",
        ) from error


@contextmanager
def _numpy_seed(seed: int) -> Iterator[None]:
    before = np.random.get_state()  # noqa: NPY002 - what laion_clap draws from
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


class LaionClapGeneral(LaionClap):
    """``clap_general``: ``630k-fusion-best.pt``."""

    published = GENERAL


class LaionClapMusic(LaionClap):
    """``clap_music``: ``music_speech_audioset_epoch_15_esc_89.98.pt``."""

    published = MUSIC
