"""Kinds of values that are read from files, as msgspec checks them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Count = Annotated[int, Meta(ge=0, le=1 << 48)]
"""A number of rows or steps, from 0."""

Size = Annotated[int, Meta(ge=1, le=1 << 48)]
"""A number of rows, at least 1."""

Width = Annotated[int, Meta(ge=1, le=1 << 24)]
"""A dimension."""

Weight = Annotated[float, Meta(ge=0, le=1)]
"""A factor, 0 to 1."""

Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
"""A digest, in hex."""

FileName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9_.-]*\Z", max_length=255)]
"""A plain name: it cannot lead out of its folder."""
