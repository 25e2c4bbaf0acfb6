"""Qdrant: the folder is the storage of its local mode, with one collection, ``items``."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from fb_jax.errors import notice_once
from fb_jax.extras import import_extra
from fb_jax.interop.contents import Batch, Contents

MOST_LOCAL = 20_000
"""Number of items above which Qdrant advises against its local mode."""


def point_id(record: dict[str, Any]) -> str:
    """Return the id of an item's point: Qdrant takes whole numbers and UUIDs only."""
    place = "/".join(record[name] for name in ("split", "modality", "id"))
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"freebind:{place}"))


def write(folder: Path, contents: Contents, batches: Iterator[Batch], _exact: bool) -> None:
    """Write the collection; everything but the vector is payload. See ``programs.Write``."""
    qdrant = import_extra("qdrant_client", "qdrant")
    models = qdrant.models
    if len(contents) > MOST_LOCAL:
        notice_once(
            f"qdrant: the local mode searches slowly above {MOST_LOCAL:,} items; "
            "QdrantClient.migrate copies them to a server"
        )
    with closing(qdrant.QdrantClient(path=str(folder))) as client, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # says what the notice says
        form = models.VectorParams(size=contents.dim, distance=models.Distance.DOT)
        client.create_collection("items", vectors_config=form)
        for batch in batches:
            client.upload_collection(
                "items",
                vectors=batch.vectors,
                payload=batch.records,
                ids=[point_id(record) for record in batch.records],
            )
