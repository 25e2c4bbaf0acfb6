"""ImageBind's vision, text and audio towers (Girdhar et al., CVPR 2023, arXiv:2305.05665).

Plain torch, written from the paper and the published state dict, whose keys are the module names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize

from encoders_torch.imagebind.sizes import TowerSize

IMAGE_TOKENS = 1 + 16 * 16
AUDIO_TOKENS = 1 + 12 * 19
CONTEXT, VOCABULARY = 77, 49408
EPSILON = 1e-6
MLP_RATIO = 4
PARTS = ("modality_preprocessors", "modality_trunks", "modality_heads")


class Tower(nn.Module):
    """A pre-norm transformer that maps inputs of one modality into the space of all.

    Its keys are those that it has in the whole model.

    Args:
        name: Name of the modality in keys.
        preprocessor: It maps inputs to tokens.
        trunk: It maps tokens to tokens.
        head: It maps one of an item's tokens into the space.
    """

    def __init__(
        self, name: str, preprocessor: nn.Module, trunk: nn.Module, head: nn.Module
    ) -> None:
        super().__init__()
        self.name = name
        for part, module in zip(PARTS, (preprocessor, trunk, head), strict=True):
            self.add_module(part, nn.ModuleDict({name: module}))

    def part(self, part: str) -> Any:
        """Return the tower's module that is one of ``PARTS``."""
        return getattr(self, part)[self.name]

    def embed(
        self, inputs: Tensor, at: Tensor | int = 0, mask: Tensor | None = None
    ) -> Float[Tensor, "b d"]:
        """Return unit rows, float32.

        Args:
            inputs: For the preprocessor.
            at: Which token of each item is embedded.
            mask: Of the attention.
        """
        preprocessor, trunk, head = map(self.part, PARTS)
        tokens = trunk(preprocessor(inputs), mask)
        items = torch.arange(len(tokens), device=tokens.device)
        return normalize(head(tokens[items, at]).float(), dim=1)


class VisionTower(Tower):
    """Embeds pictures from their class tokens."""

    def __init__(self, size: TowerSize) -> None:
        stem, width = VisionStem(size.width), size.width
        trunk = Trunk(size, first=nn.LayerNorm(width, eps=EPSILON))
        tokens = PatchTokens(stem, IMAGE_TOKENS, width)
        super().__init__("vision", tokens, trunk, PatchHead(width, size.dim))

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Return unit rows."""
        return self.embed(images)


class TextTower(Tower):
    """Embeds captions from their last tokens."""

    def __init__(self, size: TowerSize) -> None:
        head = TextHead(size.width, size.dim)
        super().__init__("text", TextTokens(size.width), Trunk(size), head)

    def forward(self, ids: Int[Tensor, "b tokens"]) -> Float[Tensor, "b d"]:
        """Return unit rows.

        Args:
            ids: The end of a text has the highest id. What stands behind the last end does not
                matter, and may be cut off.
        """
        mask = self.part("modality_preprocessors").mask[: ids.shape[1], : ids.shape[1]]
        return self.embed(ids, ids.argmax(1), mask)


class AudioTower(Tower):
    """Embeds recordings: the mean of their clips' unit embeddings."""

    def __init__(self, size: TowerSize) -> None:
        tokens = PatchTokens(AudioStem(size.width), AUDIO_TOKENS, size.width)
        trunk = Trunk(size, bias_kv=True)
        super().__init__("audio", tokens, trunk, PatchHead(size.width, size.dim))

    def forward(self, clips: Float[Tensor, "b clips 1 bins frames"]) -> Float[Tensor, "b d"]:
        """Return unit rows."""
        rows = self.embed(clips.flatten(0, 1))
        return normalize(rows.unflatten(0, clips.shape[:2]).mean(dim=1), dim=1)


TOWERS: dict[str, Callable[[TowerSize], Tower]] = {
    "vision": VisionTower,
    "text": TextTower,
    "audio": AudioTower,
}
"""Name of a tower in keys, and its class."""


# From inputs to tokens


class VisionStem(nn.Module):
    """Patches of 14 x 14 over two frames; a picture is repeated as both."""

    def __init__(self, width: int) -> None:
        super().__init__()
        convolution = nn.Conv3d(3, width, (2, 14, 14), stride=(2, 14, 14), bias=False)
        self.proj = nn.ModuleList([nn.Identity(), convolution])

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b patches width"]:
        """Return a token for each patch, row by row."""
        frames = images[:, :, None].expand(-1, -1, 2, -1, -1)
        return self.proj[1](frames).flatten(2).mT


