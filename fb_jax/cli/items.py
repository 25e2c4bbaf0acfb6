"""Items of banks as commands find and show them, and the record of rows that a command wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Integer
from rich.markup import escape

from fb_jax.banks import Bank, BankSet
from fb_jax.errors import FreeBindError, shown, unknown

UNKNOWN = "unknown"


@dataclass(frozen=True)
class RowsAbout:
    """The record beside a file of rows.

    Attributes:
        space: Name of their space.
        modality: Name of their modality.
        weights_sha256: Digest of the encoder's weights, or of the fused space.
        role: "item" if they are rows to be found, with the columns of a hub correction.
    """

    space: str
    modality: str
    weights_sha256: str = UNKNOWN
    role: Literal["", "item"] = ""


def bank_of(banks: BankSet, space: str, modality: str) -> Bank:
    """Return a bank.

    Raises:
        FreeBindError: The space lacks the modality.
    """
    if modality not in (known := banks.modalities(space)):
        raise unknown(f"modality of {space}", modality, known, banks.split.path)
    return banks[space, modality]


def position_of(banks: BankSet, bank: Bank, row: int, title: str) -> Integer[np.ndarray, " one"]:
    """Return the position of a row of the item list in a bank.

    Raises:
        FreeBindError: The item has no embedding.
    """
    position = np.flatnonzero(banks.rows[bank.modality] == row)
    if not len(position):
        raise FreeBindError("this item has no embedding", where=bank.folder, got=title)
    return position


def caption(item: dict[str, Any]) -> str:
    """Return what an item is, for the terminal: its caption or path, and its id unless a number."""
    name = shown(item["id"])
    text = shown(item.get("caption") or item.get("path") or name)
    return escape(text if name.isdigit() or name in text else f"{text} ({name})")
