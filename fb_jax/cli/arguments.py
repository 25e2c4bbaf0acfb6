"""Arguments of commands: parsed by tyro, with help that shows no internals."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field, fields
from io import StringIO
from typing import Annotated, Any

import tyro
from tyro.conf import arg

INTERNAL = r"(\{None\}\||(?<=\{)None,)(\S*)()"
NO_DEFAULT = r"\(default:\s+None\)|\(default: \)"


def call(target: Callable[..., Any], args: Sequence[str], prog: str, example: str) -> None:
    """Run a command's function with arguments of the command line, or print its help."""
    if "--help" in args or "-h" in args:
        print(help_text(getattr(target, "options", target), prog, example), end="")
    elif hasattr(target, "options"):  # it parses by itself
        target(list(args), prog)
    else:
        tyro.cli(target, args=list(args), prog=prog)


def help_text(target: Callable[..., Any], prog: str, example: str) -> str:
    """Return the help of a command, without internals and with an example."""
    shown = StringIO()
    with redirect_stdout(shown), suppress(SystemExit):
        tyro.cli(target, args=["--help"], prog=prog)
    text = re.sub(INTERNAL, _moved, re.sub(NO_DEFAULT, _blank, shown.getvalue()))
    pairs = zip(text.splitlines(), shown.getvalue().splitlines(), strict=True)
    lines = [line.rstrip() for line, before in pairs if line.strip() or not before.strip()]
    return "\n".join([*lines, f"example: {prog} {example}", ""])


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"\S", " ", match[0])


def _moved(match: re.Match[str]) -> str:
    """Return what follows ``None``, and spaces that keep the columns."""
    return match[2] + match[3] + " " * len(match[1])


@dataclass(frozen=True)
class ExpertFactors:
    """Weights of the expert, 0 to 1: sigma of a combination, lambda of a displacement."""

    audio: Annotated[
        float | None, arg(name="sigma-audio", aliases=["--lambda-audio"], metavar="FACTOR")
    ] = None
    """Weight of the expert for audio; by default the preset's."""

    image: Annotated[
        float | None, arg(name="sigma-image", aliases=["--lambda-image"], metavar="FACTOR")
    ] = None
    """Weight of the expert for images; by default the preset's."""

    text: Annotated[
        float | None, arg(name="sigma-text", aliases=["--lambda-text"], metavar="FACTOR")
    ] = None
    """Weight of the expert for text; by default the preset's."""

    others: Annotated[
        dict[str, float], arg(name="sigma", aliases=["--lambda"], metavar="MODALITY FACTOR ...")
    ] = field(default_factory=dict)
    """Weights of the expert for any modalities, such as --sigma depth 0.3 video 0.2."""

    def given(self) -> dict[str, float]:
        """Return the factors that were set."""
        named = {"audio": self.audio, "image": self.image, "text": self.text}
        return self.others | {m: factor for m, factor in named.items() if factor is not None}

    @classmethod
    def option(cls, modality: str, symbol: str = "sigma") -> str:
        """Return the option that sets the factor of a modality."""
        named = {known.name for known in fields(cls)} - {"others"}
        return f"--{symbol}-{modality}" if modality in named else f"--{symbol} {modality}"
