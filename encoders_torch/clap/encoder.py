"""LAION-CLAP as a frozen encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence
from transformers import RobertaTokenizer

from encoders_torch.clap.audio import CLIP, Crop, clips, fill, read_waveform, seed_of
from encoders_torch.clap.mel import FRAMES, four_views, log_mel
from encoders_torch.clap.model import load_model
from encoders_torch.clap.published import GENERAL, LICENCE, MUSIC, Published
from encoders_torch.clap.text import load_tokenizer, tokenize
from encoders_torch.media import Media, as_media
from encoders_torch.torch_encoder import Precision, TorchEncoder
from fb_jax import files

AT_ONCE = 32
"""Clips or captions that go through the model together; limits memory."""


@dataclass(frozen=True)
class Spectrograms:
    """The model's input for one recording.

    Attributes:
        views: Spectrograms of clips; the clips' mean embedding is the recording's. A clip has one
            view, or four if the audio is long and the model fused.
        fused: Whether there are four views.
    """

    views: Float32[np.ndarray, "clips views frames bands"]
    fused: bool


class Clap(TorchEncoder):
    """A model of LAION-CLAP in transformers' ``ClapModel``, as a ``FrozenEncoder``.

    Args:
        weights: The ``.pt`` file. None downloads it.
        device: Of torch.

    Attributes:
        published: The checkpoint.
        crop: How audio longer than 10 s is cut.

    Raises:
        FreeBindError: The weights are missing, damaged or of another model.
    """

    published: ClassVar[Published]
    crop: ClassVar[Crop] = "seeded"

    def __init__(
        self,
        weights: Path | str | None = None,
        device: str = "cpu",
        precision: Precision = "float32",
    ) -> None:
        self.weights = self.published.find(weights)
        model = load_model(self.weights, self.published)
        super().__init__(
            model,
            device=device,
            precision=precision,
            name=f"{describe(self.published, self.crop)}, transformers",
            dim=model.config.projection_dim,
            modalities=("audio", "text"),
            weights_sha256=files.remembered_sha256(self.weights),
            licence=LICENCE,
        )

    @cached_property
    def tokenizer(self) -> RobertaTokenizer:
        """RoBERTa's tokenizer, loaded for the first caption; recordings do not need it."""
        return load_tokenizer(self.weights, self.model.config.text_config.vocab_size)

    def prepare(self, modality: str) -> None:
        """Load the tokenizer if captions will be read.

        Raises:
            FreeBindError: The tokenizer is missing, or of another model.
        """
        if modality == "text":
            self.read("text", "a")

    def read(self, modality: str, item: str | Path | Media) -> Spectrograms | list[int]:
        """Return the spectrograms of a recording, or the tokens of a caption.

        Raises:
            FreeBindError: The recording is unreadable, empty, or NaN; or the caption is empty.
        """
        if modality == "text":
            return tokenize(self.tokenizer, str(item))
        return self._spectrograms(as_media(item))

    def collate(self, modality: str, reads: Sequence[Any]) -> list[Any] | dict[str, Tensor]:
        """Return recordings as they are, and captions padded to the longest of them."""
        if modality != "text":
            return list(reads)
        ids = [torch.tensor(tokens) for tokens in reads]
        masks = [torch.ones_like(tokens) for tokens in ids]
        padding = self.model.config.text_config.pad_token_id
        return {
            "input_ids": pad_sequence(ids, True, padding),
            "attention_mask": pad_sequence(masks, True),
        }

    def forward(self, modality: str, batch: Any) -> Float[Tensor, "b d"]:
        """Return unit rows."""
        encode = self._captions if modality == "text" else self._recordings
        count = len(batch["input_ids"] if modality == "text" else batch)
        return torch.cat([encode(batch, slice(i, i + AT_ONCE)) for i in range(0, count, AT_ONCE)])

    def _captions(self, batch: dict[str, Tensor], some: slice) -> Float[Tensor, "b d"]:
        tokens = {name: rows[some] for name, rows in batch.items()}
        return self.model.get_text_features(**tokens).pooler_output

    def _spectrograms(self, path: Media) -> Spectrograms:
        samples = read_waveform(path)
        fused = self.published.fused
        if len(samples) > CLIP and fused and self.crop != "windows":
            mel = log_mel(samples, fused)
            if len(mel) > FRAMES:
                return Spectrograms(four_views(mel, self.crop, seed_of(path))[None].numpy(), True)
            return Spectrograms(mel[None, None].numpy(), False)  # less than a frame longer
        long = len(samples) > CLIP
        cut = clips(samples, self.crop, seed_of(path)) if long else [fill(samples)]
        return Spectrograms(np.stack([log_mel(clip, fused)[None].numpy() for clip in cut]), False)

    def _recordings(self, items: Sequence[Spectrograms], some: slice) -> Float[Tensor, "b d"]:
        batch = items[some]
        views = [view for item in batch for view in item.views]
        longer = [item.fused for item in batch for _ in item.views]
        blocks = [slice(i, i + AT_ONCE) for i in range(0, len(views), AT_ONCE)]
        rows = torch.cat([self._clips(views[block], longer[block]) for block in blocks])
        means = [block.mean(0) for block in rows.split([len(item.views) for item in batch])]
        return normalize(torch.stack(means), dim=1)

    def _clips(
        self, views: Sequence[Float32[np.ndarray, "_ frames bands"]], longer: Sequence[bool]
    ) -> Float[Tensor, "some d"]:
        channels = 4 if self.published.fused else 1
        wide = [np.broadcast_to(view, (channels, *view.shape[1:])) for view in views]
        return self.model.get_audio_features(
            input_features=torch.from_numpy(np.stack(wide)).to(self.device, self.dtype),
            is_longer=torch.tensor(longer, device=self.device)[:, None],
        ).pooler_output


def describe(published: Published, crop: Crop) -> str:
    """Return the description of a model for manifests, without the library that runs it."""
    crops = {"seeded": "seeded part", "centre": "part in the middle", "windows": "mean of parts"}
    fusion = "with fusion" if published.fused else "without fusion"
    return f"LAION-CLAP {published.audio_tower} {fusion}, of long audio the {crops[crop]}"


class ClapGeneral(Clap):
    """``clap_general``: ``630k-fusion-best.pt``."""

    published = GENERAL


class ClapMusic(Clap):
    """``clap_music``: ``music_speech_audioset_epoch_15_esc_89.98.pt``."""

    published = MUSIC


class ClapGeneralCentre(ClapGeneral):
    """``clap_general`` with the middle of each third of long audio."""

    crop = "centre"


class ClapGeneralWindows(ClapGeneral):
    """``clap_general`` with the mean of all windows of long audio."""

    crop = "windows"


class ClapMusicCentre(ClapMusic):
    """``clap_music`` with the middle of long audio."""

    crop = "centre"


class ClapMusicWindows(ClapMusic):
    """``clap_music`` with the mean of all windows of long audio."""

    crop = "windows"
