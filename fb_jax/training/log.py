"""What a training writes while it runs: losses and rate, as JSON lines and for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fb_jax.banks import files

Record = dict[str, Any]


class TrainLog:
    """``metrics.jsonl`` and ``tensorboard/`` of a training folder.

    Args:
        folder: The training folder.
        step: Where the training goes on; later lines, of an attempt that was cut off, are dropped.
    """

    def __init__(self, folder: Path, step: int) -> None:
        path = folder / "metrics.jsonl"
        kept = [record for record in read_log(path) if record["step"] <= step]
        lines = b"".join(json.dumps(record).encode() + b"\n" for record in kept)
        files.write_atomic(path, lambda file: file.write(lines))
        self._file = path.open("a", buffering=1)
        from tensorboardX import SummaryWriter  # loads torch where there is one: not at import

        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, losses: Mapping[str, float], rows_per_second: float) -> None:
        """Add a line: the loss of every member that took part in a step, and the rate."""
        record: Record = {"step": step, "losses": dict(losses), "rows_per_second": rows_per_second}
        self._file.write(json.dumps(record) + "\n")
        self._board.add_scalar("rows_per_second", rows_per_second, step)
        for member, loss in losses.items():
            self._board.add_scalar(f"loss/{member}", loss, step)

    def __enter__(self) -> TrainLog:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()
        self._board.close()


def read_log(path: Path) -> Iterator[Record]:
    """Yield the whole lines of ``metrics.jsonl``; a last line that was cut off is passed over."""
    if path.exists():
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)
