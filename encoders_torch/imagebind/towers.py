"""ImageBind's vision, text and audio towers (Girdhar et al., CVPR 2023, arXiv:2305.05665).

Plain torch, written from the paper and the published state dict, whose keys are the module names.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize

from encoders_torch.imagebind.sizes import Sizes, TowerSize

IMAGE_TOKENS = 1 + 16 * 16
AUDIO_TOKENS = 1 + 12 * 19
CONTEXT, VOCABULARY = 77, 49408
EPSILON = 1e-6
MLP_RATIO = 4
PARTS = ("modality_preprocessors", "modality_trunks", "modality_heads")


class Towers(nn.Module):
    """Three pre-norm transformers into one space.

    It maps ``vision`` ([b, 3, 224, 224] float32), ``audio`` ([b, 1, 128, 204] float32) or ``text``
    ([b, 77] int64) to rows [b, d] before any normalisation. The published model normalises them,
    multiplies by a fixed scale and averages an item's clips.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.dim = sizes.dim
        vision, text, audio = sizes.vision, sizes.text, sizes.audio
        self.modality_preprocessors = nn.ModuleDict(
            {
                "vision": PatchTokens(VisionStem(vision.width), IMAGE_TOKENS, vision.width),
                "text": TextTokens(text.width),
                "audio": PatchTokens(AudioStem(audio.width), AUDIO_TOKENS, audio.width),
            }
        )
        self.modality_trunks = nn.ModuleDict(
            {
                "vision": Trunk(vision, first=nn.LayerNorm(vision.width, eps=EPSILON)),
                "text": Trunk(text),
                "audio": Trunk(audio, bias_kv=True),
            }
        )
        self.modality_heads = nn.ModuleDict(
            {
                "vision": PatchHead(vision.width, sizes.dim),
                "text": TextHead(text.width, sizes.dim),
                "audio": PatchHead(audio.width, sizes.dim),
            }
        )

    def forward(self, modality: str, inputs: Tensor) -> Float[Tensor, "b d"]:
        """Embed a batch, from each item's class token or, for text, its last token."""
        preprocessor = self.modality_preprocessors[modality]
        mask = preprocessor.mask if modality == "text" else None
        tokens = self.modality_trunks[modality](preprocessor(inputs), mask)
        at = inputs.argmax(1) if modality == "text" else 0  # the end of a text has the highest id
        return self.modality_heads[modality](tokens[torch.arange(len(tokens)), at])


class AudioTrunk(nn.Module):
    """The audio tower alone, with the keys that it has in the whole model.

    Args:
        towers: The model. Its audio tower is shared, not copied.
    """

    def __init__(self, towers: nn.Module) -> None:
        super().__init__()
        for part in PARTS:
            self.add_module(part, nn.ModuleDict({"audio": getattr(towers, part)["audio"]}))

    def forward(self, clips: Float[Tensor, "b clips 1 bins frames"]) -> Float[Tensor, "b d"]:
        """Return unit rows: the mean of the clips' unit embeddings, then L2 norm."""
        preprocessor, trunk, head = (getattr(self, part)["audio"] for part in PARTS)
        tokens = trunk(preprocessor(clips.flatten(0, 1)), None)
        rows = normalize(head(tokens[:, 0]), dim=1)
        return normalize(rows.unflatten(0, clips.shape[:2]).mean(dim=1), dim=1)


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
        return self.token_embedding(ids) + self.pos_embed


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
