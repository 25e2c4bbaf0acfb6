"""The steps of a tuning, on an encoder of four numbers an item."""

import signal
from dataclasses import replace
from pathlib import Path

import disturb
import numpy as np
import pytest
import torch
from disturb import At
from ranges import assert_range
from torch import nn
from torch.nn.functional import normalize

from encoders_torch.encoder import FrozenEncoder
from encoders_torch.exporting.target import ExportSettings
from encoders_torch.tensor_files import read_state, write_state
from encoders_torch.tuning.loop import Tuning, loss_of
from encoders_torch.tuning.mixture import Mixture
from encoders_torch.tuning.model import TunedModel, read_tuned
from encoders_torch.tuning.pairs import open_pairs
from encoders_torch.tuning.settings import TuneRuntime, TuneSettings
from fb_jax.banks import BankAbout, Encoder, Split, bank_writer, open_split, unit_rows, write_items
from fb_jax.errors import FreeBindError, Interrupted

COUNT, DIM_IN, DIM = 24, 4, 3
SETTINGS = TuneSettings(objective="symmetric", learning_rate=0.01, batch=8, epochs=3)
ALONE = TuneRuntime(workers=0, checkpoint_steps=2)


class Four(FrozenEncoder):
    """An encoder whose recordings are text files of four numbers."""

    def __init__(self):
        super().__init__(name="four", dim=4, modalities=("audio",), weights_sha256="0" * 64)

    def read(self, modality, item):
        return np.float32(Path(item).read_text().split())

    def encode(self, modality, batch):
        return np.asarray(batch)


class Trunk(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, DIM_IN)

    def forward(self, x):
        return normalize(self.linear(x), dim=1)


def fresh() -> TunedModel:
    """The same random numbers each time."""
    torch.manual_seed(0)
    model = TunedModel(Trunk(), Mixture(7, DIM_IN, 5, DIM))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


def write_pairs(root: Path) -> Path:
    """A bank root whose images are a fixed turn of their recordings; return the recordings."""
    rng, split = np.random.default_rng(0), Split(root / "tune")
    heard = rng.normal(size=(COUNT, 4))
    audio = root / "audio"
    audio.mkdir(parents=True)
    for i, row in enumerate(heard):
        (audio / f"{i:02d}.txt").write_text(" ".join(map(str, row)))
    write_items(
        split.items_path("audio"), [{"id": f"{i}", "path": f"{i:02d}.txt"} for i in range(COUNT)]
    )
    write_items(
        split.items_path("image"), [{"id": f"{i}", "path": f"{i}.png"} for i in range(COUNT)]
    )
    digest, encoder = split.items("image").digest, Encoder("internvl_ib", "digest")
    about = BankAbout("internvl_ib", "image", encoder, digest, missing=np.array([5]))
    rows = unit_rows(heard @ rng.normal(size=(4, DIM)))
    rows[5] = 0
    folder, form = split.bank_path("internvl_ib", "image"), {"dim": DIM, "count": COUNT}
    with bank_writer(folder, about, dtype="float32", **form) as writer:
        writer.append(rows)
    table = np.stack([np.arange(COUNT), np.arange(COUNT)], axis=1)
    split.write_pairs("audio", "image", table)
    return audio


