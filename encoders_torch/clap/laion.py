"""CLAP by LAION's own package ``laion_clap``, in an environment with NumPy 1.

It is the reference for ``encoders_torch.clap``, and for users who want LAION's code to compute the
rows. Recordings are encoded one at a time, each with its own seed, because ``laion_clap`` crops
with NumPy's global random state.
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
from encoders_torch.clap.encoder import describe
from encoders_torch.clap.model import read_checkpoint
from encoders_torch.clap.published import GENERAL, LICENCE, MUSIC, Published
from encoders_torch.clap.text import require_caption
from encoders_torch.encoder import FrozenEncoder
from encoders_torch.explain import explained
from encoders_torch.media import Media, as_media
from fb_jax import files


class LaionClap(FrozenEncoder):
    """A model of LAION-CLAP in ``laion_clap.CLAP_Module``, as a ``FrozenEncoder``.

    Args:
        weights: The ``.pt`` file. None downloads it.
        device: Of torch.

    Raises:
        FreeBindError: The package or the weights are missing or damaged.
    """

    published: ClassVar[Published]

    def __init__(self, weights: Path | str | None = None, device: str = "cpu") -> None:
        path = self.published.find(weights)
        read_checkpoint(path)  # laion_clap would run code that is in it
        self.model = _new_module(self.published, device)
        self.model.load_ckpt(str(path), verbose=False)
        super().__init__(
            name=f"{describe(self.published, 'seeded')}, laion_clap",
            dim=512,
            modalities=("audio", "text"),
            weights_sha256=files.remembered_sha256(path),
            licence=LICENCE,
        )

    def read(self, modality: str, item: str | Path | Media) -> str | Path:
        """Return the item, if laion_clap can use it: its own errors do not say what is wrong.

        Raises:
            FreeBindError: The recording is unreadable, empty, or NaN; or the caption is empty.
        """
        if modality == "text":
            return require_caption(str(item))
        read_waveform(as_media(item))
        return Path(item)

    def collate(self, modality: str, reads: Sequence[Any]) -> list[Any]:
        """Return the items as they are."""
        return list(reads)

    def encode(self, modality: str, batch: Sequence[Any]) -> Float32[np.ndarray, "b d"]:
        """Return unit rows."""
        with torch.inference_mode():  # otherwise everything is kept for gradients
            if modality == "text":
                return self.model.get_text_embedding(list(batch))
            return np.concatenate([self._recording(path) for path in batch])

    def _recording(self, path: Path) -> Float32[np.ndarray, "1 d"]:
        with _numpy_seed(seed_of(as_media(path))):
            return self.model.get_audio_embedding_from_filelist([str(path)])


def _new_module(published: Published, device: str) -> Any:
    with explained(
        "laion_clap cannot be used",
        expected="an environment of its own, with laion-clap 1.1.7 and NumPy 1; roberta-base, "
        "bert-base-uncased and facebook/bart-base in Hugging Face's cache, or the network",
        fix="make parity-encoders builds one (parity/README.md); or leave out --backend",
    ):
        import laion_clap  # the import itself loads tokenizers from the hub

        return laion_clap.CLAP_Module(published.fused, device, amodel=published.audio_tower)


@contextmanager
def _numpy_seed(seed: int) -> Iterator[None]:
    before = np.random.get_state()  # noqa: NPY002 - laion_clap draws from it
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
