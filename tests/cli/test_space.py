import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from fb_jax import files
from fb_jax.banks import open_banks
from fb_jax.cli.main import main
from fb_jax.evaluation import evaluate
from fb_jax.fusion import FusedSpace, digest, parts_of
from fb_jax.fusion.storage import read_metrics
from fb_jax.run import Run

NATIVE = ("imagebind", "clap_general")


@pytest.fixture
def export(invoke):
    return partial(invoke, main, "export-space")


def test_the_space_of_a_run_is_exported_with_what_is_known_of_it(export, run_folder):
    done = export("--run", run_folder, "--out", "kept", "--name", "mine")
    assert (done.status, done.err) == (0, "")
    run = Run(run_folder)
    assert "kept: mine: 64 dimensions, weights of the experts: audio " in done.out
    assert " (preset chosen), from imagebind" in done.out
    assert "FusedSpace.load('kept')" in done.out
    loaded = FusedSpace.load("kept")
    assert digest(loaded) == digest(FusedSpace.of(run.bond).choosing(run.chosen.factors))
    assert loaded.presets["chosen"] == run.chosen.factors
    assert loaded.licences == dict.fromkeys(NATIVE, "Apache-2.0")
    metrics = files.read_json(run_folder / "metrics.json")["retrieval"]
    assert files.read_json(Path("kept/space.json"))["metrics"] == metrics


@pytest.mark.parametrize(
    ("args", "factors"),
    [
        (["--preset", "at_expertise"], {"audio": 0.8, "text": 0.5}),
        (["--sigma-audio", 0.3, "--preset", "versatile"], {"audio": 0.3, "text": 0.1}),
    ],
)
def test_a_space_is_exported_at_the_factors_asked_for(export, run_folder, args, factors):
    assert export("--run", run_folder, "--out", "kept", *args).status == 0
    assert FusedSpace.load("kept").factors == factors


def test_licences_can_be_told(export, run_folder):
    licence = ["--licence", "imagebind", "CC-BY-NC-SA-4.0"]
    export("--run", run_folder, "--out", "kept", *licence)
    assert FusedSpace.load("kept").licences == {
        "imagebind": "CC-BY-NC-SA-4.0",
        "clap_general": "Apache-2.0",
    }


def test_runs_that_do_not_go_into_one_space_are_refused(export, run_folder):
    done = export("--run", run_folder, run_folder, "--out", "kept")
    assert (done.status, "a space is fused with itself" in done.err) == (2, True)


def test_an_artefact_is_fused_as_its_run_is(invoke, export, run_folder, root):
    export("--run", run_folder, "--out", "kept", "--preset", "at_expertise", "--name", "mine")
    where = ["--split", "test", "--dtype", "float32", "--out"]
    assert invoke(main, "fuse", "--space", "kept", "--data", root, *where, "a").status == 0
    own = ["--preset", "at_expertise", "--name", "mine"]
    assert invoke(main, "fuse", "--run", run_folder, *own, *where, "b").status == 0
    a, b = (open_banks(made, "test", spaces=["mine"]) for made in ("a", "b"))
    assert a.fingerprints() == b.fingerprints()


@pytest.mark.parametrize("args", [[], ["--run", "r", "--space", "s"]])
def test_fusing_needs_a_run_or_an_artefact_and_banks(invoke, args):
    done = invoke(main, "fuse", "--split", "test", *args)
    assert done.status == 2
    assert "--run FOLDER (a run, a product, or a fused space with --data BANKS)" in done.err


def test_results_beside_a_folder_named_space_are_only_a_products(invoke, export, run_folder, root):
    export("--run", run_folder, "--out", "work/space")
    Path("work/metrics.json").write_text('{"another": "program"}')
    done = invoke(main, "eval", "--space", "work/space", "--data", root, "--split", "val")
    assert (done.status, done.err) == (0, "")


SECOND = """
out: second
store: pairs
unified: imagebind_pp
expert: internvl
training: {batch: 10, epochs: 1, hidden: 32}
"""


def test_a_second_stage_goes_onto_the_artefact_of_the_first(
    invoke, export, python, run_folder, root, tmp_path
):
    home = shutil.copytree(root, tmp_path / "home")
    export("--run", run_folder, "--out", "first", "--name", "imagebind_pp", "--sigma-audio", 0.45)
    for split in ("pool", "test"):
        where = ["--split", split, "--data", home, "--dtype", "float32"]
        assert invoke(main, "fuse", "--space", "first", *where).status == 0
    (tmp_path / "second.yaml").write_text(SECOND)
    done = python("train.py", "--config", "second.yaml", "--data", home, cwd=tmp_path)
    assert done.returncode == 0, done.stderr

    export("--run", run_folder, "--out", "other", "--name", "imagebind_pp")
    done = export("--run", "second", "--base", "other", "--out", "kept")
    assert done.status == 2
    assert "the run was trained on rows of another base" in done.err
    assert "the same at other factors" in done.err

    product = FusedSpace.of(Run(run_folder).bond, at=FusedSpace.load("first").factors)
    product.named("imagebind_pp").choosing({"audio": 0.7, "text": 0.2}).save("product")
    done = export("--run", "second", "--base", "product", "--out", "of product")
    assert "base: imagebind_pp: 64 dimensions, " in done.out
    assert "(preset imagebind_pp): the runs were trained on these rows" in done.out
    assert export("--run", "second", "--base", "first", "--out", "kept").status == 0
    assert digest(FusedSpace.load("of product")) == digest(FusedSpace.load("kept"))
    space, run = FusedSpace.load("kept"), Run(tmp_path / "second")
    assert space.factors == run.space.factors
    assert space.spaces == (*NATIVE, "internvl")
    assert space.licences == dict.fromkeys(space.spaces, "Apache-2.0")
    native = open_banks(home, "test", spaces=space.spaces)
    of_run = parts_of(FusedSpace.of(run.bond), run.open_banks("test"))
    for modality, parts in parts_of(space, native).items():
        np.testing.assert_allclose(parts.unified, of_run[modality].unified, atol=1e-6)
    assert evaluate(space, native)["unified"] == evaluate(space.base, native)["unified"]


