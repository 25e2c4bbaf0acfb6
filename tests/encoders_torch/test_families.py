"""The encoders of transformers' families and of InternVL, on tiny random models."""

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

from encoders_torch.encoder import FrozenEncoder, provenance
from encoders_torch.exporting.pipeline import export_bank
from encoders_torch.exporting.target import ExportSettings
from encoders_torch.loading import load_encoder
from encoders_torch.sources import Source, open_source
from fb_jax.banks import Split, open_banks
from fb_jax.errors import FreeBindError
from tests.encoders_torch.tiny_models import RATE, SAVE, SIZE

BESIDE = {name: "audio" if "clap" in name else "image" for name in SAVE}
BOTH = [(name, modality) for name in SAVE for modality in ("text", BESIDE[name])]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of every tiny model. Read only."""
    found = {name: tmp_path_factory.mktemp(name) for name in SAVE}
    for name, save in SAVE.items():
        save(found[name])
    return found


def load(name: str, folder: Path, precision: str = "float32") -> FrozenEncoder:
    if name == "internvl":
        return load_encoder(name, folder, "cpu", precision=precision, trust_remote_code=True)
    return load_encoder(f"hf:{folder}", None, "cpu", precision=precision)


@pytest.fixture(scope="module")
def encoders(folders):
    return {name: load(name, folder) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """Five items of each modality; recordings shorter and longer than the window."""
    folder = tmp_path_factory.mktemp("items")
    rng = np.random.default_rng(0)
    for i in range(5):
        pixels = rng.integers(0, 256, (SIZE + 9 * i, 2 * SIZE, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        soundfile.write(folder / f"{i}.wav", rng.uniform(-0.5, 0.5, 3000 * (i + 1)), RATE)
    return {
        "text": ["a dog", "a dog barks", "x", "the quick brown fox " * 9, "..."],
        "image": [folder / f"{i}.png" for i in range(5)],
        "audio": [folder / f"{i}.wav" for i in range(5)],
    }


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize(("name", "modality"), BOTH)
def test_an_item_has_the_same_embedding_alone_in_a_batch_and_again(encoders, items, name, modality):
    encoder = encoders[name]
    read = [encoder.read(modality, item) for item in items[modality]]
    batch = unit(encoder.rows(modality, read))
    assert batch.shape == (5, encoder.dim)
    alone = np.concatenate([unit(encoder.rows(modality, [one])) for one in read])
    np.testing.assert_allclose(batch, alone, atol=1e-6)
    np.random.seed(7)  # noqa: NPY002 - the extractor draws from it
    again = [encoder.read(modality, item) for item in items[modality]]
    np.testing.assert_array_equal(unit(encoder.rows(modality, again)), batch)
    assert (np.abs(batch - batch[0]).max(axis=1)[1:] > 1e-4).all()  # and another for another


@pytest.mark.parametrize("name", SAVE)
def test_it_says_what_it_is(encoders, folders, name):
    encoder = encoders[name]
    assert encoder.modalities == tuple(sorted(("text", BESIDE[name])))
    assert ", of long audio the " in encoder.name or BESIDE[name] == "image"
    assert encoder.dim == {"siglip": 16, "internvl": 768}.get(name, 12)
    assert provenance(encoder).weights_sha256 == load(name, folders[name]).weights_sha256
    assert len(provenance(encoder).weights_sha256) == 64
    assert not any(p.requires_grad for p in encoder.model.parameters())
    assert not encoder.model.training


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_pictures_and_captions_are_embedded_as_transformers_does(encoders, folders, items, name):
    model = transformers.AutoModel.from_pretrained(folders[name]).eval()
    kind = {"backend": "pil"} if transformers.__version__ >= "5" else {"use_fast": False}
    processor = transformers.AutoImageProcessor.from_pretrained(folders[name], **kind)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders[name])
    pixels = processor(images=[Image.open(path) for path in items["image"]], return_tensors="pt")
    tokens = tokenizer(
        items["text"], padding="max_length", truncation=True, max_length=20, return_tensors="pt"
    )
    names = ["input_ids"] if name == "siglip" else ["input_ids", "attention_mask"]
    with torch.no_grad():
        found = model(pixel_values=pixels["pixel_values"], **{n: tokens[n] for n in names})
    for modality, wanted in (("image", found.image_embeds), ("text", found.text_embeds)):
        read = [encoders[name].read(modality, item) for item in items[modality]]
        rows = unit(encoders[name].rows(modality, read))
        np.testing.assert_allclose(rows, wanted.numpy(), atol=1e-6)


@pytest.mark.parametrize("name", ["clap", "fused_clap"])
def test_a_short_recording_is_embedded_as_transformers_does(encoders, folders, items, name):
    model = transformers.ClapModel.from_pretrained(folders[name]).eval()
    extractor = transformers.ClapFeatureExtractor.from_pretrained(folders[name])
    wave, _ = soundfile.read(items["audio"][0], dtype="float32")
    features = extractor(wave, sampling_rate=RATE, return_tensors="pt")["input_features"]
    tokens = {"input_ids": torch.tensor([[1, 2]]), "attention_mask": torch.tensor([[1, 1]])}
    with torch.no_grad():
        longer = torch.tensor([[False]])
        wanted = model(input_features=features, is_longer=longer, **tokens).audio_embeds
    encoder = encoders[name]
    rows = unit(encoder.rows("audio", [encoder.read("audio", items["audio"][0])]))
    np.testing.assert_allclose(rows, wanted.numpy(), atol=1e-6)


def test_of_a_long_recording_the_middle_counts(encoders, tmp_path):
    wave = np.random.default_rng(1).uniform(-0.5, 0.5, 3 * RATE).astype(np.float32)
    for name, part in (("long", wave), ("middle", wave[RATE : 2 * RATE])):
        soundfile.write(tmp_path / f"{name}.wav", part, RATE, subtype="FLOAT")
    read = [encoders["clap"].read("audio", tmp_path / f"{n}.wav") for n in ("long", "middle")]
    np.testing.assert_array_equal(read[0]["input_features"], read[1]["input_features"])


@pytest.mark.parametrize("name", ["clip", "clap"])
def test_an_encoder_can_be_sent_to_another_process(encoders, items, name):
    encoder = encoders[name]
    sent = pickle.loads(pickle.dumps(encoder))
    for m in encoder.modalities:
        found, wanted = (e.rows(m, [e.read(m, items[m][0])]) for e in (sent, encoder))
        np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize(("name", "modality"), BOTH)
def test_a_lower_precision_is_in_the_name_and_moves_rows_a_little(
    encoders, folders, items, name, modality
):
    half = load(name, folders[name], "bfloat16")
    assert half.name == f"{encoders[name].name}, in bfloat16"
    assert half.model.dtype == torch.bfloat16
    rows = {}
    for encoder in (half, encoders[name]):
        read = [encoder.read(modality, item) for item in items[modality]]
        rows[encoder.name] = unit(encoder.rows(modality, read))
    first, second = rows.values()
    assert first.dtype == np.float32
    assert 0 < np.abs(first - second).max() < 0.05


@pytest.mark.parametrize("name", ["clip", "clap", "internvl"])
def test_media_become_a_bank(encoders, items, tmp_path, name):
    encoder, modality = encoders[name], BESIDE[name]
    split = Split(tmp_path / "banks/pool")
    how = ExportSettings(dtype="float32", batch=2)
    folder = items[modality][0].parent
    export_bank(encoder, open_source(modality, folder), split, "mine", modality, how)
    captions = Source([{"id": str(i), "caption": c} for i, c in enumerate(items["text"])])
    export_bank(encoder, captions, split, "mine", "text", how)
    banks = open_banks(tmp_path / "banks", spaces=["mine"])
    read = [encoder.read(modality, item) for item in items[modality]]
    np.testing.assert_allclose(
        banks["mine", modality][:], unit(encoder.rows(modality, read)), atol=1e-6
    )
    assert len(banks["mine", "text"]) == 5


# What is wrong with a folder


@pytest.fixture
def copy(folders, tmp_path):
    """A copy of a model's folder that may be changed."""
    return lambda name: Path(shutil.copytree(folders[name], tmp_path / name))


