"""``freebind search`` for a text, a picture or a recording that is typed."""

import numpy as np
import pytest
from PIL import Image

from encoders_torch import export
from encoders_torch.encoder import FrozenEncoder
from encoders_torch.queries import embed
from fb_jax.banks import Encoder, Split, open_banks
from fb_jax.cli.main import main as freebind
from fb_jax.cli.typed import Typed, embed_typed
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import nearest
from fb_jax.fusion import FusedSpace
from fb_jax.importing import import_bank
from tests.encoders_torch.tiny_models import save_sentence_transformer

TOY = "tests.encoders_torch.conftest:Toy"
BOTH = {"space": "both", "find": "audio"}
CAPTIONS = ["a dog", "a red heart", "the quick brown fox", "silence"]


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


# Several spaces


@pytest.fixture
def two(invoke, captions, tmp_path):
    """A bank root with the captions in two spaces."""
    for space in ("u", "e"):
        options = ("--space", space, "--encoder", TOY, "--split", "test", "--out", "banks")
        assert invoke(export.main, *options, "--text", captions).status == 0
    return tmp_path / "banks"


def test_an_expert_whose_encoder_is_not_available_is_left_out_and_said(two, caplog):
    typed = Typed(text="a red heart", encoder=(f"u={TOY}",))
    rows = embed_typed(typed, [two], ["test"], ["u", "e"], ["u", "e"])
    np.testing.assert_allclose(
        rows["u"], open_banks(two, "test", spaces="u")["u", "text"][1:2], atol=1e-3
    )
    assert list(rows) == ["u"]
    assert "queries cannot be embedded in the space e" in caplog.text


@pytest.mark.parametrize(
    ("encoder", "says"),
    [
        ((f"e={TOY}",), "cannot be embedded in the space u\n.*of its banks, toy(.|\n)*u=st:all-"),
        ((TOY,), "--encoder lacks a name"),
        (("f=st:x",), "no space 'f'(.|\n)*e, u"),
    ],
)
def test_without_an_encoder_of_the_unified_space_there_is_no_query(two, encoder, says):
    with pytest.raises(FreeBindError, match=says):
        embed_typed(Typed(text="a", encoder=encoder), [two], ["test"], ["u", "e"], ["u", "e"])


def test_other_splits_name_the_encoder_of_a_modality_that_this_one_lacks(two):
    (two / "test").rename(two / "pool")
    (two / "test/items").mkdir(parents=True)
    typed = Typed(text="a red heart", encoder=(TOY,))
    assert embed_typed(typed, [two], ["test"], ["u"], ["u"])["u"].shape == (1, 4)


@pytest.mark.parametrize(
    ("args", "got"),
    [
        (("--text", "a", "--image", "b.png"), "--text and --image"),
        (("--encoder", "st:x"), "none of them"),
    ],
)
def test_one_item_is_typed(search, two, args, got):
    done = search(two, *args, space="u")
    assert (done.status, f"got:      {got}\n" in done.err) == (2, True), done


# A fused space


class Letters(FrozenEncoder):
    """An encoder of captions, which plays the encoder of synthetic banks."""

    size = 64

    def __init__(self, weights, device):
        about = {"name": "letters", "weights_sha256": "none", "licence": "Apache-2.0"}
        super().__init__(dim=self.size, modalities=("text",), **about)

    def read(self, modality, item):
        return np.random.default_rng(list(item.encode())).normal(size=self.dim)

    def encode(self, modality, batch):
        return np.asarray(batch, np.float32)


class ShortLetters(Letters):
    size = 48


LETTERS = (
    "imagebind=tests.cli.test_typed:Letters",
    "clap_general=tests.cli.test_typed:ShortLetters",
)


@pytest.fixture
def fused(root, make_bond, must, tmp_path):
    """A bank root with fused banks alone, and its space."""
    space = FusedSpace.of(make_bond("combination"))
    space.save(tmp_path / "space")
    where = ("--space", tmp_path / "space", "--data", root, "--out", "fused", "--split", "test")
    must(freebind, "fuse", *where, "--name", "both", "--dtype", "float32")
    return space


def rows_found(done):
    assert done.status == 0, done
    return [int(line.split("│")[2]) for line in done.out.splitlines() if line.startswith("│")]


def test_what_is_typed_is_fused_as_the_banks_were(search, fused):
    rows = {
        "imagebind": embed(Letters(None, "cpu"), "text", "a dog"),
        "clap_general": embed(ShortLetters(None, "cpu"), "text", "a dog"),
    }
    audio = open_banks("fused", "test", spaces=["both"])["both", "audio"]
    both, alone = (
        nearest(fused.fuse("text", some), audio, 5)[1][0].tolist()
        for some in (rows, {"imagebind": rows["imagebind"]})
    )
    args = ("--text", "a dog", "--top", 5)
    assert rows_found(search("fused", *args, "--encoder", *LETTERS, **BOTH)) == both
    done = search("fused", *args, "--encoder", LETTERS[0], **BOTH)
    assert rows_found(done) == alone != both
    assert "queries cannot be embedded in the space clap_general" in done.err
    assert "the encoder of its banks, synthetic, seed" in done.err  # of the root that was fused
    assert "fused from imagebind alone" in done.err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--text", "a", "--encoder", LETTERS[1]), "cannot be embedded in the space imagebind"),
        (("--text", "a", "--like", "text"), "two kinds of query"),
        (("--image", "a.png", "--encoder", *LETTERS), "this encoder has no image"),
        (("--text", "a", "--run", "gone"), "there is no such folder"),
    ],
)
def test_a_query_that_cannot_be_fused_is_refused(search, fused, args, says):
    done = search("fused", *args, **BOTH)
    assert (done.status, says in done.err) == (2, True), done


def test_fused_banks_of_an_unknown_space_are_told(search, fused, tmp_path):
    (tmp_path / "fused/test/embeddings/both/fused.json").unlink()
    done = search("fused", "--text", "a", **BOTH)
    assert (done.status, "which space these banks were fused by" in done.err) == (2, True), done


def test_rows_whose_encoder_is_named_as_their_space_are_not_taken_for_fused_ones(search, tmp_path):
    np.save(tmp_path / "house.npy", np.eye(4))
    import_bank(
        Split(tmp_path / "test"), "house", "text", tmp_path / "house.npy", encoder=Encoder("house")
    )
    done = search(tmp_path, "--text", "a")
    assert (done.status, "no encoder that can be loaded by this name" in done.err) == (2, True), (
        done
    )
