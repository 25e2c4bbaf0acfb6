"""``python -m encoders_torch.export``: encode media files and captions once, into banks."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from encoders_torch.command import run
from encoders_torch.encoder import FrozenEncoder
from encoders_torch.explain import explained
from encoders_torch.export_config import ExportConfig
from encoders_torch.exporting.pipeline import export_banks
from encoders_torch.exporting.report import REMOVED, ExportResult, require_none
from encoders_torch.exporting.retrying import retry_bank
from encoders_torch.exporting.workplace import Workplace
from encoders_torch.sources import Source, list_items
from fb_jax import files
from fb_jax.banks import open_bank
from fb_jax.console import ConsoleReporter
from fb_jax.errors import FreeBindError, Interrupted

CANNOT_LOAD = "an encoder cannot be loaded"
SHOWN = 3
EXAMPLE = """--space my_clip --encoder hf:openai/clip-vit-base-patch32 \\
    --image photos/ --text captions.txt --out BANKS"""


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
    _ = config.target  # its check
    files.require_writable(config.out)
    loaders, sources = config.loaders(), config.sources()
    several = _Several(alone=len(loaders) == 1 or config.strict)
    encoders: dict[str, FrozenEncoder] = {}
    with config.workplace() as workplace:
        for space, load in loaders.items():
            with several.leaving_out(space), explained(CANNOT_LOAD, where=space):
                encoder = workplace.load(load)
                every = len(loaders) == 1 and config.dataset is None
                _require_modalities(encoder, sources, every=every)
                for modality in sources:
                    if modality in encoder.modalities:
                        encoder.prepare(modality)
                encoders[space] = encoder
        for modality, source in sources.items():
            able = {s: e for s, e in encoders.items() if modality in e.modalities}
            if able:
                _export_modality(config, able, modality, source, several, workplace)
    several.require_all()


@dataclass
class _Several:
    """Exports of several spaces, of which one may fail.

    Attributes:
        alone: Whether an error ends the export.
        failed: Spaces that are left out.
    """

    alone: bool
    failed: list[str] = field(default_factory=list)

    @contextmanager
    def leaving_out(self, space: str) -> Iterator[None]:
        """Print an error of the block, and leave the space out."""
        try:
            yield
        except Interrupted:
            raise
        except FreeBindError as error:
            if self.alone:
                raise
            self.failed.append(space)
            print(f"{space}: left out: {error}", file=sys.stderr)

    def require_all(self) -> None:
        """Raise a FreeBindError if a space was left out."""
        if self.failed:
            left_out = ", ".join(dict.fromkeys(self.failed))
            raise FreeBindError("some spaces were not exported", got=left_out)


def _require_modalities(encoder: FrozenEncoder, sources: Collection[str], *, every: bool) -> None:
    """Raise a FreeBindError unless an encoder has some, or every, modality of the sources."""
    lacking = sorted(set(sources) - set(encoder.modalities))
    if lacking and (every or len(lacking) == len(sources)):
        raise FreeBindError(
            f"this encoder has no {' and no '.join(lacking)}",
            where=encoder.name,
            expected=", ".join(encoder.modalities),
        )


def _export_modality(
    config: ExportConfig,
    encoders: dict[str, FrozenEncoder],
    modality: str,
    source: Source,
    several: _Several,
    workplace: Workplace,
) -> None:
    """Export together, so that items are read once; if that fails, one space after the other."""
    try:
        _export_together(config, encoders, modality, source, workplace)
    except Interrupted:
        raise
    except FreeBindError:
        if several.alone:
            raise
    else:
        return
    for space, encoder in encoders.items():  # not above: the error holds all that failed
        with several.leaving_out(space):
            _export_together(config, {space: encoder}, modality, source, workplace)


def _export_together(
    config: ExportConfig,
    encoders: dict[str, FrozenEncoder],
    modality: str,
    source: Source,
    workplace: Workplace,
) -> None:
    split, settings = config.target, config.placed()
    total = settings.share(len(list_items(split, modality, source, append=config.append)))
    with ConsoleReporter().task(f"{'+'.join(encoders)}/{modality}", total) as advance:
        results = export_banks(
            encoders,
            source,
            split,
            modality,
            settings,
            licence=config.licence,
            strict=config.strict and not config.retry_failed,
            append=config.append,
            progress=lambda rows, timings: advance(rows, note=str(timings)),
            run=workplace.run,
        )
    retry = config.retry_failed and settings.shard_id == 0  # one of the processes
    for space, result in results.items():
        print(f"  {space}: {result.done} of {total} items now; time: {result.timings}")
        if retry and result.complete and result.failures:
            result = _retry(config, space, encoders[space], source, modality)
        _print_result(result)


def _retry(
    config: ExportConfig, space: str, encoder: FrozenEncoder, source: Source, modality: str
) -> ExportResult:
    split = config.target
    total = len(open_bank(split, space, modality).missing)
    with ConsoleReporter().task(f"{space}/{modality} again", total) as advance:
        advance(0)
        result = retry_bank(encoder, source, split, space, modality, config.settings, advance)
    left = sum(failure.reason != REMOVED for failure in result.failures)
    print(f"  {space}: {result.done} tried again, {result.done - left} of them encoded now")
    if config.strict:
        require_none(result.failures)
    return result


def _print_result(result: ExportResult) -> None:
    for failures in list(result.kinds().values())[:SHOWN]:
        others = f" (and {len(failures) - 1} like it)" if len(failures) > 1 else ""
        print(f"  left out: {failures[0].id}: {failures[0].reason}{others}")
    if result.failures:
        listed = f": {result.report}" if result.complete else " so far"
        print(f"  {len(result.failures)} left out in all{listed}")
    if not result.complete and not result.done:
        print("  other processes have every shard that is left; a smaller --shard-rows shares more")
    if not result.complete:
        print("  this process is done; the bank is complete when the other processes are, too")


if __name__ == "__main__":
    main()
