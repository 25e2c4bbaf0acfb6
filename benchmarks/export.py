"""An export and a loop by hand: ``python benchmarks/export.py --encoder MODULE:CLASS --image DIR``.

Without an encoder and media it makes random media and a small network, so that the time for reading
shows. The loop is torch's ``DataLoader`` with as many workers, and one ``.npy`` at the end. Both
sides take turns; medians over the rounds are compared. ``benchmarks/random_weights.py`` makes
weights for our encoders, and ``parity/speed.py`` adds laion_clap as a third side.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import soundfile
import torch
import tyro
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Dataset

from encoders_torch.encoder import FrozenEncoder
from encoders_torch.exporting.pipeline import export_bank
from encoders_torch.exporting.report import Timings
from encoders_torch.exporting.target import ExportSettings
from encoders_torch.loading import load_encoder
from encoders_torch.media import Media, read_audio, read_image
from encoders_torch.sources import Source, open_source
from fb_jax.banks import Split, unit_rows


@dataclass(frozen=True)
class Sizes:
    encoder: str = "__main__:Small"
    """MODULE:CLASS, FAMILY:MEMBER or a name."""
    weights: Path | None = None
    audio: Path | None = None
    image: Path | None = None
    text: Path | None = None
    """Media to encode; without any of the three, random media are made."""
    items: int = 256
    """Number of random items of each modality."""
    seconds: float = 2
    """Length of each random recording."""
    only: tuple[str, ...] = ("audio", "image", "text")
    """Modalities to encode."""
    device: str = "cpu"
    rounds: int = 3
    settings: tyro.conf.OmitArgPrefixes[ExportSettings] = field(
        default_factory=lambda: ExportSettings(batch=32)
    )


class Small(FrozenEncoder):
    """One convolution over pictures or sound; letter counts of captions."""

    def __init__(self, weights: Path | None, device: str) -> None:
        modalities = ("audio", "image", "text")
        super().__init__(name="small", dim=512, modalities=modalities, weights_sha256="none")
        torch.manual_seed(0)
        self.image = torch.nn.Conv2d(3, self.dim, 32, 32).to(device).requires_grad_(False)
        self.audio = torch.nn.Conv1d(1, self.dim, 400, 160).to(device).requires_grad_(False)
        self.device = device

    def read(self, modality: str, item: str | Path | Media) -> np.ndarray:
        if modality == "text":
            letters = np.frombuffer(str(item).encode(), np.uint8)
            return np.bincount(letters, minlength=self.dim)
        if modality == "audio":
            return np.resize(read_audio(item, 16_000), (1, 32_000))
        picture = read_image(item).resize((224, 224), Image.Resampling.BICUBIC)
        return np.asarray(picture, np.float32).transpose(2, 0, 1) / 255

    def encode(self, modality: str, batch: torch.Tensor) -> np.ndarray:
        rows = batch.float().to(self.device)
        if modality == "text":
            return rows.cpu().numpy()
        features = (self.image if modality == "image" else self.audio)(rows)
        return features.flatten(2).mean(dim=2).cpu().numpy()


def make_media(folder: Path, sizes: Sizes) -> dict[str, Source]:
    """Write JPEG files of 640 x 480, WAV files at 44.1 kHz, and captions of ten words."""
    makers = {"image": make_picture, "audio": make_recording}
    rng = np.random.default_rng(0)
    for kind in set(makers) & set(sizes.only):
        (folder / kind).mkdir()
        for i in range(sizes.items):
            makers[kind](folder / kind, i, rng, sizes)
    lines = (f"a dog barks at {i} birds in the old garden\n" for i in range(sizes.items))
    (folder / "text.txt").write_text("".join(lines))
    return {m: open_source(m, folder / (m if m in makers else f"{m}.txt")) for m in sizes.only}


def make_picture(folder: Path, number: int, rng: np.random.Generator, _sizes: Sizes) -> None:
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
    coarse.resize((640, 480), Image.Resampling.BICUBIC).save(folder / f"{number:06}.jpg")


def make_recording(folder: Path, number: int, rng: np.random.Generator, sizes: Sizes) -> None:
    wave = rng.uniform(-0.5, 0.5, round(44_100 * sizes.seconds))
    soundfile.write(folder / f"{number:06}.wav", wave, 44_100)


def open_media(sizes: Sizes) -> dict[str, Source]:
    paths = {"audio": sizes.audio, "image": sizes.image, "text": sizes.text}
    return {m: open_source(m, path) for m, path in paths.items() if path is not None}


class Items(Dataset):
    """What a loop by hand reads."""

    def __init__(self, encoder: FrozenEncoder, modality: str, source: Source) -> None:
        self.read = partial(encoder.read, modality)
        folder = source.folder
        self.items = [i["caption"] if folder is None else folder / i["path"] for i in source.items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, row: int) -> Any:
        return self.read(self.items[row])


def plain_loop(
    encoder: FrozenEncoder, modality: str, source: Source, sizes: Sizes, out: Path
) -> Timings:
    """Encode what torch's DataLoader reads, and save one array: the obvious way to write it."""
    timings, rows, settings = Timings(), [], sizes.settings
    loader = DataLoader(
        Items(encoder, modality, source),
        batch_size=settings.batch,
        num_workers=settings.workers,
        collate_fn=partial(encoder.collate, modality),
        multiprocessing_context="fork" if settings.workers else None,
    )
    for batch in timings.waiting(iter(loader)):
        with timings.measure("encode"):
            rows.append(unit_rows(encoder.encode(modality, batch)))
    with timings.measure("write"):
        np.save(out / "rows.npy", np.concatenate(rows).astype(np.float16))
    return timings