class AudioStem(nn.Module):
    """Patches of 16 x 16 of a spectrogram, 10 apart."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, width, 16, stride=10, bias=False)
        self.norm_layer = nn.LayerNorm(width, eps=1e-5)

    def forward(self, mels: Float[Tensor, "b 1 bins frames"]) -> Float[Tensor, "b patches width"]:
        """Return a token for each patch, row by row."""
        return self.norm_layer(self.proj(mels).flatten(2).mT)


class Positions(nn.Module):
    """Learned positions, one for each token."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.empty(1, tokens, width))


class PatchTokens(nn.Module):
    """A class token before the patches, and positions."""

    def __init__(self, stem: nn.Module, tokens: int, width: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embedding_helper = Positions(tokens, width)
        self.rgbt_stem = stem

    def forward(self, inputs: Float[Tensor, "b c h w"]) -> Float[Tensor, "b tokens width"]:
        """Return the tokens for the trunk."""
        first = self.cls_token.expand(len(inputs), -1, -1)
        patches = torch.cat([first, self.rgbt_stem(inputs)], 1)
        return patches + self.pos_embedding_helper.pos_embed


class TextTokens(nn.Module):
    """Words and positions, and the mask that hides later tokens from a token."""

    mask: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(VOCABULARY, width)
        self.pos_embed = nn.Parameter(torch.empty(1, CONTEXT, width))
        self.register_buffer("mask", torch.empty(CONTEXT, CONTEXT))

    def forward(self, ids: Int[Tensor, "b tokens"]) -> Float[Tensor, "b tokens width"]:
        """Return the tokens for the trunk."""
        return self.token_embedding(ids) + self.pos_embed[:, : ids.shape[1]]


# From tokens to an embedding


class Trunk(nn.Module):
    """Blocks; in the vision tower a norm comes first."""

    def __init__(
        self, size: TowerSize, first: nn.Module | None = None, *, bias_kv: bool = False
    ) -> None:
        super().__init__()
        self.pre_transformer_layer = nn.Sequential(*([first] if first else []))
        blocks = (Block(size.width, size.heads, bias_kv=bias_kv) for _ in range(size.depth))
        self.blocks = nn.ModuleList(blocks)

    def forward(
        self, tokens: Float[Tensor, "b n width"], mask: Float[Tensor, "n n"] | None
    ) -> Float[Tensor, "b n width"]:
        """Return the tokens after the last block."""
        tokens = self.pre_transformer_layer(tokens)
        for block in self.blocks:
            tokens = block(tokens, mask)
        return tokens


class Block(nn.Module):
    """Pre-norm attention and MLP, each with a residual connection."""

    def __init__(self, width: int, heads: int, *, bias_kv: bool) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(width, eps=EPSILON)
        self.attn = nn.MultiheadAttention(width, heads, add_bias_kv=bias_kv, batch_first=True)
        self.norm_2 = nn.LayerNorm(width, eps=EPSILON)
        self.mlp = Mlp(width)

    def forward(
        self, tokens: Float[Tensor, "b n width"], mask: Float[Tensor, "n n"] | None
    ) -> Float[Tensor, "b n width"]:
        """Return the same number of tokens."""
        normed = self.norm_1(tokens)
        attended, _ = self.attn(normed, normed, normed, attn_mask=mask, need_weights=False)
        tokens = tokens + attended
        return tokens + self.mlp(self.norm_2(tokens))


class Mlp(nn.Module):
    """Two layers with the exact GELU between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.fc2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, tokens: Float[Tensor, "*b width"]) -> Float[Tensor, "*b width"]:
        """Return the same number of tokens."""
        return self.fc2(gelu(self.fc1(tokens)))


class PatchHead(nn.Sequential):
    """Norm and projection of a class token, under the keys 0 and 2."""

    def __init__(self, width: int, dim: int) -> None:
        norm, linear = nn.LayerNorm(width, eps=EPSILON), nn.Linear(width, dim, bias=False)
        super().__init__(norm, nn.Identity(), linear)


class TextHead(nn.Module):
    """Norm and projection of a text's last token."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        norm, linear = nn.LayerNorm(width, eps=EPSILON), nn.Linear(width, dim, bias=False)
        self.proj = nn.Sequential(norm, linear)

    def forward(self, token: Float[Tensor, "b width"]) -> Float[Tensor, "b dim"]:
        """Return rows of the shared space."""
        return self.proj(token)
