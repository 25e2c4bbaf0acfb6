"""Export: ``python -m encoders_torch.export --space clap_general --audio DIR --out BANK_ROOT``."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
import tyro

from encoders_torch.encoder import FrozenEncoder, load_encoder
from encoders_torch.pipeline import ExportSettings, export_bank
from encoders_torch.sources import Source, open_source
from fb_jax.banks import POOL, Split, files
from fb_jax.console import ConsoleReporter, run_command
from fb_jax.errors import FreeBindError

Device = Literal["auto", "cpu", "cuda"]
SHOWN = 3


@dataclass(frozen=True)
class ExportConfig:
    """Encode media files and captions once, into banks.

    Items that cannot be read or encoded are listed with the reason in ``failures.jsonl`` beside the
    bank, and as missing in its manifest.
    """

    space: str
    """Name of the space, such as imagebind or clap_general."""

    out: Path
    """Bank root; made if it is missing."""

    split: str = POOL
    """pool for training, any other name for evaluation."""

    encoder: str | None = None
    """MODULE:CLASS of an encoder, or its name. Default: the space's name."""

    weights: Path | None = None
    """What the encoder loads."""

    audio: Path | None = None
    """Folder of recordings."""

    image: Path | None = None
    """Folder of pictures."""

    text: Path | None = None
    """Text file with a caption a line."""

    device: Device = "auto"
    """What to encode on."""

    strict: bool = False
    """Stop at the first item that cannot be read or encoded."""

    settings: tyro.conf.OmitArgPrefixes[ExportSettings] = field(default_factory=ExportSettings)

    def sources(self) -> dict[str, Source]:
        """Return modality to items, of those that were given.

        Raises:
            FreeBindError: None was, or one cannot be read.
        """
        given = {"audio": self.audio, "image": self.image, "text": self.text}
        found = {m: open_source(m, path) for m, path in given.items() if path is not None}
        if not found:
            raise FreeBindError(
                "there is nothing to encode", expected="some of --audio, --image, --text"
            )
        return found


def main() -> None:
    """Run the command."""
    prog = "python -m encoders_torch.export"
    run_command(lambda: export(tyro.cli(ExportConfig, args=sys.argv[1:], prog=prog)))


def export(config: ExportConfig) -> None:
    """Write a bank for every source, and tell of items that failed.

    Raises:
        FreeBindError: The encoder, a source or the bank root cannot be used, or an item fails
            under ``strict``.
    """
    sources = config.sources()
    files.require_writable(config.out)
    encoder = load_encoder(config.encoder or config.space, config.weights, _device(config.device))
    _require_modalities(encoder, sources)
    split = Split(config.out / config.split)
    for modality, source in sources.items():
        with ConsoleReporter().stage(f"{config.space}/{modality}", len(source)) as advance:
            made = export_bank(
                encoder,
                source,
                split,
                config.space,
                modality,
                config.settings,
                strict=config.strict,
                progress=advance,
            )
        print(f"  {made.spent}")
        for failure in made.failures[:SHOWN]:
            print(f"  left out: {failure.id}: {failure.reason}")
        if made.failures:
            print(f"  {len(made.failures)} left out in all: {made.report}")


def _device(choice: Device) -> str:
    if choice != "auto":
        return choice
    return "cuda" if torch.cuda.is_available() else "cpu"


def _require_modalities(encoder: FrozenEncoder, sources: dict[str, Source]) -> None:
    if lacking := sorted(set(sources) - set(encoder.modalities)):
        raise FreeBindError(
            f"this encoder has no {' and no '.join(lacking)}",
            where=encoder.name,
            expected=", ".join(encoder.modalities),
        )


if __name__ == "__main__":
    main()
