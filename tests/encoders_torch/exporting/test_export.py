import os
import re
import signal
import tempfile
from pathlib import Path

import disturb
import pytest
import torch
from disturb import REPOSITORY, At, disturbed
from PIL import Image

from encoders_torch.export import export as export_config
from encoders_torch.export import main
from encoders_torch.export_config import ExportConfig
from encoders_torch.exporting.target import ExportSettings
from encoders_torch.loading import known_encoders
from encoders_torch.sources import SourceOptions
from fb_jax.banks import Bank, Split, open_banks, verify_split
from fb_jax.errors import FreeBindError
from tests.encoders_torch.conftest import Toy

EXPORT = "-m", "encoders_torch.export"
THIRD_SHARD = At("os.replace", on=r"text/emb_00002\.npy$")
LINES = "".join(f"{'e' * (i % 9)}word\n" for i in range(500))
ENCODER = "tests.encoders_torch.conftest:Toy"


@pytest.fixture
def everything(media, tmp_path):
    sources = ("--audio", media / "audio", "--image", media / "image", "--text", media / "text.txt")
    return ("--encoder", ENCODER, "--space", "toy", "--out", tmp_path / "banks", *sources)


def test_media_become_banks_that_other_commands_read(everything, tmp_path):
    done = disturb.run(*EXPORT, *everything)
    assert done.returncode == 0
    assert re.fullmatch("note: .*image: left unread as image: 1 .md\n", done.stderr)
    for modality in ("audio", "image", "text"):
        assert f"toy/{modality}: 5 done in " in done.stdout
    assert done.stdout.count("  toy: 5 of 5 items now; time: read ") == 3
    banks = open_banks(tmp_path / "banks", spaces=["toy"])
    assert {m: len(rows) for m, rows in banks.rows.items()} == {"audio": 5, "image": 5, "text": 5}
    verify_split(Split(tmp_path / "banks" / "pool"))


def test_a_bad_file_is_told_and_the_rest_kept(invoke, everything, media, tmp_path):
    (media / "image/bad.png").write_bytes(b"no picture")
    done = invoke(main, *everything)
    assert done.status == 0
    assert "left out: bad.png: a picture cannot be read" in done.out
    assert "1 left out in all: " in done.out
    (media / "image/worse.png").write_bytes(b"no picture")
    (media / "image/bad.png").unlink()
    Image.new("RGB", (4, 4), "red").save(media / "image/good.png")
    again = invoke(main, *everything, "--append", "--retry-failed")
    assert "  toy: 2 of 8 items now; time" in again.out
    assert "  toy: 2 tried again, 0 of them encoded now" in again.out
    assert re.search(r"again: 2 done in [0-9.]+ s$", again.out, re.MULTILINE)
    assert "left out: bad.png: a file is missing" in again.out
    Image.new("RGB", (4, 4), "red").save(media / "image/worse.png")
    mended = invoke(main, *everything, "--append", "--retry-failed")
    assert "  toy: 2 tried again, 1 of them encoded now" in mended.out
    assert len(open_banks(tmp_path / "banks", spaces=["toy"]).rows["image"]) == 7


def test_strict_ends_with_an_error(invoke, everything, media):
    (media / "image/bad.png").write_bytes(b"no picture")
    done = invoke(main, *everything, "--strict")
    assert done.status == 2
    assert "\nerror: an item failed\n" in done.err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--space", "toy"), "nothing to encode"),
        (("--space", "toy", "--text", "no.txt"), "is missing"),
        (("--space", "no_such_space", "--text", "constraints.txt"), "no encoder 'no_such_space'"),
        (
            ("--space", "imagebind", "--backend", "x", "--text", "constraints.txt"),
            "no backend 'x'\n.*imagebind\n.*upstream",
        ),
        (("--space", "no/space", "--text", "constraints.txt"), "'no/space' cannot name a space"),
        (("--space", "toy", "--source", "depth"), "--source lacks a name(.|\n)*NAME=VALUE"),
        (
            ("--space", "toy", "--text", "constraints.txt", "--shard-id", "1"),
            "shard_id is out of range\n.*0 to 0\n",
        ),
        (("--space", "toy", "--text", "constraints.txt", "--batch", "0"), "batch is out of range"),
    ],
)
def test_what_cannot_be_exported_ends_with_an_error(invoke, tmp_path, monkeypatch, args, says):
    monkeypatch.chdir(REPOSITORY)
    done = invoke(main, *args, "--out", tmp_path / "banks")
    assert done.status == 2
    assert re.search(says, done.err)
    assert not (tmp_path / "banks").exists()


def test_a_killed_export_goes_on_to_the_same_bytes(invoke, everything, media, tmp_path, contents):
    (media / "text.txt").write_text(LINES)
    args = (*everything[:-4], *everything[-2:], "--batch", "1", "--shard-rows", "50")
    bank = tmp_path / "banks/pool/embeddings/toy/text"
    assert disturb.run(*EXPORT, *args, at=[THIRD_SHARD]).returncode == -signal.SIGKILL
    assert (bank / "emb_00001.npy").exists()
    assert not (bank / "manifest.json").exists()
    assert invoke(main, *args).status == 0
    killed = contents(bank)
    (tmp_path / "banks").rename(tmp_path / "killed")
    assert invoke(main, *args).status == 0
    assert contents(bank) == killed


