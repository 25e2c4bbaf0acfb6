"""A fused space as a module of sentence-transformers: torch alone, without JAX.

``fb_jax.interop.sentence_transformers`` copies this file, ``fused_stages.py``,
``fused_routers.py`` and ``fused_roles.py`` into the folder of a space, where they run without
freebind-jax. They read the space's own files, as ``FusedSpace.load`` does, and compute what
``FusedSpace.fuse`` computes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modality import infer_batch_modality
from sentence_transformers.base.modules import InputModule
from torch import Tensor, nn

from .fused_roles import ROLES, Roles, references_file
from .fused_stages import Stage

FILES = ("space.json", "weights.safetensors")


class Fused(InputModule):
    """Fuses embeddings of native spaces, or items that encoders of those spaces encode.

    An item is ``{"text": {"SPACE": row, ...}}``, with a row of every native space that has the
    modality, or anything that the encoders take. All items of a call have one modality.

    ``encode`` returns plain rows. With hub correction, ``encode_query`` returns rows that ask and
    ``encode_document`` rows to be found, which have a few dimensions more; their cosines are what
    ranks. Without one, and at other factors than the space's own, all three are the same.

    Attributes:
        forward_kwargs: ``encode(items, factors=...)`` takes a preset's name, or modality to weight.
    """

    forward_kwargs = {"factors", "task"}  # noqa: RUF012  (as sentence-transformers has it)

    def __init__(self, files: Mapping[str, Path], encoders: Mapping[str, Any] | None) -> None:
        super().__init__()
        self.files = dict(files)
        about, content = (files[name].read_bytes() for name in FILES)
        self.space: dict[str, Any] = json.loads(about)
        if hashlib.sha256(content).hexdigest() != self.space["weights"]["sha256"]:
            raise ValueError(f"the weights were altered: {files['weights.safetensors']}")
        stages = enumerate(self.space["stages"])
        tensors = load_tensors(content)
        self.stages = nn.ModuleList(Stage(about, tensors, number) for number, about in stages)
        hubs = self.space.get("hubs")
        self.roles = Roles(hubs, files[references_file(hubs)].read_bytes()) if hubs else None
        recorded = {name: about.get("encoder") for name, about in self.space["spaces"].items()}
        self.encoders: dict[str, Any] = {**recorded, **(encoders or {})}

    @property
    def modalities(self) -> list[str]:
        """Modalities of the space."""
        bonds = self.space["stages"][-1]["bonds"]
        return list(dict.fromkeys(m for bond in bonds for m in bond["modalities"]))

    def get_embedding_dimension(self) -> int:
        """Return the dimension of the rows of ``encode``."""
        return int(self.space["dim"])

    def _sources(self, modality: str) -> list[str]:
        """Return the native spaces that a modality is fused from."""
        spaces = self.space["spaces"].items()
        return [name for name, about in spaces if modality in about["modalities"]]

    def preprocess(
        self, inputs: Sequence[Any], prompt: str | None = None, **options: Any
    ) -> dict[str, Any]:
        """Return the modality of some items, and their rows in every native space or the items."""
        if prompt:
            raise ValueError("a fused space takes no prompt: put it before the captions")
        modality, items = self._parted(inputs)
        if not isinstance(items[0], Mapping) or set(items[0]) & {"array", "sampling_rate"}:
            return {"modality": modality, "items": items}
        sources = self._sources(modality)
        for item in items:
            if not isinstance(item, Mapping) or set(item) != set(sources):
                raise ValueError(f"an item of {modality} needs a row of {', '.join(sources)}")
        rows = {name: self._rows(name, [item[name] for item in items]) for name in sources}
        return {"modality": modality, **{f"rows of {name}": rows[name] for name in sources}}

    def _parted(self, inputs: Sequence[Any]) -> tuple[str, list[Any]]:
        """Return the modality of all inputs, and the inputs without its name."""
        if all(isinstance(item, Mapping) and len(item) == 1 for item in inputs):
            found = {name for item in inputs for name in item}
            items = [next(iter(item.values())) for item in inputs]
        else:
            found = {infer_batch_modality(inputs, supported_modalities=self.modalities)}
            items = list(inputs)
        if len(found) > 1 or not found <= set(self.modalities):
            raise ValueError(
                f"items must be of one modality, one of {', '.join(self.modalities)};"
                f" got {', '.join(map(str, found))}"
            )
        return str(found.pop()), items

    def _rows(self, space: str, rows: Sequence[Any]) -> Tensor:
        """Return unit rows of rows of any norm; raise a ValueError for one without a direction."""
        dim = self.space["spaces"][space]["dim"]
        many = torch.stack([torch.as_tensor(row).detach().cpu() for row in rows]).double()
        if many.shape[1:] != (dim,):
            raise ValueError(f"a row of {space} has {dim} numbers; got {list(many.shape[1:])}")
        largest = many.abs().amax(dim=1, keepdim=True)
        if not bool(((largest > 0) & largest.isfinite()).all()):
            raise ValueError(f"a row of {space} is zero, NaN or infinite")
        return nn.functional.normalize(many / largest, dim=1).float()

    def forward(
        self,
        features: dict[str, Any],
        factors: str | Mapping[str, float] | None = None,
        task: str | None = None,
    ) -> dict[str, Any]:
        """Fuse what ``preprocess`` returned, at the space's own factors or at others."""
        modality, numbers = features["modality"], next(self.parameters())
        native = {
            name: self._native(features, name).to(numbers.device, numbers.dtype)
            for name in self._sources(modality)
        }
        stages: list[dict[str, Any]] = self.space["stages"]
        factors_of = [*(about["factors"] for about in stages[:-1]), self._factors(factors)]
        start = max((n for n, about in enumerate(stages) if modality in about["given"]), default=0)
        rows = native.get(stages[0]["bonds"][0]["unified"], numbers)
        for stage, weights in list(zip(self.stages, factors_of, strict=True))[start:]:
            rows = stage(modality, rows, native, weights.get(modality, 0.0))
        own = factors_of[-1] == stages[-1]["factors"]
        if self.roles is not None and own and task in ROLES:
            rows = self.roles(ROLES[task], modality, rows)
        return {**features, "sentence_embedding": rows}

    def _factors(self, factors: str | Mapping[str, float] | None) -> dict[str, float]:
        """Return the factors of the last stage, with those that are asked for."""
        presets, own = self.space["presets"], self.space["stages"][-1]["factors"]
        if isinstance(factors, str) and factors not in presets:
            raise ValueError(f"no preset {factors!r}, only {', '.join(presets)}")
        asked: Mapping[str, float] = presets[factors] if isinstance(factors, str) else factors or {}
        for modality, factor in asked.items():
            if modality not in own or not 0 <= factor <= 1:
                raise ValueError(f"factors are 0 to 1, for {', '.join(own)}; got {dict(asked)}")
        return {**own, **asked}

    def _native(self, features: dict[str, Any], space: str) -> Tensor:
        if "items" not in features:
            rows: Tensor = features[f"rows of {space}"]
            return rows
        modality, items, encoder = features["modality"], features["items"], self._encoder(space)
        if hasattr(encoder, "read"):  # an encoder of encoders_torch
            rows = encoder.rows(modality, [encoder.read(modality, item) for item in items])
        else:
            rows = encoder.encode(items, show_progress_bar=False)
        if len(rows) != len(items):
            raise ValueError(f"the encoder of {space} gave {len(rows)} rows for {len(items)} items")
        return self._rows(space, list(rows))

    def _encoder(self, space: str) -> Any:
        """Return the encoder of a native space, loaded at its first use."""
        known, device = self.encoders[space], str(next(self.parameters()).device)
        if known is None:
            raise ValueError(
                f"no encoder of {space} is known: pass its rows,"
                f' {{"MODALITY": {{"{space}": row, ...}}}}'
            )
        if isinstance(known, str) and known.startswith("st:"):
            known = SentenceTransformer(known.removeprefix("st:"), device=device)
        elif isinstance(known, str):
            known = _own_encoder(known, device)
        self.encoders[space] = known
        return known

    def save(self, output_path: str, *args: Any, **options: Any) -> None:
        """Copy the space's files."""
        for name, path in self.files.items():
            shutil.copyfile(path, Path(output_path, name))

    @classmethod
    def load(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        encoders: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Fused:
        """Load a folder, or a model on the hub.

        Args:
            model_name_or_path: The folder or the model; the other arguments are as usual there.
            subfolder: As usual.
            token: As usual.
            cache_folder: As usual.
            revision: As usual.
            local_files_only: As usual.
            encoders: Native space to a loaded encoder, or to the name of one; others are those that
                space.json names.
            **options: Not used.
        """
        find = partial(
            cls.load_file_path,
            model_name_or_path,
            subfolder=subfolder,
            token=token,
            cache_folder=cache_folder,
            revision=revision,
            local_files_only=local_files_only,
        )
        paths = {name: find(filename=name) for name in FILES}
        about = json.loads(Path(paths[FILES[0]]).read_bytes()) if paths[FILES[0]] else {}
        if hubs := about.get("hubs"):
            paths[references_file(hubs)] = find(filename=references_file(hubs))
        for name, path in paths.items():
            if path is None:
                raise ValueError(f"no fused space: {model_name_or_path} has no {name}")
        return cls({name: Path(path) for name, path in paths.items()}, encoders)


def _own_encoder(name: str, device: str) -> Any:
    try:
        from encoders_torch.loading import FAMILIES, known_encoders, load_encoder
    except ImportError as error:
        raise ValueError(
            f"the encoder {name} is one of freebind-jax: pip install 'freebind-jax[encoders]'"
        ) from error
    if name not in known_encoders() and name.partition(":")[0] not in FAMILIES:
        raise ValueError(f"a folder may not name code to run, {name}: load the encoder and pass it")
    return load_encoder(name, None, device)
