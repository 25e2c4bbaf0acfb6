"""Model folders: the user's own, or from the Hugging Face hub; their digest and licence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from encoders_torch.downloads import Download
from fb_jax import files
from fb_jax.errors import FreeBindError

WEIGHTS = ("*.safetensors", "*.bin")
BESIDE = ("*.json", "*.txt", "*.model", "*.py", "README.md")
IGNORED = ("README.md", "LICENSE")
"""Files that the model does not depend on."""

FAMILIES = {"modules.json": "st", "config.json": "hf"}
"""A file that every folder of a family's models has, and the family."""

ON_THE_HUB = re.compile(r"\w[\w.-]*/\w[\w.-]*")
"""Names of models on the hub. Anything else is a folder, and is never looked up there."""


def model_folder(
    name: str,
    weights: Path | str | None,
    licence: str,
    library: str = "transformers",
    marker: str = "config.json",
    revision: str | None = None,
) -> Path:
    """Return the folder of a model; download it if it is none of the user's.

    Args:
        name: A folder, or a model on the hub, such as ``openai/clip-vit-base-patch32``.
        weights: The folder, if it is not ``name``.
        licence: Of the weights, as far as it is known, for the message.
        library: Whose model it is, for the message.
        marker: A file that every folder of such a model has.
        revision: Commit on the hub to download; None is the newest.

    Raises:
        FreeBindError: There is no such folder, and it cannot be downloaded.
    """
    folder = Path(name if weights is None else weights).expanduser()
    if (folder / marker).is_file():
        return folder
    at = f" --revision {revision}" if revision else ""
    download = Download(
        space=name,
        what=f"https://huggingface.co/{name}, or a folder of this name",
        licence=licence,
        get=lambda: _download(name, revision),
        by_hand=f"on a machine with a network: hf download {name}{at} --local-dir FOLDER; "
        "then give --weights FOLDER",
    )
    if weights is not None or folder.exists() or not ON_THE_HUB.fullmatch(name):
        raise FreeBindError(
            f"this is no folder of a {library} model",
            where=folder,
            expected=f"{marker}, weights and the files of its processor",
            fix=other_family(folder, marker) or (None if weights is None else download.by_hand),
        )
    return download.fetch()


def other_family(folder: Path, marker: str) -> str | None:
    """Return how to name a folder that has the marker of another family of encoders."""
    for other, family in FAMILIES.items():
        if other != marker and (folder / other).is_file():
            return f"for this folder: --encoder {family}:{folder}"
    return None


def name_for_manifests(name: str, folder: Path) -> str:
    """Return the name of a model that was loaded from a folder, as manifests have it.

    A user's folder is named by its whole path, so that it is found from any directory, however it
    was typed.
    """
    return str(folder.resolve()) if folder == Path(name).expanduser() else name


@contextmanager
def without_bars() -> Iterator[None]:
    """Hide transformers' bars while a model is loaded; downloads before it keep theirs."""
    from transformers.utils import logging  # slow to import

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _download(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download  # not needed with a local folder

    get = partial(snapshot_download, name, revision=revision)
    folder = Path(get(allow_patterns=[WEIGHTS[0], *BESIDE]))
    if not any(folder.glob(WEIGHTS[0])):  # most models have both kinds, and one is enough
        folder = Path(get(allow_patterns=[WEIGHTS[1], *BESIDE]))
    return folder


def folder_digest(folder: Path) -> str:
    """Return the SHA-256 over the names and digests of a model's files, at any depth."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    names = sorted(path.as_posix() for path in paths if _counts(path.parts))
    return files.sha256_of_json({name: files.remembered_sha256(folder / name) for name in names})


def _counts(parts: Sequence[str]) -> bool:
    cached = any(part.startswith(".") or part == "__pycache__" for part in parts)
    return not cached and parts[-1] not in IGNORED


def folder_licence(folder: Path) -> str:
    """Return the licence in the head of the model card ``README.md``, or ``unknown``."""
    card, text = folder / "README.md", ""
    if card.is_file():
        with files.open_regular(card) as file:
            text = file.read().decode(errors="replace")
    head = text.split("---")
    for line in head[1].splitlines() if len(head) > 2 and not head[0].strip() else []:
        if line.startswith("license:"):
            return line.removeprefix("license:").strip()
    return "unknown"


def require_all_loaded(info: dict, folder: Path) -> None:
    """Raise a FreeBindError unless a checkpoint had every weight of its model, in its shape.

    Args:
        info: Second result of ``from_pretrained(..., output_loading_info=True)``.
        folder: Folder of the model.
    """
    lacking = [k for k in info["missing_keys"] if not k.endswith("position_ids")]
    lacking += [str(key) for key in info.get("mismatched_keys") or ()]
    if lacking:
        raise FreeBindError(
            "a checkpoint lacks weights of its model",
            where=folder,
            expected="every weight, in the shape that config.json says",
            got=f"{len(lacking)} missing or of another shape, such as {sorted(lacking)[0]}",
        )
