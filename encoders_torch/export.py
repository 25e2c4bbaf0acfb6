"""``python -m encoders_torch.export``: encode media files and captions once, into banks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, arg

from encoders_torch.command import (
    Device,
    PathOption,
    TextOption,
    device_of,
    run,
)
from encoders_torch.encoder import FrozenEncoder
from encoders_torch.exporting.pipeline import export_bank
from encoders_torch.exporting.report import ExportResult, Timings
from encoders_torch.exporting.target import ExportSettings
from encoders_torch.loading import known_encoders, load_encoder
from encoders_torch.sources import Source, list_items, open_source
from fb_jax import files
from fb_jax.arguments import named, of_spaces
from fb_jax.banks import POOL, Split, require_name
from fb_jax.console import ConsoleReporter
from fb_jax.errors import FreeBindError, Interrupted

ALL = "all"
WITHOUT_DOWNLOAD = ("imagebind_tuned",)
"""Encoders whose weights cannot be downloaded; ``all`` leaves them out."""

SHOWN = 3
EXAMPLE = """--space my_clip --encoder hf:openai/clip-vit-base-patch32 \\
    --image photos/ --text captions.txt --out BANKS"""


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
        split: pool for training, any other name for evaluation.
        encoder: MODULE:CLASS, FAMILY:MEMBER or the name of an encoder. The space's name if not
            given. With several spaces: SPACE=ENCODER.
        backend: Compute with the authors' package: laion_clap for clap_general and clap_music,
            upstream for imagebind. With several spaces: SPACE=BACKEND.
        weights: File or folder of the weights. With several spaces: SPACE=PATH.
        licence: Licence of the weights, if the encoder does not know it.
        audio: Folder of recordings, or list of paths: .csv, .jsonl, .parquet, .txt.
        image: Folder of pictures, or list of paths.
        text: List of captions: .txt (one a line), .csv, .jsonl, .parquet.
        source: Folder or list of another modality.
        device: Where to encode.
        strict: Stop at the first item that fails.
        append: Add the new items of the sources to those that are here, and encode only them.
    """

    space: Annotated[tuple[str, ...], arg(metavar="SPACE ...")]
    out: Path
    split: str = POOL
    encoder: Annotated[tuple[str, ...], _texts("ENCODER")] = ()
    backend: Annotated[tuple[str, ...], _texts("BACKEND")] = ()
    weights: Annotated[tuple[str, ...], _texts("PATH")] = ()
    licence: TextOption = None
    audio: PathOption = None
    image: PathOption = None
    text: PathOption = None
    source: Annotated[tuple[str, ...], _texts("MODALITY=PATH")] = ()
    device: Device = "auto"
    strict: Annotated[bool, arg(help_behavior_hint="(default: off)")] = False
    append: Annotated[bool, arg(help_behavior_hint="(default: off)")] = False
    settings: Annotated[OmitArgPrefixes[ExportSettings], arg(name="batch and shard")] = field(
        default_factory=ExportSettings
    )

    def spaces(self) -> list[str]:
        """Return the spaces to export.

        Raises:
            FreeBindError: A name cannot name a folder.
        """
        every = [name for name in known_encoders() if name not in WITHOUT_DOWNLOAD]
        names = every if self.space == (ALL,) else list(dict.fromkeys(self.space))
        for name in names:
            require_name("space", name)
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
        sources = {m: open_source(m, path) for m, path in paths.items() if path is not None}
        if not sources:
            raise FreeBindError(
                "there is nothing to encode",
                expected="some of --audio, --image, --text, --source",
            )
        return sources


def main() -> None:
    """Run the command."""
    run(ExportConfig, export, "python -m encoders_torch.export", EXAMPLE)


def export(config: ExportConfig) -> None:
    """Write a bank for every space and source, and print the items that failed.

    If one of several spaces fails, the others are still exported.

    Raises:
        FreeBindError: An encoder, a source or the bank root cannot be used, or an item fails
            under ``strict``.
    """
    spaces, sources = config.spaces(), config.sources()
    only = spaces[0] if len(spaces) == 1 else None
    names = {s: s for s in spaces} | of_spaces("--encoder", config.encoder, spaces)
    backends = of_spaces("--backend", config.backend, spaces)
    weights = of_spaces("--weights", config.weights, spaces)
    device = device_of(config.device)
    files.require_writable(config.out)
    failed = []
    for space in spaces:
        try:
            load = partial(
                load_encoder, names[space], weights.get(space), device, backends.get(space)
            )
            _export_space(config, space, load, sources, lenient=only is None)
        except Interrupted:
            raise
        except FreeBindError as error:
            if only is not None or config.strict:
                raise
            failed.append(space)
            print(f"{space}: left out: {error}", file=sys.stderr)
    if failed:
        raise FreeBindError("some spaces were not exported", got=", ".join(failed))


def _export_space(
    config: ExportConfig,
    space: str,
    load: Callable[[], FrozenEncoder],
    sources: dict[str, Source],
    lenient: bool,
) -> None:
    split, settings = Split(config.out / config.split), config.settings
    encoder = load()
    encoder.licence = config.licence or encoder.licence
    sources = _usable(encoder, sources, lenient)
    for modality in sources:
        getattr(encoder, "prepare", lambda _: None)(modality)
    counts = {
        m: len(list_items(split, m, source, append=config.append)) for m, source in sources.items()
    }
    for modality, source in sources.items():
        total = settings.share(counts[modality])
        with ConsoleReporter().task(f"{space}/{modality}", total) as advance:

            def show(rows: int, timings: Timings, advance=advance) -> None:  # type: ignore[no-untyped-def]
                advance(rows, note=str(timings))

            result = export_bank(
                encoder,
                source,
                split,
                space,
                modality,
                settings,
                strict=config.strict,
                append=config.append,
                progress=show,
            )
        _print_result(result)


def _print_result(result: ExportResult) -> None:
    print(f"  time: {result.timings}")
    for failure in result.failures[:SHOWN]:
        print(f"  left out: {failure.id}: {failure.reason}")
    if result.failures:
        listed = f": {result.report}" if result.complete else " so far"
        print(f"  {len(result.failures)} left out in all{listed}")
    if not result.complete:
        print("  this process is done; the bank is complete when the other processes are, too")


def _usable(encoder: FrozenEncoder, sources: dict[str, Source], lenient: bool) -> dict[str, Source]:
    """Return the sources that an encoder can encode; unless lenient, that must be all of them."""
    usable = {m: source for m, source in sources.items() if m in encoder.modalities}
    if not usable or (len(usable) < len(sources) and not lenient):
        raise FreeBindError(
            f"this encoder has no {' and no '.join(sorted(set(sources) - set(usable)))}",
            where=encoder.name,
            expected=", ".join(encoder.modalities),
        )
    return usable


if __name__ == "__main__":
    main()
