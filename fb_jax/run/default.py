"""The data that come with the package, by name. Runs without data take the word world."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
SHIPPED = {
    "word_world": "words written, drawn and spoken",
    "class_world": "symbols drawn, named and described",
}
"""Name to what it is. A folder ``PACKAGE/NAME`` has ``banks/``, ``config.yaml`` and a README."""

DEFAULT = "word_world"
DATA = "--data"


def home(name: str) -> Path:
    """Return the folder of data that come with the package."""
    return PACKAGE / name


def word_world() -> Path:
    """Return the bank root of the word world."""
    return home(DEFAULT) / "banks"


def config_file(name: str) -> Path:
    """Return the YAML file with the options for data that come with the package."""
    return home(name) / "config.yaml"


def shipped(data: Path) -> str | None:
    """Return the name of the data whose bank root a path leads to; None for other data."""
    return next((n for n in SHIPPED if data.resolve() == (home(n) / "banks").resolve()), None)


def with_bank_roots(args: Sequence[str]) -> list[str]:
    """Return arguments in which ``--data NAME`` of data that ship is their bank root.

    A folder of that name in the current directory wins.
    """
    after = [False, *(arg == DATA for arg in args)]
    return [_with_root(arg, value) for arg, value in zip(args, after, strict=False)]


def _with_root(arg: str, is_value: bool) -> str:
    option, name = ("", arg) if is_value else (f"{DATA}=", arg.removeprefix(f"{DATA}="))
    if option + name != arg or name not in SHIPPED or Path(name).exists():
        return arg
    return f"{option}{home(name) / 'banks'}"
