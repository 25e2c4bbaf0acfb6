"""Batches as Arrow's, for the programs that take them."""

from __future__ import annotations

from typing import Any

from fb_jax.extras import import_extra
from fb_jax.interop.contents import NUMBERS, Batch, Contents

VECTOR = "vector"


def schema_of(contents: Contents, extra: str) -> Any:
    """Return the schema: id, split, modality, row, caption, path, vector, and ``NUMBERS``."""
    pa = import_extra("pyarrow", extra)
    text, vector = pa.string(), pa.list_(pa.float32(), contents.dim)
    columns = {"id": text, "split": text, "modality": text, "row": pa.int64()}
    columns |= {"caption": text, "path": text, VECTOR: vector}
    return pa.schema(columns | (dict.fromkeys(NUMBERS, pa.float64()) if contents.numbers else {}))


def record_batch(batch: Batch, schema: Any, extra: str) -> Any:
    """Return a batch in a schema; its numbers are not copied."""
    pa = import_extra("pyarrow", extra)
    columns = {
        name: [record[name] for record in batch.records] for name in schema.names if name != VECTOR
    }
    columns[VECTOR] = pa.FixedSizeListArray.from_arrays(
        pa.array(batch.vectors.ravel()), batch.vectors.shape[1]
    )
    return pa.record_batch([pa.array(columns[f.name], f.type) for f in schema], schema=schema)
