"""Making a product of bonds that need no training: its options, its folder, its locks."""

from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from fb_jax import files
from fb_jax.banks import open_banks
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace, digest
from fb_jax.run import Silent, make_product, read_product
from fb_jax.run.report import Report

module = import_module("fb_jax.run.product")
FILES = {
    "base": "{unified: imagebind, bond: displacement, experts: [internvl], factors: {text: 0.3, "
    "image: 0.7}}",
    "mine": "{unified: base, bond: combination, experts: [clap_general], factors: versatile}",
    "sum": "{unified: imagebind, bond: direct_sum, experts: [internvl], factors: equal, dim: 40, "
    "fill: 0.2}",
    "as_wide": "{unified: imagebind, bond: direct_sum, experts: [internvl], dim: unified}",
}
RUNS = {"base": "imagebind-displacement-internvl", "mine": "base-combination-clap_general"}


@pytest.fixture
def make(config, tmp_path, trained):
    """Make a product; its home is tmp_path, and the split test is its pool."""
    for name, text in FILES.items():
        (tmp_path / f"{name}.yaml").write_text(text)

    def make(name, **options):
        file = str(tmp_path / f"{name}.yaml")
        own = {"product": file, "out": tmp_path, "pool": "test", **options}
        return make_product(read_product(file), replace(config, **own), Silent())

    return make


def test_options_reach_every_part_of_a_product_and_its_folder_tells_them(
    make, trained, home, tmp_path, monkeypatch
):
    devices = []
    monkeypatch.setattr(module, "computing_on", lambda name: nullcontext(devices.append(name)))
    made = make("mine", device="cpu", metrics=("MRR",), choose="audio-text")
    space, results = made.space, made.results
    assert devices == ["cpu"]
    assert trained.reports == [
        (name, ["val"], tmp_path / name, ("MRR",), "audio-text") for name in ("base", "mine")
    ]
    found = [(run.data, run.pool, run.out, run.product) for run in trained.runs]
    assert found == [
        (home, "test", tmp_path / RUNS["base"], None),
        (tmp_path / "base/banks", "test", tmp_path / RUNS["mine"], None),
    ]
    loaded = FusedSpace.load(tmp_path / "mine/space")
    assert loaded == replace(space, licences=dict.fromkeys(space.spaces, "Apache-2.0"))
    assert (loaded.base.factors, loaded.factors) == (
        {"text": 0.3, "image": 0.7},
        {"audio": 0.5, "text": 0.1},
    )
    assert files.read_json(tmp_path / "mine/space/space.json")["metrics"] == results
    provenance = files.read_json(tmp_path / "mine/provenance.json")
    assert (provenance["data"], provenance["evaluation"]) == (str(home), ["val"])
    assert files.read_json(tmp_path / "mine/product.json") == {
        "format": "freebind-product",
        "version": 1,
        "product": {
            "unified": "base",
            "bond": "combination",
            "experts": ["clap_general"],
            "factors": "versatile",
        },
        "weights": digest(space),
    }
    rows = open_banks(tmp_path / "base/banks", "val", spaces=("base", *space.spaces))
    assert rows["base", "audio"].encoder.weights_sha256 == digest(space.base)
    assert len(rows.banks) == 3 + 3 + 2 + 2


def test_a_recipe_without_factors_builds_on_chosen_ones_and_with_them_on_its_own(
    make, trained, tmp_path, monkeypatch
):
    """The finished product carries the chosen ones either way, and other ones replace them."""
    trained.choice = {"text": 0.25, "image": 0.75}
    assert make("base").space.factors == trained.choice
    loaded = FusedSpace.load(tmp_path / "base/space")
    assert loaded.factors == loaded.presets["chosen"] == trained.choice
    assert loaded.presets["base"] == {"text": 0.3, "image": 0.7}  # the recipe's
    trained.choice = {"text": 0.5, "image": 0.75}
    assert make("base").space.last == FusedSpace.load(tmp_path / "base/space").last
    text = "{unified: imagebind, bond: displacement, experts: [internvl]}"
    (tmp_path / "free.yaml").write_text(text)
    upper = "{unified: free, bond: displacement, experts: [clap_general]}"
    (tmp_path / "upper.yaml").write_text(upper)
    chosen = {"image": {"text": 0.5, "image": 0.75}, "audio": {"audio": 0.1, "text": 0.2}}

    built_on = []

    def report_space(space, *options):
        (own,) = (factors for m, factors in chosen.items() if m in space.weighted)
        built_on.append(options[4].built_on)
        return Report(space.choosing(own), {})

    monkeypatch.setattr(module, "report_space", report_space)
    made = make("upper").space
    assert (made.base.factors, made.factors) == (chosen["image"], chosen["audio"])
    make("upper")
    assert built_on == [None, None, chosen["image"], None]  # of the rows that are there


def test_a_folder_of_another_product_or_other_weights_is_refused(make, trained, tmp_path):
    make("base")
    trained.seed = 1
    with pytest.raises(FreeBindError, match=r"results(.|\n)*weights"):
        make("base")
    (tmp_path / "base.yaml").write_text(FILES["base"].replace("0.3", "0.4"))
    with pytest.raises(FreeBindError, match="another product of this name"):
        make("mine")


def test_every_folder_of_a_product_is_for_one_process_alone(make, tmp_path):
    for folder in (*RUNS, *RUNS.values()):
        with (
            files.locked(tmp_path / folder),
            pytest.raises(FreeBindError, match=rf"another process(.|\n)*/{folder}\n"),
        ):
            make("mine")


def test_a_sum_may_be_as_wide_as_the_unified_space_with_the_column_of_a_hub_correction(make):
    assert make("as_wide").space.dim == 64 - 1  # imagebind has 64


def test_a_cut_is_kept_where_rounding_differs_and_only_for_the_same_weights(
    make, trained, monkeypatch
):
    space = make("sum").space
    assert (space.dim, space.last.fill) == (40, 0.2)
    cut = import_module("fb_jax.fusion.cut")
    axes = cut.principal_axes
    monkeypatch.setattr(cut, "principal_axes", lambda *args: -axes(*args))
    again = make("sum").space
    np.testing.assert_array_equal(again.last.basis, space.last.basis)
    monkeypatch.setattr(module._Stage, "finish", lambda _, space: Report(space, {}))
    trained.seed = 1
    with pytest.raises(FreeBindError, match="basis of a cut belongs to something else"):
        make("sum")
