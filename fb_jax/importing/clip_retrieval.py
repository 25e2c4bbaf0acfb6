"""The output folder of clip-retrieval: numbered embeddings of both modalities, and their items.

img_emb/img_emb_0.npy ...      text_emb/text_emb_0.npy ...      metadata/metadata_0.parquet ...
"""

from __future__ import annotations

from pathlib import Path

from fb_jax.importing.numpy_files import in_order, open_numbered
from fb_jax.importing.source import Choice, Source
from fb_jax.importing.table_files import open_table_columns

FOLDERS = {"image": "img_emb", "text": "text_emb"}
METADATA = "metadata"


def is_clip_retrieval(path: Path) -> bool:
    """Return whether a folder looks like the output of clip-retrieval."""
    return any((path / folder).is_dir() for folder in FOLDERS.values())


def open_clip_retrieval(path: Path, choice: Choice) -> list[Source]:
    """Open the embeddings of every modality that is there; row i is the same item in all."""
    metadata = path / METADATA
    columns = None
    if metadata.is_dir():
        in_order(metadata.glob("*.parquet"), metadata)  # no gap
        columns = open_table_columns(metadata)
    there = {m: path / name for m, name in FOLDERS.items() if (path / name).is_dir()}
    opened = {modality: open_numbered(folder, choice)[0] for modality, folder in there.items()}
    kind = "clip-retrieval's folder, {}"
    return [
        Source(path, kind.format(part.kind), part.matrix, columns, modality)
        for modality, part in opened.items()
    ]
