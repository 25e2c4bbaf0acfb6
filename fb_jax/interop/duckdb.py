"""DuckDB: a database file, ``items.duckdb``, with one table, ``items``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fb_jax.extras import import_extra
from fb_jax.interop.arrow import record_batch, schema_of
from fb_jax.interop.contents import Batch, Contents

MOST_MEMORY = "1GB"
"""Memory that DuckDB may take; it writes what is beyond to the disk."""


def write(folder: Path, contents: Contents, batches: Iterator[Batch], _exact: bool) -> None:
    """Write the table; vectors are of the type FLOAT[d]. See ``programs.Write``."""
    duckdb, pa = import_extra("duckdb", "duckdb"), import_extra("pyarrow", "duckdb")
    schema, settings = schema_of(contents, "duckdb"), {"memory_limit": MOST_MEMORY}
    with duckdb.connect(str(folder / "items.duckdb"), config=settings) as database:
        database.begin()  # one transaction takes a third of the time of one for each batch
        database.register("batch", schema.empty_table())
        database.execute("CREATE TABLE items AS FROM batch")
        for batch in batches:
            rows = pa.Table.from_batches([record_batch(batch, schema, "duckdb")])
            database.register("batch", rows)
            database.execute("INSERT INTO items FROM batch")
        database.commit()
