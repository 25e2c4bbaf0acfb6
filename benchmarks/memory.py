"""Memory for building pseudo pairs, with banks streamed or kept in memory: Linux only.

``python benchmarks/memory.py --keys 400000`` makes an image bank much larger than a chunk, and few
queries: it measures memory, not arithmetic.
"""

from __future__ import annotations

import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from fb_jax.banks import Synthetic, open_banks, write_synthetic
from fb_jax.files import gigabytes
from fb_jax.pseudo import Chunks, PairSpec, Retrieval, build_pairs

SPACES = ("imagebind", "clap_general")


@dataclass(frozen=True)
class Sizes:
    keys: int = 400_000
    """Images in the pool."""
    queries: int = 64
    """Texts and audios in the pool."""
    dim: int = 512
    """Dimension of the unified space."""


def anonymous_bytes() -> int:
    """Return the memory of this process without pages of mapped files."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"RssAnon:\s+(\d+)", status).group(1))


@contextmanager
def peak() -> Iterator[list[int]]:
    """Yield a list whose last entry is the largest growth so far, in bytes."""
    base, seen, done = anonymous_bytes(), [0], threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.append(max(seen[-1], anonymous_bytes() - base))
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


def main() -> None:
    sizes = tyro.cli(Sizes)
    pool = {"text": sizes.queries, "image": sizes.keys, "audio": sizes.queries}
    table = Table("banks", "on disk", "growth of memory", title=f"{pool}, d {sizes.dim}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        dims = {"imagebind": sizes.dim, "clap_general": 64}
        write_synthetic(root, Synthetic(pool=pool, evaluation={}, dims=dims, shard_rows=65536))
        banks = open_banks(root, spaces=SPACES)
        disk = sum(path.stat().st_size for path in root.rglob("*.npy"))
        chunks = Chunks(queries=1024)
        for name, limit in {"streamed": 0, "held": 1 << 40}.items():
            spec = PairSpec(banks, *SPACES, Retrieval(chunks=chunks))
            with peak() as seen:
                build_pairs(spec, root / name, resident_bytes=limit)
            table.add_row(name, gigabytes(disk), gigabytes(seen[-1]))
    Console().print(table)


if __name__ == "__main__":
    main()
