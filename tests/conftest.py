"""What the tests share: small synthetic banks and a run, made once, and float64 when asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import disturb
import jax
import pytest
from disturb import REPOSITORY, At
from hub_server import Hub, serving
from made import random_bond

from fb_jax.banks import BankSet, Synthetic, open_banks, write_synthetic
from fb_jax.console import console
from fb_jax.errors import NOTICED
from fb_jax.evaluation import Results
from fb_jax.fusion import FusedSpace
from fb_jax.projector import Bond, BondKind
from fb_jax.pseudo import Chunks, PairSet, PairSpec, Retrieval, build_pairs
from fb_jax.run import Job, Reporter
from fb_jax.run.choosing import Sets
from fb_jax.run.report import Report

# Where transformers copies a model folder's own code to; it looks when it is first imported.
os.environ.setdefault("HF_MODULES_CACHE", tempfile.mkdtemp())

# Where digests of weights are remembered; tests leave the user's cache alone.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp()

SPACES = ("imagebind", "clap_general")
POOL = {"text": 130, "image": 90, "audio": 110}
SMALL = """
out: run
store: pairs
training: {batch: 10, epochs: 2, hidden: 32}
"""


@pytest.fixture(autouse=True)
def nothing_noticed_yet() -> None:
    """Forget the notices of other tests: each is said once in a process."""
    NOTICED.clear()


class Done(NamedTuple):
    """What a command left: exit status, output, errors."""

    status: int
    out: str
    err: str


@pytest.fixture
def invoke(monkeypatch, capsys, tmp_path) -> Iterator[Callable[..., Done]]:
    """Run a command in this process, started in an empty folder of a wide terminal."""

    def invoke(main: Callable[[], None], *args: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["command", *map(str, args)])
        try:
            main()
            status = 0
        except SystemExit as stop:
            status = stop.code
        return Done(status, *capsys.readouterr())

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "width", 160)
    stops = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.getsignal(number) for number in stops]
    yield invoke
    for number, handler in zip(stops, handlers, strict=True):
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank root: pool of 130 texts, 90 images, 110 audios; val and test with pairs. Read only."""
    path = tmp_path_factory.mktemp("banks")
    write_synthetic(path, Synthetic(pool=POOL, evaluation={"val": 40, "test": 60}, shard_rows=50))
    return path


@pytest.fixture(scope="session")
def pool(root: Path) -> BankSet:
    return open_banks(root, spaces=SPACES)


@pytest.fixture(scope="session")
def test_banks(root: Path) -> BankSet:
    return open_banks(root, "test", spaces=SPACES)


@pytest.fixture(scope="session")
def pairs(pool: BankSet, tmp_path_factory: pytest.TempPathFactory) -> PairSet:
    """Finished pseudo pairs of an audio-text expert. Read only."""
    spec = PairSpec(pool, *SPACES, Retrieval(chunks=Chunks(queries=50, keys=32, inner=25)))
    return build_pairs(spec, tmp_path_factory.mktemp("pairs"))


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> Iterator[str]:
    """Single precision, then double: for tests that hold in both."""
    with jax.enable_x64(request.param == "float64"):
        yield request.param


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Every file below a folder with its bytes: folders are the same if these are equal."""

    def contents(folder: Path) -> dict[str, bytes]:
        paths = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths}

    return contents


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess]:
    """Run a script of the repository, or code, as a user would; processes share compiled code.

    With ``at``, it is disturbed: see ``disturb``.
    """
    shared = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "COLUMNS": "160",
    }

    def python(
        program: str, *args: object, cwd: Path, at: Sequence[At] = ()
    ) -> subprocess.CompletedProcess:
        what = [REPOSITORY / program] if program.endswith(".py") else ["-c", program]
        return disturb.run(*what, *args, at=at, cwd=cwd, env=shared)

    return python


@pytest.fixture(scope="session")
def run_folder(
    python: Callable[..., subprocess.CompletedProcess],
    root: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A finished run of train.py beside its pairs and what it printed, log.txt. Read only."""
    cwd = tmp_path_factory.mktemp("work")
    (cwd / "small.yaml").write_text(SMALL)
    done = python("train.py", "--config", "small.yaml", "--data", root, cwd=cwd)
    assert done.returncode == 0, done.stderr
    (cwd / "log.txt").write_text(done.stdout)
    return cwd / "run"


@pytest.fixture(scope="session")
def make_bond() -> Callable[[BondKind], Bond]:
    """Return a bond of imagebind (64) and clap_general (48) with random numbers: never trained."""

    @cache
    def make_bond(kind: BondKind) -> Bond:
        return random_bond(kind, ("imagebind", 64), ("clap_general", 48), ("text", "audio"))

    return make_bond


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Let random numbers, drawn by ``seed``, stand for the trained ones of products.

    It notes what is trained and reported; every product is at ``choice`` if there is one.
    """
    trained = SimpleNamespace(seed=0, runs=[], reports=[], choice=None)
    module = import_module("fb_jax.run.product")

    def train(job: Job, _: Reporter) -> Bond:
        trained.runs.append(job.config)
        spec = job.bond
        ends = [(getattr(spec, end), Bond(spec).dim(end)) for end in ("unified", "expert")]
        return random_bond(spec.kind, *ends, spec.shared, trained.seed)

    def report_space(space: FusedSpace, evaluation: Sets, folder: Path, *options: Any) -> Report:
        _, metrics, how, *_ = options
        trained.reports.append((space.title, list(evaluation), folder, metrics, how.aim))
        space = space.choosing(trained.choice) if trained.choice else space
        figures = {"unified": {"audio-text": {"MRR": 1.0}}}
        return Report(space, {"val": Results(figures, "val", metrics)})

    monkeypatch.setattr(module, "train", train)
    monkeypatch.setattr(module, "report", lambda *_: None)
    monkeypatch.setattr(module, "report_space", report_space)
    return trained


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub in this process, which huggingface_hub talks to by HTTP."""
    from huggingface_hub import constants

    with serving() as hub:
        template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", "hf_stand_in")
        yield hub
