"""Plant random mistakes one by one and run the tests of their module: does a test fail?

mutmut knows the mistakes. Its runner puts all of them into one file, where a method has another
digest and another signature; so here a copy of the repository has one mistake at a time.
"""

from __future__ import annotations

import difflib
import importlib
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
import tyro
from mutmut.mutation import mutators

SKIPPED = (cst.Annotation, cst.Decorator, cst.Import, cst.ImportFrom, cst.FormattedString)
WORDS = ("FreeBindError", "unknown", "property", "TypeVar", "Float", "Mapping", "Literal")
TRIVIAL = (mutators.operator_assignment, mutators.operator_lambda, mutators.operator_arg_removal)
HEAVY = (
    "jax",
    "flax",
    "optax",
    "orbax.checkpoint",
    "grain",
    "torch",
    "matplotlib.pyplot",
    "mlflow",
)
# HEAVY has the plugins loaded that pytest would rewrite.
PYTEST = ["-q", "-x", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]


def drop_part(node: cst.BaseExpression) -> Iterator[cst.CSTNode]:
    """Leave out a keyword of a call, or an entry of a dictionary, list, tuple or set."""
    name = "args" if isinstance(node, cst.Call) else "elements"
    parts = getattr(node, name)
    for i, part in enumerate(parts):
        if name == "elements" or part.keyword:
            rest = [*parts[:i], *parts[i + 1 :]]
            yield node.with_changes(**{name: rest}) if rest or name == "args" else cst.Name("None")


def drop_call(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """Leave a statement out, or take the argument of a function for its result."""
    if isinstance(node, cst.Expr) and isinstance(node.value, cst.Call):
        yield cst.Pass()
    elif isinstance(node, cst.Call) and len(node.args) == 1 and not node.args[0].star:
        yield node.args[0].value


PARTS = (cst.Call, cst.Dict, cst.List, cst.Tuple, cst.Set)
OPERATORS = [pair for pair in mutators.mutation_operators if pair[1] not in TRIVIAL]
OPERATORS += [(PARTS, drop_part), ((cst.Expr, cst.Call), drop_call)]


def nodes(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """Yield the nodes where a mistake matters; not in types, docstrings and messages."""
    name = getattr(node, "func", getattr(node, "value", None))  # of what is called or subscripted
    words = getattr(name, "value", None) in WORDS
    docstring = isinstance(node, cst.Expr) and isinstance(node.value, cst.BaseString)
    if not (isinstance(node, SKIPPED) or words or docstring):
        yield node
        for child in node.children:
            yield from nodes(child)


def mutants(source: str) -> list[str]:
    """Return the source with each single mistake."""
    tree = cst.parse_module(source)
    return [
        tree.deep_replace(node, new).code
        for node in nodes(tree)
        for kind, operator in OPERATORS
        if isinstance(node, kind)
        for new in list(operator(node))[: 1 if operator is mutators.operator_string else None]
    ]


@dataclass
class Mutants:
    """Plant random mistakes one by one and run the tests of their module."""

    modules: tyro.conf.Positional[tuple[Path, ...]]
    """Modules of the package."""
    sample: int = 20
    """Number of mistakes in a module."""
    seed: int = 0
    """Seed of their draw."""
    tests: tuple[str, ...] = ()
    """Tests to run, nearest first; by default tests/PACKAGE/test_MODULE.py, then tests/PACKAGE."""
    minutes: float = 5
    """Time after which a mistake counts as noticed."""

    def survey(self, module: Path, copy: Path) -> None:
        """Print the mistakes in a module that no test notices, and how many were."""
        own = Path("tests", *module.parts[1:-1], f"test_{module.name}")
        tests = self.tests or [str(path) for path in (own, own.parent) if path.exists()]
        source, noticed = module.read_text(), 0
        every = mutants(source)
        chosen = random.Random(self.seed).sample(every, min(self.sample, len(every)))
        for mutant in (source, *chosen):  # without a mistake first
            (copy / module).write_text(mutant)
            process = multiprocessing.get_context("fork").Process(target=run, args=(copy, tests))
            process.start()
            process.join(60 * self.minutes)
            failed = process.exitcode != 0
            process.kill()
            if failed and mutant is source:
                sys.exit((copy / "tests.log").read_text())
            if not failed and mutant is not source:
                sides = source.split("\n"), mutant.split("\n")
                diff = difflib.unified_diff(*sides, str(module), n=1, lineterm="")
                print(*(line for line in diff if not line.startswith("+++")), sep="\n")
            noticed += failed
        (copy / module).write_text(source)
        print(f"{module}: {noticed} of {len(chosen)} noticed, {len(every)} possible", flush=True)


def run(copy: Path, tests: list[str]) -> None:
    """Run tests and leave the process with 0 if all pass."""
    import pytest

    for stream in (1, 2):
        os.dup2(os.open(copy / "tests.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    os.chdir(copy)
    sys.path.insert(0, str(copy))
    os._exit(pytest.main([*PYTEST, "-m", "not slow", *tests]))


if __name__ == "__main__":
    options = tyro.cli(Mutants)
    with tempfile.TemporaryDirectory() as folder:
        hidden = shutil.ignore_patterns(".*", "runs")
        shutil.copytree(".", folder, symlinks=True, ignore=hidden, dirs_exist_ok=True)
        os.environ["PYTHONPATH"] = f"{folder}:{os.environ.get('PYTHONPATH', '')}"
        os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{folder}/.compiled"
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        for name in HEAVY:  # once: the process of each mistake starts from here
            importlib.import_module(name)
        for path in options.modules:
            options.survey(path, Path(folder))
