"""freebind eval --tasks: tables of a run on every split, written, compared and refused."""

import shutil
from pathlib import Path

import pytest
from labelled import write_labelled

from fb_jax import files
from fb_jax.banks import Split
from fb_jax.cli.main import main as freebind

DIMS = {
    "imagebind": {"text": 64, "image": 64, "audio": 64},
    "clap_general": {"text": 48, "audio": 48},
}
QUICK = ["--resamples", 20]


@pytest.fixture(scope="module")
def data(root, tmp_path_factory):
    """The banks of the run, with a split of labels; on audiocaps, the expert's rows are missing."""
    home = tmp_path_factory.mktemp("data")
    for name in ("pool", "val", "test"):
        shutil.copytree(root / name, home / name)
    shutil.copytree(root / "val", home / "audiocaps")
    shutil.rmtree(home / "audiocaps/embeddings/clap_general")
    write_labelled(Split(home / "esc50"), DIMS)
    return home


@pytest.fixture
def table(invoke, run_folder, data):
    """Print a table of some tasks; return what was printed."""

    def table(*args):
        done = invoke(freebind, "eval", "--run", run_folder, "--data", data, *QUICK, *args)
        assert done.status == 0, done.err  # a note says what audiocaps lacks
        return done.out

    return table


def test_all_tasks_stand_in_one_table_with_the_papers_first(invoke, run_folder, data, tmp_path):
    args = ["--run", run_folder, "--data", data, *QUICK, "--tasks", "all", "--out", "mine"]
    done = invoke(freebind, "eval", *args)
    assert (done.status, "of them before" in done.out) == (0, False)
    assert "audiocaps: no rows of clap_general: cells that need them are blank\n" in done.err
    found = files.read_json(tmp_path / "mine/table.json")
    pairs = ("audio-image", "audio-text", "image-text")
    others = [f"{split} {pair}" for split in ("val", "audiocaps", "test") for pair in pairs]
    others.remove("audiocaps audio-text")
    assert [task["name"] for task in found["tasks"]] == ["audiocaps", "esc50", *others]
    assert list(found["figures"]) == [
        *("imagebind", "clap_general", "chosen", "versatile", "at_expertise"),
        *("mean_of_scores", "best single source"),
    ]
    assert set(found["figures"]["versatile"]) >= {"esc50", "test audio-text"}
    assert "audiocaps" not in found["figures"]["versatile"]
    assert found["paper"]["clap_general"]["esc50"] == {"top-1": 90.95}
    assert "esc50: 24 audio, 4 class (paper: 2000)\n" in done.out
    assert "(67.25)" in done.out


def test_figures_are_those_of_the_run(table, run_folder, tmp_path):
    table("--tasks", "test", "--out", "mine")
    found = files.read_json(tmp_path / "mine/table.json")["figures"]
    recorded = files.read_json(run_folder / "metrics.json")["retrieval"]["test"]
    for row in ("versatile", "at_expertise", "clap_general"):
        for task, cells in found[row].items():
            for metric, cell in cells.items():
                wanted = recorded[row][task.removeprefix("test ")][metric]
                assert cell["value"] == pytest.approx(wanted, abs=1e-5)


def test_what_a_table_was_computed_from_is_recorded(table, tmp_path, data):
    table("--tasks", "esc50", "--out", "mine")
    about = files.read_json(tmp_path / "mine/table.json")["about"]
    assert list(about["splits"]) == ["esc50"]
    split = about["splits"]["esc50"]
    assert split["items"]["audio"] == Split(data / "esc50").items("audio").digest
    assert set(split["pairs"]) == {"audio-class", "class-text"}
    assert split["data set"]["templates"] == ["a {}", "some {}"]
    assert split["encoders"]["clap_general"]["name"] == "clap_general"
    assert about["models"]["versatile"]["factors"] == {"audio": 0.5, "text": 0.1}
    assert about["bootstrap"] == {"resamples": 20, "seed": 0}
    assert about["protocol"]["version"] == 1


