"""The hub correction of a run and of a product: what it is fitted on, kept in and refused for."""

import shutil
from dataclasses import replace
from functools import partial
from importlib import import_module

import numpy as np
import pytest
from made import with_hubs

from fb_jax import files
from fb_jax.banks import open_banks
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import evaluate
from fb_jax.evaluation.hubs import fit_hubs
from fb_jax.fusion import FusedSpace, sources, with_basis
from fb_jax.fusion.hub_files import PATTERN
from fb_jax.projector import Router
from fb_jax.run import Run, Silent, make_product, read_product
from fb_jax.run.choosing import Choosing, as_chosen, part_off
from fb_jax.run.hubs import corrected_sources
from fb_jax.run.metrics import read_correction, read_validation, write_metrics
from fb_jax.run.report import report_space
from fb_jax.run.routing import router_spec, with_routers

SPACES = ("imagebind", "clap_general")
CHOSEN = Choosing(hubs="chosen")
PLAIN = replace(CHOSEN, aim="none")


@pytest.fixture(scope="module")
def banks(root):
    return {name: open_banks(root, name, spaces=SPACES) for name in ("pool", "val", "test")}


@pytest.fixture
def space(make_bond):
    """A direct sum, cut, whose router favours the expert."""
    basis = np.linalg.qr(np.random.default_rng(3).normal(size=(112, 12)))[0].astype(np.float32)
    space = with_basis(FusedSpace.of(make_bond("direct_sum"), name="mine"), basis)
    spec = router_spec(space, "audio", "small")
    return with_routers(space, {"audio": Router.constant(spec, np.array([0.2, 1.8], np.float32))})


def report(space, banks, folder, how=CHOSEN, splits=("val", "test")):
    evaluation = {name: banks[name] for name in splits}
    return report_space(space, evaluation, folder, Silent(), ["R@1"], how, lambda: banks["pool"])


def test_references_are_pool_rows_of_the_very_space_at_the_chosen_factors(space, banks, tmp_path):
    made = report(space, banks, tmp_path)
    found = made.space.hubs
    assert made.space.factors == made.chosen.factors != space.factors
    assert made.space.last.routers
    for modality, references in found.references.items():
        native = sources(space, banks["pool"], modality)
        np.testing.assert_allclose(references, made.space.fuse(modality, native), atol=1e-6)
    assert found == fit_hubs({"x": made.space.plain}, banks["pool"], banks["val"])["x"]
    assert "chosen, hub-corrected" in made.results["test"]
    assert "imagebind, hub-corrected" not in made.results["test"]  # its name here is:
    assert "unified, hub-corrected" in made.results["test"]
    assert read_correction(tmp_path / "metrics.json", made.space) == found


@pytest.fixture
def fitted(monkeypatch):
    """The validation rows of every fit, which gives each fused space a correction."""
    fitted = []

    def fit(rows, _, val):
        fitted.append(val.rows)
        return {n: with_hubs(row).hubs for n, row in rows.items() if isinstance(row, FusedSpace)}

    monkeypatch.setattr(import_module("fb_jax.run.hubs"), "fit_hubs", fit)
    return fitted


def test_a_correction_is_chosen_on_the_part_of_a_split_that_is_for_choosing(
    space, banks, tmp_path, fitted
):
    report(space, banks, tmp_path, replace(PLAIN, fraction=0.4), ["test"])
    part = next(iter(part_off(banks, "test", 0.4).values()))
    assert [list(rows["audio"]) for rows in fitted] == [list(part.rows["audio"])]


@pytest.mark.parametrize(
    ("how", "splits"),
    [(CHOSEN, ("val", "test")), (replace(PLAIN, fraction=0.5), ("test",))],
)
def test_a_finished_space_is_compared_with_the_same_corrected_sources(
    space, banks, root, tmp_path, how, splits
):
    made = report(space, banks, tmp_path, how, splits)
    assert made.space.hubs
    known = read_validation(tmp_path / "metrics.json", made.space, stored=True)
    beside = corrected_sources(made.space, root, "pool", known, banks.__getitem__)
    assert "unified, hub-corrected" in beside
    sets = as_chosen({name: banks[name] for name in splits}, known)
    points = made.space.presets
    again = {n: evaluate(made.space, sets[n], points, ["R@1"], beside=beside) for n in sets}
    assert again == made.results
    told = " ".join(list(made.results.values())[-1].verdicts())
    assert "unified, hub-corrected is" not in told


