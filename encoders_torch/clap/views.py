"""Prepares recordings for CLAP models of transformers, each always in the same way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from encoders_torch.clap.mel import four_views
from fb_jax.errors import FreeBindError

FUSION = "fusion"


class Views:
    """A ``ClapFeatureExtractor`` without its random choices.

    Of a recording longer than the model's window, it takes the middle; for a model with fusion all
    of the recording, shrunk, and the middle of each third.

    Args:
        extractor: ``ClapFeatureExtractor``.
        fused: Whether the model fuses such views.
        folder: Folder of both, for errors.

    Raises:
        FreeBindError: The extractor is for models of the other kind.
    """

    def __init__(self, extractor: Any, fused: bool, folder: Path) -> None:
        if (extractor.truncation == FUSION) != fused:
            raise FreeBindError(
                "a model and its feature extractor do not fit together",
                where=folder,
                expected=f"truncation {FUSION!r} in preprocessor_config.json exactly if "
                "enable_fusion in config.json is true",
                got=f"truncation {extractor.truncation!r}, enable_fusion {fused}",
            )
        self.rate: int = extractor.sampling_rate
        self._extractor, self._fused, self._window = extractor, fused, extractor.nb_max_samples

    def describe(self) -> str:
        """Return how long audio is read, for manifests."""
        whole = "whole and the middle of each third" if self._fused else "middle"
        return f"of long audio the {whole}"

    def read(self, wave: Float32[np.ndarray, " samples"]) -> dict[str, np.ndarray]:
        """Return the spectrograms of a recording, and whether they are to be fused."""
        over = max(len(wave) - self._window, 0)
        if over and self._fused:
            return self._fuse(self._mel(wave, len(wave)))
        middle = wave[over // 2 : over // 2 + self._window]
        # The extractor marks a random recording of a batch as long if none is.
        return _features(self._mel(middle, self._window), longer=False)

    def _mel(
        self, wave: Float32[np.ndarray, " samples"], window: int
    ) -> Float32[np.ndarray, "views frames bands"]:
        """Return the extractor's spectrograms of a recording that is no longer than a window."""
        how = {"sampling_rate": self.rate, "max_length": window, "return_tensors": "np"}
        return self._extractor(wave, **how)["input_features"][0].astype(np.float32)

    def _fuse(self, mel: Float32[np.ndarray, "views frames bands"]) -> dict[str, np.ndarray]:
        frames = self._window // self._extractor.hop_length + 1
        if mel.shape[1] == frames:  # less than a frame longer
            return _features(mel, longer=False)
        views = four_views(torch.from_numpy(mel[0]), "centre", 0, frames)
        return _features(views.numpy(), longer=True)


def _features(mel: np.ndarray, longer: bool) -> dict[str, np.ndarray]:
    return {"input_features": mel, "is_longer": np.array([longer])}
