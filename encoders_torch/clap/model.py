"""Loads LAION's checkpoints into transformers' ``ClapModel``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from transformers import ClapConfig, ClapModel

from encoders_torch.clap.published import Published
from encoders_torch.clap.renaming import require_same_names, to_transformers
from encoders_torch.clap.sizes import is_fused, model_config
from encoders_torch.explain import explained
from encoders_torch.tensor_files import read_state
from fb_jax.errors import FreeBindError

PREFIX = "module."
"""Prefix of every name, from the wrapper that LAION trained in (DistributedDataParallel)."""


def load_model(path: Path, published: Published) -> ClapModel:
    """Load a model of the published kind, of any size, for inference on the CPU.

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


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read the weights of a training state or of a bare state dict, by LAION's names.

    Raises:
        FreeBindError: See ``read_state``.
    """
    state = read_state(path, key="state_dict")
    return {name.removeprefix(PREFIX): value for name, value in state.items()}


def _fill(config: ClapConfig, weights: Mapping[str, Tensor], path: Path) -> ClapModel:
    model = ClapModel(config)
    require_same_names(set(weights), set(model.state_dict()), path)
    fix = "take the file that LAION-AI/CLAP publishes"
    with explained("a checkpoint's weights do not fit together", where=path, fix=fix):
        model.load_state_dict(weights, strict=False)  # the names were checked
    return model.eval().requires_grad_(False)


def _fusion(fused: bool) -> str:
    return "with fusion" if fused else "without fusion"
