"""Makes PyPI's torchvision importable beside a CPU build of torch."""

from __future__ import annotations

from typing import Any

import torch


def declare_torchvision_ops() -> Any:
    """Make PyPI's torchvision, which is built for CUDA, importable with a CPU build of torch.

    Only its compiled operators are missing, and laion_clap uses none of them. With a CUDA build of
    torch nothing is missing.
    """
    if torch.version.cuda is not None:
        return None
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float threshold) -> Tensor")
    return library
