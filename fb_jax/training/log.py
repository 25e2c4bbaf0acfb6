"""Logging a training: JSON lines always, and any other logger by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.extras import import_extra
from fb_jax.registry import LOGGERS

Record = dict[str, Any]
LOSS = "loss/"


@runtime_checkable
class Logger(Protocol):
    """Where figures of a training go. A ``close`` method, if there is one, is called at the end."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record figures.

        Args:
            step: Steps taken.
            values: ``loss/MEMBER`` to the loss of every member that is training, in nats; and
                ``rows_per_second``.
        """


class JsonLines:
    """``metrics.jsonl`` of a training folder.

    Args:
        folder: The training folder.
        step: Where the training continues; later lines, from an interrupted attempt, are dropped.
    """

    def __init__(self, folder: Path, step: int) -> None:
        path = folder / "metrics.jsonl"
        kept = [record for record in read_log(path) if record["step"] <= step]
        lines = b"".join(json.dumps(record).encode() + b"\n" for record in kept)
        files.write_atomic(path, lambda file: file.write(lines))
        self._file = path.open("a", buffering=1)
        self.close = self._file.close

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a line."""
        losses = {k.removeprefix(LOSS): v for k, v in values.items() if k.startswith(LOSS)}
        others = {name: value for name, value in values.items() if not name.startswith(LOSS)}
        self._file.write(json.dumps({"step": step, "losses": losses, **others}) + "\n")


def read_log(path: Path | str) -> Iterator[Record]:
    """Yield the complete lines of ``metrics.jsonl``; a last line that was cut off is skipped."""
    path = Path(path)
    if path.exists():
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)


@LOGGERS.register("tensorboard")
class TensorBoard:
    """``tensorboard/`` of a training folder; see ``JsonLines``."""

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboardX import SummaryWriter  # imports torch where it is installed: so, not above

        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self.close = self._board.close

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to every curve."""
        for name, value in values.items():
            self._board.add_scalar(name, value, step)


@LOGGERS.register("wandb")
class WeightsAndBiases:
    """A run of Weights & Biases, in project ``freebind``; needs the extra ``wandb``."""

    extra = "wandb"

    def __init__(self, folder: Path, step: int) -> None:
        wandb = import_extra(self.extra, self.extra)
        name = folder.absolute().parent.name
        run_id = files.sha256_of_bytes(str(folder.absolute()).encode())[:12]  # resumes as one run
        self._run = wandb.init(
            project="freebind", name=name, id=run_id, resume="allow", dir=str(folder)
        )
        self.close = self._run.finish

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to every curve."""
        self._run.log(dict(values), step=step)


@LOGGERS.register("mlflow")
class MLflow:
    """A run of MLflow, at the tracking server that its environment names; the extra ``mlflow``."""

    extra = "mlflow"

    def __init__(self, folder: Path, step: int) -> None:
        self._mlflow = import_extra(self.extra, self.extra)
        self._run = self._mlflow.start_run(run_name=folder.absolute().parent.name)
        self.close = self._mlflow.end_run

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to every curve; MLflow allows no plus in a name."""
        named = {name.replace("+", "_"): value for name, value in values.items()}
        self._mlflow.log_metrics(named, step=step, run_id=self._run.info.run_id)


def require_loggers(names: Sequence[str]) -> None:
    """Raise a FreeBindError unless loggers of these names exist and their packages are there."""
    for name in names:
        if extra := getattr(LOGGERS.get(name), "extra", None):
            import_extra(extra, extra)


def _open(factory: Callable[[Path, int], Logger], folder: Path, step: int) -> Logger:
    try:
        return factory(folder, step)
    except FreeBindError:
        raise
    except Exception as error:  # such as a service without a login
        raise FreeBindError("a logger cannot start", where=factory, got=error) from error


class Loggers:
    """Several loggers as one, closed together."""

    def __init__(self) -> None:
        self.loggers: list[Logger] = []
        self._closing = ExitStack()

    @classmethod
    def of_folder(cls, folder: Path, step: int, names: Sequence[str]) -> Loggers:
        """Open the JSON lines of a training folder, and the loggers of some names.

        Raises:
            FreeBindError: There is no such logger, or its package is not installed.
        """
        opened, factories = cls(), [JsonLines, *map(LOGGERS.get, names)]
        with opened._closing:
            for factory in factories:
                opened.add(_open(factory, folder, step))
            opened._closing = opened._closing.pop_all()
        return opened

    def add(self, logger: Logger) -> None:
        """Pass figures on to one more logger."""
        self.loggers.append(logger)
        if hasattr(logger, "close"):
            self._closing.callback(logger.close)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Pass figures on."""
        for logger in self.loggers:
            logger.log(step, values)

    def __enter__(self) -> Loggers:
        return self

    def __exit__(self, *_error: object) -> None:
        self._closing.close()
