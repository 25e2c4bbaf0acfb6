"""Queries that are typed: a text, a picture or a recording, embedded by the spaces' encoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Float32
from tyro.conf import arg

from fb_jax.banks import Bank, Encoder, Split, splits
from fb_jax.errors import FreeBindError, notice_once
from fb_jax.extras import import_extra
from fb_jax.numerics import platform

Row = Float32[np.ndarray, "1 d"]


@dataclass(frozen=True)
class Typed:
    """One item to search for, and the encoders that embed it.

    Attributes:
        text: Text to search for.
        image: Picture to search for.
        audio: Recording to search for.
        encoder: Encoder that embeds it: FAMILY:MEMBER, such as st:all-MiniLM-L6-v2, MODULE:CLASS
            or a name. By default the one that the banks of the space name. With several spaces:
            SPACE=ENCODER.
        weights: File or folder of the encoder's weights. With several spaces: SPACE=PATH.
    """

    text: Annotated[str | None, arg(metavar="TEXT")] = None
    image: Annotated[Path | None, arg(metavar="FILE")] = None
    audio: Annotated[Path | None, arg(metavar="FILE")] = None
    encoder: Annotated[tuple[str, ...], arg(metavar="ENCODER ...")] = ()
    weights: Annotated[tuple[str, ...], arg(metavar="PATH ...")] = ()

    @property
    def given(self) -> bool:
        """Whether any of these options was given."""
        return self != Typed()

    def item(self) -> tuple[str, str | Path]:
        """Return the modality and the item.

        Raises:
            FreeBindError: There is none, or there are several.
        """
        every = {"text": self.text, "image": self.image, "audio": self.audio}
        items = [(modality, item) for modality, item in every.items() if item is not None]
        if len(items) != 1:
            raise FreeBindError(
                "there is not one item to embed",
                expected="one of --text, --image, --audio",
                got=" and ".join(f"--{modality}" for modality, _ in items) or "none of them",
            )
        return items[0]


def embed_typed(
    typed: Typed, root: Path, chosen: Sequence[str], spaces: Sequence[str], unified: str
) -> dict[str, Row]:
    """Embed what was typed in native spaces.

    Args:
        typed: The item, and its encoders.
        root: Bank root, whose manifests name encoders.
        chosen: Splits whose manifests count first.
        spaces: Native spaces that have the modality.
        unified: The one of them without which there is no query.

    Returns:
        Space to a unit row. Spaces whose encoder is not available are left out, and said.

    Raises:
        FreeBindError: The encoder of the unified space is not available, or an encoder cannot
            embed the item.
    """
    import_extra("torch", "encoders")
    from encoders_torch.queries import embed_query, query_encoders

    modality, item = typed.item()
    banks = {space: _banks(root, chosen, space, modality) for space in spaces}
    encoders = query_encoders(
        {space: own[0].encoder if own else Encoder("unknown") for space, own in banks.items()},
        {space: _sample(own) for space, own in banks.items()},
        typed.encoder,
        typed.weights,
    )
    device = "cuda" if platform() == "gpu" else "cpu"
    rows, unavailable = embed_query(encoders, modality, item, device)
    if unified in unavailable:
        raise unavailable[unified]
    for space, error in unavailable.items():
        notice_once(f"the query is fused without {space}: {error}")
    return rows


def _banks(root: Path, chosen: Sequence[str], space: str, modality: str) -> list[Bank]:
    """Return the banks of a space, those of the modality and of the chosen splits first."""
    banks = [
        Bank.open(Split(root / split).bank_path(space, name))
        for split in dict.fromkeys([*chosen, *splits(root)])
        for name in Split(root / split).spaces().get(space, ())
    ]
    return sorted(banks, key=lambda bank: bank.modality != modality)


def _sample(banks: Sequence[Bank]) -> tuple[str, Float32[np.ndarray, " d"]] | None:
    """Return a caption and its row, if there is one."""
    for bank in banks:
        if bank.modality == "text" and len(rows := bank.present()):
            item = Split(Path(bank.folder).parents[2]).items("text")[int(rows[0])]
            if caption := (item.get("caption") or "").strip():
                return caption, bank[rows[:1]][0]
    return None
