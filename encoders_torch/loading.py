"""Finds and loads an encoder by its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from encoders_torch.encoder import FrozenEncoder
from encoders_torch.explain import explained
from fb_jax.errors import FreeBindError, unknown

ENTRY_POINTS = "freebind.encoders"
"""Installed packages offer encoders in this group of entry points, each named as its space."""

BACKENDS = {
    "clap_general": {"laion_clap": "encoders_torch.clap.laion:LaionClapGeneral"},
    "clap_music": {"laion_clap": "encoders_torch.clap.laion:LaionClapMusic"},
    "imagebind": {"upstream": "encoders_torch.imagebind.upstream:UpstreamImageBind"},
}
"""Other implementations of an encoder: the packages of those who published the weights."""

FAMILIES = {
    "hf": "encoders_torch.huggingface:HuggingFace",
    "open_clip": "encoders_torch.open_clip:OpenClip",
    "st": "encoders_torch.sentence_transformers:SentenceTransformers",
}
"""Families of encoders, named ``FAMILY:MEMBER``. Their classes take the member first."""

CLAP = "encoders_torch.clap:Clap"
HOW = r"(?:, (?:of long audio|in|with|pictures|frame) .*)?"
"""What follows in a manifest: crops, precision, how media are read."""

RECORDED = {
    r"((hf|st|open_clip):.+)": "{}",  # as users may name it when they import rows
    rf"transformers \w+: (.+?){HOW}": "hf:{}",
    rf"sentence-transformers: (.+?){HOW}": "st:{}",
    rf"open_clip (.+?){HOW}": "open_clip:{}",
    r"ImageBind, .*, audio tuned .+()": "imagebind_tuned",
    r"ImageBind, .*, long captions without end, .+()": "encoders_torch.imagebind:ImageBindCutEnd",
    r"ImageBind, .+()": "imagebind",
    r"LAION-CLAP .* with fusion, of long audio the seeded part.+()": "clap_general",
    r"LAION-CLAP .* without fusion, of long audio the seeded part.+()": "clap_music",
    r"LAION-CLAP .* with fusion, of long audio the part.+()": f"{CLAP}GeneralCentre",
    r"LAION-CLAP .* without fusion, of long audio the part.+()": f"{CLAP}MusicCentre",
    r"LAION-CLAP .* with fusion, of long audio the mean.+()": f"{CLAP}GeneralWindows",
    r"LAION-CLAP .* without fusion, of long audio the mean.+()": f"{CLAP}MusicWindows",
}
"""Names of encoders as manifests have them, and the names by which they are loaded.

InternVL is not among them: its folder contains code, which must not run because a manifest says so.
"""

PLACE = re.compile(rf"(transformers \w+|sentence-transformers): .+?({HOW})")
"""Names of models in folders, whose digest also covers the architecture."""


PERMISSIONS = {"trust_remote_code"}
"""Options that allow something: of several encoders, those that do not need it ignore it."""


def load_encoder(
    name: str,
    weights: Path | str | None,
    device: str,
    backend: str | None = None,
    **options: Any,
) -> FrozenEncoder:
    """Load an encoder by its name.

    Args:
        name: A space that has an encoder; ``FAMILY:MEMBER``, such as
            ``hf:openai/clip-vit-base-patch32``; or ``MODULE:CLASS``.
        weights: File or folder to load. None if the encoder needs none, or finds its own.
        device: Of torch.
        backend: One of ``BACKENDS[name]``. None is the code of this package.
        options: Other keywords for the class, such as ``precision``.

    Raises:
        FreeBindError: There is no such encoder or backend, it has no such option, it cannot be
            loaded, or it is no ``FrozenEncoder``.
    """
    path = None if weights is None else Path(weights)  # users' own classes get a path, too
    factory = find_encoder(name, backend)
    fitting = _fitting(factory, options, name)
    encoder: object = factory(weights=path, device=device, **fitting)
    if not isinstance(encoder, FrozenEncoder):
        raise FreeBindError(
            "this is no encoder",
            where=name,
            expected="a class with the base class encoders_torch.encoder.FrozenEncoder",
            got=type(encoder).__name__,
            fix="docs/encoders.md shows how to write one",
        )
    return encoder


def _fitting(factory: Callable[..., Any], options: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the options that an encoder takes; a permission that it does not need is left out.

    Raises:
        FreeBindError: It does not take another option.
    """
    taken = signature(factory).parameters
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in taken.values()):
        return dict(options)
    for option in options.keys() - taken.keys() - PERMISSIONS:
        raise FreeBindError(
            f"this encoder has no --{option.replace('_', '-')}",
            where=name,
            got=options[option],
            fix="leave the option out",
        )
    return {option: value for option, value in options.items() if option in taken}


def recorded_encoder(name: str) -> str | None:
    """Return the name that loads the encoder which a bank's manifest names, if there is one."""
    for pattern, loaded_by in RECORDED.items():
        if match := re.fullmatch(pattern, name):
            return loaded_by.format(match[1])
    return None


def without_place(name: str) -> str:
    """Return the name of an encoder in a manifest without where its folder is.

    Two encoders are the same if these names and the digests are.
    """
    match = PLACE.fullmatch(name)
    return f"{match[1]}{match[2]}" if match else name


def recorded_options(name: str) -> dict[str, Any]:
    """Return the options of ``load_encoder`` that the name of an encoder in a manifest tells."""
    precision = re.search(r", in (tf32|bfloat16)(,|$)", name)
    return {"precision": precision[1]} if precision else {}


def known_encoders() -> list[str]:
    """Return the names of the spaces for which an installed package has an encoder."""
    return sorted(_installed())


def find_encoder(name: str, backend: str | None = None) -> Callable[..., Any]:
    """Return the class or function that loads an encoder; it takes ``weights`` and ``device``.

    Raises:
        FreeBindError: There is no such encoder or backend, or it cannot be imported.
    """
    if backend is not None:
        if backend not in (known := BACKENDS.get(name, {})):
            raise unknown("backend", backend, known, name)
        return _import(known[backend])
    first, colon, rest = name.partition(":")
    if colon and first in FAMILIES:
        return partial(_import(FAMILIES[first]), rest)
    if colon:
        return _import(name)
    if name in (installed := _installed()):
        return installed[name].load()
    raise unknown(
        "encoder", name, [*known_encoders(), *(f"{f}:..." for f in FAMILIES), "MODULE:CLASS"]
    )


def _installed() -> dict[str, Any]:
    # The backport importlib_metadata, which MLflow imports, gives entry points of its own type.
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _import(name: str) -> Any:
    module, _, attribute = name.partition(":")
    fix = "give --encoder MODULE:CLASS"
    with explained("an encoder cannot be imported", where=name, fix=fix):
        return getattr(import_module(module), attribute)
