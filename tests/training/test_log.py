import re
import resource
import sys

import pytest

from fb_jax.errors import FreeBindError
from fb_jax.registry import LOGGERS
from fb_jax.training import read_log
from fb_jax.training.log import open_loggers

LINES = [
    {"step": step, "losses": {"text": 3.0 / step, "text+audio": 0.1}, "rows_per_second": 1e6}
    for step in (1, 2, 3)
]


def open_log(folder, step):
    return open_loggers(folder, step, ("tensorboard",))


def write(log, step, losses, rows_per_second):
    values = {f"loss/{member}": loss for member, loss in losses.items()}
    log.log(step, {**values, "rows_per_second": rows_per_second})


@pytest.fixture
def log(tmp_path):
    """A training folder with the lines of three steps."""
    with open_log(tmp_path, 0) as log:
        for line in LINES:
            write(log, **line)
    return tmp_path


def test_lines_are_read_as_they_were_written(log):
    assert list(read_log(log / "metrics.jsonl")) == LINES


def test_lines_can_be_read_while_the_training_runs(tmp_path):
    with open_log(tmp_path, 0) as log:
        write(log, **LINES[0])
        assert list(read_log(tmp_path / "metrics.jsonl")) == LINES[:1]


def test_where_nothing_was_logged_there_are_no_lines(tmp_path):
    assert list(read_log(tmp_path / "metrics.jsonl")) == []


@pytest.mark.parametrize("kept", [1, 2, 20])
def test_a_last_line_that_was_cut_off_is_passed_over(log, kept):
    path = log / "metrics.jsonl"
    *whole, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole) + last[:kept])
    assert list(read_log(path)) == LINES[:2]


@pytest.mark.parametrize(
    "line",
    [b"", b'{"step": 2, "los', b'{"step": 2}', b'{"step": "2", "losses": {}}', b"[]", b"\xff"],
)
def test_a_malformed_line_is_named(log, line):
    path = log / "metrics.jsonl"
    first, _, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + line + b"\n" + last)
    with pytest.raises(FreeBindError, match=r"metrics.jsonl, line 2\n"):
        list(read_log(path))


@pytest.mark.parametrize("step", [0, 1, 3])
def test_going_on_drops_the_lines_of_later_steps(log, step):
    with open_log(log, step) as again:
        write(again, **LINES[2])
    assert list(read_log(log / "metrics.jsonl")) == [*LINES[:step], LINES[2]]


def test_continuing_after_a_line_that_was_cut_off_leaves_whole_lines(log):
    path = log / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    with open_log(log, 3) as again:
        write(again, **LINES[2])
    assert list(read_log(path)) == LINES


def test_tensorboard_gets_a_curve_for_every_member_and_the_rate(log):
    (events,) = (log / "tensorboard").iterdir()
    written = events.read_bytes()
    assert written.count(b"brain.Event:2") == 1
    for tag in (b"loss/text\x15", b"loss/text_audio\x15", b"rows_per_second\x15"):
        assert written.count(tag) == 3  # TensorBoard allows no plus in a name


def test_loggers_are_chosen_by_name_and_closed(tmp_path):
    closed = []

    @LOGGERS.register("own")
    class Own:
        def __init__(self, folder, step):
            self.values = {"folder": folder, "step": step}

        def log(self, step, values):
            self.values |= {step: dict(values)}

        def close(self):
            closed.append(self.values)

    try:
        with open_loggers(tmp_path, 7, ("own",)) as log:
            log.log(8, {"loss/text": 1.0})
    finally:
        del LOGGERS._methods["own"]
    assert closed == [{"folder": tmp_path, "step": 7, 8: {"loss/text": 1.0}}]
    assert not (tmp_path / "tensorboard").exists()
    wrong = open_loggers(tmp_path, 0, ("tensorbord",))
    with pytest.raises(FreeBindError, match=r"no logger 'tensorbord'(.|\n)*'tensorboard'"), wrong:
        pass


class Broken:
    """A logger that fails in a chosen method."""

    def __init__(self, method):
        self.method, self.steps = method, []

    def log(self, step, values):
        self.steps.append(step)
        self._fail("log")

    def close(self):
        self._fail("close")

    def _fail(self, method):
        if method == self.method:
            raise ConnectionError("the service\nis away")


@pytest.mark.parametrize(("method", "steps"), [("log", [1]), ("close", [1, 2])])
def test_a_logger_that_fails_is_told_of_once_and_left_out(
    tmp_path, capsys, monkeypatch, method, steps
):
    broken, well = Broken(method), Broken("none")
    monkeypatch.setitem(LOGGERS._methods, "broken", lambda _folder, _step: broken)

    def train():
        with open_loggers(tmp_path, 0, ("broken",), [well]) as log:
            for line in LINES[:2]:
                write(log, **line)
            raise ZeroDivisionError  # which no error of a logger replaces

    with pytest.raises(ZeroDivisionError):
        train()
    assert (broken.steps, well.steps) == (steps, [1, 2])
    told = capsys.readouterr().err
    assert told == (
        "a logger is left out from here on: Broken: ConnectionError: the service is away\n"
    )


def test_a_disk_that_fills_up_ends_the_logs_alone(tmp_path, capsys):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open_log(tmp_path, 0) as log:
        write(log, **LINES[0])
        resource.setrlimit(resource.RLIMIT_FSIZE, (120, hard))  # in the middle of the second line
        try:
            for line in LINES[1:]:
                write(log, **line)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    told = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in told] == ["JsonLines", "TensorBoard"]
    with open_log(tmp_path, 1) as again:
        for line in LINES[1:]:
            write(again, **line)
    assert list(read_log(tmp_path / "metrics.jsonl")) == LINES


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_logger_whose_package_is_missing_says_what_to_install(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    needed = pytest.raises(FreeBindError, match=rf"pip install 'freebind-jax\[{name}\]'")
    with needed, open_loggers(tmp_path, 0, (name,)):
        pass


def test_mlflow_gets_every_figure(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    uri = (tmp_path / "runs").as_uri()
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri(uri)
    with open_loggers(tmp_path / "run" / "bond", 0, ("mlflow",)) as log:
        for line in LINES:
            write(log, **line)
        run_id = mlflow.active_run().info.run_id
    assert mlflow.active_run() is None
    history = mlflow.MlflowClient(uri).get_metric_history(run_id, "loss/text")
    assert [(point.step, point.value) for point in history] == [(1, 3.0), (2, 1.5), (3, 1.0)]
    assert mlflow.MlflowClient(uri).get_metric_history(run_id, "loss/text_audio")


def test_weights_and_biases_gets_every_figure(tmp_path, monkeypatch, capfd):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    with open_loggers(tmp_path / "run" / "bond", 0, ("wandb",)) as log:
        write(log, **LINES[0])
        assert (wandb.run.project, wandb.run.name) == ("freebind", "run")
    assert re.search(r"loss/text 3\n(.|\n)*rows_per_second 1000000", capfd.readouterr().err)
    assert list((tmp_path / "run" / "bond" / "wandb").glob("offline-run-*/*.wandb"))