@pytest.mark.parametrize("name", ["clip", "internvl"])
def test_a_checkpoint_that_lacks_weights_is_refused(copy, name):
    folder = copy(name)
    weights = load_file(folder / "model.safetensors")
    lost = sorted(weights)[0]
    del weights[lost]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(FreeBindError, match=rf"lacks weights(.|\n)*1 missing(.|\n)*{lost}"):
        load(name, folder)


@pytest.mark.parametrize("name", ["clip", "internvl"])
@pytest.mark.parametrize("broken", ["model.safetensors", "preprocessor_config.json"])
def test_a_truncated_file_is_told_with_its_folder(copy, name, broken):
    folder = copy(name)
    path = folder / broken
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(FreeBindError, match=rf"cannot be loaded\n.*{folder.name}"):
        load(name, folder)


def test_a_changed_weight_changes_the_digest_and_a_model_card_does_not(copy, encoders):
    folder = copy("clip")
    (folder / "README.md").write_text("---\ntags: []\nlicense: mit\n---\n# A model\n")
    (folder / ".cache").mkdir()
    (folder / ".cache/of-a-tool").touch()
    same = load("clip", folder)
    assert (same.weights_sha256, same.licence) == (encoders["clip"].weights_sha256, "mit")
    assert encoders["clip"].licence == "unknown"
    weights = load_file(folder / "model.safetensors")
    weights["logit_scale"] += 1
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert load("clip", folder).weights_sha256 != same.weights_sha256


