"""One matrix written as every kind of source, with the owners' libraries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import datasets
import faiss
import lancedb
import ml_dtypes
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import safetensors.numpy
import safetensors.torch
import torch

from fb_jax.importing import Choice


class Store(NamedTuple):
    """How a kind of source is written.

    Attributes:
        name: Of the file or folder.
        write: Writes rows ``[n, d]`` to a path.
        choice: What to ask for.
    """

    name: str
    write: Callable[[Path, np.ndarray], object]
    choice: Choice = Choice()


def table(rows: np.ndarray, kind: str = "fixed") -> pa.Table:
    """Return rows as a table with ids 10, 11 ... and captions, the first of which is null."""
    flat, (count, dim) = pa.array(rows.ravel()), rows.shape
    if kind == "fixed":
        vectors: pa.Array = pa.FixedSizeListArray.from_arrays(flat, dim)
    elif kind == "large":
        vectors = pa.LargeListArray.from_arrays(np.arange(count + 1) * dim, flat)
    elif kind == "tensor":
        fixed = pa.FixedSizeListArray.from_arrays(flat, dim)
        vectors = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(flat.type, [dim]), fixed)
    else:
        offsets = np.arange(count + 1, dtype=np.int32) * np.int32(dim)
        vectors = pa.ListArray.from_arrays(offsets, flat)
    captions = [None, *(f"caption {i}" for i in range(1, count))]
    return pa.table({"key": np.arange(10, 10 + count), "emb": vectors, "TEXT": captions})


def _parquet(kind: str, **options: object) -> Callable[[Path, np.ndarray], object]:
    return lambda path, rows: pyarrow.parquet.write_table(table(rows, kind), path, **options)


def _parquet_folder(path: Path, rows: np.ndarray) -> None:
    """Write one file for each three rows; part-10 comes after part-9."""
    path.mkdir()
    (path / "_SUCCESS").touch()
    whole = table(rows)
    for number, first in enumerate(range(0, len(rows), 3)):
        part = whole.slice(first, 3)
        pyarrow.parquet.write_table(part, path / f"part-{number}.parquet")


def _stream(path: Path, rows: np.ndarray) -> None:
    whole = table(rows)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, whole.schema) as writer:
        writer.write_table(whole, max_chunksize=7)


def _feather(**options: object) -> Callable[[Path, np.ndarray], object]:
    return lambda path, rows: pyarrow.feather.write_feather(table(rows), str(path), **options)


def numbered(path: Path, rows: np.ndarray, name: str = "emb_{}", width: int = 3) -> None:
    """Write numbered ``.npy`` files of ``width`` rows."""
    path.mkdir(parents=True)
    for number, first in enumerate(range(0, len(rows), width)):
        np.save(path / f"{name.format(number)}.npy", rows[first : first + width])


def _clip_retrieval(path: Path, rows: np.ndarray) -> None:
    numbered(path / "img_emb", rows, "img_emb_{}")
    (path / "metadata").mkdir()
    whole = table(rows).drop_columns(["emb"])
    for number, first in enumerate(range(0, len(rows), 3)):
        part = whole.slice(first, 3)
        pyarrow.parquet.write_table(part, path / "metadata" / f"metadata_{number}.parquet")


def _lance(path: Path, rows: np.ndarray) -> None:
    """Write two fragments and delete a row between them."""
    whole, extra = table(rows), table(rows[:1]).set_column(0, "key", pa.array([-1]))
    half = len(rows) // 2
    made = lancedb.connect(path.parent).create_table(path.stem, whole.slice(0, half))
    made.add(extra)
    made.add(whole.slice(half))
    made.delete("key = -1")


def _dataset(path: Path, rows: np.ndarray) -> None:
    datasets.disable_progress_bars()
    datasets.Dataset(table(rows)).save_to_disk(path, num_shards=2)


def _dataset_dict(path: Path, rows: np.ndarray) -> None:
    datasets.disable_progress_bars()
    whole = datasets.Dataset(table(rows))
    both = datasets.DatasetDict(train=whole.select(range(2)), test=whole)
    both.save_to_disk(path)


def faiss_index(description: str, *, ids: bool = False) -> Callable[[Path, np.ndarray], object]:
    """Return a function that writes an index that faiss's factory makes."""

    def write(path: Path, rows: np.ndarray) -> None:
        index = faiss.index_factory(rows.shape[1], description)
        index.train(rows)
        add = (rows, np.arange(10, 10 + len(rows))) if ids else (rows,)
        (index.add_with_ids if ids else index.add)(*add)
        faiss.write_index(index, str(path))

    return write


def _npz(save: Callable[..., None]) -> Callable[[Path, np.ndarray], object]:
    return lambda path, rows: save(path, other=np.arange(3), few=rows[:2], x=rows)


KEY = Choice(key="x")
BFLOAT16 = Choice(read_as="bfloat16")

STORES = (
    Store("x.npy", np.save),
    Store("double.npy", lambda path, rows: np.save(path, rows.astype(np.float64))),
    Store("big-endian.npy", lambda path, rows: np.save(path, rows.astype(">f4"))),
    Store("fortran.npy", lambda path, rows: np.save(path, np.asfortranarray(rows))),
    Store("b.npy", lambda path, rows: np.save(path, rows.astype(ml_dtypes.bfloat16)), BFLOAT16),
    Store("plain.npz", _npz(np.savez), KEY),
    Store("packed.npz", _npz(np.savez_compressed), KEY),
    Store("one.npz", lambda path, rows: np.savez(path, rows)),
    Store("x.safetensors", lambda path, rows: safetensors.numpy.save_file({"x": rows}, path)),
    Store(
        "b.safetensors",
        lambda path, rows: safetensors.torch.save_file({"x": torch.tensor(rows).bfloat16()}, path),
    ),
    Store("x.pt", lambda path, rows: torch.save(torch.tensor(rows, requires_grad=True), path)),
    Store("dict.pth", lambda path, rows: torch.save({"x": torch.tensor(rows), "n": 3}, path)),
    Store("b.pt", lambda path, rows: torch.save({"x": torch.tensor(rows).bfloat16()}, path)),
    Store(
        "old.pt",
        lambda path, rows: torch.save(
            torch.tensor(rows), path, _use_new_zipfile_serialization=False
        ),
    ),
    Store("numbered", numbered),
    Store("clip", _clip_retrieval),
    Store("fixed.parquet", _parquet("fixed", row_group_size=7)),
    Store("list.parquet", _parquet("list", row_group_size=100)),
    Store("large.parquet", _parquet("large")),
    Store("tensor.parquet", _parquet("tensor")),
    Store("parts", _parquet_folder),
    Store("packed.feather", _feather(chunksize=7)),
    Store("plain.arrow", _feather(compression="uncompressed")),
    Store("stream.arrow", _stream),
    Store("hf", _dataset),
    Store("splits", _dataset_dict, Choice(key="test")),
    Store("t.lance", _lance),
    Store("flat.faiss", faiss_index("Flat")),
    Store("knn.index", faiss_index("HNSW8")),
    Store("ivf.index", faiss_index("IVF2,Flat")),
    Store("ids.faiss", faiss_index("IDMap,Flat", ids=True)),
    Store("ids-ivf.faiss", faiss_index("IDMap2,IVF2,Flat", ids=True)),
)