@pytest.fixture
def product(make_bond, root, tmp_path):
    """The folder of a product that nobody trained."""
    space = FusedSpace.of(make_bond("direct_sum"), name="one")
    folder = tmp_path / "made/one"
    space.save(folder / "space", metrics={"val": {"chosen": {"audio-text": {"R@1": 1.5}}}})
    files.write_json(folder / "product.json", {"product": {}})
    files.write_json(folder / "provenance.json", {"data": str(root)})
    return FusedSpace.load(folder / "space")


def test_a_product_is_exported_as_a_run_is(export, product, contents):
    told = "made/one", "--licence", "imagebind", "MIT", "clap_general", "CC-BY-NC-4.0", "--out"
    refused = export("--run", *told, "kept", "--require-licence", "permissive")
    assert (refused.status, "clap_general: CC-BY-NC-4.0" in refused.err) == (2, True)
    assert not Path("kept").exists()

    done = export("--run", *told, "kept")
    assert (done.status, "kept: one: 112 dimensions" in done.out) == (0, True), done.err
    found = FusedSpace.load("kept")
    assert found.licences == {"imagebind": "MIT", "clap_general": "CC-BY-NC-4.0"}
    assert (found.name, digest(found)) == ("one", digest(product))
    assert read_metrics("kept") == read_metrics("made/one/space")
    own = ["--dim", 40, "--sigma-audio", 0.7, "--name", "mine"]
    assert export("--run", *told, "cut", *own).status == 0
    assert "1.5" not in Path("cut/README.md").read_text()  # figures of the whole one
    found = FusedSpace.load("cut")
    assert (found.name, found.dim, found.factors["audio"]) == ("mine", 40, 0.7)

    before = contents(Path("made"))
    done = export("--run", "made/one", *DISTIL[:-1], "small")
    assert (done.status, "before distilling" in done.out) == (0, True), done.err
    assert FusedSpace.load("small").last.bonds[0].spec.distilled == digest(product)
    assert contents(Path("made")) == before


@pytest.mark.usefixtures("product")
@pytest.mark.parametrize(
    ("args", "says"),
    [
        (
            ["made/one", "--base", "made/one/space"],
            "a product brings its own base\n|leave out --base",
        ),
        (["made/one", "made/one"], "not a run folder\n|its fused space is made/one/space"),
        (["made/one", "--out", "file"], "this is a file, not a folder\n|with --out"),
    ],
)
def test_what_cannot_be_exported_of_a_product_is_refused(export, args, says):
    Path("file").touch()
    done = export("--out", "kept", "--run", *args)
    assert done.status == 2
    assert all(part in done.err for part in says.split("|")), done.err


DISTIL = ("--distil", "--distil-steps", 20, "--out", "kept")


def test_a_distilled_space_is_exported_with_what_it_loses(invoke, export, run_folder, contents):
    done = export("--run", run_folder, "--name", "mine", *DISTIL)
    assert (done.status, done.err) == (0, "")
    assert "distilling clap_general: 20 done" in done.out  # 240 rows, fewer than a batch
    assert "before distilling" in done.out
    run, space = Run(run_folder), FusedSpace.load("kept")
    (bond,) = space.last.bonds
    assert (len(bond.members), bond.spec.distilled) == (1, digest(run.space))
    assert (space.factors, space.presets) == (run.space.factors, run.space.presets)
    figures = read_metrics("kept")
    assert set(figures) == {"val", "test"}
    banks = open_banks(run.data, "val", spaces=NATIVE)
    for name, own in (("before distilling", run.space), ("mine", space)):
        wanted = evaluate(own, banks, {"own": own.factors}, ("R@1", "R@5"))["own"]
        assert figures["val"][name] == wanted
    card = Path("kept/README.md").read_text()
    assert f"distilled from the mixture in {digest(run.space)}" in card
    assert "| before distilling | " in card
    first = contents(Path("kept"))
    assert export("--run", run_folder, "--name", "mine", *DISTIL).status == 0
    assert contents(Path("kept")) == first
    assert [path.name for path in Path().glob("kept*")] == ["kept"]  # no checkpoints are left


def test_a_folder_that_is_taken_is_refused_before_distilling(export, run_folder):
    Path("kept").mkdir()
    Path("kept/mine.txt").write_text("mine")
    done = export("--run", run_folder, *DISTIL)
    assert (done.status, "this folder holds something else\n" in done.err) == (2, True)
    assert "distilling" not in done.out
    Path("kept/mine.txt").unlink()
    assert export("--run", run_folder, "--out", "kept").status == 0  # the mixture
    done = export("--run", run_folder, *DISTIL)
    assert (done.status, "the same space, distilled" in done.err) == (2, True)


def test_steps_of_distilling_need_it(export, run_folder):
    done = export("--run", run_folder, *DISTIL[1:])
    assert (done.status, "--distil-steps is of no use without --distil" in done.err) == (2, True)
