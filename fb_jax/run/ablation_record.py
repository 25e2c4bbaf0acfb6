"""What the results of an ablation were computed from, so that unchanged ones are only read.

OUT/ablations/TABLE/table.*      the table in several formats; or PRODUCT.*, the figures
OUT/ablations/TABLE/record.json  what they were computed from, and their digests
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fb_jax import files
from fb_jax.banks import BankSet, open_banks, open_split, splits
from fb_jax.banks.bankset import NothingShared
from fb_jax.evaluation.tables.origin import origin
from fb_jax.run.ablation import FIGURES, Planned
from fb_jax.run.ablation_rows import config_for
from fb_jax.run.choosing import Sets, in_order
from fb_jax.run.options import RunConfig


@dataclass(frozen=True)
class Ablation:
    """A table, or the figures, of some rows.

    Attributes:
        table: Its name.
        rows: The rows that can be made.
        config: The options of all their runs.
        splits: Evaluation split to the banks of those of their spaces that it has.
    """

    table: str
    rows: tuple[Planned, ...]
    config: RunConfig
    splits: Sets

    @classmethod
    def of(cls, table: str, rows: Iterable[Planned], config: RunConfig) -> Ablation:
        """Return the ablation of these rows, with its evaluation splits opened."""
        rows = tuple(rows)
        return cls(table, rows, config, _splits(_natives(rows, config), config))

    @property
    def number(self) -> str:
        """The number of the paper's table; "" for the figures."""
        return self.table.removeprefix("table") if self.table != FIGURES else ""

    @property
    def natives(self) -> list[str]:
        """The native spaces of all rows, those of tuned encoders as well."""
        return _natives(self.rows, self.config)

    @property
    def sets(self) -> Sets:
        """The splits to evaluate: the one to choose factors on only if there is no other."""
        return without_val(self.splits, self.config.val)

    @property
    def folder(self) -> Path:
        """Where its results are."""
        return self.config.home / "ablations" / self.table

    def is_done(self) -> bool:
        """Return whether its results are there, of these data, options and products."""
        path = self.folder / "record.json"
        if not path.exists():
            return False
        found = files.read_json(path, _Record)
        same = found.computed_from == self.computed_from()
        paths = {self.folder / name: digest for name, digest in found.results.items()}
        return same and all(p.exists() and files.sha256_of(p) == d for p, d in paths.items())

    def record(self, names: Iterable[str]) -> None:
        """Write what the results were computed from.

        Args:
            names: Their files in the folder.
        """
        results = {name: files.sha256_of(self.folder / name) for name in names}
        about = _Record(self.computed_from(), results)
        files.write_json(self.folder / "record.json", asdict(about))

    def computed_from(self) -> dict[str, Any]:
        """Return everything that the results depend on, as JSON."""
        config, rows = self.config, self.rows
        pool = open_banks(config.data, config.pool, spaces=self.natives)
        found = {
            "rows": [[asdict(row.row), row.key, _weights(row, config)] for row in rows],
            "unified": config.unified,
            "training": config.training.identity(),
            "pairs": asdict(config.pairs),
            "pool": pool.fingerprints(),
            "val": config.val,
            "evaluation": origin(self.splits, {}),
        }
        return dict(files.json_types(found))


@dataclass(frozen=True)
class _Record:
    """What record.json holds."""

    computed_from: dict[str, Any]
    results: dict[str, str]


def without_val(sets: Sets, val: str) -> Sets:
    """Return evaluation splits without the one to choose factors on, if there are others."""
    return {name: banks for name, banks in sets.items() if name != val} or sets


def _natives(rows: Iterable[Planned], config: RunConfig) -> list[str]:
    products = [row.product for row in rows if row.product]
    stages = [stage for product in products for stage in product.stages]
    natives = [name for product in products for name in product.natives]
    tuned = [name for stage in stages for name in stage.tuned.values()]
    return list(dict.fromkeys([str(config.unified), *natives, *tuned]))


def _weights(planned: Planned, config: RunConfig) -> Any:
    """Return what a product that is made is made from; None if it is not, or if there is none."""
    product = planned.product
    home = config_for(planned, config).home
    claim = home / product.name / "product.json" if product else None
    if claim is None or not claim.exists():
        return None
    return files.read_json(claim, dict[str, Any])


def _splits(natives: Iterable[str], config: RunConfig) -> Sets:
    """Open the evaluation splits that have pairs or labels."""
    found: dict[str, BankSet] = {}
    for name in splits(config.data):
        here = open_split(config.data, name).spaces()
        known = [space for space in natives if space in here]
        if name != config.pool and known:
            with suppress(NothingShared):
                found[name] = open_banks(config.data, name, spaces=known)
    return in_order({n: banks for n, banks in found.items() if banks.split.paired()}, config.val)
