"""Products, by the commands that a user types: every route, resumed, and the tuned one."""

import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from disturb import At
from made import write_all_spaces

from fb_jax import files
from fb_jax.banks import Split, open_banks, splits
from fb_jax.cli.main import main as freebind
from fb_jax.fusion import FusedSpace, parts_of
from fb_jax.importing import import_bank
from fb_jax.run import Run

POOL = {"text": 83, "image": 82, "audio": 81}
QUICK = ["--training.batch", 20, "--training.epochs", 2, "--training.hidden", 32]
NATIVES = ("imagebind", "internvl", "clap_music", "clap_general")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """imagebind (64), internvl (56), two CLAPs (48). Read only."""
    root = tmp_path_factory.mktemp("banks")
    write_all_spaces(root, POOL, {"val": 50, "test": 60})
    return root


@pytest.fixture(scope="module")
def made(python, data, tmp_path_factory):
    """A folder with runs/, where internvl_ib_pp was made, and told.txt. Read only."""
    cwd = tmp_path_factory.mktemp("made")
    done = python("train.py", "--product", "internvl_ib_pp", "--data", data, *QUICK, cwd=cwd)
    assert done.returncode == 0, done.stderr
    (cwd / "told.txt").write_text(done.stdout)
    return cwd


@pytest.fixture
def begun(made, tmp_path):
    """The runs of internvl_ib_pp, to go on with."""
    return shutil.copytree(made / "runs", tmp_path / "runs", symlinks=True)


@pytest.fixture
def make(must, data, tmp_path):
    """Make a product; return what was printed. Runs and products go to runs/."""

    def make(name, *options):
        return must(freebind, "train", "--product", name, "--data", data, *QUICK, *options)

    return make


def figures(folder):
    return files.read_json(Path(folder) / "metrics.json")["retrieval"]["test"]


def test_a_product_of_two_stages_ends_in_one_folder_and_its_table(made):
    told = (made / "told.txt").read_text()
    assert "displacement of internvl and imagebind, in runs/imagebind-displacement-inter" in told
    assert "combination of clap_music and internvl_ib, in runs/internvl_ib-combination-" in told
    assert "test: internvl_ib_pp" in told
    assert "deploy it:  freebind convert runs/internvl_ib_pp/space --to onnx" in told
    folder = made / "runs/internvl_ib_pp"
    found = {path.name for path in folder.iterdir()}
    assert found == {
        "product.json",
        "provenance.json",
        "metrics.json",
        "sweep.png",
        "queries.png",
        "space",
        ".lock",
    }
    assert list(figures(folder)) == [
        *("unified", "internvl", "clap_music", "clap_general", "internvl_ib"),
        *("chosen", "versatile", "at_expertise", "mean_of_scores"),
    ]
    space = FusedSpace.load(folder / "space")
    assert (space.name, space.spaces, space.dim) == ("internvl_ib_pp", NATIVES, 56)
    assert space.factors == space.presets["chosen"]
    assert space.base.factors == {"image": 0.9, "text": 0.9}  # of its recipe
    assert space.licences == dict.fromkeys(NATIVES, "Apache-2.0")


@pytest.mark.parametrize("split", ["pool", "val", "test"])
def test_a_second_stage_trains_on_the_rows_of_the_first_at_its_factors(made, data, split):
    first = FusedSpace.load(made / "runs/internvl_ib/space").at("it_expertise")  # its recipe's
    fused = open_banks(made / "runs/internvl_ib/banks", split, spaces=["internvl_ib", *NATIVES])
    native = open_banks(data, split, spaces=first.spaces)
    for modality, parts in parts_of(first, native).items():
        rows = fused["internvl_ib", modality][:]
        np.testing.assert_allclose(rows, first.mix(modality, parts), atol=1e-3)


def test_what_is_done_is_not_done_again(begun, make, contents):
    before = contents(begun)
    assert re.search(r"training: 24 done in .*, 24 of them before", make("internvl_ib_pp"))
    after = contents(begun)
    changed = {name for name in before if before[name] != after[name]}
    assert after.keys() == before.keys()
    assert {Path(name).name for name in changed} == {"provenance.json"}  # data/ was moved


