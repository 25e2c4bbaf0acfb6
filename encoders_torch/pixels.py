"""Pictures on their way to a device: 8-bit pixels up to there, where they are normalised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from PIL import Image
from torch import Tensor

CLOSE = 1e-6
"""Largest difference that rounding makes to a number of a normalised picture."""


@dataclass(frozen=True)
class Normalisation:
    """The last steps of preparing a picture.

    Attributes:
        mean: For red, green and blue, of values from 0 to 1.
        deviation: For red, green and blue; the result is divided by it.
        steps: A pixel's value that stands for 1.
    """

    mean: Sequence[float]
    deviation: Sequence[float]
    steps: float = 255.0

    def __call__(
        self, pixels: Shaped[Tensor, "b 3 h w"], dtype: torch.dtype
    ) -> Float[Tensor, "b 3 h w"]:
        """Return 8-bit pixels normalised, computed in float32 and returned in a dtype."""
        mean, deviation = (
            torch.tensor(numbers, dtype=torch.float32, device=pixels.device)[:, None, None]
            for numbers in (self.mean, self.deviation)
        )
        return ((pixels.float() / self.steps - mean) / deviation).to(dtype)


class Pictures:
    """Prepares pictures as an image processor of transformers does.

    Where rescaling and normalising are its last steps, they are left to the device.

    Args:
        processor: It runs with Pillow.
    """

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self._last = _last_steps(processor)

    def read(self, image: Image.Image) -> Shaped[np.ndarray, "3 h w"]:
        """Return the pixels of an RGB picture: 8 bits, or float32 as the model takes them."""
        return _pixels(self._processor, image, whole=self._last is None)

    def finish(
        self, pixels: Shaped[Tensor, "b 3 h w"], dtype: torch.dtype
    ) -> Float[Tensor, "b 3 h w"]:
        """Return what the model takes, from a batch that is on the device."""
        return pixels if self._last is None else self._last(pixels, dtype)


def _pixels(processor: Any, image: Image.Image, whole: bool) -> Shaped[np.ndarray, "3 h w"]:
    off = {} if whole else {"do_rescale": False, "do_normalize": False}
    return processor(images=image, return_tensors="np", **off)["pixel_values"][0]


def _last_steps(processor: Any) -> Normalisation | None:
    """Return a processor's rescaling and normalising, if nothing comes after them."""
    if not (getattr(processor, "do_rescale", False) and getattr(processor, "do_normalize", False)):
        return None
    mean, deviation = (
        np.broadcast_to(numbers, 3).tolist()
        for numbers in (processor.image_mean, processor.image_std)
    )
    found = Normalisation(mean, deviation, 1 / processor.rescale_factor)
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    raw, wanted = (_pixels(processor, Image.fromarray(noise), whole) for whole in (False, True))
    if raw.dtype != np.uint8 or raw.shape != wanted.shape:
        return None
    parted = found(torch.from_numpy(raw)[None], torch.float32)[0].numpy()
    return found if np.abs(parted - wanted).max() <= CLOSE else None
