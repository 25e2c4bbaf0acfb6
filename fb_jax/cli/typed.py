"""Queries that are typed: a text, a picture or a recording, embedded by the spaces' encoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Float32
from rich.markup import escape
from tyro.conf import arg

from fb_jax.banks import Bank, Encoder, Split
from fb_jax.cli.origin import banks_of, fused_space_of, roots_of, unknown_space
from fb_jax.cli.queries import Query, Titled, titled
from fb_jax.errors import FreeBindError, notice_once, shown
from fb_jax.extras import import_extra
from fb_jax.fusion import FusedSpace, ItemEncoder, SearchedSpace
from fb_jax.fusion.banks import is_fused
from fb_jax.numerics import platform

NOBODY = Encoder("unknown, since no bank of it is here")
"""The encoder of a space without banks."""


@dataclass(frozen=True)
class Typed:
    """One item to embed and search for, and the encoders that do it.

    Attributes:
        text: Text to search for.
        image: Picture to search for.
        audio: Recording to search for.
        encoder: Encoder that embeds it: FAMILY:MEMBER, such as st:all-MiniLM-L6-v2, MODULE:CLASS
            or a name. By default the one that the banks of the space name. With several spaces:
            SPACE=ENCODER.
        weights: File or folder of the encoder's weights. With several spaces: SPACE=PATH.
        trust_remote_code: Run the code in a model's folder, as internvl needs. Read it first.

    Raises:
        FreeBindError: There are several items, or encoders without an item.
    """

    text: Annotated[str | None, arg(metavar="TEXT")] = None
    image: Annotated[Path | None, arg(metavar="FILE")] = None
    audio: Annotated[Path | None, arg(metavar="FILE")] = None
    encoder: Annotated[tuple[str, ...], arg(metavar="ENCODER ...")] = ()
    weights: Annotated[tuple[str, ...], arg(metavar="PATH ...")] = ()
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        items = self._items()
        if len(items) > 1 or (
            not items and (self.encoder or self.weights or self.trust_remote_code)
        ):
            raise FreeBindError(
                "there is not one item to embed",
                expected="one of --text, --image, --audio",
                got=" and ".join(f"--{modality}" for modality, _ in items) or "none of them",
            )

    def _items(self) -> list[tuple[str, str | Path]]:
        every = {"text": self.text, "image": self.image, "audio": self.audio}
        return [(modality, item) for modality, item in every.items() if item is not None]

    @property
    def given(self) -> bool:
        """Whether there is an item."""
        return bool(self._items())

    @property
    def item(self) -> tuple[str, str | Path]:
        """The modality and the item, if there is one."""
        return self._items()[0]


def find_typed(typed: Typed, query: Query, bank: Bank, splits: Sequence[Split]) -> Titled:
    """Return what was typed as a row that asks in the space that is searched.

    Args:
        typed: The item, and its encoders.
        query: The other options; only ``run`` may be given.
        bank: A bank that is searched.
        splits: The splits that are searched.

    Raises:
        FreeBindError: There is another query, this one cannot be embedded in the unified space of
            the one that is searched, or nothing says which space that is.
    """
    modality, item = typed.item
    if query != Query(run=query.run):
        raise FreeBindError(
            "two kinds of query", expected=f"--{modality} alone, or --like, or --queries"
        )
    fused = fused_space_of(bank, splits[0], query.run)
    if fused is None and is_fused(bank) and not typed.encoder:
        raise unknown_space(bank)
    searched = SearchedSpace(bank.space, fused)
    roots, names = roots_of(bank, splits[0]), [split.name for split in splits]
    native = (bank.space,) if fused is None else fused.spaces
    rows = embed_typed(typed, roots, names, searched.spaces_of(modality), native)
    return titled([escape(shown(f"{modality}: {item}"))], searched, rows, modality)


def embed_typed(
    typed: Typed,
    roots: Sequence[Path],
    chosen: Sequence[str],
    spaces: Sequence[str],
    native: Sequence[str],
) -> dict[str, Float32[np.ndarray, "1 d"]]:
    """Embed what was typed in native spaces.

    Args:
        typed: The item, and its encoders.
        roots: Bank roots, whose manifests name encoders.
        chosen: Splits whose manifests count first.
        spaces: Native spaces that have the modality; without the first there is no query.
        native: All native spaces; encoders of any may be named.

    Returns:
        Space to a unit row. Spaces whose encoder is not available are left out, with a notice.

    Raises:
        FreeBindError: The encoder of the first space is not available, or an encoder cannot embed
            the item or did not compute the banks of its space.
    """
    import_extra("torch", "encoders")
    from encoders_torch.queries import embed_query, query_encoders

    modality, item = typed.item
    banks = {space: banks_of(roots, chosen, space, modality) for space in spaces}
    encoders = query_encoders(
        {space: own[0].encoder if own else NOBODY for space, own in banks.items()},
        {space: _sample(own) for space, own in banks.items()},
        typed.encoder,
        typed.weights,
        native,
        typed.trust_remote_code,
    )
    device = "cuda" if platform() == "gpu" else "cpu"
    rows, unavailable = embed_query(encoders, modality, item, device)
    if spaces[0] in unavailable:
        raise unavailable[spaces[0]]
    for error in unavailable.values():
        notice_once(str(error))
    return rows


def load_encoders(
    space: FusedSpace, names: Sequence[str], weights: Sequence[str], trust_remote_code: bool
) -> dict[str, ItemEncoder]:
    """Load encoders of a fused space's native spaces: those that are named, or that it records.

    Args:
        space: The fused space.
        names: ``SPACE=ENCODER``, as in ``Typed``.
        weights: ``SPACE=PATH``, as in ``Typed``.
        trust_remote_code: Run the code in a model's folder.

    Raises:
        FreeBindError: A name is that of another space, or an encoder cannot be loaded.
    """
    import_extra("torch", "encoders")
    from encoders_torch.queries import load_encoders as load

    device = "cuda" if platform() == "gpu" else "cpu"
    return dict(load(space.encoders, names, weights, space.spaces, device, trust_remote_code))


def _sample(banks: Sequence[Bank]) -> tuple[str, Float32[np.ndarray, " d"]] | None:
    """Return a caption and its row, if there is one."""
    for bank in banks:
        if bank.modality == "text" and len(rows := bank.present()):
            item = Split(Path(bank.folder).parents[2]).items("text")[int(rows[0])]
            if caption := (item.get("caption") or "").strip():
                return caption, bank[rows[:1]][0]
    return None
