"""open_clip's models, on a tiny random one, where torchvision imports."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from encoders_torch.loading import load_encoder
from fb_jax.errors import FreeBindError

try:
    import open_clip
except Exception:  # a torchvision of another build raises RuntimeError
    open_clip = None

needs_it = pytest.mark.skipif(open_clip is None, reason="needs open_clip, and its torchvision")
TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


@pytest.mark.skipif(open_clip is not None, reason="open_clip is here")
def test_without_open_clip_it_says_what_to_install():
    with pytest.raises(FreeBindError, match=r"open_clip cannot be imported(.|\n)*torchvision"):
        load_encoder("open_clip:ViT-B-32/openai", None, "cpu")


@pytest.fixture
def checkpoint(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/tiny.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(tmp_path / "configs")
    torch.manual_seed(0)
    torch.save(open_clip.create_model("tiny").state_dict(), tmp_path / "tiny.pt")
    return tmp_path / "tiny.pt"


@needs_it
def test_it_embeds_as_open_clip_does_alone_and_in_a_batch(checkpoint, tmp_path):
    encoder = load_encoder("open_clip:tiny", checkpoint, "cpu")
    assert (encoder.dim, encoder.name) == (16, "open_clip tiny")
    rng = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(tmp_path / f"{i}.png")
    items = {"text": ["a dog", "a cat"], "image": [tmp_path / f"{i}.png" for i in range(3)]}
    model, _, prepare = open_clip.create_model_and_transforms("tiny", pretrained=str(checkpoint))
    model.eval()
    with torch.no_grad():
        pixels = torch.stack([prepare(Image.open(path)) for path in items["image"]])
        wanted = {
            "text": model.encode_text(open_clip.get_tokenizer("tiny")(items["text"])),
            "image": model.encode_image(pixels),
        }
    for modality, rows in wanted.items():
        read = [encoder.read(modality, item) for item in items[modality]]
        batch = encoder.rows(modality, read)
        np.testing.assert_allclose(batch, rows.numpy(), atol=1e-6)
        alone = np.concatenate([encoder.rows(modality, [one]) for one in read])
        np.testing.assert_allclose(alone, batch, atol=1e-6)


@needs_it
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("open_clip:ViT-B-33/openai", "no architecture 'ViT-B-33'(.|\n)*did you mean 'ViT-B"),
        ("open_clip:ViT-B-32/opanai", "no tag of ViT-B-32 'opanai'(.|\n)*did you mean 'openai'"),
    ],
)
def test_a_name_that_open_clip_does_not_know_is_refused(name, says):
    with pytest.raises(FreeBindError, match=says):
        load_encoder(name, None, "cpu")


@needs_it
def test_a_checkpoint_of_another_model_is_refused(checkpoint):
    torch.save({"x": torch.zeros(1)}, checkpoint)
    with pytest.raises(FreeBindError, match=r"checkpoint cannot be loaded(.|\n)*open_clip's tiny"):
        load_encoder("open_clip:tiny", checkpoint, "cpu")