@pytest.fixture
def root(tmp_path):
    write_pairs(tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture
def pairs(root):
    return open_pairs(root, "tune", "internvl_ib", root / "audio")


def tuning(pairs, folder, settings=SETTINGS, model=None):
    return Tuning(model or fresh(), Four(), pairs, settings, folder, {"made": "by a test"})


def stopped_after(count):
    """A progress that interrupts a tuning once so many steps are done."""
    steps = []

    def progress(done, _loss):
        steps.append(done)
        if sum(steps) >= count:
            raise Interrupted("stop")

    return progress


# Pairs


def test_pairs_are_rows_of_recordings_and_of_fused_images(root, pairs):
    assert len(pairs) == COUNT - 1  # image 5 has no row
    assert 5 not in pairs.rows[:, 0]
    for item, row in pairs.rows[[0, 10, 22]]:
        heard = np.float32((root / "audio" / pairs.items[int(item)]["path"]).read_text().split())
        whole = np.load(
            open_split(root, "tune").bank_path("internvl_ib", "image") / "emb_00000.npy"
        )
        np.testing.assert_allclose(pairs.images[np.array([row])][0], whole[item], atol=1e-6)
        assert heard.shape == (4,)


def test_without_a_table_or_fused_images_nothing_begins(root):
    split = open_split(root, "tune")
    with pytest.raises(FreeBindError, match="there is no space 'other'"):
        open_pairs(root, "tune", "other", root / "audio")
    split.pairs_path("audio", "image").unlink()
    with pytest.raises(FreeBindError, match="a pair table is missing"):
        open_pairs(root, "tune", "internvl_ib", root / "audio")


# Losses, by hand


def test_losses_of_right_and_wrong_pairs():
    rows = torch.eye(2)
    for objective, right, wrong in (
        ("cosine", 0, 1),
        ("symmetric", 0, 50),
        ("audio_to_image", 0, 50),
    ):
        settings = replace(SETTINGS, objective=objective)
        assert loss_of(rows, rows, settings).item() == pytest.approx(right, abs=1e-6)
        assert loss_of(rows, rows.flip(0), settings).item() == pytest.approx(wrong, abs=1e-4)


def test_one_direction_asks_for_the_image_of_a_recording_alone():
    audio, image = torch.eye(2), torch.tensor([[1.0, 0], [1, 0]])
    one, both = (replace(SETTINGS, objective=o) for o in ("audio_to_image", "symmetric"))
    rows = torch.log_softmax(audio @ image.T * 50, 1).diag().mean()
    columns = torch.log_softmax(image @ audio.T * 50, 1).diag().mean()
    assert loss_of(audio, image, one).item() == pytest.approx(-rows.item(), rel=1e-5)
    assert loss_of(audio, image, both).item() == pytest.approx(
        -(rows + columns).item() / 2, rel=1e-5
    )


# Steps


def test_every_epoch_takes_every_pair_once_but_for_the_last_partial_batch():
    order = list(SETTINGS.order(20, 0))
    assert len(order) == SETTINGS.steps(20) * SETTINGS.batch == 48
    epochs = [order[i * 16 : (i + 1) * 16] for i in range(3)]
    assert all(len(set(epoch)) == 16 for epoch in epochs)
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("step", [0, 1, 2, 3, 5, 6])
def test_the_order_goes_on_from_any_step(step):
    assert list(SETTINGS.order(20, step)) == list(SETTINGS.order(20, 0))[step * SETTINGS.batch :]


def test_the_loss_falls_and_trunk_and_mixture_both_move(pairs, tmp_path):
    settings = replace(SETTINGS, epochs=30)
    tuning(pairs, tmp_path / "out", settings).run(ALONE)
    losses = np.load(tmp_path / "out/losses.npy")
    assert losses.shape == (60,)
    assert losses[-5:].mean() < 0.5 * losses[:5].mean()
    state, about = read_tuned(tmp_path / "out")
    before = fresh().state_dict()
    assert state.keys() == before.keys()
    assert all(not torch.equal(state[key], before[key]) for key in state)
    assert (about["made"], about["steps"], about["settings"]["batch"]) == ("by a test", 60, 8)
    assert not (tmp_path / "out/checkpoint.safetensors").exists()


def test_a_step_is_adams_on_the_loss_of_its_batch(pairs, tmp_path):
    tuning(pairs, tmp_path / "out", replace(SETTINGS, epochs=1, batch=23)).run(ALONE)
    twin = fresh()
    heard = np.stack(
        [Four().read("audio", pairs.folder / pairs.items[int(i)]["path"]) for i in pairs.rows[:, 0]]
    )
    images = torch.from_numpy(pairs.images[pairs.rows[:, 1]])
    optimiser = torch.optim.Adam(twin.parameters(), SETTINGS.learning_rate)
    loss_of(twin(torch.from_numpy(heard)), images, SETTINGS).backward()
    optimiser.step()
    state, _ = read_tuned(tmp_path / "out")
    for key, value in twin.state_dict().items():
        torch.testing.assert_close(state[key], value, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_an_interrupted_tuning_goes_on_to_the_same_bytes(pairs, tmp_path, contents, stop):
    tuning(pairs, tmp_path / "whole").run(ALONE)
    with pytest.raises(Interrupted):
        tuning(pairs, tmp_path / "out").run(ALONE, stopped_after(stop))
    tuning(pairs, tmp_path / "out").run(ALONE)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


RUN = """
from pathlib import Path
from tests.encoders_torch import test_tuning as t
pairs = t.open_pairs(Path({root!r}), "tune", "internvl_ib", Path({root!r}) / "audio")
t.tuning(pairs, Path({out!r})).run(t.ALONE)
"""


def test_a_killed_tuning_goes_on_to_the_same_bytes(root, pairs, tmp_path, contents):
    tuning(pairs, tmp_path / "whole").run(ALONE)
    code = RUN.format(root=str(root), out=str(tmp_path / "out"))
    killed = disturb.run("-c", code, at=[At("os.replace", 2, on=r"checkpoint\.safetensors$")])
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "out/checkpoint.safetensors").exists()
    assert not (tmp_path / "out/tuned.json").exists()
    tuning(pairs, tmp_path / "out").run(ALONE)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_workers_change_nothing(pairs, tmp_path, contents):
    tuning(pairs, tmp_path / "alone").run(ALONE)
    tuning(pairs, tmp_path / "out").run(replace(ALONE, workers=2))
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


def test_a_finished_tuning_is_left_alone(pairs, tmp_path, contents):
    tuning(pairs, tmp_path / "out").run(ALONE)
    before = contents(tmp_path / "out")
    tuning(pairs, tmp_path / "out").run(ALONE)
    assert contents(tmp_path / "out") == before


def test_recordings_that_cannot_be_read_are_passed_over(root, pairs, tmp_path):
    for i in range(0, COUNT, 2):
        (root / f"audio/{i:02d}.txt").write_text("nothing that is a number")
    with pytest.raises(Interrupted):
        tuning(pairs, tmp_path / "out").run(ALONE, stopped_after(2))
    tuning(pairs, tmp_path / "out").run(ALONE)
    assert np.isfinite(np.load(tmp_path / "out/losses.npy")).all()
    assert read_tuned(tmp_path / "out")[1]["unreadable"] == COUNT // 2


# What is refused


def test_a_batch_without_a_readable_recording_stops(pairs, tmp_path):
    wrong = replace(pairs, folder=tmp_path / "elsewhere")
    with pytest.raises(FreeBindError, match=r"no recording of a batch can be read(.|\n)*--audio"):
        tuning(wrong, tmp_path / "out").run(ALONE)


def test_fewer_pairs_than_a_batch_are_refused(pairs, tmp_path):
    with pytest.raises(FreeBindError, match=r"fewer pairs than a batch\n.*64 or more\n.*23"):
        tuning(pairs, tmp_path / "out", replace(SETTINGS, batch=64))


def test_a_folder_of_another_tuning_is_refused(pairs, tmp_path):
    tuning(pairs, tmp_path / "out").run(ALONE)
    with pytest.raises(FreeBindError, match=r"made from something else(.|\n)*learning_rate 0.02"):
        tuning(pairs, tmp_path / "out", replace(SETTINGS, learning_rate=0.02)).run(ALONE)


def test_a_loss_that_is_no_number_stops_at_its_step(pairs, tmp_path):
    broken = fresh()
    with torch.no_grad():
        broken.mixture.bias_in[0, 0, 0] = float("nan")
    with pytest.raises(FreeBindError, match=r"the loss of step 0 is no number(.|\n)*lower"):
        tuning(pairs, tmp_path / "out", model=broken).run(ALONE)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "cannot be read: it is damaged"),
        (lambda path: write_state(path, {"model.a": torch.ones(1)}), "of another model"),
        (lambda path: write_state(path, read_state(path) | {"adam.x.y": torch.ones(1)}), "another"),
    ],
)
def test_a_damaged_checkpoint_is_refused(pairs, tmp_path, damage, says):
    with pytest.raises(Interrupted):
        tuning(pairs, tmp_path / "out").run(ALONE, stopped_after(1))
    damage(tmp_path / "out/checkpoint.safetensors")
    with pytest.raises(FreeBindError, match=rf"{says}(.|\n)*delete it"):
        tuning(pairs, tmp_path / "out").run(ALONE)


