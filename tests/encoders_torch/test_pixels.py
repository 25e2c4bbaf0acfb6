"""Pictures reach a device as 8-bit pixels, and are then what transformers' processor makes."""

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from encoders_torch.pixels import Normalisation, Pictures
from encoders_torch.torch_encoder import moved
from tests.encoders_torch.tiny_models import save_image_processor

SHAPES = [(40, 50), (32, 32), (9, 200), (301, 87)]


@pytest.fixture(params=["CLIP", "Siglip"])
def processor(request, tmp_path):
    save_image_processor(tmp_path, request.param)
    kind = {"backend": "pil"} if transformers.__version__ >= "5" else {"use_fast": False}
    return transformers.AutoImageProcessor.from_pretrained(tmp_path, **kind)


def noise(shape):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8))


def finished(pictures, images, dtype=torch.float32):
    batch = np.stack([pictures.read(image) for image in images])
    return pictures.finish(moved(batch, "cpu", dtype), dtype)


def test_pixels_are_normalised_as_by_hand():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8)[None, :, None, None]
    found = Normalisation((0.5, 0.0, 0.2), (0.5, 1.0, 0.4))(pixels, torch.float32)
    np.testing.assert_allclose(found.flatten(), [-1, 0.2, 2], atol=1e-6)
    assert Normalisation((0.0,) * 3, (1.0,) * 3)(pixels, torch.bfloat16).dtype == torch.bfloat16


@pytest.mark.parametrize("shape", SHAPES)
def test_a_picture_is_what_the_processor_makes_of_it(processor, shape):
    pictures = Pictures(processor)
    assert pictures.read(noise(shape)).dtype == np.uint8
    wanted = processor(images=noise(shape), return_tensors="pt")["pixel_values"]
    np.testing.assert_allclose(finished(pictures, [noise(shape)]), wanted, atol=1e-6)


@pytest.mark.parametrize(
    "setting",
    [
        {"do_normalize": False},
        {"do_rescale": False},
        {"do_resize": True, "rescale_factor": 1 / 127.5},
    ],
)
def test_other_settings_of_a_processor_reach_the_picture(processor, setting):
    for name, value in setting.items():
        setattr(processor, name, value)
    wanted = processor(images=noise((40, 50)), return_tensors="pt")["pixel_values"]
    found = finished(Pictures(processor), [noise((40, 50))])
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_what_a_processor_does_after_normalising_is_kept(processor):
    class Twice:
        """A processor with one more step."""

        def __getattr__(self, name):
            return getattr(processor, name)

        def __call__(self, **options):
            features = processor(**options)
            features["pixel_values"] = features["pixel_values"] * 2
            return features

    pictures = Pictures(Twice())
    assert pictures.read(noise((40, 50))).dtype == np.float32
    wanted = processor(images=noise((40, 50)), return_tensors="pt")["pixel_values"] * 2
    np.testing.assert_allclose(finished(pictures, [noise((40, 50))]), wanted, atol=1e-6)
