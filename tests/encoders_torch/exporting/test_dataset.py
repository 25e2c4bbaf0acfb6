"""``--dataset``: from an official layout to banks, and to figures."""

from pathlib import Path

import numpy as np
import pytest
from made import random_bond

from encoders_torch.export import export, main
from encoders_torch.export_config import ExportConfig
from encoders_torch.exporting.target import ExportSettings
from encoders_torch.media import read_image
from encoders_torch.sources import SourceOptions
from fb_jax.banks import Split, open_banks, verify_split
from fb_jax.datasets import Choice, read_content, write_content
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import evaluate
from fb_jax.fusion import FusedSpace
from tests.datasets.layouts import CLIPS, LAYOUTS
from tests.encoders_torch.conftest import Toy
from tests.encoders_torch.media import videos

ENCODER = "tests.encoders_torch.exporting.test_dataset:Tiny"
PAIRS = {
    "audiocaps": "audio-text",
    "vggss": "audio-image",
    "coco": "image-text",
    "esc50": "audio-class",
    "audioset": "audio-class",
}


class Tiny(Toy):
    """An encoder of every modality, whose rows differ in their direction."""

    def encode(self, modality, batch):
        return np.sin(np.asarray(batch) * [1, 2, 3, 4] + 1)


class Listener(Tiny):
    """The same without pictures."""

    def __init__(self, *args, **about):
        super().__init__(*args, modalities=("audio", "text"), **about)


@pytest.fixture
def config(tmp_path):
    def config(name, **options):
        given = {"space": ("tiny",), "encoder": (ENCODER,), "out": tmp_path / "banks"}
        root = tmp_path / "official" / name
        given |= {"dataset": name, "root": root, "settings": ExportSettings(workers=0)}
        return ExportConfig(**(given | options))

    return config


@pytest.mark.parametrize("name", PAIRS)
def test_a_data_set_is_exported_and_evaluated(config, tmp_path, name, capsys):
    LAYOUTS[name](tmp_path / "official" / name)
    spaces = {"space": ("tiny", "other"), "encoder": (f"tiny={ENCODER}", f"other={ENCODER}")}
    export(config(name, **spaces))
    assert "in the list" in capsys.readouterr().out
    verify_split(Split(tmp_path / "banks" / name))
    banks = open_banks(tmp_path / "banks", name, spaces=["tiny", "other"])
    space = FusedSpace.of(
        random_bond("combination", ("tiny", 4), ("other", 4), ("text", "audio")), name="fused"
    )
    figures = evaluate(space, banks).figures
    assert list(figures["versatile"]) == [PAIRS[name]]
    if name == "esc50":
        audio = np.asarray(banks["tiny", "audio"][:], np.float32)
        prompts = np.asarray(banks["tiny", "text"][:], np.float32)
        right = np.argmax(audio @ prompts.T, axis=1) == [0, 1, 0]
        assert figures["unified"]["audio-class"]["top-1"] == pytest.approx(100 * right.mean())


def test_the_split_of_freebind_data_is_taken_as_it_is(config, tmp_path):
    LAYOUTS["esc50"](tmp_path / "official/esc50")
    content = read_content("esc50", tmp_path / "official/esc50", Choice(templates=("a {c}", "{c}")))
    write_content(Split(tmp_path / "banks/mine"), content)
    export(config("esc50", split="mine"))
    banks = open_banks(tmp_path / "banks", "mine", spaces=["tiny"])
    assert (len(banks["tiny", "text"]), len(banks["tiny", "audio"])) == (4, 3)
    with pytest.raises(FreeBindError, match=r"another data set(.|\n)*esc50(.|\n)*--split"):
        export(config("clotho", split="mine"))


def test_an_encoder_encodes_the_modalities_that_it_has(config, tmp_path):
    LAYOUTS["coco"](tmp_path / "official/coco")
    export(config("coco", encoder=(f"{Listener.__module__}:Listener",)))
    assert Split(tmp_path / "banks/coco").spaces() == {"tiny": ["text"]}


def test_a_picture_of_vggss_is_the_frame_at_5_seconds(config, tmp_path, monkeypatch):
    monkeypatch.setattr(videos, "FPS", 5)
    monkeypatch.setattr(videos, "SECONDS", 7)
    root = tmp_path / "official/vggss"
    LAYOUTS["vggss"](root)
    name = f"{CLIPS[1]}_000030"
    (root / f"frames/{name}.jpg").unlink()
    (root / "video").mkdir()
    videos.write_video(root / f"video/{name}.mp4", seconds=7, audio=None)
    settings = config("vggss")
    source = settings.sources()["image"]
    assert videos.shown(read_image(source.content(source.items[1]))) == 25
    export(settings)
    bank = open_banks(tmp_path / "banks", "vggss", spaces=["tiny"])["tiny", "image"]
    assert bank.encoder.name.endswith(", frame at 5 s")


def test_columns_that_are_named_are_not_used_and_a_notice_says_so(config, tmp_path, caplog):
    LAYOUTS["clotho"](tmp_path / "official/clotho")
    config("clotho", reading=SourceOptions(path_column="file_name", turn=True)).sources()
    assert "a data set has columns of its own; not used: --path-column\n" in caplog.text


def test_the_command_makes_split_and_banks(invoke, tmp_path):
    LAYOUTS["clotho"](tmp_path / "clotho")
    given = ("--space", "tiny", "--encoder", ENCODER, "--dataset", "clotho", "--workers", "0")
    where = ("--root", tmp_path / "clotho", "--out", tmp_path / "banks")
    done = invoke(main, *given, *where)
    assert done.status == 0
    assert "  tiny: 15 of 15 items now" in done.out
    again = invoke(main, *given, *where)
    assert again.status == 0
    assert "in the list" not in again.out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"root": None}, "--dataset and --root belong together"),
        ({"dataset": None}, "--dataset and --root belong together"),
        ({"text": Path("x.txt")}, "a data set is encoded alone"),
        ({"dataset": "esc5"}, "did you mean 'esc50'"),
    ],
)
def test_options_that_do_not_fit_are_refused(config, tmp_path, options, says):
    with pytest.raises(FreeBindError, match=says):
        export(config("esc50", **options))
    assert not (tmp_path / "banks").exists()
