"""``freebind search`` for a text, a picture or a recording that is typed."""

import numpy as np
import pytest
from PIL import Image

from encoders_torch import export
from fb_jax.banks import Split
from fb_jax.cli.main import main as freebind
from fb_jax.errors import NOTICED
from fb_jax.importing import import_bank
from tests.encoders_torch.tiny_models import save_sentence_transformer

TOY = "tests.encoders_torch.conftest:Toy"
CAPTIONS = ["a dog", "a red heart", "the quick brown fox", "silence"]


@pytest.fixture(autouse=True)
def unnoticed():
    NOTICED.clear()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of sentence-transformers. Read only."""
    folder = tmp_path_factory.mktemp("model")
    save_sentence_transformer(folder)
    return folder


@pytest.fixture
def captions(tmp_path):
    (tmp_path / "captions.txt").write_text("\n".join(CAPTIONS) + "\n")
    return tmp_path / "captions.txt"


@pytest.fixture
def house(invoke, model, captions, tmp_path):
    """A bank root with the captions in the space house, exported by the model."""
    options = ("--space", "house", "--encoder", f"st:{model}", "--split", "test")
    done = invoke(export.main, *options, "--text", captions, "--out", tmp_path / "banks")
    assert done.status == 0, done
    return tmp_path / "banks"


@pytest.fixture
def search(invoke):
    def search(root, *args, space="house", find="text"):
        where = ("--root", root, "--split", "test", "--space", space, "--in", find)
        return invoke(freebind, "search", *where, "--top", 1, *args)

    return search


def test_a_caption_that_is_typed_finds_itself(search, house, model):
    told = ""
    for caption in CAPTIONS:
        done = search(house, "--text", caption)
        assert done.status == 0, done
        assert f"│ 1.000  │ {CAPTIONS.index(caption)}   │ {caption} " in done.out
        told += done.err
    assert told.count(f"house: loading the encoder st:{model}\n") == 1


def test_a_picture_that_is_typed_finds_itself(invoke, search, tmp_path):
    (tmp_path / "photos").mkdir()
    for i, colour in enumerate(["red", "green", "blue"]):
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"photos/{i}.png")
    options = ("--space", "toy", "--encoder", TOY, "--split", "test", "--out", "banks")
    assert invoke(export.main, *options, "--image", "photos").status == 0
    typed = ("--image", "photos/1.png", "--encoder", TOY)
    done = search("banks", *typed, space="toy", find="image")
    assert done.status == 0, done
    assert "image: photos/1.png" in done.out
    assert "│ 1.000  │ 1   │ 1.png " in done.out


def test_an_imported_bank_is_searched_by_an_encoder_that_gives_its_rows(
    invoke, search, house, captions, model, tmp_path
):
    rows = house / "test/embeddings/house/text/emb_00000.npy"
    import_bank(Split(tmp_path / "mine/test"), "house", "text", rows, items=captions)
    done = search(tmp_path / "mine", "--text", CAPTIONS[1], "--encoder", f"st:{model}")
    assert (done.status, "nothing shows" in done.err) == (0, False), done
    assert f"│ 1   │ {CAPTIONS[1]} " in done.out
    np.save("other.npy", -np.load(rows))
    import_bank(Split(tmp_path / "other/test"), "house", "text", "other.npy", items=captions)
    done = search(tmp_path / "other", "--text", "a dog", "--encoder", f"st:{model}")
    assert done.status == 2
    assert "this encoder did not compute the banks of house" in done.err
