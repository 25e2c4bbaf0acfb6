"""Random weights for our encoders, to measure their speed.

    PYTHONPATH=.:tests python -m benchmarks.random_weights \\
        --encoder clap_general --size full --out DIR
    python benchmarks/export.py --encoder clap_general --weights DIR/clap_general.pt

``full`` has the published sizes (ImageBind: 4.3 GB). ``tiny`` makes the network so cheap that the
cost of the export itself shows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro
from tiny.clap import laion_state, tiny_model
from tiny.tokenizers import write_byte_pairs
from transformers import ClapConfig, ClapModel

from encoders_torch.imagebind.sizes import HUGE, TowerSize
from encoders_torch.imagebind.towers import TOWERS

TOY = TowerSize(width=32, depth=2, heads=2, dim=64)
ROBERTA_TOKENS = 50265


@dataclass(frozen=True)
class Weights:
    encoder: Literal["imagebind", "clap_general", "clap_music"]
    size: Literal["tiny", "full"]
    out: Path


def write_imagebind(path: Path, sizes: Mapping[str, TowerSize]) -> None:
    """Write random towers, with the scales of all normalisations at one."""
    with torch.device("meta"):
        towers = [TOWERS[name](size) for name, size in sizes.items()]
    shapes = [(key, v.shape) for tower in towers for key, v in tower.state_dict().items()]
    torch.save({key: _numbers(key, shape) for key, shape in shapes}, path)


def _numbers(key: str, shape: torch.Size) -> torch.Tensor:
    if key.endswith("mask"):
        return torch.full(shape, -torch.inf).triu(1)  # it hides later tokens
    scale = "norm" in key and key.endswith("weight")
    return torch.ones(shape) if scale else torch.randn(shape) / 50


def write_clap(path: Path, size: str, fused: bool) -> None:
    """Write a checkpoint in LAION's layout, and a tokenizer into the same folder."""
    folder = path.parent / "roberta-base"
    tokens = write_byte_pairs(folder)
    if size == "full":
        tokens = fill_vocabulary(folder / "vocab.json")
    model = full_clap(fused) if size == "full" else tiny_model(tokens, fused)
    torch.save({"state_dict": laion_state(model)}, path)


def fill_vocabulary(path: Path) -> int:
    """Add tokens that no caption has, up to the size of RoBERTa's vocabulary."""
    tokens = json.loads(path.read_text())
    tokens |= {f"<filler {i}>": i for i in range(len(tokens), ROBERTA_TOKENS)}
    path.write_text(json.dumps(tokens))
    return len(tokens)


def full_clap(fused: bool) -> ClapModel:
    """Return a model of LAION's size: RoBERTa-base, and HTSAT-tiny if it fuses, else HTSAT-base."""
    fusion = {"enable_fusion": True, "fusion_type": "aff_2d"}
    base = {"patch_embeds_hidden_size": 128, "hidden_size": 1024, "depths": [2, 2, 12, 2]}
    text = {"vocab_size": ROBERTA_TOKENS, "layer_norm_eps": 1e-5}
    model = ClapModel(
        ClapConfig(audio_config=fusion if fused else base, text_config=text, projection_dim=512)
    )
    model.audio_model.audio_encoder.batch_norm.running_mean.fill_(-30)
    model.audio_model.audio_encoder.batch_norm.running_var.fill_(400)
    return model.eval()


def main() -> None:
    config = tyro.cli(Weights)
    config.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    path = config.out / f"{config.encoder}.pt"
    if config.encoder == "imagebind":
        write_imagebind(path, HUGE if config.size == "full" else dict.fromkeys(HUGE, TOY))
    else:
        write_clap(path, config.size, fused=config.encoder == "clap_general")
    print(path)


if __name__ == "__main__":
    main()
