"""freebind ablate: with random numbers in place of trained ones; the slow tests train."""

import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from disturb import At
from labelled import write_labelled
from made import write_all_spaces

from fb_jax import files
from fb_jax.banks import Split, open_banks, splits
from fb_jax.cli import ablate
from fb_jax.cli.main import main as freebind
from fb_jax.errors import Interrupted
from fb_jax.importing import import_bank

QUICK = ["--training.batch", 10, "--training.epochs", 1, "--training.hidden", 8]
PAIRS = ("audio-image", "audio-text", "image-text")
PAPER = ("audiocaps", "clotho", "vggss", "flickrnet", "coco", "flickr30k")
FILES = {"table.txt", "table.md", "table.csv", "table.tex", "table.json"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four spaces, 30 unpaired items of each modality; val, test, and labels. Read only."""
    root = tmp_path_factory.mktemp("banks")
    write_all_spaces(root, {"text": 30, "image": 30, "audio": 30}, {"val": 11, "test": 12})
    claps = {name: {"text": 48, "audio": 48} for name in ("clap_general", "clap_music")}
    spaces = {"imagebind": {"text": 64, "audio": 64}, "internvl": {"text": 56}, **claps}
    write_labelled(Split(root / "esc50"), spaces)
    return root


@pytest.fixture
def make(must, data):
    """Make a table in runs/; return what was printed."""

    def make(table, *options):
        return must(freebind, "ablate", table, "--data", data, *QUICK, *options)

    return make


def results(table="table5"):
    return Path("runs/ablations") / table


def lines(table="table5"):
    return (results(table) / "table.csv").read_text().splitlines()


@pytest.mark.usefixtures("trained")
def test_a_table_is_written_in_every_format_and_read_again_if_nothing_changed(make, invoke, data):
    told = make("table5")
    folder = results()
    assert {path.name for path in folder.iterdir()} == {*FILES, "record.json", ".lock"}
    assert (folder / "table.txt").read_text() in told
    assert "combination of internvl and imagebind, in runs/imagebind-combination-" in told
    table = files.read_json(folder / "table.json")
    assert list(table["figures"]) == ["ImageBind", "+Cr(InternVL)", "+Dr(InternVL)"]
    assert set(table["figures"]["ImageBind"]) == {f"test {p}" for p in PAIRS}
    assert table["paper"]["+Cr(InternVL)"]["coco"] == {"R@1": 58.9}
    assert [task["name"] for task in table["tasks"]] == [*(f"test {p}" for p in PAIRS), *PAPER]
    # val is no column, and the paper's Table 5 has no ESC-50
    assert all(task["metrics"] == ["R@1"] for task in table["tasks"])
    assert table["about"]["ablation"]["training"]["hidden"] == 8
    assert "+Cr(InternVL),coco,R@1,,,,58.9" in lines()
    again = make("table5")
    assert "nothing has changed since" in again
    assert (folder / "table.txt").read_text() in again
    (folder / "table.csv").write_text("")  # by hand
    assert "nothing has changed" not in make("table5")
    assert len(lines()) > 3
    other = invoke(freebind, "ablate", "table5", "--data", data, *QUICK, "--training.seed", 1)
    assert "nothing has changed" not in other.out  # but made anew, or refused


@pytest.mark.usefixtures("trained")
def test_an_interrupted_table_goes_on(make, invoke, data, monkeypatch):
    def stop(title, _):
        if title.startswith("displacement"):
            raise Interrupted("interrupted: training")

    with monkeypatch.context() as patch:
        patch.setattr(ablate, "_announce", stop)
        done = invoke(freebind, "ablate", "table5", "--data", data, *QUICK)
    assert (done.status, "interrupted" in done.err) == (130, True), done
    assert {path.name for path in results().iterdir()} == {".lock"}
    assert Path("runs/imagebind_internvl/space").is_dir()
    make("table5")
    assert lines()[-1].startswith("+Dr(InternVL),")


@pytest.mark.usefixtures("trained")
def test_other_names_of_spaces_and_a_missing_one(make, must, data, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(data, own)
    for split in splits(own):
        spaces = own / split / "embeddings"
        shutil.rmtree(spaces / "clap_music")
        for bank in sorted((spaces / "internvl").iterdir()):
            rows = open_banks(own, split, spaces="internvl")["internvl", bank.name][:]
            np.save("rows.npy", rows)
            import_bank(Split(own / split), "siglip", bank.name, Path("rows.npy"))
        shutil.rmtree(spaces / "internvl")
    told = must(freebind, "ablate", "table5", "--data", own, *QUICK, "--image-text", "siglip")
    assert "imagebind plays ImageBind, siglip InternVL, clap_general CLAP general" in told
    assert Path("runs/internvl_ib_with_siglip/space").is_dir()
    assert lines()[-1].startswith("+Dr(InternVL),flickr30k")
    told = must(freebind, "ablate", "table7", "--data", own, *QUICK)
    assert "without +music: no clap_music" in told
    assert {line.split(",")[0] for line in lines("table7")[1:]} == {"ImageBind", "+general"}
    (labels,) = [line for line in lines("table7") if line.startswith("+general,esc50,top-1,")]
    assert labels.endswith(",86.65")
    assert float(labels.split(",")[3]) > 50
    assert "top-5" not in "".join(lines("table7"))


@pytest.mark.usefixtures("trained")
def test_figures_are_a_picture_a_page_and_numbers_for_each_space(must, data):
    # One space of the three, so that the test is fast: the second CLAP is not named.
    told = must(
        freebind, "ablate", "figures", "--data", data, *QUICK, "--audio-text", "clap_general"
    )
    assert "without ImageBind++: no second expert of audio and text" in told
    assert {path.name for path in results("figures").iterdir()} == {
        *(f"internvl_ib.{kind}" for kind in ("png", "html", "json")),
        *("record.json", ".lock"),
    }
    swept = files.read_json(results("figures") / "internvl_ib.json")
    assert (swept["symbol"], swept["modalities"]) == ("lambda", ["text", "image"])
    assert set(swept["surfaces"]) == {*(f"test {pair}" for pair in PAIRS), "esc50 audio-class"}


def test_a_dry_run_trains_nothing_and_options_may_stand_in_a_file(must, data):
    Path("small.yaml").write_text(
        f"{{data: {data}, training: {{batch: 10, hidden: 8, epochs: 2}}}}"
    )
    told = must(freebind, "ablate", "table6", "--config", "small.yaml", "--dry-run")
    assert "runs/imagebind-displacement-internvl" in told
    assert "to train, after internvl_ib" in told
    assert (
        "sequential and parallel: internvl_ib_pp, as there are no rows of imagebind_tuned" in told
    )
    # 4 bonds, 2 epochs of 9
    assert "still to do, without bonds on rows that do not exist yet: 72 steps" in told
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["table4"], "there is no table of the ablations 'table4'"),
        ([], "there is no table of the ablations ''"),
        (["table5", "--unified", "house"], "no row of table5 can be made"),
        (["table5", "--audio-text", "a", "b", "c"], "one or two experts of audio and text"),
        (["table5", "--unified", "internvl"], "internvl"),
        (["table8", "--training.pipeline", "exmcr"], "no projector trained on 'audio'"),
        (["table9", "--training.pipeline", "cmcr"], "this table trains by every pipeline"),
        (
            ["table5", "--image-text", "clap_general"],
            "--image-text must have image and text\n  got:      clap_general has audio, text",
        ),
        (["table7", "--audio-text", "internvl"], "--audio-text must have audio and text"),
    ],
)
def test_what_cannot_be_made_is_refused_before_any_work(invoke, data, words, says):
    done = invoke(freebind, "ablate", *words, "--data", data, *QUICK)
    assert (done.status, says in done.err) == (2, True), done
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("table", "says"),
    [("table5", "no split has a task of table5"), ("figures", "no surfaces of ImageBind++")],
)
def test_data_without_pairs_are_refused_before_any_work(invoke, data, tmp_path, table, says):
    own = shutil.copytree(data, tmp_path / "own")
    for split in set(splits(own)) - {"pool"}:
        shutil.rmtree(own / split)
    done = invoke(freebind, "ablate", table, "--data", own, *QUICK)
    assert (done.status, says in done.err) == (2, True), done
    assert not Path("runs").exists()


@pytest.mark.slow
def test_tables_share_what_was_trained_before_a_process_was_killed(python, make, data, tmp_path):
    words = ["freebind", "ablate", "table5", "--data", str(data), *map(str, QUICK)]
    code = f"import sys; sys.argv = {words}; from fb_jax.cli.main import main; main()"
    at = At("os.replace", on=r"imagebind-displacement-internvl/run\.json$")
    killed = python(code, cwd=tmp_path, at=[at])
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert Path("runs/imagebind_internvl/space").is_dir()
    told = "".join(map(make, ("table5", "table7", "table8", "table9")))
    assert len(re.findall(r"^training: .* done in .* of them before$", told, re.MULTILINE)) == 6
    assert len(re.findall(r"^training: .* done in [0-9.]+ s$", told, re.MULTILINE)) == 1 + 2 + 4
    assert lines("table9")[-1].startswith('"FreeBind, displacement",')
    make("table5", "--out", "whole")
    assert lines() == Path("whole/ablations/table5/table.csv").read_text().splitlines()
