"""What a run or a product was made from, and whether that is still there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from fb_jax import files
from fb_jax.banks import POOL, BankSet, open_banks, since
from fb_jax.errors import FreeBindError, notice_once

Name = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][\w.+]*/[A-Za-z0-9][\w.+-]*\Z")]
"""``space/modality``, or ``pairs/modality-modality``: it cannot lead out of a split."""

Fingerprints = dict[str, dict[str, str]]
"""Split to the name of a bank or pair table to its digest."""


@dataclass(frozen=True)
class Provenance:
    """What is read of provenance.json.

    Attributes:
        data: Bank root.
        run: Digest of the claim of the run or product that this is of.
        banks: Split to bank or pair table to digest.
        evaluation: Splits that were evaluated.
        dim: Dimensions to which a run's direct sum was cut.
    """

    data: str
    run: str = ""
    banks: dict[str, dict[Name, str]] = field(default_factory=dict)
    evaluation: list[str] = field(default_factory=list)
    dim: int | None = None

    @property
    def pool(self) -> str:
        """The split that was trained on."""
        return next(iter(set(self.banks) - set(self.evaluation)), POOL)


def read_provenance(path: Path, claim: Path) -> Provenance:
    """Read the provenance of a run or product.

    Args:
        path: provenance.json.
        claim: run.json or product.json beside it.

    Raises:
        FreeBindError: It is damaged, or that of another run or product.
    """
    found = files.read_json(path, Provenance)
    if found.run and claim.exists() and found.run != claim_digest(claim):
        raise FreeBindError(
            "this provenance belongs to another run",
            where=path,
            expected=f"that of {claim}",
            fix="restore it from where it was copied over",
        )
    return found


def claim_digest(claim: Path) -> str:
    """Return the digest of the claim in a file; see ``files.claim``."""
    return files.sha256_of_json(files.read_json(claim))


def fingerprints(evaluation: Mapping[str, BankSet]) -> Fingerprints:
    """Return the digests of the banks and pair tables of some splits."""
    return {
        name: banks.fingerprints() | banks.pair_fingerprints() for name, banks in evaluation.items()
    }


def require_unchanged(recorded: Mapping[str, str], banks: BankSet, fix: str) -> None:
    """Raise a FreeBindError if a bank or pair table that was recorded is gone or another.

    A notice says what has grown since, and how many items were removed.
    """
    grown, changed = since(recorded, banks)
    if changed:
        raise FreeBindError(
            "the banks have changed since this run read them",
            where=banks.split.path,
            expected="the fingerprints in provenance.json",
            got=f"others, or none, for {', '.join(changed)}",
            fix=fix,
        )
    for text in grown:
        notice_once(f"{banks.split.path}: this run knows {text}")


def tell_pool(provenance: Provenance, spaces: Iterable[str]) -> None:
    """Say what has grown, or was removed, of the pool that a run was trained on, if it is there."""
    with suppress(FreeBindError):
        banks = open_banks(provenance.data, provenance.pool, spaces=spaces)
        for text in since(provenance.banks.get(provenance.pool, {}), banks)[0]:
            notice_once(f"{banks.split.path}: this run was trained on {text}")


def tell_changed(recorded: Fingerprints, here: Fingerprints, where: object) -> None:
    """Name what was recorded and is gone, or has changed.

    A run that is repeated is evaluated on the data as they are now.
    """
    if gone := _gone(recorded, here):
        names = ", ".join(gone)
        notice_once(f"{where}: gone since the last results, which are computed again: {names}")
    if other := _changed(recorded, here):
        notice_once(f"{where}: changed since the last results: {', '.join(other)}")


def _gone(recorded: Fingerprints, here: Fingerprints) -> list[str]:
    return [f"{s}/{name}" for s in recorded for name in recorded[s] if name not in here.get(s, {})]


def _changed(recorded: Fingerprints, here: Fingerprints) -> list[str]:
    """Return what is another now; items that were removed since count, too."""
    return [
        f"{split}/{name}"
        for split in recorded
        for name, digest in here.get(split, {}).items()
        if recorded[split].get(name, "" if name.startswith("items/") else digest) != digest
    ]
