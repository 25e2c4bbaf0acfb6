"""Errors that the user can act on, and notices."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable
from numbers import Integral, Real

MOST_CHARACTERS = 1000
"""Longest part of a message: a damaged file can hold any amount of text."""

MOST_NAMES = 60
"""Most known names in a message about an unknown one; of more, those near it."""

NOTICED: set[object] = set()


class FreeBindError(Exception):
    """Bad input, or a machine that cannot do what was asked, with what to do about it.

    Args:
        what: One sentence that says what is wrong.
        where: The file, folder, field or row.
        expected: What should be there.
        got: What is there.
        fix: What to do next.
    """

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        expected: object = None,
        got: object = None,
        fix: str | None = None,
    ) -> None:
        parts = {"where": where, "expected": expected, "got": got, "fix": fix}
        lines = [
            f"  {name + ':':<10}{shown(part)}" for name, part in parts.items() if part is not None
        ]
        super().__init__("\n".join([shown(what), *lines]))


class Interrupted(FreeBindError):
    """Work was stopped from outside (Ctrl-C, SIGTERM) after its state had been saved."""


def shown(part: object) -> str:
    """Return a text of bounded length, with escapes for what no terminal should receive."""
    text = str(part)
    if len(text) > MOST_CHARACTERS:
        half = MOST_CHARACTERS // 2
        text = f"{text[:half]} ... ({len(text):,} characters) ... {text[-half:]}"
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def notice_once(text: str, about: object = None) -> None:
    """Say in one line on the error output what the user should know; the work goes on.

    It goes through the logger ``freebind``, so that a program can send it elsewhere.

    Args:
        text: The notice.
        about: Two notices about the same thing are said once; by default the text itself.
    """
    if (key := about or text) not in NOTICED:
        NOTICED.add(key)
        logging.getLogger("freebind").warning(shown(text))


def require_range(
    owner: str, lowest: int | float, highest: int | float, /, **values: object
) -> None:
    """Raise a FreeBindError unless every value is a number in a range.

    Args:
        owner: What the values belong to, for the message.
        lowest: Lowest value. If it is an int, every value must be a whole number too.
        highest: Highest value.
        **values: The values by name; NaN, True and text are no numbers.
    """
    whole = isinstance(lowest, int)
    for name, value in values.items():
        known = isinstance(value, Integral if whole else Real) and not isinstance(value, bool)
        if not (known and lowest <= value <= highest):  # type: ignore[operator]
            span = f"{lowest} to {highest}" if whole else f"{lowest:g} to {highest:g}"
            raise FreeBindError(
                f"{owner} {name} is out of range",
                expected=f"a {'whole ' if whole else ''}number, {span}",
                got=repr(value),
            )


def unknown(
    kind: str, name: str, known: Iterable[str], where: object = None, hint: str | None = None
) -> FreeBindError:
    """Return the error for an unknown name, with the known names (of many, near ones) and a fix."""
    known, name = sorted(known), shown(name)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    fixes = [*(f"did you mean {name!r}?" for name in close), *filter(None, [hint])]
    listed = f"one of: {', '.join(known)}" if known else "there is none here"
    if len(known) > MOST_NAMES:
        near = difflib.get_close_matches(name, known, n=5, cutoff=0.3)
        listed = f"one of {len(known):,} names" + f", such as {', '.join(near)}" * bool(near)
    return FreeBindError(
        f"there is no {kind} {name!r}",
        where=where,
        expected=listed,
        fix=" ".join(fixes) or None,
    )