def test_processes_side_by_side_write_one_bank_though_one_is_killed(
    invoke, everything, media, tmp_path, contents
):
    (media / "text.txt").write_text(LINES)
    args = (*everything[:-4], *everything[-2:], "--batch", "1", "--shard-rows", "25")
    shares = [(*args, "--num-shards", "2", "--shard-id", i) for i in (0, 1)]
    processes = [
        disturb.start(*EXPORT, *share, at=at)
        for share, at in zip(shares, ([THIRD_SHARD], []), strict=True)
    ]
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [-signal.SIGKILL, 0]
    bank = tmp_path / "banks/pool/embeddings/toy/text"
    assert not (bank / "manifest.json").exists()
    assert invoke(main, *shares[0]).status == 0
    shared = contents(bank)
    (tmp_path / "banks").rename(tmp_path / "shared")
    assert invoke(main, *args).status == 0
    assert contents(bank) == shared


def test_processes_of_one_command_share_a_bank_though_one_is_killed_with_a_shard(
    invoke, everything, media, tmp_path, contents
):
    (media / "text.txt").write_text(LINES)
    args = (*everything[:-4], *everything[-2:], "--batch", "4", "--shard-rows", "25")
    held = disturb.start(*EXPORT, *args, at=[At("os.replace", 1, "SIGSTOP", on=r"text/emb_")])
    disturb.wait_until_stopped(held)
    others = [disturb.start(*EXPORT, *args) for _ in range(2)]
    assert ["bank is complete when" in other.communicate()[0] for other in others] == [True, True]
    bank = tmp_path / "banks/pool/embeddings/toy/text"
    assert 17 <= len(list(bank.glob("emb_*.npy"))) <= 19  # of 20; it may hold the next ones, too
    held.kill()
    held.communicate()
    assert invoke(main, *args).status == 0
    shared = contents(bank)
    (tmp_path / "banks").rename(tmp_path / "shared")
    assert invoke(main, *args).status == 0
    assert contents(bank) == shared


# In this process, for speed: what the command calls


def config(media, out, **options):
    given = {"space": ("toy",), "encoder": (ENCODER,), "text": media / "text.txt", "out": out}
    return ExportConfig(**(given | {"settings": ExportSettings(workers=0)} | options))


def test_several_spaces_are_exported_from_the_sources_they_are_for(media, tmp_path, capsys):
    encoders = (f"a={ENCODER}", f"b={ENCODER}", "c=no:Encoder")
    depth = (f"depth={media}/audio",)
    many = config(media, tmp_path, space=("c", "a", "b"), encoder=encoders, source=depth)
    with pytest.raises(FreeBindError, match=r"some spaces were not exported\n.*got: +c$"):
        export_config(many)
    assert "c: left out: an encoder cannot be imported" in capsys.readouterr().err
    assert Split(tmp_path / "pool").spaces() == {"a": ["text"], "b": ["text"]}


