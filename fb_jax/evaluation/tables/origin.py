"""What results were computed from, and the difference of two results of the same data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from fb_jax import files
from fb_jax.banks import BankSet, Split
from fb_jax.evaluation.spaces import Corrected, Row
from fb_jax.evaluation.tasks import data_set
from fb_jax.fusion import FusedSpace, digest

PROTOCOL = {
    "version": 1,
    "retrieval": "mean of both directions; any of several positives; the whole gallery",
    "ties": "the lower row first",
    "classes": "unit mean of the unit rows of a class's prompts",
    "top-k": "any of an item's classes among the first k",
    "mAP": "mean over classes of average precision, all items ranked",
    "mAP@10": "mean over queries; precision at each positive among the first 10, over min(10, all)",
}
"""How figures are measured. Another version of it is another protocol."""

PACKAGES = ("freebind-jax", "jax", "numpy")


def origin(sets: Mapping[str, BankSet], rows: Mapping[str, Row]) -> dict[str, Any]:
    """Return what the figures of some models on some splits are computed from, as JSON types."""
    return {
        "protocol": PROTOCOL,
        "splits": {name: _of_split(banks) for name, banks in sets.items()},
        "models": {name: _of_model(row) for name, row in rows.items()},
        "versions": {name: version(name) for name in PACKAGES},
    }


def _of_split(banks: BankSet) -> dict[str, Any]:
    """Return digests of items, pairs and banks, the encoders, and the data set of a split."""
    split, record = banks.split, data_set(banks)
    return {
        "items": {m: split.items(m).digest for m in banks.rows if isinstance(split, Split)},
        "rows": files.sha256_of_json({m: rows.tolist() for m, rows in banks.rows.items()}),
        "pairs": {"-".join(pair): split.pairs_digest(*pair) for pair in split.paired()},
        "banks": {f"{s}/{m}": bank.fingerprint for (s, m), bank in banks.banks.items()},
        "encoders": {s: asdict(bank.encoder) for (s, _), bank in banks.banks.items()},
        "data set": asdict(record) if record else None,
    }


def _of_model(row: Row) -> dict[str, Any]:
    if isinstance(row, Corrected):
        return {**_of_model(row.row), "hubs": row.hubs.identity()}
    if isinstance(row, FusedSpace):
        return {"space": row.title, "digest": digest(row), "factors": dict(row.factors)}
    return {"native": row} if isinstance(row, str) else {"mean of scores": list(row)}