def whole_export(
    encoder: FrozenEncoder, modality: str, source: Source, sizes: Sizes, out: Path
) -> Timings:
    """Export as the command does, from the item list to the manifest."""
    split = Split(out / "pool")
    return export_bank(encoder, source, split, "space", modality, sizes.settings).timings


Side = Callable[[FrozenEncoder, str, Source, Sizes, Path], Timings | None]
"""Encodes all items into a folder; returns where the time went, if it knows."""

SIDES: Mapping[str, Side] = {"plain loop": plain_loop, "export": whole_export}


@dataclass(frozen=True)
class Round:
    """One run of a side: seconds of wall time, seconds of CPU time, and where wall time went."""

    wall: float
    cpu: float
    timings: Timings | None


def run_once(side: Side, *arguments: Any) -> Round:
    """Run a side once."""
    with tempfile.TemporaryDirectory() as folder:
        start, cpu_start = time.perf_counter(), sum(os.times()[:4])
        timings = side(*arguments, Path(folder))
        return Round(time.perf_counter() - start, sum(os.times()[:4]) - cpu_start, timings)


def main() -> None:
    sizes = tyro.cli(Sizes)
    compare(load_encoder(sizes.encoder, sizes.weights, sizes.device), sizes, SIDES)


def compare(encoder: FrozenEncoder, sizes: Sizes, sides: Mapping[str, Side]) -> None:
    """Print a table: all sides on all modalities."""
    columns = ("", "items/s", "speed / loop", "CPU ms per item", "where the time went")
    table = Table(*columns, title=encoder.name)
    with tempfile.TemporaryDirectory() as folder:
        media = open_media(sizes) or make_media(Path(folder), sizes)
        for modality, source in media.items():
            if modality in encoder.modalities and modality in sizes.only:
                add_rows(table, encoder, modality, source, sizes, sides)
    workers = f"{sizes.settings.workers} workers, batches of {sizes.settings.batch}"
    Console(width=120).print(table, f"{sizes.device}, {workers}, medians of {sizes.rounds} rounds")


def add_rows(
    table: Table,
    encoder: FrozenEncoder,
    modality: str,
    source: Source,
    sizes: Sizes,
    sides: Mapping[str, Side],
) -> None:
    """Add the rows of one modality, one for each side."""
    count = sum(1 for _ in source.items)
    rounds: dict[str, list[Round]] = {name: [] for name in sides}
    for _ in range(sizes.rounds):
        for name, side in sides.items():
            rounds[name].append(run_once(side, encoder, modality, source, sizes))
    for name, mine in rounds.items():
        pairs = zip(rounds["plain loop"], mine, strict=True)
        speed = median(loop.wall / own.wall for loop, own in pairs)
        rate = count / median(own.wall for own in mine)
        work = 1000 * median(own.cpu for own in mine) / count
        time_went = str(mine[-1].timings or "")
        table.add_row(
            f"{modality}, {name}", f"{rate:,.1f}", f"{speed:.2f}", f"{work:,.2f}", time_went
        )


if __name__ == "__main__":
    main()
