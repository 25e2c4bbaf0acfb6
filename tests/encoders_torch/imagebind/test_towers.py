import pytest
import torch

from encoders_torch.imagebind.sizes import HUGE
from encoders_torch.imagebind.towers import TOWERS

BLOCK = {
    "norm_1.weight": (1,),
    "norm_1.bias": (1,),
    "attn.in_proj_weight": (3, 1),
    "attn.in_proj_bias": (3,),
    "attn.out_proj.weight": (1, 1),
    "attn.out_proj.bias": (1,),
    "norm_2.weight": (1,),
    "norm_2.bias": (1,),
    "mlp.fc1.weight": (4, 1),
    "mlp.fc1.bias": (4,),
    "mlp.fc2.weight": (1, 4),
    "mlp.fc2.bias": (1,),
}
"""Keys of a block, and shapes in widths of its tower."""

OUTSIDE_BLOCKS = {
    "modality_preprocessors.vision.cls_token": (1, 1, 1280),
    "modality_preprocessors.vision.pos_embedding_helper.pos_embed": (1, 257, 1280),
    "modality_preprocessors.vision.rgbt_stem.proj.1.weight": (1280, 3, 2, 14, 14),
    "modality_preprocessors.text.pos_embed": (1, 77, 1024),
    "modality_preprocessors.text.mask": (77, 77),
    "modality_preprocessors.text.token_embedding.weight": (49408, 1024),
    "modality_preprocessors.audio.cls_token": (1, 1, 768),
    "modality_preprocessors.audio.pos_embedding_helper.pos_embed": (1, 229, 768),
    "modality_preprocessors.audio.rgbt_stem.proj.weight": (768, 1, 16, 16),
    "modality_preprocessors.audio.rgbt_stem.norm_layer.weight": (768,),
    "modality_preprocessors.audio.rgbt_stem.norm_layer.bias": (768,),
    "modality_trunks.vision.pre_transformer_layer.0.weight": (1280,),
    "modality_trunks.vision.pre_transformer_layer.0.bias": (1280,),
    "modality_heads.vision.0.weight": (1280,),
    "modality_heads.vision.0.bias": (1280,),
    "modality_heads.vision.2.weight": (1024, 1280),
    "modality_heads.text.proj.0.weight": (1024,),
    "modality_heads.text.proj.0.bias": (1024,),
    "modality_heads.text.proj.1.weight": (1024, 1024),
    "modality_heads.audio.0.weight": (768,),
    "modality_heads.audio.0.bias": (768,),
    "modality_heads.audio.2.weight": (1024, 768),
}
"""Of the published imagebind_huge.pth."""


def published_shapes():
    shapes = dict(OUTSIDE_BLOCKS)
    for tower, width, depth in (("vision", 1280, 32), ("text", 1024, 24), ("audio", 768, 12)):
        for i in range(depth):
            prefix = f"modality_trunks.{tower}.blocks.{i}."
            shapes |= {prefix + key: tuple(width * n for n in by) for key, by in BLOCK.items()}
            if tower == "audio":
                shapes |= {f"{prefix}attn.bias_{kv}": (1, 1, width) for kv in "kv"}
    return shapes


def test_at_full_size_keys_and_shapes_are_the_published_checkpoint_s():
    with torch.device("meta"):
        towers = {name: TOWERS[name](size) for name, size in HUGE.items()}
    shapes = [(key, tuple(v.shape)) for t in towers.values() for key, v in t.state_dict().items()]
    assert dict(shapes) == published_shapes()
    count = sum(parameter.numel() for t in towers.values() for parameter in t.parameters())
    assert count == pytest.approx(1.07e9, rel=0.005)  # as the published three towers
    heads = {n: t.part("modality_trunks").blocks[0].attn.num_heads for n, t in towers.items()}
    assert heads == {"vision": 16, "text": 16, "audio": 12}


def test_a_text_is_heard_up_to_its_end_only(encoder, goldens):
    tower, ids = encoder.tower("text"), torch.from_numpy(goldens["text.input"][:1])
    other = ids.clone()
    other[0, 50:] = 7  # after the end, which has the highest id
    assert torch.equal(tower(ids), tower(other))
    other[0, 1] = 7
    assert not torch.allclose(tower(ids), tower(other), atol=1e-3)


def test_what_follows_the_last_end_may_be_cut_off(encoder, goldens):
    tower, ids = encoder.tower("text"), torch.from_numpy(goldens["text.input"])
    for text in ids:
        cut = text[None, : 1 + int(text.argmax())]
        torch.testing.assert_close(tower(cut), tower(text[None]), rtol=0, atol=1e-6)
