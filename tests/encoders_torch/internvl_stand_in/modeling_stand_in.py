"""A stand-in with the interface of InternVL-C's own code: what AutoModel loads from its folder."""

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel


class StandInConfig(PretrainedConfig):
    model_type = "internvl_stand_in"

    def __init__(self, vocab_size=64, clip_embed_dim=768, **kwargs):
        self.vocab_size = vocab_size
        self.clip_embed_dim = clip_embed_dim
        super().__init__(**kwargs)


class StandInModel(PreTrainedModel):
    config_class = StandInConfig

    def __init__(self, config):
        super().__init__(config)
        self.patches = nn.Conv2d(3, 8, 56, 56)
        self.clip_projector = nn.Linear(8, config.clip_embed_dim)
        self.tokens = nn.Embedding(config.vocab_size, 8)
        self.text_projection = nn.Parameter(torch.empty(8, config.clip_embed_dim))
        self.post_init()

    def _init_weights(self, module):
        for parameter in module.parameters(recurse=False):
            nn.init.normal_(parameter)

    def encode_image(self, image, mode):
        if mode != "InternVL-C":
            raise NotImplementedError
        return self.clip_projector(torch.tanh(self.patches(image)).mean(dim=(2, 3)))

    def encode_text(self, text):
        mask = text > 0
        states = torch.cumsum(torch.tanh(self.tokens(text)), dim=1)
        last = states[torch.arange(len(text)), mask.sum(1) - 1]
        return last @ self.text_projection
