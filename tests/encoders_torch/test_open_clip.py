"""open_clip's models, on tiny random ones, where torchvision imports: ``make parity-encoders``."""

import json
import warnings
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image

from encoders_torch.loading import load_encoder, recorded_encoder
from encoders_torch.open_clip import create, parted, pixels
from fb_jax.errors import NOTICED, FreeBindError

try:
    import open_clip
    from open_clip import factory
except Exception:  # a torchvision of another build raises RuntimeError
    open_clip = None

needs_it = pytest.mark.skipif(open_clip is None, reason="needs open_clip, and its torchvision")
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
CAPTIONS = ["a dog", "a cat on a mat", "x"]
KINDS = {
    "plain": ({}, False),
    "custom": ({}, True),
    "end": ({"pool_type": "eos", "eos_id": 49407}, False),
    "custom-end": ({"pool_type": "eos", "eos_id": 49407}, True),
    "last": ({"pool_type": "last", "no_causal_mask": True}, True),
    "both-ways": ({"no_causal_mask": True}, True),
    "class-token": ({"embed_cls": True}, True),
}
"""Text towers: settings, and whether it is a module of its own."""
CUT = {"plain", "custom", "end", "custom-end"}


@pytest.mark.skipif(open_clip is not None, reason="open_clip is here")
def test_without_open_clip_it_says_what_to_install():
    with pytest.raises(FreeBindError, match=r"open_clip cannot be imported(.|\n)*torchvision"):
        load_encoder("open_clip:ViT-B-32/openai", None, "cpu")


def tiny(side=32, text=(), **about):
    vision = {"image_size": side, "layers": 2, "width": 64, "patch_size": side // 4}
    return {"embed_dim": 16, "vision_cfg": vision, "text_cfg": TEXT | dict(text), **about}


def add_architectures(folder, configs):
    folder.mkdir()
    for name, config in configs.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)


@pytest.fixture
def save(tmp_path):
    """Save a checkpoint of an architecture, with random weights."""

    @cache
    def save(arch):
        torch.manual_seed(0)
        model = open_clip.create_model(arch)
        for value in model.parameters():
            value.data += 0.1 * torch.randn_like(value)
        torch.save(model.state_dict(), tmp_path / f"{arch}.pt")
        return tmp_path / f"{arch}.pt"

    return save


@pytest.fixture
def checkpoint(tmp_path, save):
    add_architectures(tmp_path / "configs", {"tiny": tiny()})
    return save("tiny")


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    for i, shape in enumerate([(40, 50), (301, 97), (64, 64)]):
        Image.fromarray(rng.integers(0, 256, (*shape, 3), np.uint8)).save(tmp_path / f"{i}.png")
    return [tmp_path / f"{i}.png" for i in range(3)]


def require_same_rows(encoder, model, prepare, arch, images):
    """Compare with open_clip's own rows, alone and in a batch."""
    model.eval()
    with torch.no_grad():
        wanted = {
            "text": model.encode_text(open_clip.get_tokenizer(arch)(CAPTIONS)),
            "image": model.encode_image(torch.stack([prepare(Image.open(p)) for p in images])),
        }
    for modality, items in (("text", CAPTIONS), ("image", images)):
        read = [encoder.read(modality, item) for item in items]
        batch = encoder.rows(modality, read)
        np.testing.assert_allclose(batch, wanted[modality].numpy(), atol=3e-6)
        alone = np.concatenate([encoder.rows(modality, [one]) for one in read])
        np.testing.assert_allclose(alone, batch, atol=3e-6)
        assert np.abs(batch[0] - batch[1]).max() > 1e-3


@needs_it
@pytest.mark.parametrize("kind", KINDS)
def test_it_embeds_as_open_clip_does_with_captions_cut_where_that_is_exact(
    tmp_path, save, images, kind
):
    text, custom = KINDS[kind]
    add_architectures(tmp_path / "configs", {kind: tiny(text=text, custom_text=custom)})
    encoder = load_encoder(f"open_clip:{kind}", save(kind), "cpu")
    assert (encoder.dim, encoder.name) == (16, f"open_clip {kind}")
    model, _, prepare = open_clip.create_model_and_transforms(kind, pretrained=str(save(kind)))
    require_same_rows(encoder, model, prepare, kind, images)
    tokens = encoder.collate("text", [encoder.read("text", caption) for caption in CAPTIONS])
    assert tokens.shape[1] == (7 if kind in CUT else 77)  # five words, a start and an end
    assert encoder.read("image", images[0]).dtype == np.uint8


@needs_it
def test_a_lower_precision_is_in_the_name_and_moves_rows_a_little(checkpoint, images):
    half = load_encoder("open_clip:tiny", checkpoint, "cpu", precision="bfloat16")
    full = load_encoder("open_clip:tiny", checkpoint, "cpu")
    assert half.name == "open_clip tiny, in bfloat16"
    for modality, items in (("text", CAPTIONS), ("image", images)):
        rows = [e.rows(modality, [e.read(modality, item) for item in items]) for e in (half, full)]
        first, second = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in rows)
        assert 0 < np.abs(first - second).max() < 0.05