def test_a_product_is_fused_and_loaded_like_any_space(begun, must, data):
    space = begun / "internvl_ib_pp/space"
    must(freebind, "fuse", "--space", space, "--data", data, "--split", "val", "--out", "out")
    assert open_banks("out", "val", spaces="internvl_ib_pp").dim("internvl_ib_pp") == 56


def test_a_product_that_was_killed_goes_on_to_the_same_bytes(
    python, make, contents, data, tmp_path
):
    make("imagebind_pp", "--out", "whole")
    words = ["--product", "imagebind_pp", "--data", data, *QUICK, "--out", "killed"]
    at = At("os.replace", on=r"imagebind-combination-clap_music/bond/checkpoints/4\.json$")
    often = ["--runtime.checkpoint-steps", 2]
    killed = python("train.py", *words, *often, cwd=tmp_path, at=[at])
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not Path("killed/imagebind_pp/space").exists()
    make("imagebind_pp", "--out", "killed", "--runtime.checkpoint-steps", 2)
    ours, theirs = (contents(Path(home) / "imagebind_pp/space") for home in ("killed", "whole"))
    assert ours["weights.safetensors"] == theirs["weights.safetensors"]
    assert figures("killed/imagebind_pp") == figures("whole/imagebind_pp")


@pytest.mark.parametrize(
    ("product", "dim", "row"),
    [
        ("only_parallel", 64, "only_parallel"),
        ("only_sequential", 48, "chosen"),
    ],
)
@pytest.mark.usefixtures("begun")
def test_every_route_is_a_file(make, product, dim, row):
    make(product)
    assert FusedSpace.load(Path("runs") / product / "space").dim == dim
    assert figures(Path("runs") / product)[row]["audio-text"]["R@1"] > 0


# The tuned audio encoder


def export_tuned(data, space):
    """Put rows that stand for a tuned encoder's into every split: the product's, turned a bit."""
    for split in splits(data):
        banks = open_banks(data, split, spaces=["imagebind", "internvl"])
        audio = space.fuse("audio", {"imagebind": banks["imagebind", "audio"][:]})
        np.save("tuned.npy", audio + 0.1 * np.roll(audio, 1, axis=1))
        import_bank(Split(data / split), "imagebind_tuned", "audio", Path("tuned.npy"))


def test_a_tuned_product_stops_with_the_commands_that_tune_and_then_goes_on(invoke, data, tmp_path):
    own = shutil.copytree(data, tmp_path / "own")
    command = ["--product", "internvl_ib_tuned_pp", "--data", own, *QUICK]
    done = invoke(freebind, "train", *command)
    assert done.status == 2
    assert "the encoder of imagebind_tuned is not tuned yet" in done.err
    for line in (
        "freebind fuse --space runs/internvl_ib/space --data PAIRS --split tune --plain",
        "python -m encoders_torch.tune --space runs/internvl_ib/space --weights imagebind_huge.pth",
        "python -m encoders_torch.export --space imagebind_tuned --weights tuned --audio AUDIO",
    ):
        assert line in done.err
    space = FusedSpace.load("runs/internvl_ib/space")
    export_tuned(own, space)
    done = invoke(freebind, "train", *command)
    assert (done.status, done.err) == (0, "")
    plain, tuned = figures("runs/internvl_ib"), figures("runs/internvl_ib_tuned")
    point = "it_expertise"
    assert tuned[point]["image-text"] == plain[point]["image-text"]
    assert tuned[point]["audio-image"] != plain[point]["audio-image"]
    last = FusedSpace.load("runs/internvl_ib_tuned_pp/space")
    assert last.spaces_of("audio") == ("imagebind_tuned", "clap_music", "clap_general")
    assert last.base.factors == {"image": 0.9, "text": 0.9}  # as InternVL_IB's, not chosen ones
    assert Run(Path("runs/internvl_ib_tuned-combination-clap_music")).bond.dim("unified") == 56


def test_figures_are_those_of_the_splits_that_there_are(invoke, data, tmp_path):
    own = shutil.copytree(data, tmp_path / "own")
    shutil.move(own / "test", tmp_path / "later")
    command = ["--product", "internvl_ib", "--data", own, *QUICK]
    assert invoke(freebind, "train", *command).status == 0
    shutil.move(tmp_path / "later", own / "test")
    assert invoke(freebind, "train", *command).status == 0
    for folder in ("internvl_ib", "imagebind-displacement-internvl"):
        found = files.read_json(Path("runs") / folder / "metrics.json")
        assert set(found["retrieval"]) == {"val", "test"}


