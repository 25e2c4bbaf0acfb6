"""Methods chosen by name: losses, retrievals, metrics, loggers; and a digest of their code.

Whoever studies another loss registers a function, or names one as ``module:function``. What was
chosen is part of a run's identity together with the digest, so that an edited function never
brings back an old result.
"""

from __future__ import annotations

import ast
import enum
import hashlib
import inspect
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from importlib import import_module
from types import CodeType, FunctionType, ModuleType
from typing import Any, Generic, TypeVar

from fb_jax.errors import FreeBindError, unknown

Method = TypeVar("Method", bound=Callable[..., Any])
CONSTANTS = (bool, int, float, complex, str, bytes, type(None), enum.Enum)
OWN = "name your own as module:function"
LIBRARIES = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))


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
            raise unknown(self.kind, name, self._methods, hint=OWN)
        try:
            method: Method = getattr(import_module(module), attribute)
        except Exception as error:  # whatever the user's module raises
            raise FreeBindError(
                f"the {self.kind} cannot be imported",
                where=name,
                expected="module:function, with the module in this folder or on the Python path",
                got=error,
            ) from error
        if not callable(method):
            raise FreeBindError(f"the {self.kind} cannot be called", where=name, got=repr(method))
        return method

    def identity(self, name: str) -> dict[str, str]:
        """Return a name and the digest of its method's code, for the identity of a result."""
        return {"name": name, "code": code_digest(self.get(name))}


def code_digest(method: Callable[..., Any]) -> str:
    """Return a SHA-256 of the code of a function, a class or an object, and of what it uses.

    Comments, docstrings and layout do not count. The functions, classes, constants, arrays and
    default arguments that the code names are followed, except into installed libraries, whose
    functions count by name. The code is that which was running when it was first digested: a file
    that was edited but not imported again does not count.
    """
    roots = {"fb_jax", (getattr(method, "__module__", None) or "").partition(".")[0]}
    digest = hashlib.sha256()
    for part in sorted(set(_parts("method", method, roots, set()))):
        digest.update(part.encode() + b"\n")
    return digest.hexdigest()


def _parts(name: str, value: Any, roots: set[str], seen: set[int]) -> Iterator[str]:
    """Yield a description of a value, and of all that it uses."""
    if isinstance(value, CONSTANTS):
        yield f"{name} = {value!r}"
        return
    if hasattr(value, "__wrapped__") and not _is_own_wrapper(value, roots):
        yield from _parts(name, value.__wrapped__, roots, seen)
        for part_name, part in sorted(vars(value).items()):  # such as both passes of a custom_vjp
            if isinstance(part, FunctionType) and part is not value.__wrapped__:
                yield from _parts(f"{name}.{part_name}", part, roots, seen)
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    yield _describe(name, value, roots)
    for part_name, part in _uses(value, roots):
        yield from _parts(f"{name}.{part_name}", part, roots, seen)


def _describe(name: str, value: Any, roots: set[str]) -> str:
    if isinstance(value, FunctionType) and _is_own(value, roots):
        return f"{value.__qualname__}: {_source(value.__code__)}"
    if hasattr(value, "tobytes"):  # a NumPy or JAX array
        return f"{name} = {value.dtype} {value.shape} {value.tobytes().hex()}"
    kind = value if hasattr(value, "__qualname__") else type(value)
    package = (kind.__module__ or "").partition(".")[0]  # where in it differs between releases
    return f"{name} = {package}.{kind.__qualname__}"


def _is_own_wrapper(value: Any, roots: set[str]) -> bool:
    """Return whether a function that wraps another is code of the user, not of a library."""
    if not isinstance(value, FunctionType) or value.__code__.co_filename.startswith("<@"):
        return False
    return _is_own(sys.modules.get(value.__globals__["__name__"], value), roots)


def _is_own(value: Any, roots: set[str]) -> bool:
    """Return whether a function, class or module is not part of an installed library."""
    module = value.__name__ if isinstance(value, ModuleType) else value.__module__ or ""
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    library = module in sys.builtin_module_names or file.startswith(LIBRARIES)
    return module.partition(".")[0] in roots or not library


def _uses(value: Any, roots: set[str]) -> Iterator[tuple[str, Any]]:
    """Yield what a function, class, partial or container uses, by name."""
    if isinstance(value, partial):
        yield from _numbered([value.func, *value.args])
        yield from value.keywords.items()
    elif isinstance(value, FunctionType):
        yield from _named(value, roots) if _is_own(value, roots) else ()
        if hasattr(value, "__wrapped__"):
            yield "wrapped", value.__wrapped__
    elif isinstance(value, type):
        if _is_own(value, roots) and not issubclass(value, Exception):
            yield from _written(value)
    elif isinstance(value, Mapping):
        yield from ((repr(key), part) for key, part in value.items())
    elif isinstance(value, set | frozenset):
        yield from _numbered(sorted(value, key=repr))  # their order differs between processes
    elif isinstance(value, list | tuple):
        yield from _numbered(value)
    elif callable(value) or _is_own(type(value), roots):
        yield "class", type(value)
        yield from getattr(value, "__dict__", {}).items()


def _numbered(values: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Yield values with their position as a name."""
    return ((str(place), value) for place, value in enumerate(values))


def _written(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the members of a class that its source has, not those that a decorator added."""
    for name, member in vars(kind).items():
        member = getattr(member, "__func__", getattr(member, "fget", member))
        function = inspect.unwrap(member) if callable(member) else member
        if isinstance(function, FunctionType):
            written = function.__globals__["__name__"] == kind.__module__
            if written and function.__code__.co_filename != "<string>":
                yield name, function
        elif not name.startswith("_") and not callable(member):
            yield name, member


def _named(function: FunctionType, roots: set[str]) -> Iterator[tuple[str, Any]]:
    """Yield the globals, closed-over values and defaults that a function's code names."""
    yield from _numbered(function.__defaults__ or ())
    yield from (function.__kwdefaults__ or {}).items()
    yield from zip(
        function.__code__.co_freevars,
        (cell.cell_contents for cell in function.__closure__ or ()),
        strict=True,
    )
    names = sorted(_names(function.__code__))
    for name in names:
        value = function.__globals__.get(name, function)
        if isinstance(value, ModuleType):
            if _is_own(value, roots):
                yield from ((n, getattr(value, n)) for n in names if hasattr(value, n))
        elif value is not function:
            yield name, value


def _names(code: CodeType) -> set[str]:
    inner = (_names(part) for part in code.co_consts if isinstance(part, CodeType))
    return set(code.co_names).union(*inner)


@cache
def _source(code: CodeType) -> str:
    """Return the source of a function in a normal form, or its byte code if there is no source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(code)))
    except (OSError, TypeError, SyntaxError):  # a lambda in a call, or typed into a session
        return repr((code.co_code, code.co_names, [c for c in code.co_consts if _is_plain(c)]))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _is_plain(constant: Any) -> bool:
    return isinstance(constant, CONSTANTS)


LOSSES: Registry[Callable[..., Any]] = Registry("loss")
RETRIEVALS: Registry[Callable[..., Any]] = Registry("retrieval")
METRICS: Registry[Callable[..., Any]] = Registry("metric")
LOGGERS: Registry[Callable[..., Any]] = Registry("logger")
