"""Encoders that are torch modules: device, precision, and batches on their way to the device."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from encoders_torch.encoder import FrozenEncoder
from fb_jax.errors import unknown

Precision = Literal["float32", "tf32", "bfloat16"]
"""tf32: products of 10 bits where a GPU has them. bfloat16: also weights and inputs."""


class TorchEncoder(FrozenEncoder):
    """An encoder that is a torch module.

    Args:
        model: It is put on the device, in the precision, and into evaluation mode.
        device: Torch's name of one, such as ``cpu`` or ``cuda:1``.
        precision: Of the arithmetic. Any but ``float32`` is added to the name.
        about: See ``FrozenEncoder``.
    """

    def __init__(
        self, model: nn.Module, *, device: str, precision: Precision = "float32", **about: Any
    ) -> None:
        how = "" if precision == "float32" else f", in {precision}"
        super().__init__(**{**about, "name": about["name"] + how})
        self.device, self.precision = device, precision
        self.dtype = dtype_of(precision)
        self.model: Any = self.placed(model)

    def placed(self, model: nn.Module) -> nn.Module:
        """Return a module on the device, in the precision, and in evaluation mode."""
        return model.eval().requires_grad_(False).to(self.device, self.dtype)

    @abstractmethod
    def forward(self, modality: str, batch: Any) -> Float[Tensor, "b d"]:
        """Return the rows of a batch that is on the device."""

    def encode(self, modality: str, batch: Any) -> Float32[np.ndarray, "b d"]:
        """Return the rows of a batch from ``collate``.

        Raises:
            FreeBindError: The encoder has no such modality.
        """
        if modality not in self.modalities:
            raise unknown("modality", modality, self.modalities)
        with torch.inference_mode(), arithmetic(self.precision):
            rows = self.forward(modality, moved(batch, self.device, self.dtype))
            return rows.float().cpu().numpy()


def dtype_of(precision: Precision) -> torch.dtype:
    """Return the dtype of the weights and inputs at a precision."""
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


@contextmanager
def arithmetic(precision: Precision) -> Iterator[None]:
    """Allow a GPU products of 10 bits only for ``tf32``, and only algorithms that repeat."""
    allow = precision == "tf32"
    products = torch.backends.cuda.matmul
    before, products.allow_tf32 = products.allow_tf32, allow
    try:
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=allow):
            yield
    finally:
        products.allow_tf32 = before


def moved(batch: Any, device: str, dtype: torch.dtype) -> Any:
    """Return a batch on a device; floating-point numbers in another dtype, others as they are."""
    if isinstance(batch, dict):
        return {name: moved(value, device, dtype) for name, value in batch.items()}
    if isinstance(batch, np.ndarray):
        return moved(torch.from_numpy(batch), device, dtype)
    if isinstance(batch, Tensor):
        kind = dtype if batch.is_floating_point() else batch.dtype
        return batch.to(device, non_blocking=True).to(kind)
    if isinstance(batch, Sequence) and not isinstance(batch, str):
        if set(map(type, batch)) <= {int, float}:  # tokens: one by one would take long
            return batch
        return [moved(part, device, dtype) for part in batch]
    return batch
