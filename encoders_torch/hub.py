"""Model folders: of one's own, or from the Hugging Face hub; what they say of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fb_jax.banks import files
from fb_jax.errors import FreeBindError

WEIGHTS = ("*.safetensors", "*.bin")
BESIDE = ("*.json", "*.txt", "*.model", "*.py", "README.md")
NO_PART = ("README.md", "LICENSE")


def model_folder(name: str, weights: Path | None, licence: str) -> Path:
    """Return the folder of a model.

    Args:
        name: Of the folder itself, or of a model on the hub, as ``openai/clip-vit-base-patch32``.
        weights: The folder, if it is not ``name``.
        licence: Of the weights, as far as it is known, for the message.

    Raises:
        FreeBindError: There is no such folder, nor can it be downloaded.
    """
    given = Path(name) if weights is None else weights
    if (given / "config.json").is_file():
        return given
    if weights is not None or given.exists() or name.count("/") != 1:
        raise FreeBindError(
            "this is no folder of a transformers model",
            where=given,
            expected="config.json, weights and the files of its processor",
            fix=None if weights is None else _how_to_get(name, licence),
        )
    return _download(name, licence)


def _download(name: str, licence: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, allow_patterns=[WEIGHTS[0], *BESIDE]))
        if not any(folder.glob(WEIGHTS[0])):  # most have both, and one is enough
            folder = Path(snapshot_download(name, allow_patterns=[WEIGHTS[1], *BESIDE]))
    except Exception as error:  # of several libraries, by how the network fails
        raise FreeBindError(
            "the weights are not here, and cannot be downloaded",
            where=name,
            got=" ".join(str(error).split()),
            fix=_how_to_get(name, licence),
        ) from error
    return folder


def _how_to_get(name: str, licence: str) -> str:
    return (
        f"where there is a network, run: hf download {name} --local-dir FOLDER "
        f"(https://huggingface.co/{name}, licence: {licence}); then give --weights FOLDER"
    )


def folder_digest(folder: Path) -> str:
    """Return the SHA-256 over the names and digests of a model's files, at any depth."""
    names = sorted(path.relative_to(folder).as_posix() for path in _files(folder))
    return files.sha256_of_json({name: files.sha256_of(folder / name) for name in names})


def _files(folder: Path) -> list[Path]:
    below = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return [folder / path for path in below if not _aside(path.parts)]


def _aside(parts: Sequence[str]) -> bool:
    cached = any(part.startswith(".") or part == "__pycache__" for part in parts)
    return cached or parts[-1] in NO_PART


def folder_licence(folder: Path) -> str:
    """Return the licence in the head of a model card, ``README.md``, or ``unknown``."""
    card = folder / "README.md"
    head = card.read_text(encoding="utf-8", errors="replace").split("---") if card.exists() else []
    for line in head[1].splitlines() if len(head) > 2 and not head[0].strip() else []:
        if line.startswith("license:"):
            return line.removeprefix("license:").strip()
    return "unknown"


def require_all_loaded(info: dict, folder: Path) -> None:
    """Raise a FreeBindError unless a checkpoint held every weight of its model, in its shape.

    Args:
        info: What ``from_pretrained(..., output_loading_info=True)`` gives second.
        folder: Of the model.
    """
    lacking = [k for k in info["missing_keys"] if not k.endswith("position_ids")]
    lacking += [str(key) for key in info.get("mismatched_keys") or ()]
    if lacking:
        raise FreeBindError(
            "a checkpoint lacks weights of its model",
            where=folder,
            expected="every weight, in the shape that config.json says",
            got=f"{len(lacking)} missing or of another shape, as {sorted(lacking)[0]}",
        )