def test_tables_of_the_same_data_are_compared_and_others_refused(
    invoke, table, run_folder, data, tmp_path
):
    table("--tasks", "esc50", "--out", "mine")
    told = table("--tasks", "esc50", "--against", "mine/table.json")
    assert "\nversatile: audio 0.5, text 0.1\n" in told
    assert "\nversatile, esc50 top-1: " in told
    assert told.count(": +0.0 [+0.0, +0.0]\n") == 6
    other = shutil.copytree(data, tmp_path / "other")
    shutil.rmtree(other / "esc50")
    write_labelled(Split(other / "esc50"), DIMS, templates=("the sound of {}",))
    args = ["--data", other, "--tasks", "esc50", "--against", "mine/table.json", *QUICK]
    done = invoke(freebind, "eval", "--run", run_folder, *args)
    assert done.status == 2
    assert "cannot be compared: the templates of esc50 differ\n" in done.err


def test_another_metric_and_another_point_are_added(table, tmp_path):
    args = ["--metrics", "mAP@10", "MRR", "--sigma-audio", 0.3, "--sigma-text", 0.2]
    table("--tasks", "test audio-text", "esc50", *args, "--out", "mine")
    found = files.read_json(tmp_path / "mine/table.json")["figures"]["audio 0.3, text 0.2"]
    assert set(found["test audio-text"]) >= {"mAP@10", "MRR", "MRR audio->text"}
    assert list(found["esc50"]) == ["top-1"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--tasks", "tset"], "no task 'tset'\n|did you mean 'test'"),
        (["--tasks", "all", "--split", "test"], "--tasks names splits itself\n|--split test"),
        (["--tasks", "all", "--json", "x"], "--json is for a table without --tasks|--out FOLDER"),
        (["--json", "."], "a file cannot be written\n|got:      a folder"),
        (["--tasks", "all", "--out", __file__], "this is a file, not a folder"),
        (["--tasks", "all", "--data", "."], "there is nothing to evaluate|no such split"),
        (["--out", "mine"], "--out is for a table of tasks\n|add --tasks all"),
        (["--against", "mine.json"], "--against is for a table of tasks\n"),
        (["--tasks", "all", "--against", "mine.json"], "mine.json|name the table.json"),
        (["--tasks", "all", "--against", "table.csv"], "no table.json|table.csv|name the table"),
        (["--tasks", "coco"], "these data have no split coco\n|freebind data coco --root"),
        (["--tasks", "test", "--memory-gb", 0.01], "needs more memory|10.0 MB|raise --memory-gb"),
        (["--memory-gb", 0.01], "needs more memory|10.0 MB|raise --memory-gb"),
        (["--memory-gb", "nan"], "evaluation memory_gb is out of range"),
        (["--tasks", "test", "--resamples", -1], "bootstrap resamples is out of range"),
        (["--tasks", "test", "--seed", -1], "bootstrap seed is out of range"),
        (["--product", "imagebind_pp"], "name one thing to work on"),
    ],
)
def test_what_cannot_be_done_is_told(invoke, run_folder, args, says):
    done = invoke(freebind, "eval", "--run", run_folder, *args)
    assert done.status == 2
    assert [part for part in says.split("|") if part not in done.err] == []


def test_a_product_is_found_by_its_name(invoke, run_folder, data, tmp_path):
    done = invoke(freebind, "eval", "--product", "mine", "--tasks", "all")
    assert (done.status, "freebind train --product mine" in done.err) == (2, True)
    for home, error in {"runs/word_world": "", "runs": "several products have this name"}.items():
        folder = tmp_path / home / "mine"
        invoke(freebind, "export-space", "--run", run_folder, "--out", folder / "space")
        files.write_json(folder / "product.json", {})
        args = ["--product", "mine", "--data", data, "--tasks", "esc50", *QUICK]
        done = invoke(freebind, "eval", *args)
        assert (done.status, error in done.err) == (2 if error else 0, True)


def test_the_json_of_a_plain_table_says_what_it_was_computed_from(must, run_folder):
    must(freebind, "eval", "--run", run_folder, "--split", "val", "--json", "out.json")
    about = files.read_json(Path("out.json"))["about"]
    assert list(about["splits"]) == ["val"]
    assert set(about["models"]) >= {"unified", "versatile", "mean_of_scores"}
