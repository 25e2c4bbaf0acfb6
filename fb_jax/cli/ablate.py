"""``freebind ablate``: a table or the figures of the paper's ablations, from banks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

from rich.table import Table
from tyro.conf import arg

from fb_jax import files
from fb_jax.banks import open_split
from fb_jax.cli.train import DRY
from fb_jax.console import ConsoleReporter, console
from fb_jax.errors import FreeBindError, unknown
from fb_jax.pseudo import Retrieval
from fb_jax.run import Device, Job, RunConfig, Silent, computing_on, introduce, word_world
from fb_jax.run.ablation import ROWS, Planned, Roles, plan
from fb_jax.run.ablation_record import Ablation
from fb_jax.run.ablation_results import TABLE, make_results, require_results
from fb_jax.run.ablation_rows import BondState, bond_states
from fb_jax.run.options import DEFAULT_DATA
from fb_jax.run.parsing import parse_options
from fb_jax.training import Runtime, Training


@dataclass(frozen=True)
class AblateOptions:
    """Make a table or the figures of the paper's ablations: table5, table6, table7, table8, table9
    or figures.

    Each row is a product of the package, and its bonds are those of freebind train: what is trained
    already is not trained again. The same command continues where it stopped.
    """

    data: Annotated[Path, arg(metavar="BANK_ROOT", help_behavior_hint=DEFAULT_DATA)] = field(
        default_factory=word_world
    )
    """Bank root: a pool, and evaluation splits such as val and test (docs/banks.md); or data that
    come with the package, by name: word_world, class_world."""

    unified: str = Roles.unified
    """Space that plays ImageBind."""

    image_text: Annotated[str, arg(name="image-text")] = Roles.image_text
    """Space that plays InternVL."""

    audio_text: Annotated[tuple[str, ...], arg(name="audio-text")] = Roles.audio_text
    """One or two spaces that play CLAP general and CLAP music."""

    val: str = RunConfig.val
    """Split that factors are chosen on where the paper gives none; it is in no table if there are
    others."""

    pool: str = RunConfig.pool
    """Split with the unpaired items to train on."""

    out: Annotated[Path | None, arg(metavar="FOLDER")] = None
    """Folder of all products and runs, and of the tables in its folder ablations; by default runs,
    and runs/NAME on data that come with the package."""

    store: Path = RunConfig.store
    """Folder of the pseudo pairs; they serve any bond between the same spaces."""

    device: Device = RunConfig.device
    """Device to compute on."""

    dry_run: Annotated[bool, arg(name="dry-run")] = False
    """Check everything and print which bonds are there, pairs, steps and disk; train nothing."""

    config: Annotated[Path | None, arg(metavar="FILE.yaml")] = None
    """YAML file with options; options on the command line take precedence."""

    pairs: Retrieval = field(default_factory=Retrieval)
    training: Training = field(default_factory=Training)
    runtime: Runtime = field(default_factory=Runtime)

    @property
    def roles(self) -> Roles:
        """The spaces that play the parts of the paper's."""
        return Roles(self.unified, self.image_text, self.audio_text)

    def run_config(self, table: str) -> RunConfig:
        """Return the options of all runs; those of a product, so that ``out`` is their home."""
        shared = {part.name for part in fields(RunConfig)} & {part.name for part in fields(self)}
        return RunConfig(**{name: getattr(self, name) for name in shared}, product=table)


def ablate(args: Sequence[str], prog: str, example: str = "") -> None:
    """Make a table or the figures; see ``AblateOptions`` for the arguments after its name."""
    words = [word for word in args[:1] if not word.startswith("-")]
    table = next(iter(words), "")
    shown, _, options_shown = example.partition(" ")
    options = parse_options(
        AblateOptions, args[len(words) :], f"{prog} {table or shown}", options_shown
    )
    if table not in ROWS:
        raise unknown("table of the ablations", table, ROWS, hint=f"such as {prog} {example}")
    config = options.run_config(table)
    with computing_on(config.device):
        _ablate(table, options.roles, config)


def _ablate(table: str, roles: Roles, config: RunConfig) -> None:
    rows = _rows(table, roles, config)
    ablation = Ablation.of(table, rows, config)
    require_results(ablation)
    if roles != Roles():
        print(roles)
    print(introduce(config, ablation.natives), end="", flush=True)
    if config.dry_run:
        _show_plan(list(bond_states(rows, config, Silent())))
        return
    with files.locked(ablation.folder):
        if ablation.is_done():
            print("nothing has changed since these results were written")
        else:
            make_results(ablation, ConsoleReporter(), _announce)
    if ablation.number:
        print((ablation.folder / TABLE).read_text(), end="")
    print(f"\nresults are in {ablation.folder}")


def _rows(table: str, roles: Roles, config: RunConfig) -> list[Planned]:
    """Return the rows of a table that can be made; say which cannot, and why."""
    here = open_split(config.data, config.pool).spaces()
    roles.require_modalities(here)
    rows, notes = plan(table, roles, here)
    print("".join(f"{note}\n" for note in notes), end="")
    if all(planned.product is None for planned in rows):
        raise FreeBindError(
            f"no row of {table} can be made",
            where=config.data,
            expected=f"the spaces {', '.join(filter(None, roles.names.values()))}",
            got=", ".join(here) or "none",
            fix="name yours: --unified, --image-text and --audio-text",
        )
    return rows


def _announce(title: str, job: Job) -> None:
    print(f"\n{title}, in {job.config.folder}", flush=True)


def _show_plan(bonds: Sequence[BondState]) -> None:
    shown = Table()
    shown.add_column("bond", overflow="fold")
    shown.add_column("state")
    for name in ("pairs", "steps"):
        shown.add_column(name, justify="right")
    for bond in bonds:
        counts = (f"{n:,}" if n is not None else "" for n in (bond.pairs, bond.steps))
        shown.add_row(str(bond.config.folder), bond.state, *counts)
    console.print(shown)
    missing = {folder: count for bond in bonds for folder, count in bond.missing.items()}
    steps = sum(bond.steps or 0 for bond in bonds if bond.state != "trained")
    size = files.gigabytes(sum(missing.values()))
    print(f"still to do, without bonds on rows that do not exist yet: {steps:,} steps, {size}")
    print(DRY)
