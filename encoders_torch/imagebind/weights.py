"""The published weights: the user's own copy, torch's cache, or a download."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from encoders_torch.downloads import Download

URL = "https://dl.fbaipublicfiles.com/imagebind/imagebind_huge.pth"
LICENCE = "CC-BY-NC-SA-4.0 (ImageBind weights)"


def find_weights(path: Path | str | None) -> Path:
    """Return the path of the weights. Without one they come from torch's cache or a download.

    Raises:
        FreeBindError: They are missing and cannot be downloaded.
    """
    return Download(
        space="imagebind",
        what="imagebind_huge.pth of facebookresearch/ImageBind",
        licence=LICENCE,
        get=_download,
        by_hand=f"download {URL}, then give it with --weights or put it at {cached()}",
    ).file(path)


def cached() -> Path:
    """Return where torch.hub keeps the published weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(URL).name


def _download() -> Path:
    path = cached()
    if not path.exists():
        print(f"Downloading {URL} (4.5 GB), licence: {LICENCE}", file=sys.stderr)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(URL, str(path))  # complete, or not there
    return path
