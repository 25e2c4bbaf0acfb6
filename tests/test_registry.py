import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fb_jax.errors import FreeBindError
from fb_jax.registry import Registry, code_digest

SOURCE = '''
SCALE = 2.0

def helper(x):
    return x + 1

def method(x):
    """Docstring."""
    return SCALE * helper(x)  # comment

class Logger:
    def log(self, x):
        return helper(x)
'''


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Write a module and import it, however often."""
    monkeypatch.syspath_prepend(tmp_path)

    def load(source: str):
        (tmp_path / "own_methods.py").write_text(source)
        sys.modules.pop("own_methods", None)
        importlib.invalidate_caches()
        sys.dont_write_bytecode = True
        import linecache

        linecache.checkcache()
        return importlib.import_module("own_methods")

    yield load
    sys.modules.pop("own_methods", None)


@pytest.mark.parametrize(
    "edit",
    [("SCALE * helper", "helper"), ("x + 1", "x + 1.0"), ("SCALE = 2.0", "SCALE = 3.0")],
    ids=["the function", "a function that it calls", "a constant that it names"],
)
def test_an_edit_of_what_is_computed_changes_the_digest(load, edit):
    before = code_digest(load(SOURCE).method)
    assert code_digest(load(SOURCE.replace(*edit)).method) != before


@pytest.mark.parametrize(
    "edit", [("Docstring", "Another"), ("  # comment", ""), ("\n\n", "\n\n\n")]
)
def test_words_and_layout_do_not_count(load, edit):
    before = code_digest(load(SOURCE).method)
    assert code_digest(load(SOURCE.replace(*edit)).method) == before


def test_a_class_is_digested_with_what_its_methods_call(load):
    before = code_digest(load(SOURCE).Logger)
    assert code_digest(load(SOURCE.replace("x + 1", "x - 1")).Logger) != before


def test_code_without_a_source_is_digested_too():
    def make(text):
        names = {}
        exec(text, names)
        return names["f"]

    first, second = make("def f(x): return x + 1"), make("def f(x): return x + 2")
    assert code_digest(first) == code_digest(make("def f(x): return x + 1")) != code_digest(second)


def test_a_name_finds_what_was_registered_or_can_be_imported(load):
    load(SOURCE)
    registry: Registry = Registry("loss")
    double = registry.register("double")(lambda x: 2 * x)
    assert registry.get("double") is double
    assert registry.get("own_methods:method")(1) == 4
    assert registry.names() == ("double",)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("duble", "there is no loss 'duble'(.|\n)*did you mean 'double'"),
        ("nowhere:f", "the loss cannot be imported(.|\n)*nowhere"),
        ("math:no_such", "the loss cannot be imported(.|\n)*no_such"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(name, says):
    registry: Registry = Registry("loss")
    registry.register("double")(lambda x: 2 * x)
    with pytest.raises(FreeBindError, match=says):
        registry.get(name)


USES = """
import functools
import jax
import numpy as np
import helping
from helping import term

def scaled(method):
    @functools.wraps(method)
    def wrapper(*args):
        return 10 * method(*args)

    return wrapper

@scaled
def wrapped(x):
    return x

@jax.custom_vjp
def own_gradient(x):
    return x

own_gradient.defvjp(lambda x: (x, None), lambda _, g: (3 * g,))

class Setting:
    def __init__(self, value):
        self.value = value

SETTING = Setting(8)
KINDS = {"a", "b", "c"}

def other(x):
    return own_gradient(wrapped(x)) * SETTING.value * len(KINDS)

W, T, S, A = {"text": 1.0}, (1.0,), 2.0, np.ones(2)
DOUBLE = functools.partial(lambda x, by: by * x, by=2)

class Scaled:
    def __init__(self, by):
        self.by = by

    def __call__(self, x):
        return self.by * x

SCALED = Scaled(3)

def method(x, s=S):
    def outer():
        def inner():
            return DEEP * x
        return inner()
    return W["text"] * T[0] * s * A.sum() * DOUBLE(x) + helping.term(x) + term(x) + outer()

DEEP = 1
BOUND = functools.partial(method, s=7)
"""
HELPING = "def term(x):\n    return x + 1\n"


@pytest.fixture
def digest_of(tmp_path, load):
    """Return the digest of an object of the module above, from its source and its helper's."""

    def digest_of(source: str, helping: str, name: str) -> str:
        (tmp_path / "helping.py").write_text(helping)
        sys.modules.pop("helping", None)
        return code_digest(getattr(load(source), name))

    yield digest_of
    sys.modules.pop("helping", None)


@pytest.mark.parametrize("name", ["method", "BOUND"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"text": 1.0', '"text": 1.5'),
        ("(1.0,)", "(1.5,)"),
        ("2.0, np", "2.5, np"),
        ("np.ones(2)", "np.zeros(2)"),
        ("by=2", "by=4"),
        ("DEEP = 1", "DEEP = 2"),
        ("x + 1", "x - 1"),
    ],
    ids=["dict", "tuple", "default argument", "array", "partial", "nested function", "helper"],
)
def test_whatever_the_code_uses_counts(digest_of, name, old, new):
    before = digest_of(USES, HELPING, name)
    assert before == digest_of(USES, HELPING, name)
    assert before != digest_of(USES.replace(old, new), HELPING.replace(old, new), name)


@pytest.mark.parametrize(("old", "new"), [("self.by * x", "x"), ("Scaled(3)", "Scaled(4)")])
def test_an_object_counts_with_its_class_and_fields(digest_of, old, new):
    before = digest_of(USES, HELPING, "SCALED")
    assert before != digest_of(USES.replace(old, new), HELPING, "SCALED")


def test_an_edited_file_counts_once_it_is_imported_again(load, tmp_path):
    module = load(SOURCE)
    before = code_digest(module.method)
    (tmp_path / "own_methods.py").write_text(SOURCE.replace("x + 1", "x + 2"))
    assert code_digest(module.method) == before  # the old code is still running


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("10 * method", "11 * method"),
        ("3 * g", "4 * g"),
        ("Setting(8)", "Setting(9)"),
        ('"c"}', "}"),
    ],
    ids=["wrapper", "gradient", "object", "set"],
)
def test_wrappers_gradients_and_objects_count(digest_of, old, new):
    before = digest_of(USES, HELPING, "other")
    assert before == digest_of(USES, HELPING, "other")
    assert before != digest_of(USES.replace(old, new), HELPING, "other")


def test_a_digest_does_not_depend_on_the_order_of_a_set(tmp_path, digest_of):
    """Which differs between processes: a run could not be resumed."""
    digest_of(USES, HELPING, "other")
    code = "import own_methods, fb_jax.registry as r; print(r.code_digest(own_methods.other))"
    digests = set()
    for seed in "123":
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": f"{tmp_path}:{Path.cwd()}"}
        command = [sys.executable, "-c", code]
        digests.add(subprocess.run(command, env=env, capture_output=True, check=True).stdout)
    assert len(digests) == 1
