"""Export: ``python -m encoders_torch.export --space clap_general --audio DIR --out BANK_ROOT``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import torch
import tyro

from encoders_torch.encoder import FrozenEncoder, known_encoders, load_encoder
from encoders_torch.pipeline import ExportSettings, export_bank
from encoders_torch.report import Export, Spent
from encoders_torch.sources import Source, list_items, open_source
from fb_jax.banks import POOL, Split, files
from fb_jax.banks import require_name
from fb_jax.console import ConsoleReporter, run_command
from fb_jax.errors import FreeBindError, Interrupted, unknown

Device = Literal["auto", "cpu", "cuda"]
ALL = "all"
MADE_BY_USERS = ("imagebind_tuned",)
"""Encoders whose weights are nowhere to be got: ``all`` leaves them out."""
SHOWN = 3


@dataclass(frozen=True)
class ExportConfig:
    """Encode media files and captions once, into banks.

    Items that cannot be read or encoded are listed with the reason in ``failures.jsonl`` beside the
    bank, and as missing in its manifest. The same command goes on where it was stopped.
    """

    space: tuple[str, ...]
    """Names of spaces, as imagebind or clap_general, one after the other; all: every known one."""

    out: Path
    """Bank root; made if it is missing."""

    split: str = POOL
    """pool for training, any other name for evaluation."""

    encoder: tuple[str, ...] = ()
    """MODULE:CLASS, FAMILY:MEMBER or name of the encoder. Default: the space's name. Of several
    spaces: SPACE=ENCODER."""

    backend: tuple[str, ...] = ()
    """Other package that runs the encoder: laion_clap for clap_general and clap_music, upstream for
    imagebind. Default: our own code. Of several spaces: SPACE=BACKEND."""

    weights: tuple[str, ...] = ()
    """Path of what the encoder loads. Of several spaces: SPACE=PATH."""

    licence: str | None = None
    """Of the weights, where the encoder does not know it."""

    audio: Path | None = None
    """Folder of recordings, or a list of paths: .csv, .jsonl, .parquet, .txt."""

    image: Path | None = None
    """Folder of pictures, or a list of paths."""

    text: Path | None = None
    """List of captions: .txt (one a line), .csv, .jsonl, .parquet."""

    source: tuple[str, ...] = ()
    """Another modality's folder or list: MODALITY=PATH."""

    device: Device = "auto"
    """What to encode on."""

    strict: bool = False
    """Stop at the first item that cannot be read or encoded."""

    settings: tyro.conf.OmitArgPrefixes[ExportSettings] = field(default_factory=ExportSettings)

    def spaces(self) -> list[str]:
        """Return the spaces to export.

        Raises:
            FreeBindError: A name cannot name a folder.
        """
        every = [name for name in known_encoders() if name not in MADE_BY_USERS]
        names = every if self.space == (ALL,) else list(dict.fromkeys(self.space))
        for name in names:
            require_name("space", name)
        return names

    def sources(self) -> dict[str, Source]:
        """Return modality to items, of those that were given.

        Raises:
            FreeBindError: None was, or one cannot be read.
        """
        given = {"audio": self.audio, "image": self.image, "text": self.text}
        given |= {name: Path(path) for name, path in _named("--source", self.source).items()}
        for modality in given:
            require_name("modality", modality)
        found = {m: open_source(m, path) for m, path in given.items() if path is not None}
        if not found:
            raise FreeBindError(
                "there is nothing to encode",
                expected="some of --audio, --image, --text, --source",
            )
        return found


def _named(option: str, given: Sequence[str], only: str | None = None) -> dict[str, str]:
    """Split ``NAME=VALUE``; what has no name is of the only one there is."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if only is not None and (not equals or name != only):
            name, value = only, text
        elif not equals:
            raise FreeBindError(f"{option} needs to say whose", expected="NAME=VALUE", got=text)
        found[name] = value
    return found


def _of_spaces(option: str, given: Sequence[str], spaces: Sequence[str]) -> dict[str, str]:
    """Split ``SPACE=VALUE``; of a single space its name may be left out."""
    found = _named(option, given, spaces[0] if len(spaces) == 1 else None)
    for space in found:
        if space not in spaces:
            raise unknown("space", space, spaces, option)
    return found


def main() -> None:
    """Run the command."""
    prog = "python -m encoders_torch.export"
    run_command(lambda: export(tyro.cli(ExportConfig, args=sys.argv[1:], prog=prog)))


def export(config: ExportConfig) -> None:
    """Write a bank for every space and source, and tell of items that failed.

    Of several spaces, one that fails does not keep the others from being written.

    Raises:
        FreeBindError: An encoder, a source or the bank root cannot be used, or an item fails
            under ``strict``.
    """
    spaces, sources = config.spaces(), config.sources()
    only = spaces[0] if len(spaces) == 1 else None
    names = {s: s for s in spaces} | _of_spaces("--encoder", config.encoder, spaces)
    backends = _of_spaces("--backend", config.backend, spaces)
    weights = _of_spaces("--weights", config.weights, spaces)
    device = device_of(config.device)
    files.require_writable(config.out)
    failed = []
    for space in spaces:
        try:
            where = Path(weights[space]) if space in weights else None
            load = partial(load_encoder, names[space], where, device, backends.get(space))
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
    split, how = Split(config.out / config.split), config.settings
    encoder = load()
    encoder.licence = config.licence or encoder.licence
    sources = _shared(encoder, sources, lenient)
    for modality in sources:
        getattr(encoder, "prepare", lambda _: None)(modality)
    counts = {m: len(list_items(split, m, source)) for m, source in sources.items()}
    for modality, source in sources.items():
        with ConsoleReporter().task(f"{space}/{modality}", how.share(counts[modality])) as advance:

            def tell(rows: int, spent: Spent, advance=advance) -> None:  # type: ignore[no-untyped-def]
                advance(rows, note=str(spent))

            made = export_bank(
                encoder, source, split, space, modality, how, strict=config.strict, progress=tell
            )
        _tell(made)


def _tell(made: Export) -> None:
    print(f"  time: {made.spent}")
    for failure in made.failures[:SHOWN]:
        print(f"  left out: {failure.id}: {failure.reason}")
    if made.failures:
        where = f": {made.report}" if made.whole else ", so far"
        print(f"  {len(made.failures)} left out in all{where}")
    if not made.whole:
        print("  this process's share is done; the bank is whole once the others' are")


def device_of(choice: Device) -> str:
    """Return torch's name of a device.

    Raises:
        FreeBindError: A GPU was asked for and torch finds none.
    """
    if choice == "cuda" and not torch.cuda.is_available():
        raise FreeBindError(
            "torch finds no GPU",
            got=f"torch {torch.__version__}",
            fix="--device cpu; or a torch that was built for your GPU",
        )
    if choice != "auto":
        return choice
    return "cuda" if torch.cuda.is_available() else "cpu"


def _shared(encoder: FrozenEncoder, sources: dict[str, Source], lenient: bool) -> dict[str, Source]:
    """Return the sources that an encoder is for; lenient: without those it has no modality for."""
    found = {m: source for m, source in sources.items() if m in encoder.modalities}
    if not found or (len(found) < len(sources) and not lenient):
        raise FreeBindError(
            f"this encoder has no {' and no '.join(sorted(set(sources) - set(found)))}",
            where=encoder.name,
            expected=", ".join(encoder.modalities),
        )
    return found


if __name__ == "__main__":
    main()