def test_a_stage_reads_the_data_that_are_named_now(begun, make, must, data, tmp_path):
    moved = shutil.copytree(data, tmp_path / "moved")
    must(freebind, "train", "--product", "internvl_ib_pp", "--data", moved, *QUICK)
    link = begun / "internvl_ib/banks/pool/embeddings/imagebind"
    assert link.resolve() == (moved / "pool/embeddings/imagebind").resolve()


# What is refused


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--product", "nothing"], "there is no product 'nothing'"),
        (
            ["--product", "imagebind_pp", "--expert", "internvl"],
            "a product sets these",
        ),
    ],
)
def test_what_cannot_be_made_is_refused_before_any_work(invoke, data, options, says):
    done = invoke(freebind, "train", "--data", data, *QUICK, *options)
    assert (done.status, says in done.err) == (2, True), done.err
    assert not Path("runs").exists()


MINE = "{unified: imagebind, bond: %s, experts: [clap_general], factors: %s%s}"


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("bond", "factors", "more", "says"),
    [
        ("combination", "versatil", "", "there is no preset 'versatil'"),
        ("combination", "{audio: 0.3}", "", "a factor is missing"),
        ("combination", "{audio: 0.3, text: 1.5}", "", "the factor of text is out of range"),
        ("combination", "{audio: 0.3, text: high}", "", "option of a product has the wrong type"),
        ("combination", "{audio: 0.3, image: 0.2}", "", "for 'image'"),
        ("combination", "versatile", ", dim: 40", "only a direct sum can be cut"),
        ("direct_sum", "equal", ", dim: -5", "1 to 112 dimensions"),
        ("direct_sum", "equal", ", dim: 113", "1 to 112 dimensions"),
        ("direct_sum", "equal", ", fill: 7.0", "a number, 1e-06 to 1"),
        ("combination", "versatile", ", fill: 0.1", "only a direct sum is filled in"),
    ],
)
def test_what_a_file_says_is_checked_before_any_work(invoke, data, bond, factors, more, says, dry):
    Path("mine.yaml").write_text(MINE % (bond, factors, more))
    done = invoke(freebind, "train", "--product", "mine.yaml", "--data", data, *QUICK, *dry)
    assert (done.status, says in done.err) == (2, True), done
    assert not Path("runs").exists()


def test_a_unified_space_that_is_neither_product_nor_space_is_told(invoke, data):
    text = MINE.replace("imagebind", "internvl_ibb") % ("combination", "versatile", "")
    Path("mine.yaml").write_text(text)
    done = invoke(freebind, "train", "--product", "mine.yaml", "--data", data, *QUICK)
    assert (done.status, "did you mean 'internvl_ib'?" in done.err) == (2, True), done.err


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_missing_native_space_of_a_late_stage_is_noticed_at_once(invoke, data, tmp_path, dry):
    own = shutil.copytree(data, tmp_path / "own")
    shutil.rmtree(own / "pool/embeddings/clap_general")
    done = invoke(freebind, "train", "--product", "internvl_ib_pp", "--data", own, *QUICK, *dry)
    assert (done.status, "this split has no rows of clap_general" in done.err) == (2, True)
    assert not Path("runs").exists()


@pytest.mark.usefixtures("begun")
def test_a_folder_of_another_product_is_refused(invoke, data):
    Path("internvl_ib.yaml").write_text(
        "{unified: imagebind, bond: displacement, experts: [internvl], factors: {text: 0.5, "
        "image: 0.5}}"
    )
    done = invoke(freebind, "train", "--product", "internvl_ib.yaml", "--data", data, *QUICK)
    assert (done.status, "another product of this name" in done.err) == (2, True), done.err


def test_a_dry_run_tells_every_bond_and_writes_nothing(must, data):
    told = must(
        freebind, "train", "--product", "internvl_ib_pp", "--data", data, *QUICK, "--dry-run"
    )
    assert "displacement of internvl and imagebind, in runs/" in told
    assert "combination of clap_general and internvl_ib: when there are rows of" in told
    assert not Path("runs").exists()
