"""A checkpoint of LAION's as transformers' ``ClapModel``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from transformers import ClapConfig, ClapModel

from encoders_torch.clap.checkpoint import read_checkpoint
from encoders_torch.clap.published import Published
from encoders_torch.clap.renaming import require_same_names, to_transformers
from encoders_torch.clap.sizes import is_fused, model_config
from fb_jax.errors import FreeBindError


def load_model(path: Path, published: Published) -> ClapModel:
    """Load weights of any size of the published model's kind, for inference on the CPU.

    Raises:
        FreeBindError: The file is damaged, of another model or with other fusion.
    """
    weights = to_transformers(read_checkpoint(path))
    config = model_config(weights, path)
    if is_fused(weights) != published.fused:
        raise FreeBindError(
            f"this checkpoint is not for {published.space}",
            where=path,
            expected=f"one {_fusion(published.fused)}, such as {published.file}",
            got=f"one {_fusion(is_fused(weights))}",
        )
    return _fill(config, weights, path)


def _fill(config: ClapConfig, weights: Mapping[str, Tensor], path: Path) -> ClapModel:
    model = ClapModel(config)
    require_same_names(set(weights), set(model.state_dict()), path)
    try:
        model.load_state_dict(weights, strict=False)  # the names are known to be right
    except RuntimeError as error:
        raise FreeBindError(
            "a checkpoint's weights do not fit together",
            where=path,
            got=str(error).strip().splitlines()[-1].strip(),
            fix="take the file that LAION-AI/CLAP publishes",
        ) from error
    return model.eval().requires_grad_(False)


def _fusion(fused: bool) -> str:
    return "with fusion" if fused else "without fusion"
