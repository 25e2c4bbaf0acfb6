"""Memory and time of evaluation at the paper's scale: Linux only.

``python -m benchmarks.evaluation`` runs each case in a process of its own, on synthetic rows of 32
dimensions (an argument: others). *growth* is the peak of the memory that the process took after its
rows were on disk and JAX had started. *floor ratio* is the time against that of the matrix products
alone, at the rate that the same process measured before.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.memory import peak
from fb_jax.banks import BankSet
from fb_jax.evaluation import Bootstrap, tabulate
from fb_jax.evaluation.memory import bytes_for_rows
from fb_jax.evaluation.tables.tabulating import tasks_on
from fb_jax.files import gigabytes

Pairs = dict[tuple[str, str], np.ndarray]
Case = tuple[dict[str, int], Pairs]


def retrieval(items: int, captions: int = 1) -> Case:
    """Return counts and pairs of images with captions."""
    texts = items * captions
    pairs = np.stack([np.repeat(np.arange(items), captions), np.arange(texts)], axis=1)
    return {"image": items, "text": texts}, {("image", "text"): pairs}


def classes(items: int, count: int, templates: int, labels: int = 1) -> Case:
    """Return counts and tables of labelled images and prompts."""
    rng, texts = np.random.default_rng(0), count * templates
    label = rng.integers(count, size=items * labels)
    own = np.stack([np.repeat(np.arange(items), labels), label], axis=1)
    prompts = np.stack([np.arange(texts) // templates, np.arange(texts)], axis=1)
    tables = {("image", "class"): np.unique(own, axis=0), ("class", "text"): prompts}
    return {"image": items, "text": texts}, tables


CASES: dict[str, Callable[[], Case]] = {
    "COCO: 5,000 images, 25,000 captions": lambda: retrieval(5000, 5),
    "ImageNet: 50,000 x 1,000, 80 templates": lambda: classes(50_000, 1000, 80),
    "AudioSet: 20,000 x 527, 3 labels each": lambda: classes(20_000, 527, 1, 3),
    "retrieval, 100,000 x 100,000": lambda: retrieval(100_000),
}


def measure(name: str, resamples: int, dim: int) -> dict[str, float]:
    """Return bytes and seconds of a case, and the seconds of its matrix products."""
    counts, tables = CASES[name]()
    with tempfile.TemporaryDirectory() as folder:
        rows = {m: _on_disk(Path(folder) / f"{m}.npy", n, dim) for m, n in counts.items()}
        banks = BankSet.from_arrays({"space": rows}, tables, "bench")
        rate = matmul_rate(dim)
        tasks = tasks_on("bench", banks)
        with peak() as seen:
            start = time.perf_counter()
            tabulate({"space": "space"}, {"bench": banks}, bootstrap=Bootstrap(resamples))
            seconds = time.perf_counter() - start
    needed = bytes_for_rows({"space": "space"}, banks, [task.pair for task in tasks])
    return {
        "growth": seen[-1],
        "rows": needed,
        "seconds": seconds,
        "floor": _flops(banks, dim) / rate,
    }


def _on_disk(path: Path, count: int, dim: int) -> np.ndarray:
    """Return a memory map of random rows, written block by block."""
    rows = np.lib.format.open_memmap(path, "w+", np.float16, (count, dim))
    rng = np.random.default_rng(count)
    for start in range(0, count, 8192):
        rows[start : start + 8192] = rng.normal(size=(len(rows[start : start + 8192]), dim))
    rows.flush()
    return np.load(path, mmap_mode="r")


def _flops(banks: BankSet, dim: int) -> float:
    """Return the operations of the products: both directions, or items with classes once."""
    (task,) = tasks_on("bench", banks)
    table = banks.pairs(*task.pair)
    left, right = (len(np.unique(side)) for side in table.T)
    return (2 if task.pair[1] != "class" else 1) * 2.0 * left * right * dim


def matmul_rate(dim: int, size: int = 4096) -> float:
    """Return operations per second of a product of float32 matrices on this machine."""
    x, y = jnp.ones((size, dim)), jnp.ones((dim, size))
    product = jax.jit(lambda x, y: jnp.matmul(x, y, precision=jax.lax.Precision.HIGHEST).max())
    product(x, y).block_until_ready()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        product(x, y).block_until_ready()
        times.append(time.perf_counter() - start)
    return 2 * size * size * dim / min(times)


def main(dim: int) -> None:
    table = Table(
        "case", "resamples", "rows", "growth", "seconds", "floor ratio", title=f"{dim} dimensions"
    )
    for name in CASES:
        for resamples in (0, 200):
            command = [
                sys.executable,
                "-m",
                "benchmarks.evaluation",
                name,
                str(resamples),
                str(dim),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            sizes = (gigabytes(found["rows"]), gigabytes(found["growth"]))
            times = (f"{found['seconds']:.1f}", f"{found['seconds'] / found['floor']:.1f}")
            table.add_row(name, str(resamples), *sizes, *times)
    Console().print(table)


if __name__ == "__main__":
    if sys.argv[2:]:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 32)
