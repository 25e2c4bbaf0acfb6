"""Fused spaces on the Hugging Face hub: ``push_to_hub`` and ``from_pretrained``.

Only files that a space consists of go up, and only if the licence of every native space is known:
embeddings of the fused space fall under all of them.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fb_jax.errors import FreeBindError, notice_once
from fb_jax.extras import import_extra
from fb_jax.fusion import FusedSpace
from fb_jax.fusion.hub_files import PATTERN as REFERENCES
from fb_jax.fusion.storage import CARD_FILE, SPACE_FILE, WEIGHTS_FILE, read_space, write_space
from fb_jax.interop.sentence_transformers import FILES as MODEL_FILES

DOWNLOADED = (SPACE_FILE, WEIGHTS_FILE, REFERENCES, CARD_FILE)
UPLOADED = (*DOWNLOADED, *MODEL_FILES, "*.onnx", "LICENSE*")
REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w.-]+", re.ASCII)


def push_folder(
    folder: Path | str,
    repo_id: str,
    *,
    private: bool = True,
    revision: str | None = None,
    message: str = "",
    token: str | None = None,
) -> str:
    """Upload the folder of a space; return the address of the commit.

    Args:
        folder: What ``FusedSpace.save`` or ``write_sentence_transformer`` wrote. ONNX files and a
            LICENSE in it go along, other files do not.
        repo_id: ``OWNER/NAME`` on the hub. A repository that is not there is created.
        private: Whether a new repository is private.
        revision: Branch; it is created if it is not there.
        message: Of the commit; by default the space in one line.
        token: Of the hub; by default that of ``hf auth login``.

    Raises:
        FreeBindError: The folder is damaged, a licence is unknown, huggingface_hub is missing, or
            the hub refuses.
    """
    space = read_space(folder)
    _require_licences(space, folder)
    _notice_local_encoders(space)
    library = import_extra("huggingface_hub", "hub")
    with _explained(f"the hub did not take {repo_id}"):
        api = library.HfApi(token=token, library_name="freebind-jax")
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=str(folder),
            revision=revision,
            allow_patterns=list(UPLOADED),
            commit_message=message or str(space),
        )
        return str(commit.commit_url)


def push_to_hub(space: FusedSpace, repo_id: str, name: str = "", **options: Any) -> str:
    """Upload a space; also ``FusedSpace.push_to_hub``.

    Args:
        space: The fused space.
        repo_id: ``OWNER/NAME`` on the hub.
        name: Name of the space; its own name or title by default.
        **options: licences, metrics, encoders of ``FusedSpace.save``; others of ``push_folder``.

    Returns:
        The address of the commit.

    Raises:
        FreeBindError: See ``push_folder``.
    """
    known = {key: options.pop(key, None) for key in ("licences", "metrics", "encoders")}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "space")
        write_space(space, folder, name, **known)
        return push_folder(folder, repo_id, **options)


def from_pretrained(
    source: Path | str, *, revision: str | None = None, token: str | None = None
) -> FusedSpace:
    """Read a space from a folder or from the hub; also ``FusedSpace.from_pretrained``.

    Args:
        source: A folder, or ``OWNER/NAME`` on the hub.
        revision: Branch, tag or commit on the hub.
        token: Of the hub, for a private repository; by default that of ``hf auth login``.

    Raises:
        FreeBindError: It is neither, cannot be downloaded, or is damaged.
    """
    if Path(source).is_dir():
        if revision is not None:
            raise FreeBindError("a folder has no revisions", where=source, got=revision)
        return read_space(source)
    if not REPOSITORY.fullmatch(str(source)):
        raise FreeBindError(
            "this is no folder and no name on the hub",
            expected="a folder of this machine, or OWNER/NAME",
            got=source,
        )
    library = import_extra("huggingface_hub", "hub")
    with _explained(f"{source} cannot be downloaded"):
        folder = library.snapshot_download(
            str(source), revision=revision, token=token, allow_patterns=list(DOWNLOADED)
        )
    return read_space(folder)


def _require_licences(space: FusedSpace, folder: Path | str) -> None:
    known = {name: text for name, text in space.licences.items() if text.lower() != "unknown"}
    if lacking := [name for name in space.spaces if name not in known]:
        example = " ".join(f"{name} LICENCE" for name in lacking)
        raise FreeBindError(
            "a space goes to the hub with the licences of all its native spaces",
            where=folder,
            expected="the licence of every encoder: embeddings fall under it",
            got=f"unknown: {', '.join(lacking)}",
            fix=f"look at the encoders' model cards, then give --licence {example},"
            " or licences={...} in Python",
        )


def _notice_local_encoders(space: FusedSpace) -> None:
    for name, encoder in space.encoders.items():
        if Path(encoder.removeprefix("st:")).is_dir():
            notice_once(f"{name}: its encoder {encoder} is a folder here, which others lack")


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn any exception of the hub's library into a FreeBindError."""
    try:
        yield
    except Exception as error:
        raise FreeBindError(
            what,
            got=f"{type(error).__name__}: {error}",
            fix="look at the name, the network and the access: hf auth whoami",
        ) from error
