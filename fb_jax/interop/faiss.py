"""faiss: ``items.faiss``, an index of inner products, and ``items.jsonl``: line i is its id i."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fb_jax import files
from fb_jax.extras import import_extra
from fb_jax.interop.contents import Batch, Contents

LINKS, BUILD_DEPTH, SEARCH_DEPTH = 32, 200, 128
"""Settings of HNSW: M, efConstruction and efSearch."""


def write(folder: Path, contents: Contents, batches: Iterator[Batch], exact: bool) -> None:
    """Write a flat index, or HNSW if it is to be approximate; see ``programs.Write``.

    Batches are added one by one; faiss holds the whole index in memory.
    """
    faiss = import_extra("faiss", "faiss")
    index = faiss.IndexFlatIP(contents.dim)
    if not exact:
        index = faiss.IndexHNSWFlat(contents.dim, LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction, index.hnsw.efSearch = BUILD_DEPTH, SEARCH_DEPTH
    with (folder / "items.jsonl").open("xb") as lines:
        for batch in batches:
            index.add(batch.vectors)
            lines.writelines(files.canonical_json(record) + b"\n" for record in batch.records)
    faiss.write_index(index, str(folder / "items.faiss"))
