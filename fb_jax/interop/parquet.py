"""Parquet: one file, ``items.parquet``, that pandas, polars, datasets and DuckDB read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fb_jax.extras import import_extra
from fb_jax.interop.arrow import record_batch, schema_of
from fb_jax.interop.contents import Batch, Contents


def write(folder: Path, contents: Contents, batches: Iterator[Batch], _exact: bool) -> None:
    """Write the table, one row group for each batch; see ``programs.Write``."""
    parquet = import_extra("pyarrow.parquet", "parquet")
    schema = schema_of(contents, "parquet")
    with parquet.ParquetWriter(folder / "items.parquet", schema) as file:
        for batch in batches:
            file.write_batch(record_batch(batch, schema, "parquet"))