class TooLarge(Toy):
    """An encoder that a device has no room for."""

    def __init__(self, weights=None, device="cpu"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class Breaking(Toy):
    """An encoder whose device fails in the second shard."""

    def encode(self, modality, batch):
        if "3" in str(batch):
            raise RuntimeError("CUDA error: unspecified launch failure")
        return super().encode(modality, batch)


@pytest.mark.parametrize("bad", ["TooLarge", "Breaking"])
def test_a_space_that_fails_leaves_the_others_whole(media, tmp_path, capsys, bad, contents):
    encoders = (f"a={ENCODER}", f"b={__name__}:{bad}", f"c={ENCODER}")
    how = ExportSettings(workers=0, batch=1, shard_rows=1)
    three = config(media, tmp_path, space=("a", "b", "c"), encoder=encoders, settings=how)
    with pytest.raises(FreeBindError, match=r"some spaces were not exported\n.*got: +b$"):
        export_config(three)
    assert re.search(r"b: left out: (.|\n)*CUDA", capsys.readouterr().err)
    alone = tmp_path / "alone"
    export_config(config(media, alone, space=("a",), settings=how))
    wanted = contents(alone / "pool/embeddings/a")
    assert contents(tmp_path / "pool/embeddings/a") == wanted
    assert len(Bank.open(Split(tmp_path / "pool").bank_path("c", "text"))) == 5


@pytest.mark.parametrize(("shard_id", "retries"), [(0, True), (1, False)])
def test_one_of_several_processes_tries_items_again(media, tmp_path, capsys, shard_id, retries):
    (media / "text.txt").write_text("one\nunreadable\n")
    export_config(config(media, tmp_path))
    capsys.readouterr()
    how = ExportSettings(workers=0, shard_id=shard_id, num_shards=2)
    export_config(config(media, tmp_path, retry_failed=True, settings=how))
    assert ("toy/text again" in capsys.readouterr().out) is retries


def test_all_is_every_encoder_known_by_name_whose_weights_can_be_got(media, tmp_path):
    found = config(media, tmp_path, space=("all",)).spaces()
    assert set(known_encoders()) - set(found) == {"imagebind_tuned", "internvl"}
    assert {"imagebind", "clap_general"} <= set(found)


def test_of_several_spaces_an_option_must_say_whose(media, tmp_path):
    with pytest.raises(FreeBindError, match="--weights lacks a name"):
        export_config(config(media, tmp_path, space=("a", "b"), encoder=(), weights=("w.pt",)))


@pytest.mark.parametrize("option", ["encoder", "backend", "weights"])
def test_an_option_for_a_space_that_is_not_exported_is_refused(media, tmp_path, option):
    given = {"encoder": (), "space": ("imagebind", "clap_music"), option: ("imagebnd=x",)}
    with pytest.raises(
        FreeBindError, match=rf"no space 'imagebnd'\n.*--{option}\n(.|\n)*imagebind"
    ):
        export_config(config(media, tmp_path, **given))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps"])
def test_a_device_that_is_not_there_is_told(media, tmp_path, device):
    with pytest.raises(
        FreeBindError, match=rf"device {device!r}\n(.|\n)*torch \d(.|\n)*--device cpu"
    ):
        export_config(config(media, tmp_path, device=device))


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, (0, 1)),
        ({"RANK": "2", "WORLD_SIZE": "3"}, (2, 3)),
        ({"RANK": "0", "WORLD_SIZE": "1"}, (0, 1)),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4"}, (1, 4)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, (0, 1)),  # a batch script, before srun
    ],
)
def test_torchrun_and_srun_say_which_shards_are_whose(
    media, tmp_path, monkeypatch, variables, place
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    placed = config(media, tmp_path).placed()
    assert (placed.shard_id, placed.num_shards) == place
    own = config(media, tmp_path, settings=ExportSettings(shard_id=1, num_shards=2)).placed()
    assert (own.shard_id, own.num_shards) == (1, 2)


def test_one_space_must_have_every_modality_that_is_given(media, tmp_path):
    with pytest.raises(FreeBindError, match=r"has no depth\n.*toy\n.*audio, image, text"):
        export_config(config(media, tmp_path, source=(f"depth={media}/audio",)))


def test_the_licence_may_be_told(media, tmp_path):
    export_config(config(media, tmp_path, licence="CC-BY-4.0"))
    assert (
        Bank.open(Split(tmp_path / "pool").bank_path("toy", "text")).encoder.licence == "CC-BY-4.0"
    )


def test_a_place_where_nothing_can_be_written_is_told_first(media, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FreeBindError, match=r"this is a file, not a folder\n.*/file\n"):
        export_config(config(media, tmp_path / "file/banks"))


@pytest.fixture
def nobody():
    """A user for whom permissions bind, as they do not for root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield
    if root:
        os.seteuid(0)


@pytest.fixture
def read_only():
    """A folder that anybody may read and nobody may write; temporary folders may not be entered."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "text.txt").write_text("word\n")
        Path(folder).chmod(0o555)
        yield Path(folder)
        Path(folder).chmod(0o755)


def test_a_read_only_folder_is_told(read_only, nobody):
    for out in (read_only, read_only / "banks"):
        says = rf"no permission to write here\n.*{out}\n(.|\n)*Permission denied(.|\n)*--out"
        with pytest.raises(FreeBindError, match=says):
            export_config(config(read_only, out))


def test_a_full_disk_is_told_and_the_same_command_goes_on(media, tmp_path):
    (media / "text.txt").write_text("word\n" * 2000)
    again = config(media, tmp_path)
    full = disturbed(At("disturb.write", do="ENOSPC", on="emb_00000"))
    with full, pytest.raises(FreeBindError, match=r"not be written\n.*emb_00000(.|\n)*space"):
        export_config(again)
    export_config(again)
    assert len(Bank.open(Split(tmp_path / "pool").bank_path("toy", "text"))) == 2000


def test_settings_of_reading_reach_those_who_read():
    how = ExportSettings(workers=3, read_ahead_mb=7, read_seconds=9.0).ahead([])
    assert (how.workers, how.most_bytes, how.seconds) == (3, 7_000_000, 9.0)


def test_how_pictures_are_read_stands_in_the_manifest(media, tmp_path):
    how = SourceOptions(turn=True, frame_at=2.5)
    export_config(config(media, tmp_path, image=media / "image", reading=how))
    names = {
        m: Bank.open(tmp_path / f"pool/embeddings/toy/{m}").encoder.name for m in ("text", "image")
    }
    assert names == {"text": "toy", "image": "toy, pictures turned by EXIF, frame at 2.5 s"}
