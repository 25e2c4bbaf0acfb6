"""Logging a training: JSON lines always, and any other logger by name."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypedDict, runtime_checkable

from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.extras import import_extra
from fb_jax.process import tell
from fb_jax.registry import LOGGERS

LOSS = "loss/"
MOST_LOG = 1 << 32


class Record(TypedDict):
    """A line of ``metrics.jsonl``.

    Attributes:
        step: Steps taken.
        losses: Member to loss, in nats.
        rows_per_second: Rows trained on in a second.
    """

    step: int
    losses: dict[str, float]
    rows_per_second: float


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
    """Yield the lines of ``metrics.jsonl``; a last line that was cut off is skipped.

    Raises:
        FreeBindError: Another line is malformed, or the file cannot be read.
    """
    path = Path(path)
    if not path.exists():
        return
    what = "not a line of a training's log (a bond does not depend on it: delete the line)"
    *lines, _ = files.read_bytes(path, MOST_LOG, "a log").split(b"\n")
    for number, line in enumerate(lines, start=1):
        yield files.parse_json(line, what, f"{path}, line {number}", Record)


@LOGGERS.register("tensorboard")
class TensorBoard:
    """``tensorboard/`` of a training folder; see ``JsonLines``.

    Not by ``SummaryWriter``: its thread dies when the disk is full, and then it waits for ever.
    """

    def __init__(self, folder: Path, step: int) -> None:
        # tensorboardX imports torch where it is installed: so, not above
        from tensorboardX import RecordWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.summary import scalar

        self._event, self._scalar = Event, scalar
        board = folder / "tensorboard"
        board.mkdir(exist_ok=True, parents=True)
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{step}"
        self._records = RecordWriter(str(board / name))
        self.close = self._records.close
        self._add(0, file_version="brain.Event:2")
        start = SessionLog(status=SessionLog.START)  # hides an interrupted attempt's later points
        self._add(step + 1, session_log=start)

    def _add(self, step: int, **what: Any) -> None:
        event = self._event(wall_time=time.time(), step=step, **what)
        self._records.write(event.SerializeToString())

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to every curve."""
        for name, value in values.items():
            self._add(step, summary=self._scalar(name, value))
        self._records.flush()


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
        raise FreeBindError(
            "a logger cannot start",
            where=factory,
            got=error,
            fix="mend it, or leave it out of --runtime.loggers",
        ) from error


class Loggers:
    """Several loggers as one. One that fails is named and left out: it must not end a training.

    Args:
        working: The loggers.
    """

    def __init__(self, working: Iterable[Logger] = ()) -> None:
        self.working = list(working)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Pass figures on."""
        for logger in [*self.working]:
            self._try(logger, "log", step, values)

    def close(self, logger: Logger) -> None:
        """Close a logger that has a ``close`` method."""
        if hasattr(logger, "close"):
            self._try(logger, "close")

    def _try(self, logger: Logger, method: str, *args: Any) -> None:
        try:
            getattr(logger, method)(*args)
        except Exception as error:
            if logger in self.working:
                self.working.remove(logger)
                why = " ".join(f"{type(error).__name__}: {error}".split())
                tell(f"a logger is left out from here on: {type(logger).__name__}: {why}")


@contextmanager
def open_loggers(
    folder: Path, step: int, names: Sequence[str], others: Iterable[Logger] = ()
) -> Iterator[Loggers]:
    """Open the JSON lines of a training folder and the loggers of some names; close them after.

    Args:
        folder: The training folder.
        step: Where the training continues.
        names: Names of loggers.
        others: Loggers that log too and stay open.

    Raises:
        FreeBindError: There is no such logger, its package is not installed, or it cannot start.
    """
    loggers = Loggers()
    with ExitStack() as closing:
        for factory in (JsonLines, *map(LOGGERS.get, names)):
            logger = _open(factory, folder, step)
            closing.callback(loggers.close, logger)
            loggers.working.append(logger)
        loggers.working.extend(others)
        yield loggers
