"""Arguments of commands, parsed by tyro into typed functions and dataclasses, with plain help.

Tyro's own help shows ``None`` as a type and as a default, breaks lines where docstrings do, and has
no example. ``OPTIONS`` gives it placeholders and texts in one line instead.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import shutil
import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import docstring_parser
import tyro
from tyro.conf import DisallowNone, arg
from tyro.constructors import (
    ConstructorRegistry,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from fb_jax.errors import FreeBindError, unknown

Target = TypeVar("Target")
COLUMNS = 80
PLACEHOLDERS: Mapping[Any, str] = {
    str: "NAME",
    Path: "PATH",
    int: "NUMBER",
    float: "NUMBER",
    tuple[str, ...]: "NAME ...",
    list[Path]: "PATH ...",
}
FOR_READERS_OF_CODE = re.compile(r"\s*\[[PCO](?:, [PCO])*\]|``")
OPTIONS = ConstructorRegistry()


def parse(
    target: Callable[..., Target], args: Sequence[str], prog: str, example: str = ""
) -> Target:
    """Call a function, or make a dataclass, with options from a command line.

    Args:
        target: The function or dataclass.
        args: Arguments.
        prog: Name of the command, for help and errors.
        example: Arguments of an example, for the end of the help.

    Raises:
        SystemExit: Help was asked for, an option does not exist (the nearest is named), or a value
            has the wrong type.
    """
    asked = bool({"-h", "--help"} & set(args))
    if asked:
        text = docstring_parser.parse(inspect.getdoc(target) or "").description or ""
        width = min(shutil.get_terminal_size().columns, COLUMNS)
        for paragraph in text.split("\n\n"):
            print(textwrap.fill(paragraph, width), end="\n\n")
    try:
        return tyro.cli(
            target,
            args=list(args),
            prog=prog,
            description="",
            registry=OPTIONS,
            config=(DisallowNone,),
        )
    finally:
        if asked and example:
            print("Example:\n  " + command_line(f"{prog} {example}"))


def require_once(target: Any, args: Sequence[str]) -> None:
    """Raise a FreeBindError if an option of several values is there twice: only the last counts.

    Args:
        target: The function or dataclass.
        args: What was typed; options of a file may be typed again.
    """
    several, given = _several(target), set[str]()
    for text in (text.partition("=")[0] for text in args if text.startswith("--")):
        name = several.get(text.rpartition(".")[2].strip("-").replace("_", "-"))
        if name in given:
            fix = f"give it once, with all values: {text} VALUE VALUE ..."
            raise FreeBindError(f"{text} is there twice", got=" ".join(args), fix=fix)
        given |= {name} if name else set()


def _several(target: Any) -> dict[str, str]:
    """Return the names and aliases of options that take several values, each to its name."""
    found: dict[str, str] = {}
    for field, hint in get_type_hints(target, include_extras=True).items():
        kind, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        if dataclasses.is_dataclass(kind):
            found |= _several(kind)
        elif {get_origin(part) for part in (kind, *get_args(kind))} & {tuple, list, dict}:
            own = [getattr(extra, "name", None) for extra in extras]
            aliases = [getattr(extra, "aliases", None) or () for extra in extras]
            names = filter(None, [field, *own, *chain(*aliases)])
            found |= {name.strip("-").replace("_", "-"): field for name in names}
    return found


def command_line(command: str) -> str:
    """Return a command in lines of at most 80 columns, as a shell takes them."""
    lines: list[str] = []
    for part in re.split(r" (?=--)", command):
        if lines and len(lines[-1]) + len(part) < COLUMNS - 8:
            lines[-1] += f" {part}"
        else:
            lines.append(part)
    return " \\\n      ".join(lines)


@OPTIONS.struct_rule
def _options(info: StructTypeInfo) -> StructConstructorSpec | None:
    """Tell tyro the options of a function or a dataclass."""
    target = info.type
    if not (dataclasses.is_dataclass(target) or inspect.isfunction(target)):
        return None
    hints, texts = get_type_hints(target, include_extras=True), _help_texts(target)
    fields = [
        StructFieldSpec(name, _shown(hints[name], default), default, texts.get(name))
        for name, default in _defaults(target, info.default).items()
    ]
    return StructConstructorSpec(target, tuple(fields))


def _defaults(target: Any, instance: Any) -> dict[str, Any]:
    """Return every parameter to its default, or to its value in an instance."""
    names = inspect.signature(target).parameters
    if isinstance(target, type) and isinstance(instance, target):
        return {name: getattr(instance, name) for name in names}
    defaults = {name: parameter.default for name, parameter in names.items()}
    if dataclasses.is_dataclass(target):
        factories = {field.name: field.default_factory for field in dataclasses.fields(target)}
        defaults |= {name: make() for name, make in factories.items() if callable(make)}
    return {n: tyro.MISSING if d is inspect.Parameter.empty else d for n, d in defaults.items()}


def _shown(hint: Any, default: Any) -> Any:
    """Return a type with what help shows for it: a placeholder, and no empty default."""
    kind, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    names = [name for known, name in PLACEHOLDERS.items() if kind in (known, known | None)]
    hide = default is None or default in ("", (), {})
    shown = arg(metavar=names[0] if names else None, help_behavior_hint="" if hide else None)
    return Annotated[(kind, shown, *extras)]


def _help_texts(target: Any) -> dict[str, str]:
    """Return each parameter to what its docstring says, in one line."""
    return {
        part.arg_name: FOR_READERS_OF_CODE.sub("", " ".join((part.description or "").split()))
        for part in docstring_parser.parse_from_object(target).params
    }


def named(
    option: str, texts: Sequence[str], only: str | None = None, expected: str = "NAME=VALUE"
) -> dict[str, str]:
    """Split ``NAME=VALUE``; a value without a name belongs to the only one there is.

    Raises:
        FreeBindError: There are several, and a text has no name; or two have the same.
    """
    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if only is not None and (not equals or name != only):
            name, value = only, text
        elif not equals:
            raise FreeBindError(f"{option} lacks a name", expected=expected, got=text)
        if name in values:
            got = f"{values[name]} and {value}"
            raise FreeBindError(f"{option} has two values for {name}", expected="one", got=got)
        values[name] = value
    return values


def of_spaces(option: str, texts: Sequence[str], spaces: Sequence[str]) -> dict[str, str]:
    """Split ``SPACE=VALUE``; the name of a single space may be left out.

    Raises:
        FreeBindError: A name is missing, is there twice, or is none of the spaces.
    """
    if len(spaces) == 1 and len(texts) > 1:
        raise FreeBindError(
            f"{option} has {len(texts)} values, but there is one space",
            expected=f"one value, for {spaces[0]}",
            got=" ".join(texts),
        )
    bare = next((text for text in texts if "=" not in text), "...")
    expected = f"SPACE={option.strip('-').upper()}, such as {next(iter(spaces), 'NAME')}={bare}"
    values = named(option, texts, spaces[0] if len(spaces) == 1 else None, expected)
    for space in values:
        if space not in spaces:
            raise unknown("space", space, spaces, option)
    return values
