import pickle

import numpy as np
import pytest
import torch

from encoders_torch.encoder import FrozenEncoder, provenance
from encoders_torch.imagebind import ImageBind, ImageBindCutEnd
from encoders_torch.loading import find_encoder, load_encoder, recorded_encoder
from fb_jax import files
from fb_jax.errors import FreeBindError

MODALITIES = ("audio", "image", "text")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_released_code_s_inputs_give_its_outputs(encoder, goldens, modality):
    with torch.no_grad():
        found = encoder.tower(modality)(torch.from_numpy(goldens[f"{modality}.input"])).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, unit(goldens[f"{modality}.output"]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("modality", MODALITIES)
def test_media_and_captions_give_the_released_code_s_outputs(encoder, goldens, items, modality):
    """To 2e-5: torchaudio's float32 resampling is up to 5e-6 from exact sums, ours 1e-7."""
    found = encoder.rows(modality, [encoder.read(modality, item) for item in items[modality]])
    np.testing.assert_allclose(found, unit(goldens[f"{modality}.output"]), rtol=0, atol=2e-5)


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
        "ImageBind, of audio the mean of 3 clips of 2 s at start, middle and end, of images the "
        "middle, own towers"
    )
    assert provenance(made).licence == "CC-BY-NC-SA-4.0 (ImageBind weights)"
    assert made.weights_sha256 == files.sha256_of(weights)


def test_nothing_learns(encoder, goldens):
    tower = encoder.tower("text")
    assert not any(parameter.requires_grad for parameter in tower.parameters())
    assert not tower.training
    assert torch.is_grad_enabled()
    encoder.rows("text", list(goldens["text.input"]))
    assert torch.is_grad_enabled()


def test_only_the_towers_that_are_needed_are_loaded(weights, items):
    def loaded():
        return {key.split(".")[0] for key in made.model.state_dict()}

    made = ImageBind(weights)
    read = made.read("image", items["image"][0])
    assert loaded() == set()
    made.prepare("audio")
    tower = made.tower("audio")
    made.prepare("audio")
    assert made.tower("audio") is tower
    assert loaded() == {"audio"}
    made.rows("image", [read])  # without prepare
    assert loaded() == {"audio", "vision"}
    assert not any(parameter.is_inference() for parameter in made.model.parameters())


@pytest.mark.parametrize("modality", MODALITIES)
def test_in_bfloat16_rows_are_near_and_the_name_says_so(encoder, weights, items, modality):
    half = ImageBind(weights, precision="bfloat16")
    assert half.name == f"{encoder.name}, in bfloat16"
    reads = [encoder.read(modality, item) for item in items[modality]]
    found, wanted = half.rows(modality, reads), encoder.rows(modality, reads)
    assert {p.dtype for p in half.tower(modality).parameters()} == {torch.bfloat16}
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert (found * wanted).sum(1).min() > 0.999
    assert 1e-4 < np.abs(found - wanted).max() < 0.03


def test_in_tf32_a_cpu_computes_the_same(encoder, weights, items):
    other = ImageBind(weights, precision="tf32")
    reads = [encoder.read("audio", item) for item in items["audio"]]
    assert np.array_equal(other.rows("audio", reads), encoder.rows("audio", reads))


def test_pixels_stay_small_until_they_are_on_the_device(encoder, items):
    reads = [encoder.read("image", item) for item in items["image"]]
    assert encoder.collate("image", reads).dtype == torch.uint8


def test_captions_are_cut_to_the_longest_of_their_batch(encoder, items):
    reads = [encoder.read("text", caption) for caption in ("a dog", "a", "a dog runs")]
    batch = encoder.collate("text", reads)
    assert batch.shape == (3, 5)  # start, three words, end
    uncut = torch.from_numpy(np.stack(reads))
    found, wanted = encoder.encode("text", batch), encoder.encode("text", uncut)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


def test_long_captions_keep_their_end_unless_the_class_says_no(encoder, weights):
    old = load_encoder("encoders_torch.imagebind:ImageBindCutEnd", weights, "cpu")
    long = ["word " * 80 + "one", "other " * 76]
    short = ["a dog", "word " * 75]
    rows = {
        (e, group): e.rows("text", [e.read("text", caption) for caption in captions])
        for e in (encoder, old)
        for group, captions in {"long": long, "short": short}.items()
    }
    np.testing.assert_allclose(rows[old, "short"], rows[encoder, "short"], rtol=0, atol=1e-6)
    assert np.array_equal(*rows[old, "long"])  # both are their start token's
    assert np.abs(np.subtract(*rows[encoder, "long"])).max() > 0.01
    assert old.read("text", long[0])[-1] < 49406
    uncut = torch.from_numpy(np.stack([old.read("text", caption) for caption in long]))
    np.testing.assert_allclose(old.encode("text", uncut), rows[old, "long"], rtol=0, atol=1e-6)


def test_manifests_of_any_age_name_the_class_that_loads_them(weights):
    before = "ImageBind, of audio the mean of 3 clips of 2 s, of images the middle, own towers"
    names = {
        before: ImageBind,
        ImageBind(weights).name: ImageBind,
        ImageBindCutEnd(weights).name: ImageBindCutEnd,
        ImageBindCutEnd(weights, precision="bfloat16").name: ImageBindCutEnd,
    }
    assert len(names) == 4
    for name, loads in names.items():
        assert find_encoder(recorded_encoder(name)) is loads


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
        encoder.rows("vision", [np.zeros((3, 224, 224), np.uint8)])


def test_paths_may_be_strings(encoder, weights):
    assert ImageBind(str(weights)).weights_sha256 == encoder.weights_sha256