# Tags: open_clip's own architectures with tiny towers of the same picture size


@pytest.fixture
def architectures(tmp_path, save, monkeypatch):
    """Every architecture that has a tag, with tiny towers; a tag's weights are ours."""
    configs = {arch: open_clip.get_model_config(arch) for arch, _ in open_clip.list_pretrained()}
    small = {
        arch: tiny(config["vision_cfg"].get("image_size", 224), quick_gelu=quick_gelu(config))
        for arch, config in configs.items()
    }
    before = list(factory._MODEL_CONFIG_PATHS)
    add_architectures(tmp_path / "configs", small)
    yield configs
    factory._MODEL_CONFIG_PATHS[:] = before
    factory._rescan_model_configs()


def quick_gelu(config):
    return config.get("quick_gelu", False)


@pytest.fixture
def by_tag(save, monkeypatch):
    """What open_clip alone makes of a tag: the model and how it prepares pictures."""

    def by_tag(arch, tag):
        monkeypatch.setattr(factory, "download_pretrained", lambda *_, **__: str(save(arch)))
        quick = quick_gelu(open_clip.get_pretrained_cfg(arch, tag))
        with warnings.catch_warnings(action="ignore"):
            model, _, prepare = open_clip.create_model_and_transforms(
                arch, pretrained=tag, force_quick_gelu=quick
            )
        return model, prepare

    return by_tag


@needs_it
def test_every_tag_prepares_pictures_as_open_clip_does(architectures, save, by_tag, images):
    picture = Image.open(images[1])
    kinds = {}  # many tags say the same about pictures of the same size
    for arch, tag in open_clip.list_pretrained():
        about = open_clip.get_pretrained_cfg(arch, tag)
        said = {key: value for key, value in about.items() if key not in ("url", "hf_hub")}
        side = architectures[arch]["vision_cfg"].get("image_size")
        kinds[json.dumps([side, quick_gelu(architectures[arch]), said])] = (arch, tag, about)
    assert len(kinds) > 25
    for arch, tag, about in kinds.values():
        mine, prepare = create(open_clip, arch, about, str(save(arch)))
        theirs, wanted = by_tag(arch, tag)
        assert mine.visual.preprocess_cfg == theirs.visual.preprocess_cfg, (arch, tag)
        steps, normalise = parted(prepare)
        found = normalise(torch.from_numpy(pixels(steps, picture))[None], torch.float32)[0]
        np.testing.assert_allclose(found, wanted(picture), atol=1e-6, err_msg=f"{arch}/{tag}")


@needs_it
@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("ViT-B-32/laion2b_s34b_b79k", ""),
        ("ViT-B-32/openai", ", with QuickGELU"),
        ("ViT-B-32-quickgelu/openai", ""),
        ("PE-Core-T-16-384/meta", ", pictures squash bilinear to (384, 384), normalised by (0.5,"),
        ("MobileCLIP-S1/datacompdr", ", pictures shortest bilinear to (256, 256), normalised by"),
        ("ViT-L-14-CLIPA/datacomp1b", ", pictures squash bilinear to (224, 224), normalised by (0"),
        ("ViT-L-14/laion2b_s32b_b82k", ", pictures shortest bicubic to (224, 224), normalised by"),
    ],
)
def test_rows_are_those_of_the_tag_also_from_a_file(architectures, save, by_tag, images, name, how):
    arch, _, tag = name.partition("/")
    encoder = load_encoder(f"open_clip:{name}", save(arch), "cpu")
    assert encoder.name.startswith(f"open_clip {name}{how}")
    assert bool(how) or encoder.name == f"open_clip {name}"
    assert recorded_encoder(encoder.name) == f"open_clip:{name}"
    require_same_rows(encoder, *by_tag(arch, tag), arch, images)


@needs_it
def test_without_a_tag_it_says_how_pictures_are_prepared(checkpoint, caplog):
    NOTICED.clear()  # the comparison with open_clip runs these tests without the shared fixtures
    load_encoder("open_clip:tiny", checkpoint, "cpu")
    said = "open_clip:tiny without a tag: pictures shortest bicubic to (32, 32)"
    assert said in caplog.text


# What is refused


@needs_it
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("open_clip:ViT-B-33/openai", "no architecture 'ViT-B-33'(.|\n)*did you mean 'ViT-B"),
        ("open_clip:ViT-B-32/opanai", "no tag of ViT-B-32 'opanai'(.|\n)*did you mean 'openai'"),
    ],
)
@pytest.mark.parametrize("weights", [None, "some.pt"])
def test_a_name_that_open_clip_does_not_know_is_refused(name, says, weights):
    with pytest.raises(FreeBindError, match=says):
        load_encoder(name, weights, "cpu")


@needs_it
def test_a_checkpoint_of_another_model_is_refused(checkpoint):
    torch.save({"x": torch.zeros(1)}, checkpoint)
    with pytest.raises(FreeBindError, match=r"checkpoint cannot be loaded(.|\n)*open_clip's tiny"):
        load_encoder("open_clip:tiny", checkpoint, "cpu")