def test_a_model_of_another_family_is_refused(tmp_path):
    transformers.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(
        FreeBindError, match=r"no family of encoders 'bert'(.|\n)*clap, clip"
    ) as one:
        load_encoder(f"hf:{tmp_path}", None, "cpu")
    assert "--encoder st:" not in str(one.value)
    (tmp_path / "modules.json").touch()
    with pytest.raises(FreeBindError, match=f"--encoder st:{tmp_path}"):
        load_encoder(f"hf:{tmp_path}", None, "cpu")


@pytest.mark.parametrize(("name", "weights"), [("hf:{}", None), ("hf:x/y", "{}")])
def test_a_folder_that_holds_no_model_is_refused(tmp_path, name, weights):
    where = None if weights is None else tmp_path
    with pytest.raises(FreeBindError, match=r"transformers model(.|\n)*config\.json") as caught:
        load_encoder(name.format(tmp_path), where, "cpu")
    assert ("hf download" in str(caught.value)) == (where is not None)


def test_without_a_network_it_says_what_to_get_and_where_to_put_it(offline):
    name = "openai/clip-vit-base-patch32"
    how = rf"hf download {name} --local-dir FOLDER; then give --weights FOLDER"
    with pytest.raises(
        FreeBindError, match=rf"weights of .* are missing(.|\n)*co/{name}, or a folder(.|\n)*{how}"
    ):
        load_encoder(f"hf:{name}", None, "cpu")


@pytest.mark.parametrize("typed", ["{name}", "./{name}", "{name}/", "{folder}", "~/{name}"])
def test_a_folder_has_one_name_however_it_is_typed(folders, monkeypatch, typed):
    folder = folders["clip"].resolve()
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("HOME", str(folder.parent))
    encoder = load_encoder(f"hf:{typed.format(name=folder.name, folder=folder)}", None, "cpu")
    assert encoder.name == f"transformers clip: {folder}"
    given = load_encoder("hf:openai/clip", folder, "cpu")  # the user says what to call it
    assert given.name == "transformers clip: openai/clip"


@pytest.mark.parametrize("name", ["/gone", "./gone", "../gone", "gone/", "a/b/gone", "~/gone"])
def test_a_folder_that_is_gone_is_not_looked_up_on_the_hub(monkeypatch, name):
    monkeypatch.setattr("encoders_torch.hub._download", pytest.fail)
    with pytest.raises(FreeBindError, match="no folder of a transformers model"):
        load_encoder(f"hf:{name}", None, "cpu")


def test_a_bank_goes_on_after_its_model_was_moved_or_an_earlier_version_named_it(folders, tmp_path):
    earlier, bank = load("clip", folders["clip"]), Split(tmp_path / "banks" / "pool")
    earlier.name = "transformers clip: models/clip"
    source = Source([{"id": str(i), "caption": "abc"[i]} for i in range(2)])
    one = ExportSettings(shard_rows=1, num_shards=2)
    assert not export_bank(earlier, source, bank, "mine", "text", one).complete
    again = load("clip", folders["clip"])
    assert export_bank(again, source, bank, "mine", "text", replace(one, num_shards=1)).complete
    shutil.copytree(folders["clip"], tmp_path / "moved")
    more = Source([*source.items, {"id": "2", "caption": "c"}])
    moved = load("clip", tmp_path / "moved")
    export_bank(moved, more, bank, "mine", "text", ExportSettings(), append=True)
    rows = open_banks(tmp_path / "banks", spaces=["mine"])["mine", "text"]
    assert (len(rows), rows.encoder.name) == (3, earlier.name)
    slower = load("clip", folders["clip"], "bfloat16")
    with pytest.raises(FreeBindError, match=r"another encoder(.|\n)*bfloat16"):
        export_bank(slower, more, bank, "mine", "text", ExportSettings())


def test_nothing_is_printed_while_a_model_is_loaded_and_bars_stay_for_others(folders, capfd):
    transformers.utils.logging.enable_progress_bar()
    load("clip", folders["clip"])
    load("internvl", folders["internvl"])
    assert capfd.readouterr().err == ""
    assert transformers.utils.logging.is_progress_bar_enabled()
