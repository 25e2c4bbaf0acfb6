"""CLIP's templates and names of ImageNet's classes, from the library open_clip.

They are read from one file of the library: importing the library would import torch.
"""

from __future__ import annotations

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from fb_jax import files
from fb_jax.errors import FreeBindError

OPEN_CLIP = "open_clip"
FILE = "zero_shot_metadata.py"


def clip_templates() -> tuple[str, ...]:
    """Return CLIP's 80 templates of ImageNet, with ``{c}`` for the class.

    Raises:
        FreeBindError: The library is not installed, or has none.
    """
    module = _metadata("CLIP's templates", "others with --templates: laion, authors, or a file")
    with files.explained("open_clip has no templates where they are looked for", module.__file__):
        return tuple(template("{c}") for template in module.OPENAI_IMAGENET_TEMPLATES)


def clip_class_names() -> tuple[str, ...]:
    """Return the names that CLIP's authors gave ImageNet's classes, in the order of WordNet ids.

    Raises:
        FreeBindError: The library is not installed, or has none.
    """
    other = "others with --class-names: a file with one in a line, or list for WordNet's words"
    module = _metadata("the names of ImageNet's classes", other)
    with files.explained("open_clip has no names where they are looked for", module.__file__):
        return tuple(map(str, module.IMAGENET_CLASSNAMES))


def _metadata(what: str, other: str) -> ModuleType:
    """Return the module that holds templates and names, without the package around it."""
    package = find_spec(OPEN_CLIP)
    places = package.submodule_search_locations if package else None
    path = next((path for place in places or () if (path := Path(place, FILE)).exists()), None)
    spec = spec_from_file_location("open_clip_metadata", path) if path else None
    if spec is None or spec.loader is None:
        raise FreeBindError(
            f"the package {OPEN_CLIP} is not installed, and {what} are read from it",
            fix=f"pip install 'freebind-jax[open_clip]', or choose {other}",
        )
    module = module_from_spec(spec)
    with files.explained("a file of open_clip cannot be read", path):
        spec.loader.exec_module(module)
    return module
