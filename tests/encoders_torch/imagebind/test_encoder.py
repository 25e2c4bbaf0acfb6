import pickle

import numpy as np
import pytest
import torch

from encoders_torch.encoder import FrozenEncoder, provenance
from encoders_torch.imagebind import ImageBind
from encoders_torch.loading import load_encoder
from fb_jax import files
from fb_jax.errors import FreeBindError

MODALITIES = ("audio", "image", "text")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_released_code_s_inputs_give_its_outputs(encoder, goldens, modality):
    found = encoder.rows(modality, list(goldens[f"{modality}.input"]))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, unit(goldens[f"{modality}.output"]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("modality", MODALITIES)
def test_media_and_captions_give_the_released_code_s_outputs(encoder, goldens, items, modality):
    found = encoder.rows(modality, [encoder.read(modality, item) for item in items[modality]])
    np.testing.assert_allclose(found, unit(goldens[f"{modality}.output"]), rtol=0, atol=1e-5)


def test_the_scales_that_are_left_out_are_all_that_norms_tell(goldens, state):
    for modality in ("text", "audio"):
        scale = state[f"modality_postprocessors.{modality}.1.log_logit_scale"].float().exp().item()
        norms = np.linalg.norm(goldens[f"{modality}.output"], axis=1)
        assert norms.max() == pytest.approx(scale, rel=1e-3)


@pytest.mark.parametrize("modality", MODALITIES)
def test_an_item_has_one_embedding_alone_and_in_any_batch(encoder, items, modality):
    batch = [encoder.read(modality, item) for item in items[modality]] * 5
    together = encoder.rows(modality, batch)
    alone = np.concatenate([encoder.rows(modality, [item]) for item in batch])
    backwards = encoder.rows(modality, batch[::-1])[::-1]
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-6)
    np.testing.assert_allclose(backwards, together, rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_it_is_what_the_export_asks_for(weights):
    made = load_encoder("imagebind", weights, "cpu")
    assert isinstance(made, ImageBind)
    assert isinstance(made, FrozenEncoder)
    assert (made.dim, made.modalities) == (48, MODALITIES)
    assert made.name == (
        "ImageBind, of audio the mean of 3 clips of 2 s, of images the middle, own towers"
    )
    assert provenance(made).licence == "CC-BY-NC-SA-4.0 (ImageBind weights)"
    assert made.weights_sha256 == files.sha256_of(weights)


def test_nothing_learns(encoder, goldens):
    assert not any(parameter.requires_grad for parameter in encoder.model.parameters())
    assert not encoder.model.training
    assert torch.is_grad_enabled()
    encoder.rows("text", list(goldens["text.input"]))
    assert torch.is_grad_enabled()


def test_an_encoder_can_be_sent_to_another_process(encoder, items):
    sent = pickle.loads(pickle.dumps(encoder))
    for modality in MODALITIES:
        item = encoder.read(modality, items[modality][0])
        found, wanted = (e.rows(modality, [item]) for e in (sent, encoder))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


def test_an_unknown_modality_is_refused(encoder):
    with pytest.raises(FreeBindError, match="no modality 'depth'"):
        encoder.read("depth", "x")
    with pytest.raises(FreeBindError, match=r"no modality 'vision'(.|\n)*audio, image, text"):
        encoder.rows("vision", [np.zeros((3, 224, 224), np.float32)])


def test_paths_may_be_strings(encoder, weights):
    assert ImageBind(str(weights)).weights_sha256 == encoder.weights_sha256
