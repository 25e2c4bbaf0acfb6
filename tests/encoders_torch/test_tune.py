"""Tuning a toy ImageBind on real files, by the commands that a user types."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from made import random_bond
from PIL import Image

from encoders_torch import export, tune
from encoders_torch.imagebind.encoder import ABOUT
from encoders_torch.imagebind.tuned import TunedImageBind
from encoders_torch.loading import recorded_encoder
from fb_jax import files
from fb_jax.banks import Split, open_banks
from fb_jax.errors import NOTICED, FreeBindError
from fb_jax.fusion import FusedSpace, write_fused
from fb_jax.importing import import_bank, import_pairs

WEIGHTS = Path(__file__).parent / "fixtures/imagebind_tiny/weights.safetensors"
COUNT, DIM = 12, 10
OPTIONS = ["--batch", 4, "--epochs", 2, "--learning-rate", 0.001, "--workers", 0]


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("media"), np.random.default_rng(0)
    for kind in ("audio", "image"):
        (folder / kind).mkdir()
    for i in range(COUNT):
        tone = np.sin(np.arange(8000) * rng.uniform(0.01, 1)) * rng.uniform(0.1, 0.9)
        soundfile.write(folder / f"audio/{i:02d}.wav", tone, 16000)
        picture = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8))
        picture.save(folder / f"image/{i:02d}.png")
    return folder


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices: two threads are slower, and on a busy machine far slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Filled by the first test that needs it."""
    return tmp_path_factory.mktemp("begun")


@pytest.fixture
def begun(invoke, media, built, tmp_path, monkeypatch):
    """A root PAIRS with its fused images, and the product's folder."""
    if not (built / "space").exists():
        monkeypatch.chdir(built)
        build(invoke, media)
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


def build(invoke, media):
    sources = ["--audio", media / "audio", "--image", media / "image"]
    where = ["--split", "tune", "--out", "pairs", "--device", "cpu", "--workers", 0]
    done = invoke(export.main, "--space", "imagebind", "--weights", WEIGHTS, *where, *sources)
    assert done.status == 0, done
    split = Split(Path("pairs/tune"))
    np.save("rows.npy", np.random.default_rng(1).normal(size=(COUNT, DIM)))
    import_bank(split, "internvl", "image", Path("rows.npy"))
    np.save("table.npy", np.stack([np.arange(COUNT)] * 2, axis=1))
    import_pairs(split, "audio", "image", Path("table.npy"))
    bond = random_bond("displacement", ("imagebind", 48), ("internvl", DIM), ("text", "image"))
    space = FusedSpace.of(bond, at="it_expertise", name="internvl_ib")
    space.save("space")
    banks = open_banks("pairs", "tune", spaces=["imagebind", "internvl"])
    write_fused(space, banks, Path("pairs"), "internvl_ib", dtype="float32")


def arguments(media, *more):
    needed = ["--space", "space", "--weights", WEIGHTS, "--root", "pairs", "--audio"]
    return [*needed, media / "audio", "--out", "tuned", "--device", "cpu", *OPTIONS, *more]


def test_a_tuned_encoder_is_exported_and_nearer_to_its_images(invoke, media, begun):
    done = invoke(tune.main, *arguments(media, "--epochs", 10, "--learning-rate", 0.003))
    assert done.status == 0, done
    assert "12 pairs, 30 steps of 4" in done.out
    losses = np.load("tuned/losses.npy")
    assert losses[-3:].mean() < losses[:3].mean() - 0.1

    where = ["--split", "tune", "--out", "pairs", "--device", "cpu", "--workers", 0]
    export_it = ["--space", "imagebind_tuned", "--weights", "tuned", "--audio", media / "audio"]
    done = invoke(export.main, *export_it, *where, "--dtype", "float32")
    assert done.status == 0, done
    banks = open_banks("pairs", "tune", spaces=["imagebind_tuned", "internvl_ib"])
    assert "audio tuned into internvl_ib" in banks["imagebind_tuned", "audio"].encoder.name
    images = banks["internvl_ib", "image"][:]
    tuned, before = (banks[s, "audio"][:] for s in ("imagebind_tuned", "internvl_ib"))
    assert (tuned * images).sum(1).mean() > (before * images).sum(1).mean() + 0.1


def test_before_a_step_it_gives_the_products_audio_rows(invoke, media, begun):
    done = invoke(tune.main, *arguments(media, "--learning-rate", 1e-8))
    assert done.status == 0, done
    encoder = TunedImageBind(Path("tuned"))
    clips = [encoder.read("audio", path) for path in sorted((media / "audio").iterdir())]
    banks = open_banks("pairs", "tune", spaces=["internvl_ib"])
    np.testing.assert_allclose(
        encoder.rows("audio", clips), banks["internvl_ib", "audio"][:], atol=3e-4
    )  # imagebind's bank holds float16
    about = files.read_json(Path("tuned/tuned.json"))
    files.write_json(Path("tuned/tuned.json"), about | {"encoder": None})
    with pytest.raises(FreeBindError, match=r"something else\n.*tuned\.json\n.*encoder"):
        TunedImageBind(Path("tuned"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda: shutil.rmtree("space"), "there is no fused space here"),
        (lambda: shutil.rmtree("pairs/tune/pairs"), "a pair table is missing"),
        (lambda: shutil.rmtree("pairs/tune/embeddings/internvl_ib"), "no space 'internvl_ib'"),
        (lambda: other_space(0.5), "holds rows of another space"),
    ],
)
def test_what_is_missing_or_does_not_fit_is_told_before_any_work(
    invoke, media, begun, change, says
):
    change()
    done = invoke(tune.main, *arguments(media))
    assert (done.status, says in done.err) == (2, True), done
    assert not Path("tuned").exists()


def other_space(factor):
    space = FusedSpace.load("space").with_factors(image=factor)
    shutil.rmtree("space")
    space.save("space")


def test_what_was_tuned_on_other_clips_is_told_and_not_continued(invoke, media, begun, caplog):
    assert invoke(tune.main, *arguments(media)).status == 0
    old = "ImageBind, of audio the mean of 3 clips of 2 s, of images the middle, own towers"
    for path in (Path("tuned/tuning.json"), Path("tuned/tuned.json")):
        about = files.read_json(path)
        files.write_json(path, about | {"encoder": about["encoder"] | {"name": old}})
    NOTICED.clear()
    name = TunedImageBind("tuned", precision="bfloat16").name
    assert name == f"{ABOUT}, audio tuned into internvl_ib, on the clips of: {old}, in bfloat16"
    assert recorded_encoder(name) == "imagebind_tuned"
    assert "tuned on other clips" in caplog.text
    done = invoke(tune.main, *arguments(media))
    assert done.status == 2
    assert re.search(r"made from something else(.|\n)*at start, middle and end", done.err)
