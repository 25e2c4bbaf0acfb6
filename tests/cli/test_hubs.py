"""From banks to a search with hub correction, as a user would do it, on the word world."""

import shutil

import pytest

from fb_jax import files
from fb_jax.banks import Bank, open_split
from fb_jax.fusion import FusedSpace
from fb_jax.fusion.hub_files import PATTERN
from fb_jax.run import Run
from fb_jax.run.default import word_world

pytestmark = pytest.mark.slow
QUICK = ("--training.epochs", 1, "--training.hidden", 32, "--training.batch", 256)
PRODUCT = """
unified: imagebind
bond: direct_sum
experts: [clap_music, clap_general]
dim: unified
hubs: chosen
router: [audio]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the banks of the word world."""
    home = tmp_path_factory.mktemp("hubs")
    shutil.copytree(word_world(), home / "banks")
    (home / "mine.yaml").write_text(PRODUCT)
    return home


def run(python, home, program, *args):
    done = python(program, *args, cwd=home)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_run_chooses_its_correction_and_everything_after_it_has_it(python, home):
    train = ("train.py", "--data", "banks", "--expert", "clap_general", *QUICK, "--out", "run")
    assert "with --hubs chosen" not in run(python, home, *train, "--hubs", "chosen")
    found = files.read_json(home / "run/metrics.json")
    val, test = (found["retrieval"][split] for split in ("val", "test"))
    assert found["hubs"]["pairs"]["audio-text"]["k"] >= 4
    for name in ("chosen", "mean_of_scores", "clap_general"):
        after, before = (val[n]["audio-text"]["R@1"] for n in (f"{name}, hub-corrected", name))
        assert after > before, name
    assert "unified, hub-corrected" in test

    space = Run(home / "run").space
    assert space.hubs is not None
    first = next((home / "run").glob(PATTERN)).read_bytes()
    run(python, home, *train, "--hubs", "chosen")  # chooses again, the same
    assert next((home / "run").glob(PATTERN)).read_bytes() == first

    printed = run(python, home, "eval.py", "--run", "run", "--split", "test", "--json", "f.json")
    assert "hub-corrected" in printed
    again = files.read_json(home / "f.json")["retrieval"]["test"]
    assert again == test  # also sources and the mean of scores, corrected
    run(python, home, "eval.py", "--run", "run", "--tasks", "test", "--out", "t", "--resamples", 0)
    models = files.read_json(home / "t/table.json")["about"]["models"]
    assert models["imagebind, hub-corrected"]["hubs"]["pairs"]

    run(python, home, *train, "--hubs", "off")
    assert Run(home / "run").space == space.plain
    assert not list((home / "run").glob(PATTERN))


def test_a_product_in_the_dimensions_of_the_unified_space(python, home):
    args = ("--product", "mine.yaml", "--data", "banks", "--out", "made", *QUICK)
    run(python, home, "train.py", *args)
    space = FusedSpace.load(home / "made/mine/space")
    columns = len(space.hubs.columns)
    assert space.dim == 191
    assert space.role_dim == 192 + columns
    assert list(space.last.routers) == ["audio"]
    call = "from fb_jax.cli.main import main; main()"
    fuse = ("fuse", "--run", "made/mine", "--split", "test", "--out", "fused")
    run(python, home, f"import sys; sys.argv[1:] = {list(fuse)!r}; {call}")
    bank = Bank.open(open_split(home / "fused", "test").bank_path("mine", "audio"))
    assert bank.shape == (1000, space.role_dim)
