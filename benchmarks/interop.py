"""Exports of a run: how exact the scores of blocks are, candidates, and approximate indexes.

    python -m benchmarks.interop runs/word_world/imagebind-combination-clap_general
    python -m benchmarks.interop runs/word_world/one val

All on the split that is named, or test; without hub correction. The approximate indexes hold the
audios of the pool, 300 texts ask.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import faiss
import lancedb
import numpy as np

from fb_jax.banks import BankSet
from fb_jax.cli.source import source_of
from fb_jax.evaluation import nearest
from fb_jax.fusion import FusedSpace, sources
from fb_jax.interop import BlockQuery, block_contents, row_contents, write_export

FACTORS = [
    dict(zip(("audio", "text"), pair, strict=True))
    for pair in ((0.5, 0.1), (0.8, 0.5), (0.3, 0.3), (1.0, 0.0))
]
PAIRS = (("text", "audio"), ("audio", "text"), ("image", "audio"), ("image", "text"))
CANDIDATES = (10, 20, 50, 100)
TOP, QUERIES = 10, 300


def recall(found: np.ndarray, best: np.ndarray) -> float:
    """Return the mean share of the best rows that were found."""
    return float(np.mean([len(set(f) & set(b)) / len(b) for f, b in zip(found, best, strict=True)]))


def blocks(space: FusedSpace, banks: BankSet) -> None:
    """Print the largest difference of scores, and the recall of the best of some candidates."""
    stored = {g.modality: g.read(slice(None)) for g in block_contents(space, [banks]).galleries}
    for factors in FACTORS:
        query, fused = BlockQuery(space, factors), space.with_factors(**factors)
        for modality, find in PAIRS:
            asked, (vectors, numbers) = sources(space, banks, modality), stored[find]
            assert numbers is not None
            items = fused.fuse(find, sources(space, banks, find))
            ours, rows = nearest(fused.fuse(modality, asked), items, TOP)
            products = query.vectors(modality, asked, find) @ vectors.T
            order = np.argsort(-products, axis=1)
            recalls = []
            for count in CANDIDATES:
                some = order[:, :count]
                few = np.take_along_axis(products, some, axis=1)
                scores, places = query.rescore(few, numbers[some], find)
                found = np.take_along_axis(some, places[:, :TOP], axis=1)
                recalls.append(f"{100 * recall(found, rows):.2f}")
            off = np.abs(scores[:, :TOP] - ours).max()
            print(f"{factors} {modality}->{find}: off by {off:.1e}; recall {' '.join(recalls)}")


def approximate(pool: BankSet, test: BankSet, space: str) -> None:
    """Print the recall of approximate indexes of a space's audios."""
    queries = test[space, "text"][:QUERIES]
    _, best = nearest(queries, pool[space, "audio"], TOP)
    contents = row_contents(space, [pool], ["audio"])
    with tempfile.TemporaryDirectory() as folder:
        for program in ("faiss", "lancedb"):
            write_export(contents, program, Path(folder, program), index="approximate")
        index = faiss.read_index(str(Path(folder, "faiss", "items.faiss")))
        print(f"faiss: {100 * recall(index.search(queries, TOP)[1], best):.1f}")
        table = lancedb.connect(Path(folder, "lancedb")).open_table("items")
        for factor in (None, 10):
            searches = [table.search(row).distance_type("dot").limit(TOP) for row in queries]
            searches = [s.refine_factor(factor) if factor else s for s in searches]
            found = np.array([[hit["row"] for hit in s.to_list()] for s in searches])
            print(f"lancedb, refine factor {factor}: {100 * recall(found, best):.1f}")


if __name__ == "__main__":
    folder, split = (*sys.argv[1:], "test")[:2]
    source = source_of(Path(folder), None, None)
    asked = source.open(split)
    print(f"recall of the best {TOP} among {CANDIDATES} candidates, in %")
    blocks(source.space.plain, asked)
    approximate(source.open(source.pool), asked, source.space.spaces[0])
