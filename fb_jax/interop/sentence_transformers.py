"""A fused space as a model of sentence-transformers: ``encode(items, factors={...})``.

With hub correction, ``encode_query`` and ``encode_document`` return rows in both roles.

The folder is that of ``FusedSpace.save``, which ``FusedSpace.load`` reads, and

    modules.json, config_sentence_transformers.json   what sentence-transformers looks for
    fused_space.py, fused_stages.py, fused_routers.py, fused_roles.py
                                                      the code that it runs: torch, no JAX

``SentenceTransformer(folder, trust_remote_code=True)`` reads it without this package, and
``load_sentence_transformer(folder)`` by this package's own copy of the code, so without trust.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fb_jax import files
from fb_jax.errors import FreeBindError, unknown
from fb_jax.extras import import_extra
from fb_jax.fusion import FusedSpace
from fb_jax.fusion.card import MODULES_FILE
from fb_jax.fusion.storage import read_space

EXTRA = "sentence-transformers"
CODE = ("fused_space.py", "fused_stages.py", "fused_routers.py", "fused_roles.py")
MODEL_CONFIG = "config_sentence_transformers.json"
FILES = (*CODE, MODEL_CONFIG, MODULES_FILE)
"""What is written beside the files of ``FusedSpace.save``."""


def write_sentence_transformer(
    space: FusedSpace, path: Path | str, name: str = "", **known: Any
) -> None:
    """Write a space to a folder that sentence-transformers and ``FusedSpace.load`` read.

    Needs neither torch nor sentence-transformers.

    Args:
        space: The fused space.
        path: Folder to create. In one that holds this very space already, files are added.
        name: Name of the space; its own name or title by default.
        **known: licences, metrics, encoders: see ``FusedSpace.save``. An encoder is
            ``st:MODEL_OR_FOLDER`` of sentence-transformers, or a name that ``load_encoder`` of
            ``encoders_torch`` knows; without one, rows of its space must be given.

    Raises:
        FreeBindError: See ``FusedSpace.save``.
    """
    model: dict[str, Any] = {
        "model_type": "SentenceTransformer",
        "similarity_fn_name": _similarity(space),
        "prompts": {},
        "default_prompt_name": None,
    }
    modules = [{"idx": 0, "name": "0", "path": "", "type": "fused_space.Fused"}]
    beside = {name: (_code_folder() / name).read_bytes() for name in CODE}
    beside |= {
        MODEL_CONFIG: _json(model),
        MODULES_FILE: _json(modules),  # last: without it the folder is no model
    }
    space.save(path, name, beside=beside, **known)


def load_sentence_transformer(
    folder: Path | str,
    *,
    encoders: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> Any:
    """Return the ``SentenceTransformer`` of a folder, run by this package's own code.

    Args:
        folder: What ``write_sentence_transformer`` wrote.
        encoders: Native space to an encoder, loaded or by name: a ``SentenceTransformer`` or one of
            ``encoders_torch``. Others are those that the folder names.
        device: Where it runs, as torch names devices; by default where sentence-transformers does.

    Raises:
        FreeBindError: The folder is none, is damaged, or an encoder is of another space.
    """
    library = import_extra("sentence_transformers", EXTRA)
    code = import_extra("encoders_torch.fused_space", EXTRA)
    space = read_space(folder)  # checks every digest
    for name in encoders or {}:
        if name not in space.dims:
            raise unknown("native space", name, space.dims, folder)
    if not Path(folder, MODULES_FILE).is_file():
        raise FreeBindError(
            "this fused space has no files for sentence-transformers",
            where=folder,
            expected=MODULES_FILE,
            fix="add them: write_sentence_transformer(FusedSpace.load(FOLDER), FOLDER), or "
            "freebind convert FOLDER --to sentence-transformers",
        )
    with files.explained("the files for sentence-transformers cannot be read", folder):
        return library.SentenceTransformer(
            modules=[code.Fused.load(str(folder), encoders=encoders)],
            device=device,
            similarity_fn_name=_similarity(space),
        )


def _similarity(space: FusedSpace) -> str:
    return "cosine" if space.last.normalise else "dot"


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _code_folder() -> Path:
    """Return the folder of the code, which comes with this package; nothing is imported."""
    spec = find_spec("encoders_torch")
    if spec is None or spec.origin is None:
        raise FreeBindError("the package encoders_torch is not here", fix="install freebind-jax")
    return Path(spec.origin).parent
