"""Methods chosen by name: losses, retrievals, metrics, loggers; and a digest of their code.

Whoever studies another loss registers a function, or names one as ``module:function``. What was
chosen is part of a run's identity together with the digest, so that an edited function never
brings back an old result.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from types import CodeType, FunctionType
from typing import Any, Generic, TypeVar

from fb_jax.errors import FreeBindError, unknown

Method = TypeVar("Method", bound=Callable[..., Any])
CONSTANTS = (bool, int, float, complex, str, bytes, type(None))


class Registry(Generic[Method]):
    """Functions or classes by name.

    Args:
        kind: What they are, for messages: "loss".
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._methods: dict[str, Method] = {}

    def register(self, name: str) -> Callable[[Method], Method]:
        """Return a decorator that registers a method; a later one of the same name replaces it."""

        def register(method: Method) -> Method:
            self._methods[name] = method
            return method

        return register

    def names(self) -> tuple[str, ...]:
        """Return the registered names, in the order of registration."""
        return tuple(self._methods)

    def get(self, name: str) -> Method:
        """Return the method of a registered name, or the one at ``module:attribute``.

        Raises:
            FreeBindError: There is no such name, module or attribute.
        """
        if name in self._methods:
            return self._methods[name]
        module, colon, attribute = name.partition(":")
        if not colon:
            raise unknown(self.kind, name, self._methods, "or name your own as module:function")
        try:
            method: Method = getattr(import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise FreeBindError(
                f"the {self.kind} cannot be imported",
                where=name,
                expected="module:function, with the module on the Python path",
                got=error,
            ) from error
        return method

    def identity(self, name: str) -> dict[str, str]:
        """Return a name and the digest of its method's code, for the identity of a result."""
        return {"name": name, "code": code_digest(self.get(name))}


def code_digest(method: Callable[..., Any]) -> str:
    """Return a SHA-256 over the code of a function or class and of the functions that it calls.

    Comments, docstrings and layout do not count. Functions, classes and constants that the code
    names are followed within its own package and ``fb_jax``, not into other libraries.
    """
    roots = {"fb_jax", (method.__module__ or "").partition(".")[0]}
    digest = hashlib.sha256()
    for part in sorted(_parts(inspect.unwrap(method), roots, set())):
        digest.update(part.encode() + b"\n")
    return digest.hexdigest()


def _parts(method: Any, roots: set[str], seen: set[int]) -> Iterator[str]:
    """Yield the source of a method and of what it names, each once."""
    seen.add(id(method))
    yield f"{getattr(method, '__qualname__', method)}: {_source(method)}"
    for name, value in _named(method):
        value = inspect.unwrap(value) if callable(value) else value
        if isinstance(value, CONSTANTS):
            yield f"{name} = {value!r}"
        elif _is_own(value, roots) and id(value) not in seen:
            yield from _parts(value, roots, seen)


def _is_own(value: Any, roots: set[str]) -> bool:
    """Return whether a value is code of these packages that can change a result."""
    code = isinstance(value, FunctionType | type) and not (
        isinstance(value, type) and issubclass(value, Exception)
    )
    return code and value.__module__.partition(".")[0] in roots


def _source(method: Any) -> str:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
    except (OSError, TypeError, SyntaxError):  # defined where Python keeps no source
        code = [function.__code__ for function in _functions(method)]
        return repr([(c.co_code, [x for x in c.co_consts if type(x) in CONSTANTS]) for c in code])
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _functions(method: Any) -> list[FunctionType]:
    if not isinstance(method, type):
        return [method]
    members = [inspect.unwrap(part) for part in vars(method).values() if callable(part)]
    written = [member for member in members if isinstance(member, FunctionType)]
    own = [member for member in written if member.__globals__["__name__"] == method.__module__]
    return [member for member in own if member.__code__.co_filename != "<string>"]


def _named(method: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a method's code names: globals, and what it closes over."""
    for function in _functions(method):
        closed = inspect.getclosurevars(function)
        yield from sorted({**closed.globals, **closed.nonlocals}.items(), key=lambda item: item[0])
        for inner in function.__code__.co_consts:
            if isinstance(inner, CodeType):  # a lambda or an inner function names globals too
                for name in inner.co_names:
                    if name in function.__globals__:
                        yield name, function.__globals__[name]


LOSSES: Registry[Callable[..., Any]] = Registry("loss")
RETRIEVALS: Registry[Callable[..., Any]] = Registry("retrieval")
METRICS: Registry[Callable[..., Any]] = Registry("metric")
LOGGERS: Registry[Callable[..., Any]] = Registry("logger")
