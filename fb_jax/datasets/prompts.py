"""Prompts: the names of classes in templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fb_jax import files
from fb_jax.datasets.dataset import Listing
from fb_jax.datasets.open_clip import OPEN_CLIP, clip_class_names, clip_templates
from fb_jax.errors import FreeBindError

PLACE = "{c}"
CLIP = "clip"
TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "laion": ("This is a sound of {c}.",),  # LAION-CLAP, evaluate/eval_zeroshot_classification.py
    "authors": ("an audio of {c}",),  # [C] the texts of FreeBind's demo
}
"""Templates by name; ``clip``, CLIP's 80 of ImageNet, are read from open_clip."""

OF_THE_LIST = "list"


def templates_of(asked: Sequence[str]) -> tuple[str, ...]:
    """Return templates by names, from files, or as they are.

    Args:
        asked: Each is ``clip``, ``laion``, ``authors``, a template with ``{c}``, or a text file
            with a template in each line.

    Raises:
        FreeBindError: One is none of these, or a template has no ``{c}``.
    """
    found = tuple(template for text in asked for template in _templates(text))
    for template in found:
        if PLACE not in template:
            raise FreeBindError(
                "a template has no place for the class", expected=PLACE, got=repr(template)
            )
    return found


def _templates(text: str) -> Sequence[str]:
    if text == CLIP:
        return clip_templates()
    if text in TEMPLATES:
        return TEMPLATES[text]
    if PLACE in text:
        return (text,)
    if Path(text).is_file():
        return _lines(Path(text), "templates")
    raise FreeBindError(
        f"there are no templates {text!r}",
        expected=f"{', '.join([CLIP, *TEMPLATES])}, a file with one in each line, or a template",
        fix=f"write {PLACE} into a template, where the class stands: 'a {PLACE}'",
    )


def class_names(listing: Listing, asked: str) -> list[str]:
    """Return the names of classes in the order of a list.

    Args:
        listing: The list.
        asked: ``list`` for its own names, ``open_clip`` for those that CLIP's authors gave
            ImageNet's classes, or a text file with a name in each line.

    Raises:
        FreeBindError: There are more or fewer names than classes, or the list has none.
    """
    own = list(listing.classes.values())
    if asked != OF_THE_LIST:
        path = Path(asked)
        names = list(clip_class_names() if asked == OPEN_CLIP else _lines(path, "names of classes"))
        if len(names) != len(own):
            raise FreeBindError(
                "there are more or fewer names than classes",
                where=asked,
                expected=f"{len(own)} names, the first for {next(iter(listing.classes))}",
                got=f"{len(names)} names",
            )
        if all(name.startswith(id_) for name, id_ in zip(names, listing.classes, strict=True)):
            raise FreeBindError(
                "these are no names alone: ids stand before them",
                where=asked,
                got=names[0],
                fix="leave out the ids; --class-names list takes the words of WordNet",
            )
        return names
    if "" in own:
        raise FreeBindError(
            "this list has no names of classes",
            where=listing.path,
            fix="name a file with a name in each line, or open_clip: --class-names",
        )
    return own


def _lines(path: Path, what: str) -> list[str]:
    lines = [line.strip() for line in files.read_lines(path, f"a list of {what}")]
    if not any(lines):
        raise FreeBindError(f"this list of {what} is empty", where=path)
    return [line for line in lines if line]
