"""DuckDB: a database file, ``items.duckdb``, with one table, ``items``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fb_jax.extras import import_extra
from fb_jax.interop.arrow import record_batch, schema_of
from fb_jax.interop.contents import Batch, Contents


def write(folder: Path, contents: Contents, batches: Iterator[Batch], _exact: bool) -> None:
    """Write the table; vectors are of the type FLOAT[d]. See ``programs.Write``."""
    duckdb, pa = import_extra("duckdb", "duckdb"), import_extra("pyarrow", "duckdb")
    schema = schema_of(contents, "duckdb")
    with duckdb.connect(str(folder / "items.duckdb")) as database:
        database.register("batch", schema.empty_table())
        database.execute("CREATE TABLE items AS FROM batch")
        for batch in batches:
            rows = pa.Table.from_batches([record_batch(batch, schema, "duckdb")])
            database.register("batch", rows)
            database.execute("INSERT INTO items FROM batch")
