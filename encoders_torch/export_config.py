"""Options of ``python -m encoders_torch.export``, and what they ask for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_args

import torch
from tyro.conf import OmitArgPrefixes, arg

from encoders_torch.command import (
    PathOption,
    TextOption,
    device_of,
    place_among_processes,
)
from encoders_torch.encoder import FrozenEncoder
from encoders_torch.export_dataset import open_dataset
from encoders_torch.exporting.on_ray import connected
from encoders_torch.exporting.target import ExportSettings
from encoders_torch.exporting.workplace import Here, Workplace
from encoders_torch.loading import known_encoders, load_encoder
from encoders_torch.sources import Source, SourceOptions, open_source
from encoders_torch.torch_encoder import Precision
from fb_jax.arguments import named, of_spaces
from fb_jax.banks import POOL, Split, require_name, split_in
from fb_jax.errors import FreeBindError, notice_once, require_range, unknown

ALL = "all"
NOT_IN_ALL = ("imagebind_tuned", "internvl")
"""Encoders that ``all`` leaves out: nothing to download; 28 GB, and code that must be trusted."""


def _load(name: str, weights: str | None, device: str, *args: Any, **options: Any) -> FrozenEncoder:
    """Load an encoder on a device as the command names it; on a cluster, an actor does it."""
    if (found := device_of(device)).startswith("cuda"):
        torch.cuda.set_device(found)  # otherwise the thread that pins memory takes the first GPU
    return load_encoder(name, weights, found, *args, **options)


def _texts(metavar: str) -> object:
    return arg(metavar=f"{metavar} ...", help_behavior_hint="")


@dataclass(frozen=True)
class ExportConfig:
    """Encode media files and captions once, into banks.

    Items that fail are listed in failures.jsonl beside the bank, with the reason.

    The same command continues an export that was stopped.

    Attributes:
        space: Spaces to export, such as imagebind or clap_general. all: every space known by name.
        out: Bank root. It is created if it does not exist.
        split: pool for training, any other name for evaluation. pool if not given; of a data set,
            its name.
        dataset: Data set of the paper, such as esc50: docs/datasets.md. Its split is made by
            freebind data if it is not there.
        root: Folder with the official list and the media of the data set.
        encoder: MODULE:CLASS, FAMILY:MEMBER or the name of an encoder. The space's name if not
            given. With several spaces: SPACE=ENCODER.
        backend: Compute with the authors' package: laion_clap for clap_general and clap_music,
            upstream for imagebind. With several spaces: SPACE=BACKEND.
        weights: File or folder of the weights. With several spaces: SPACE=PATH.
        licence: Licence of the weights, if the encoder does not know it.
        audio: Recordings or videos: a folder, a list of paths, tars, or a data set.
        image: Pictures or videos, the same.
        text: Captions: a list (.txt, .csv, .tsv, .jsonl, .parquet), tars, or a data set.
        source: Items of another modality, the same.
        device: Where to encode: auto, cpu, cuda, cuda:1, mps.
        precision: Of the arithmetic: float32, tf32 or bfloat16. The encoder's own if not given.
        trust_remote_code: Run the code in a model's folder, as internvl needs. Read it first.
        revision: Commit of a model on the hub, 40 hex digits.
        strict: Stop at the first item that fails.
        append: Add the new items of the sources to those that are here, and encode only them.
        retry_failed: Try the items again that failed before; the other rows stay as they are.
        ray: Encode on a Ray cluster: its address, auto, or local for one on this machine. Needs
            pip install 'freebind-jax[ray]', and a disk that all machines share.
        ray_actors: Number of processes that encode on it. As many as it has GPUs if not given.
    """

    space: Annotated[tuple[str, ...], arg(metavar="SPACE ...")]
    out: Path
    split: TextOption = None
    dataset: TextOption = None
    root: PathOption = None
    encoder: Annotated[tuple[str, ...], _texts("ENCODER")] = ()
    backend: Annotated[tuple[str, ...], _texts("BACKEND")] = ()
    weights: Annotated[tuple[str, ...], _texts("PATH")] = ()
    licence: TextOption = None
    audio: PathOption = None
    image: PathOption = None
    text: PathOption = None
    source: Annotated[tuple[str, ...], _texts("MODALITY=PATH")] = ()
    device: Annotated[str, arg(metavar="DEVICE")] = "auto"
    precision: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    trust_remote_code: Annotated[bool, arg(help_behavior_hint="(default: off)")] = False
    revision: TextOption = None
    strict: Annotated[bool, arg(help_behavior_hint="(default: off)")] = False
    append: Annotated[bool, arg(help_behavior_hint="(default: off)")] = False
    retry_failed: Annotated[bool, arg(help_behavior_hint="(default: off)")] = False
    ray: Annotated[str | None, arg(metavar="ADDRESS", help_behavior_hint="")] = None
    ray_actors: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None
    settings: Annotated[OmitArgPrefixes[ExportSettings], arg(name="batch and shard")] = field(
        default_factory=ExportSettings
    )
    reading: Annotated[OmitArgPrefixes[SourceOptions], arg(name="reading")] = field(
        default_factory=SourceOptions
    )

    def __post_init__(self) -> None:
        if self.precision not in (None, *(known := get_args(Precision))):
            raise unknown("precision", str(self.precision), known)
        if self.ray is None and self.ray_actors is not None:
            raise FreeBindError(
                "--ray-actors needs a Ray cluster", fix="add --ray ADDRESS, or leave it out"
            )
        if (self.dataset is None) != (self.root is None):
            raise FreeBindError(
                "--dataset and --root belong together",
                expected="--dataset NAME --root FOLDER",
                got=f"--dataset {self.dataset}" if self.dataset else f"--root {self.root}",
            )

    @property
    def target(self) -> Split:
        """The split that is written to."""
        usual = self.dataset or POOL
        return split_in(self.out, usual if self.split is None else self.split)

    def spaces(self) -> list[str]:
        """Return the spaces to export.

        Raises:
            FreeBindError: There is none, one cannot name a folder, or one is there twice.
        """
        every = [name for name in known_encoders() if name not in NOT_IN_ALL]
        names = every if self.space == (ALL,) else list(self.space)
        if not names:
            raise FreeBindError("--space names no space", expected="--space SPACE ...")
        for name in names:
            require_name("space", name)
        if twice := [name for name in names if names.count(name) > 1]:
            raise FreeBindError("--space names a space twice", got=twice[0], fix="name it once")
        return names

    def sources(self) -> dict[str, Source]:
        """Return the items of every modality that has an option.

        Raises:
            FreeBindError: There is none, or one cannot be read.
        """
        paths = {"audio": self.audio, "image": self.image, "text": self.text}
        paths |= {name: Path(path) for name, path in named("--source", self.source).items()}
        for modality in paths:
            require_name("modality", modality)
        given = {modality: path for modality, path in paths.items() if path is not None}
        if bool(given) == (self.dataset is not None):
            raise FreeBindError(
                "a data set is encoded alone" if given else "there is nothing to encode",
                expected="--dataset, or some of --audio, --image, --text, --source",
            )
        sources = {m: open_source(m, path, self.reading) for m, path in given.items()}
        if self.dataset is not None and self.root is not None:
            sources = open_dataset(self.dataset, self.root, self.target, self.reading)
        if unused := self.reading.unused(sources):
            notice_once(f"not used by {' and '.join(sources)}: {', '.join(unused)}")
        return sources

    def loaders(self) -> dict[str, Callable[[], FrozenEncoder]]:
        """Return for every space a function that loads its encoder.

        Raises:
            FreeBindError: An option names another space, or there is no such device.
        """
        spaces = self.spaces()
        names = {s: s for s in spaces} | of_spaces("--encoder", self.encoder, spaces)
        backends = of_spaces("--backend", self.backend, spaces)
        weights = of_spaces("--weights", self.weights, spaces)
        chosen = {
            "precision": self.precision,
            "revision": self.revision,
            "trust_remote_code": self.trust_remote_code,
        }
        options = {name: value for name, value in chosen.items() if value}
        device = self.device if self.ray else device_of(self.device)
        return {
            s: partial(_load, names[s], weights.get(s), device, backends.get(s), **options)
            for s in spaces
        }

    def workplace(self) -> AbstractContextManager[Workplace]:
        """Return where encoders are loaded and items encoded: in this process, or on a cluster.

        Raises:
            FreeBindError: The cluster cannot be used.
        """
        if self.ray is None:
            return nullcontext(Here())
        require_range(
            "export", 1, 10_000, ray_actors=1 if self.ray_actors is None else self.ray_actors
        )
        if self.retry_failed:
            raise FreeBindError("--retry-failed runs on one machine", fix="leave --ray out")
        return connected(self.ray, self.device, self.ray_actors, self.settings.workers)

    def placed(self) -> ExportSettings:
        """Return the settings; torchrun and srun say which shards are this process's."""
        if self.ray or self.settings.num_shards > 1 or (place := place_among_processes()) is None:
            return self.settings
        notice_once(f"process {place[0]} of {place[1]}: takes every shard with that remainder")
        return replace(self.settings, shard_id=place[0], num_shards=place[1])
