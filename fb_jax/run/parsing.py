"""Options from the command line and from YAML files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fb_jax import files
from fb_jax.arguments import parse, require_once
from fb_jax.errors import FreeBindError
from fb_jax.run.default import DATA, DEFAULT, config_file, shipped, with_bank_roots
from fb_jax.run.options import RunConfig
from fb_jax.run.own_spaces import ONE

Options = TypeVar("Options")
PRODUCT_SETS = ("--bond", "--unified", "--expert", "--dim")


def parse_config(args: Sequence[str], prog: str = "freebind train", example: str = "") -> RunConfig:
    """Read a run from command-line arguments and the YAML file that they name.

    If neither names data, the run is one of the word world. The options that come with data of the
    package are the defaults.

    Args:
        args: Arguments.
        prog: Name of the program in help and errors.
        example: Arguments of an example, for the end of the help.

    Returns:
        The run, not yet resolved.

    Raises:
        FreeBindError: The YAML file is missing or is no mapping, or options exclude each other.
        SystemExit: See ``fb_jax.arguments.parse``.
    """
    return parse_options(RunConfig, args, prog, example)


def parse_options(
    target: type[Options], args: Sequence[str], prog: str, example: str = ""
) -> Options:
    """Read options of long work, one of which is ``--data``; see ``parse_config``."""
    require_once(target, args)
    path = _value("--config", args)
    from_file = [] if path is None else _yaml_args(Path(path))
    if path is not None:  # alone first, so that its errors carry its name
        parse(target, from_file, path)
    given = with_bank_roots([*from_file, *args])
    _require_one_way(given)
    data = _value(DATA, given)
    if name := DEFAULT if data is None else shipped(Path(data)):
        given = [*_yaml_args(config_file(name)), *given]
    return parse(target, given, prog, example)


def _require_one_way(args: Sequence[str]) -> None:
    product = _value("--product", args)
    given = [option for option in PRODUCT_SETS if _value(option, args) is not None]
    named = [option for option in given if product != ONE or option != "--unified"]
    if named and product is not None:
        raise FreeBindError(
            "a product sets these options itself",
            got=", ".join(["--product", *named]),
            fix="leave them out, or write a product of your own (configs/products)",
        )


def _value(option: str, args: Sequence[str]) -> str | None:
    """Return the last value of an option, which counts."""
    value = None
    for i, given in enumerate(args):
        if given == option and i + 1 < len(args):
            value = args[i + 1]
        elif given.startswith(f"{option}="):
            value = given.removeprefix(f"{option}=")
    return value


def _yaml_args(path: Path) -> list[str]:
    options = files.read_yaml(path, "a config file")
    if "config" in options:
        raise FreeBindError("a config file cannot name another", where=path)
    if "help" in options:
        raise FreeBindError("a config file cannot ask for help", where=path)
    return _flatten(options)


def _flatten(options: Mapping[str, Any], prefix: str = "") -> list[str]:
    args: list[str] = []
    for key, value in options.items():
        name = str(key).replace("_", "-")
        if isinstance(value, Mapping):
            args += _flatten(value, f"{prefix}{name}.")
        elif value is None:
            pass  # null is the default
        elif isinstance(value, bool):
            args.append(f"--{prefix}{'' if value else 'no-'}{name}")
        else:
            values = value if isinstance(value, list) else [value]
            args += [f"--{prefix}{name}", *map(str, values)]
    return args