@pytest.mark.parametrize(
    ("number", "says"),
    [(float("inf"), "a weight is no number"), (-1.01e6, "the weights have grown without bound")],
)
def test_weights_that_blow_up_are_never_written(pairs, tmp_path, monkeypatch, number, says):
    def poison(self):
        self.param_groups[0]["params"][0].data[0] = number

    monkeypatch.setattr(torch.optim.Adam, "step", poison)
    with pytest.raises(FreeBindError, match=f"{says} after step 1"):
        tuning(pairs, tmp_path / "out", replace(SETTINGS, epochs=1, batch=23)).run(ALONE)
    assert not (tmp_path / "out/tuned.json").exists()


@pytest.mark.parametrize(
    ("kind", "name", "lowest", "highest", "outside"),
    [
        (TuneSettings, "batch", 1, 65536, [0, 65537, True]),
        (TuneSettings, "epochs", 1, 100_000, [0, 100_001]),
        (TuneSettings, "learning_rate", 1e-8, 1.0, [0.0, 1.1, np.nan]),
        (TuneSettings, "temperature", 1e-4, 100.0, [-1.0, 9e-5, np.inf]),
        (TuneSettings, "seed", 0, 2**32 - 1, [-1, 2**32]),
        (TuneRuntime, "workers", 0, 1024, [-1, 1025]),
        (TuneRuntime, "read_ahead_mb", 1, 1 << 20, [0, 1 << 21]),
        (TuneRuntime, "checkpoint_steps", 1, 10**9, [0, 10**9 + 1]),
        (ExportSettings, "batch", 1, 65536, [0, 65537]),
        (ExportSettings, "batch_mb", 1, 1 << 20, [0, 1 << 21]),
        (ExportSettings, "read_ahead_mb", 1, 1 << 20, [0, True]),
        (ExportSettings, "workers", 0, 1024, [-1, 1025]),
        (ExportSettings, "shard_rows", 1, 1 << 24, [0, (1 << 24) + 1]),
        (ExportSettings, "num_shards", 1, 100_000, [0, 100_001]),
    ],
)
def test_every_setting_has_a_range_that_its_help_states(kind, name, lowest, highest, outside):
    assert_range(kind, name, lowest, highest, outside)
