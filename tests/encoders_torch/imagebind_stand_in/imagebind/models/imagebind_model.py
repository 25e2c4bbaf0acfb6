"""A stand-in with the interface of ImageBind's own package, over our towers: not its code.

What is called by name, what goes in and comes out, and the keys of weights are the package's.
"""

import torch
from torch import nn
from torch.nn.functional import normalize

from encoders_torch.imagebind.sizes import Sizes, TowerSize
from encoders_torch.imagebind.towers import Towers

MADE = []
"""Models that were made, newest last."""


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.log_logit_scale = nn.Parameter(torch.tensor(20.0).log())

    def forward(self, rows):
        return rows * self.log_logit_scale.exp()


class ImageBindModel(Towers):
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
        vision = TowerSize(vision_embed_dim, vision_num_blocks, vision_num_heads)
        text = TowerSize(text_embed_dim, text_num_blocks, text_num_heads)
        audio = TowerSize(audio_embed_dim, audio_num_blocks, audio_num_heads)
        super().__init__(Sizes(vision, text, audio, out_embed_dim))
        self.modality_heads["depth"] = nn.Sequential(nn.Linear(3, out_embed_dim))
        scales = {m: nn.Sequential(nn.Identity(), Scale()) for m in ("text", "audio")}
        self.modality_postprocessors = nn.ModuleDict(scales | {"vision": nn.Identity()})
        MADE.append(self)

    def forward(self, inputs):
        return {modality: self.embed(modality, value) for modality, value in inputs.items()}

    def embed(self, modality, inputs):
        clips = inputs.flatten(0, 1) if inputs.ndim == 5 else inputs
        rows = normalize(super().forward(modality, clips), dim=-1)
        rows = self.modality_postprocessors[modality](rows)
        return rows.unflatten(0, inputs.shape[:2]).mean(1) if inputs.ndim == 5 else rows
