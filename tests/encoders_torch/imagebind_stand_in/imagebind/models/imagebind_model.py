"""A stand-in with the interface of ImageBind's own package, over our towers: not its code.

What is called by name, what goes in and comes out, and the keys of weights are the package's.
"""

import torch
from torch import nn

from encoders_torch.imagebind.sizes import TowerSize
from encoders_torch.imagebind.towers import CONTEXT, PARTS, TOWERS

MADE = []
"""Models that were made, newest last."""


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.log_logit_scale = nn.Parameter(torch.tensor(20.0).log())

    def forward(self, rows):
        return rows * self.log_logit_scale.exp()


class ImageBindModel(nn.Module):
    def __init__(
        self,
        out_embed_dim=768,
        vision_embed_dim=1024,
        vision_num_blocks=24,
        vision_num_heads=16,
        audio_embed_dim=768,
        audio_num_blocks=12,
        audio_num_heads=12,
        text_embed_dim=768,
        text_num_blocks=12,
        text_num_heads=12,
    ):
        super().__init__()
        sizes = {
            "vision": (vision_embed_dim, vision_num_blocks, vision_num_heads),
            "text": (text_embed_dim, text_num_blocks, text_num_heads),
            "audio": (audio_embed_dim, audio_num_blocks, audio_num_heads),
        }
        towers = {n: TOWERS[n](TowerSize(*size, out_embed_dim)) for n, size in sizes.items()}
        self.called = {name: [tower] for name, tower in towers.items()}  # lists hide their keys
        for part in PARTS:
            modules = {name: tower.part(part) for name, tower in towers.items()}
            self.add_module(part, nn.ModuleDict(modules))
        self.modality_heads["depth"] = nn.Sequential(nn.Linear(3, out_embed_dim))
        scales = {m: nn.Sequential(nn.Identity(), Scale()) for m in ("text", "audio")}
        self.modality_postprocessors = nn.ModuleDict(scales | {"vision": nn.Identity()})
        MADE.append(self)

    def forward(self, inputs):
        return {modality: self.embed(modality, value) for modality, value in inputs.items()}

    def embed(self, modality, inputs):
        assert modality != "text" or inputs.shape[1] == CONTEXT  # the package takes no other
        return self.modality_postprocessors[modality](self.called[modality][0](inputs))
