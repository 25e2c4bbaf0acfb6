"""Where the published weights are: given, in torch's cache, or at their publisher."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from fb_jax.errors import FreeBindError

URL = "https://dl.fbaipublicfiles.com/imagebind/imagebind_huge.pth"
LICENCE = "CC-BY-NC-SA-4.0 (ImageBind weights)"


def find_weights(path: Path | None) -> Path:
    """Return the path of the weights; without one they come from torch's cache or publisher.

    Raises:
        FreeBindError: They are not there and cannot be downloaded.
    """
    if path is None:
        path = cached()
        if not path.exists():
            _download(path)
    if not path.is_file():
        raise _missing(path, "no such file")
    return path


def cached() -> Path:
    """Return where the published weights are kept, as torch.hub does."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(URL).name


def _download(path: Path) -> None:
    print(f"Getting {URL} (4.5 GB), licence: {LICENCE}", file=sys.stderr)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(URL, str(path))  # whole or not there
    except (OSError, RuntimeError) as error:
        raise _missing(path, error) from error


def _missing(path: Path, got: object) -> FreeBindError:
    return FreeBindError(
        "ImageBind's weights are missing",
        where=path,
        expected=f"imagebind_huge.pth of facebookresearch/ImageBind, licence: {LICENCE}",
        got=got,
        fix=f"get {URL}, then give it with --weights or put it at {cached()}",
    )
