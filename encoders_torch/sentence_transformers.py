"""Any model of sentence-transformers, by folder or name on the hub: ``st:NAME``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image

from encoders_torch.encoder import FrozenEncoder
from encoders_torch.explain import explained
from encoders_torch.hub import (
    folder_digest,
    folder_licence,
    model_folder,
    name_for_manifests,
    without_bars,
)
from encoders_torch.media import Media, as_media, read_audio, read_image
from encoders_torch.torch_encoder import Precision, arithmetic, dtype_of
from fb_jax.errors import FreeBindError, notice_once
from fb_jax.extras import import_extra

ORGANISATION = "sentence-transformers"
"""Publishes the models whose names have no ``/``, as in the library itself."""

MODALITIES = ("audio", "image", "text")
LETTERS = ("a", "a a a a a a a a")
"""Captions that need padding beside each other."""

CLOSE = 1e-4
"""Largest difference that the order of additions makes to a number of a unit row."""


class SentenceTransformers(FrozenEncoder):
    """A model of sentence-transformers, as a ``FrozenEncoder``.

    Rows equal ``SentenceTransformer.encode(..., normalize_embeddings=True)`` of each item: with
    the model's default prompt if it has one, in the precision of its weights. No code of the
    model's folder runs. Of recordings longer than CLAP's window the middle is taken, since the
    library takes a random part.

    Args:
        name: A folder, or a model on the hub.
        weights: The folder, if it is not ``name``.
        device: Of torch.
        precision: Of the arithmetic. None is the precision of the weights.

    Raises:
        FreeBindError: sentence-transformers is not installed; or there is no such model, it has
            code of its own, or weights are missing.
    """

    def __init__(
        self,
        name: str,
        weights: Path | str | None = None,
        device: str = "cpu",
        precision: Precision | None = None,
    ) -> None:
        local = "/" in name or Path(name).exists()
        hub_name = name if local else f"{ORGANISATION}/{name}"
        folder = model_folder(
            hub_name, weights, "see its model card", ORGANISATION, marker="modules.json"
        )
        self.precision = precision
        self._model, drawn = _load(folder, device, precision, seed=0)
        self._rate, self._window = _hearing(self._model)
        offered = set(self._model.modalities) - ({"audio"} if self._rate is None else set())
        self._plain = set(self._model.modalities) == {"text"}
        with explained("a model does not say how many dimensions it has", where=folder):
            dim = int(self._model.get_embedding_dimension())
        cut = ", of long audio the middle" if self._window else ""
        how = "" if precision is None else f", in {precision}"
        super().__init__(
            name=f"sentence-transformers: {name_for_manifests(name, folder)}{cut}{how}",
            dim=dim,
            modalities=[m for m in MODALITIES if m in offered],
            weights_sha256=folder_digest(folder),
            licence=folder_licence(folder),
        )
        if drawn:
            self._require_all_weights(folder, device)
        self._alone = {"audio": True, "text": "text" in offered and self._captions_differ()}

    def _require_all_weights(self, folder: Path, device: str) -> None:
        """Raise a FreeBindError if embeddings depend on numbers drawn for missing weights."""
        again, _ = _load(folder, device, self.precision, seed=1)
        for modality in self.modalities:
            item = [self._blank(modality)]
            if not np.array_equal(_embed(self._model, item, 1), _embed(again, item, 1)):
                raise FreeBindError(
                    "a checkpoint lacks weights of its model",
                    where=folder,
                    expected="every weight that the embeddings depend on",
                    got="embeddings that differ each time the model is loaded",
                )

    def _captions_differ(self) -> bool:
        """Return whether a caption's row depends on the captions beside it."""
        captions = [self.read("text", text) for text in LETTERS]
        together, alone = (_embed(self._model, captions, size) for size in (len(LETTERS), 1))
        if differ := bool(np.abs(together - alone).max() > CLOSE):
            notice_once(f"{self.name}: padding changes its rows, so captions go through one by one")
        return differ

    def _blank(self, modality: str) -> Any:
        """Return an item of a modality, as ``read`` does."""
        if modality == "text":
            return self.read(modality, LETTERS[0])
        if modality == "image":
            return Image.new("RGB", (64, 64), "grey")
        return {"array": np.zeros(self._rate, np.float32), "sampling_rate": self._rate}

    def read(self, modality: str, item: str | Path | Media) -> Any:
        """Return one item in the form that the library takes.

        A caption that looks like the address of a picture stays a caption.
        """
        if modality == "text":
            return str(item) if self._plain else {"text": str(item)}
        if modality == "image":
            return read_image(as_media(item))
        assert self._rate is not None
        wave = read_audio(as_media(item), self._rate)
        if self._window is not None:
            over = max(len(wave) - self._window, 0)
            wave = wave[over // 2 : over // 2 + self._window]
        return {"array": wave, "sampling_rate": self._rate}

    def collate(self, modality: str, reads: Sequence[Any]) -> list[Any]:
        """Return the items as they are."""
        return list(reads)

    def encode(self, modality: str, batch: Sequence[Any]) -> Float32[np.ndarray, "b d"]:
        """Return the model's rows, each as if its item were alone."""
        with arithmetic(self.precision or "float32"):
            return _embed(self._model, batch, 1 if self._alone.get(modality) else len(batch))


def _embed(model: Any, batch: Sequence[Any], size: int) -> Float32[np.ndarray, "b d"]:
    options = {"normalize_embeddings": True, "show_progress_bar": False}
    return model.encode(list(batch), batch_size=size, **options).astype(np.float32)


def _load(folder: Path, device: str, precision: Precision | None, seed: int) -> tuple[Any, bool]:
    """Load a model; also return whether it drew random numbers, as for weights that are missing."""
    library = import_extra("sentence_transformers", ORGANISATION)
    with (
        explained(
            "a model cannot be loaded",
            where=folder,
            expected="a complete sentence-transformers model, without code of its own",
        ),
        torch.random.fork_rng(devices=[]),
        without_bars(),
    ):
        torch.manual_seed(seed)
        before = torch.random.get_rng_state()
        model = library.SentenceTransformer(
            str(folder), device=device, local_files_only=True, trust_remote_code=False
        )
        drawn = not torch.equal(before, torch.random.get_rng_state())
    if precision is not None:
        model.to(dtype_of(precision))
        next(iter(model)).register_forward_pre_hook(partial(_as_weights, dtype_of(precision)))
    return model.eval().requires_grad_(False), drawn


def _as_weights(dtype: torch.dtype, _: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a module's inputs with numbers in the dtype of its weights."""
    features, *others = inputs
    return ({name: _in(value, dtype) for name, value in features.items()}, *others)


def _in(value: Any, dtype: torch.dtype) -> Any:
    floats = isinstance(value, torch.Tensor) and value.is_floating_point()
    return value.to(dtype) if floats else value


def _hearing(model: Any) -> tuple[int | None, int | None]:
    """Return samples a second that a model takes, and the most that it takes without chance."""
    for module in model.modules():
        processor = getattr(module, "processor", None)
        extractor = getattr(processor, "feature_extractor", processor)
        if rate := getattr(extractor, "sampling_rate", None):
            return rate, getattr(extractor, "nb_max_samples", None)
    return None, None
