"""What a run is: typed settings, from a YAML file and the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
import yaml
from tyro.conf import arg

from fb_jax.errors import FreeBindError
from fb_jax.projector import BondKind
from fb_jax.pseudo import Retrieval
from fb_jax.run.default import config_file, is_default, word_world
from fb_jax.training import Runtime, Training

Device = Literal["auto", "cpu", "gpu"]
PRODUCT_SAYS = ("--bond", "--unified", "--expert", "--dim")
DEFAULT_DATA = "(default: the word world)"


@dataclass(frozen=True)
class RunConfig:
    """Train a bond between a unified and an expert space, from banks to a table of results.

    Defaults are the paper's. A YAML file sets any of these options by the same names.
    """

    data: Annotated[Path, arg(metavar="BANK_ROOT", help_behavior_hint=DEFAULT_DATA)] = field(
        default_factory=word_world
    )
    """Bank root: a pool, and evaluation splits such as val and test (docs/banks.md). Without one,
    the word world that comes with this package, at options that fit it."""

    product: Annotated[str | None, arg(metavar="NAME|FILE.yaml")] = None
    """Make a product of one or several bonds in their order: imagebind_pp, internvl_ib,
    internvl_ib_pp, internvl_ib_tuned, internvl_ib_tuned_pp, others of configs/products, or a file
    of your own. It says spaces, bonds and factors itself."""

    bond: BondKind = "combination"
    """combination projects the expert into the unified space, displacement the other way;
    direct_sum puts both side by side and fills in what the expert lacks."""

    unified: str = "imagebind"
    """Name of the unified space."""

    expert: str = "clap_general"
    """Name of the expert space."""

    dim: int | None = None
    """Dimensions that a direct sum is cut to, by a PCA of the pool. Default: all of both spaces."""

    pool: str = "pool"
    """Split with the unpaired items to train on."""

    out: Path | None = None
    """Run folder. Default: runs/UNIFIED-BOND-EXPERT, in runs/word_world for the word world. With
    --product: the folder that products and their runs go to, one folder each."""

    store: Path = Path("runs/pairs")
    """Pseudo pairs are kept here, for any bond between the same spaces."""

    device: Device = "auto"
    """What to compute on."""

    dry_run: Annotated[bool, arg(name="dry-run")] = False
    """Check everything and tell pairs, steps, memory and disk, without training."""

    config: Annotated[Path | None, arg(metavar="FILE.yaml")] = None
    """YAML file with options; those on the command line win."""

    pairs: Retrieval = field(default_factory=Retrieval)
    training: Training = field(default_factory=Training)
    runtime: Runtime = field(default_factory=Runtime)

    @property
    def home(self) -> Path:
        """Where runs go that are not told where: of products, all of them."""
        default = Path("runs/word_world") if is_default(self.data) else Path("runs")
        return self.out if self.product and self.out else default

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.out or self.home / f"{self.unified}-{self.bond}-{self.expert}"

    def resolved(self) -> RunConfig:
        """Return the same run with every default that depends on another option filled in."""
        training = self.training.resolved(self.bond)
        return dataclasses.replace(self, training=training, out=self.folder)

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain types, as a YAML file holds them."""
        return {
            name: str(value) if isinstance(value, Path) else value
            for name, value in dataclasses.asdict(self).items()
            if name not in ("config", "dry_run", "product")
        }


def parse_config(args: Sequence[str], prog: str = "train.py") -> RunConfig:
    """Read a run from command-line arguments and the YAML file that they name.

    If neither names data, the run is one of the word world, and its options come before both.

    Args:
        args: Arguments.
        prog: What to call the program in help and errors.

    Returns:
        The run, not yet resolved.

    Raises:
        FreeBindError: The YAML file is missing or no mapping.
        SystemExit: An option does not exist (names the nearest) or has a wrong value.
    """
    path = _value("--config", args)
    from_file = [] if path is None else _yaml_args(Path(path))
    if path is not None:  # alone first, so that its errors carry its name
        tyro.cli(RunConfig, args=from_file, prog=path)
    given = [*from_file, *args]
    _require_one_way(given)
    if _value("--data", given) is None:
        given = [*_yaml_args(config_file()), *given]
    return tyro.cli(RunConfig, args=given, prog=prog)


def _require_one_way(args: Sequence[str]) -> None:
    named = [option for option in PRODUCT_SAYS if _value(option, args) is not None]
    if named and _value("--product", args) is not None:
        raise FreeBindError(
            "a product says itself what it is made of",
            got=", ".join(["--product", *named]),
            fix="leave these options out, or write a product of your own (configs/products)",
        )


def _value(option: str, args: Sequence[str]) -> str | None:
    for i, given in enumerate(args):
        if given == option and i + 1 < len(args):
            return args[i + 1]
        if given.startswith(f"{option}="):
            return given.removeprefix(f"{option}=")
    return None


def _yaml_args(path: Path) -> list[str]:
    try:
        options = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise FreeBindError("a config file cannot be read", where=path, got=error) from error
    if not isinstance(options, Mapping):
        raise FreeBindError(
            "a config file must hold options by name", where=path, got=type(options).__name__
        )
    if "config" in options:
        raise FreeBindError("a config file cannot name another", where=path)
    return _flatten(options)


def _flatten(options: Mapping[str, Any], prefix: str = "") -> list[str]:
    args: list[str] = []
    for key, value in options.items():
        name = str(key).replace("_", "-")
        if isinstance(value, Mapping):
            args += _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, bool):
            args.append(f"--{prefix}{'' if value else 'no-'}{name}")
        else:
            args += [f"--{prefix}{name}", str(value)]
    return args
