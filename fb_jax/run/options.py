"""The options of a run: typed settings, each with its help text."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from fb_jax.evaluation import RECALLS
from fb_jax.projector import BondKind
from fb_jax.pseudo import Retrieval
from fb_jax.run.choosing import Choosing, Hubs
from fb_jax.run.default import shipped, word_world
from fb_jax.run.device import Device
from fb_jax.training import Runtime, Training
from fb_jax.training.routing import Routing

DEFAULT_DATA = "(default: the word world)"


@dataclass(frozen=True)
class RunConfig:
    """Train a bond between a unified and an expert space, from banks to a table of results.

    Defaults are the paper's. A YAML file can set any of these options by the same names.
    """

    data: Annotated[Path, arg(metavar="BANK_ROOT", help_behavior_hint=DEFAULT_DATA)] = field(
        default_factory=word_world
    )
    """Bank root: a pool, and evaluation splits such as val and test (docs/banks.md); or data that
    come with the package, by name: word_world, class_world."""

    product: Annotated[str | None, arg(metavar="NAME|FILE.yaml")] = None
    """Make a product of several bonds: imagebind_pp, internvl_ib, internvl_ib_pp,
    internvl_ib_tuned, internvl_ib_tuned_pp, another of configs/products, or a file of your own. A
    product sets its own spaces, bonds and factors. one takes all spaces of your data
    (docs/beyond.md), with --unified as the unified one."""

    bond: BondKind = "combination"
    """combination projects the expert into the unified space; displacement projects the unified
    space into the expert; direct_sum puts both side by side and fills in what the expert lacks;
    cmcr projects both into a new space, and exmcr extends the unified space, as C-MCR and Ex-MCR
    do. An expert may bring modalities that the unified space lacks."""

    unified: str | None = None
    """Name of the unified space. By default the only one that has every modality of the pool."""

    expert: str | None = None
    """Name of the expert space. By default the only other one; of several, clap_general."""

    choose: Annotated[str, arg(metavar="AIM")] = "mean"
    """What factors are chosen for on the split val: mean (R@1 over all pairs), a pair such as
    audio-text, or either with ", others no worse than unified" or ", others within 1 of unified"
    (points); none keeps the preset."""

    val: str = "val"
    """Split whose pairs factors are chosen on."""

    val_fraction: Annotated[float | None, arg(name="val-fraction")] = None
    """Without that split: choose on this share of the items of the only evaluation split, 0.05 to
    0.95, and evaluate on the rest."""

    hubs: Hubs | None = None
    """Hub correction: items that are near to everything rank lower. chosen: for each pair of
    modalities as validation pairs say, with the pool as its references; off: none. By default what
    a product says, and off for a bond."""

    dim: int | None = None
    """Dimensions to which a direct sum is cut, by a PCA of the pool. By default all."""

    pool: str = "pool"
    """Split with the unpaired items to train on."""

    out: Annotated[Path | None, arg(metavar="FOLDER")] = None
    """Run folder; by default runs/UNIFIED-BOND-EXPERT, and in runs/word_world on the word world.
    With --product: the folder that holds the product and its runs."""

    store: Path = Path("runs/pairs")
    """Folder of the pseudo pairs; they serve any bond between the same spaces."""

    device: Device = "auto"
    """Device to compute on."""

    metrics: tuple[str, ...] = RECALLS
    """Metrics of the table: R@1, R@5, R@10, "median rank", MRR, or your own as module:function."""

    dry_run: Annotated[bool, arg(name="dry-run")] = False
    """Check everything and print pairs, steps, memory and disk, without training."""

    config: Annotated[Path | None, arg(metavar="FILE.yaml")] = None
    """YAML file with options; options on the command line take precedence."""

    pairs: Retrieval = field(default_factory=Retrieval)
    training: Training = field(default_factory=Training)
    routing: Routing = field(default_factory=Routing)
    runtime: Runtime = field(default_factory=Runtime)

    @property
    def home(self) -> Path:
        """The folder of all runs without ``out``, and of products."""
        default = Path("runs") / (shipped(self.data) or "")
        return self.out if self.product and self.out else default

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.out or self.home / f"{self.unified}-{self.bond}-{self.expert}"

    @property
    def title(self) -> str:
        """The bond in words."""
        return f"{self.bond} of {self.expert} and {self.unified}"

    @property
    def choosing(self) -> Choosing:
        """How factors are chosen."""
        return Choosing(self.choose, self.val, self.val_fraction, hubs=self.hubs)

    @property
    def spaces(self) -> tuple[str, str]:
        """The unified and the expert space of a run that names both."""
        assert self.unified is not None
        assert self.expert is not None
        return self.unified, self.expert

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain types, as a YAML file holds them."""
        plain = {Path: str, tuple: list}
        values = {
            **dataclasses.asdict(self),
            "runtime": {**dataclasses.asdict(self.runtime), "loggers": list(self.runtime.loggers)},
        }
        return {
            name: next((to(value) for kind, to in plain.items() if isinstance(value, kind)), value)
            for name, value in values.items()
            if name not in ("config", "dry_run", "product")
        }