def test_sources_stay_plain_only_with_a_notice(space, banks, root, tmp_path, caplog):
    corrected = partial(corrected_sources, known=None, opened=banks.__getitem__)
    assert corrected(space, root, "pool") == {}
    assert caplog.text == ""
    assert corrected(with_hubs(space), root, "nowhere") == {}
    assert "no nowhere, or no val as it was" in caplog.text
    assert "only mine is hub-corrected here" in caplog.text


def test_without_validation_pairs_there_is_no_correction(space, banks, tmp_path, fitted, caplog):
    made = report(space, banks, tmp_path, PLAIN, ["test"])
    assert made.space.hubs is None
    assert not fitted
    assert "mine: no validation pairs, so no hub correction is chosen" in caplog.text
    assert not list(tmp_path.glob(PATTERN))


@pytest.mark.usefixtures("fitted")
@pytest.mark.parametrize("word", ["off", None])
def test_a_correction_that_is_not_chosen_again_leaves_no_file(space, banks, tmp_path, caplog, word):
    report(space, banks, tmp_path, PLAIN)
    assert len(list(tmp_path.glob(PATTERN))) == 1
    made = report(space, banks, tmp_path, Choosing(aim="none", hubs=word))
    notice = "mine: the hub correction that was here is left out; --hubs chosen keeps it"
    assert (notice in caplog.text) == (word is None)
    assert not list(tmp_path.glob(PATTERN))
    assert read_correction(tmp_path / "metrics.json", made.space) is None


@pytest.mark.parametrize("change", ["basis", "router"])
def test_a_correction_of_another_space_is_refused(space, tmp_path, change):
    write_metrics(tmp_path, with_hubs(space), {}, None)
    assert read_correction(tmp_path / "metrics.json", space) == with_hubs(space).hubs
    other = with_basis(space, space.last.basis[:, ::-1].copy())
    other = with_routers(space, {}) if change == "router" else other
    with pytest.raises(FreeBindError, match="of another space"):
        read_correction(tmp_path / "metrics.json", other)


def test_the_space_of_a_run_has_the_correction_that_was_chosen(run_folder, tmp_path):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    run = Run(folder)
    wanted = with_hubs(run.space)
    write_metrics(folder, wanted, {}, run.chosen)
    assert Run(folder).space == wanted
    write_metrics(folder, with_hubs(run.space.plain.with_factors(text=0.77)), {}, None)
    with pytest.raises(FreeBindError, match="of another space"):
        _ = Run(folder).space


@pytest.fixture
def make(config, tmp_path, trained, fitted, monkeypatch):
    """Make a product; its bond is random, its report is real."""
    monkeypatch.setattr(import_module("fb_jax.run.product"), "report_space", report_space)
    text = "{unified: imagebind, bond: direct_sum, experts: [clap_general], dim: unified, hubs: "

    def make(word, **options):
        (tmp_path / "one.yaml").write_text(f"{text}{word}}}")
        own = {"product": str(tmp_path / "one.yaml"), "out": tmp_path / word, "device": "cpu"}
        run = replace(config, **own, **options, choose="none")
        return make_product(read_product(run.product), run, Silent())

    return make


def test_a_product_decides_whether_its_space_has_a_correction_unless_an_option_does(make, tmp_path):
    made = make("chosen").space
    assert made.dim == 64 - 1
    stored = FusedSpace.load(tmp_path / "chosen/one/space")
    assert stored.hubs == made.hubs is not None
    assert make("off").space.hubs is None
    assert make("chosen", hubs="off").space == made.plain
    assert files.read_json(tmp_path / "off/one/product.json")["product"]["hubs"] == "off"
