"""LanceDB: the folder is a database with one table, ``items``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fb_jax.extras import import_extra
from fb_jax.interop.arrow import VECTOR, record_batch, schema_of
from fb_jax.interop.contents import Batch, Contents


def write(folder: Path, contents: Contents, batches: Iterator[Batch], exact: bool) -> None:
    """Write the table, and its index if it is to be approximate; see ``programs.Write``."""
    lancedb = import_extra("lancedb", "lancedb")
    schema = schema_of(contents, "lancedb")
    table = lancedb.connect(folder).create_table("items", schema=schema)
    for batch in batches:
        table.add(record_batch(batch, schema, "lancedb"))
    if not exact:
        table.create_index(VECTOR, config=lancedb.index.HnswSq(distance_type="dot"))
