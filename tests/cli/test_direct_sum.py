"""The direct sum, by the commands that a user types."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fb_jax import files
from fb_jax.banks import Synthetic, open_banks, write_synthetic
from fb_jax.banks.synthetic import NOISE
from fb_jax.cli.main import main as freebind
from fb_jax.fusion import FusedSpace, parts_of
from fb_jax.fusion import cut as fit_cut
from fb_jax.fusion.factors import as_text
from fb_jax.run import Run

POOL = {"text": 83, "image": 82, "audio": 81}
CLAPS = ("clap_general", "clap_music")
TITLE = "imagebind+clap_general"
LICENCES = dict.fromkeys(TITLE.split("+"), "Apache-2.0")
QUICK = ["--bond", "direct_sum", "--training.batch", 20, "--training.epochs", 2]
QUICK += ["--training.hidden", 32]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Banks of 64 (imagebind) and 48 dimensions (the CLAPs). Read only."""
    root = tmp_path_factory.mktemp("banks")
    noise = NOISE | {"clap_music": NOISE["clap_general"]}
    dims = {space: 64 if space == "imagebind" else 48 for space in noise}
    write_synthetic(root, Synthetic(pool=POOL, evaluation={"val": 60}, noise=noise, dims=dims))
    return root


def test_a_direct_sum_is_trained_cut_evaluated_and_fused(must, data, tmp_path):
    run = tmp_path / "runs/imagebind-direct_sum-clap_general"
    told = must(freebind, "train", "--data", data, *QUICK, "--dim", 40)
    assert "fused       40 dimensions, a million rows 80.0 MB as float16" in told
    assert "cut to 40 dimensions: " in told
    recorded = files.read_json(run / "metrics.json")["retrieval"]["val"]
    assert list(recorded) == [
        *("unified", "clap_general", "chosen", "equal"),
        *("chosen, 40 dimensions", "equal, 40 dimensions", "mean_of_scores"),
    ]
    assert recorded["equal"]["audio-text"] == recorded["mean_of_scores"]["audio-text"]

    must(freebind, "eval", "--run", run, "--json", "again.json", "--sigma-audio", 0.2)
    found = files.read_json(Path("again.json"))["retrieval"]["val"]
    assert {name: found[name] for name in recorded} == recorded
    name = as_text({**Run(run).chosen.factors, "audio": 0.2})
    assert set(found) - set(recorded) == {name, f"{name}, 40 dimensions"}

    must(freebind, "fuse", "--run", run, "--split", "val", "--out", "made", "--name", "sum")
    assert open_banks("made", "val", spaces=["sum"]).dim("sum") == 40
    must(freebind, "export-space", "--run", run, "--out", "kept")
    assert FusedSpace.load("kept") == replace(Run(run).space, licences=LICENCES).named(TITLE)
    card = Path("kept/README.md").read_text()
    assert "name: R@1, chosen, 40 dimensions" in card
    assert "name: R@1, chosen\n" not in card
    distil = ["--distil", "--distil-steps", 10, "--out", "distilled"]
    told = must(freebind, "export-space", "--run", run, *distil)
    assert "before distilling, 40 dimensions" in told
    last = FusedSpace.load("distilled").last
    np.testing.assert_array_equal(last.basis, FusedSpace.load("kept").last.basis)
    assert [len(bond.members) for bond in last.bonds] == [1]

    must(freebind, "train", "--data", data, *QUICK)  # uncut again
    must(freebind, "export-space", "--run", run, "--out", "cut later", "--dim", 40)
    assert files.read_json(Path("cut later/space.json"))["metrics"] == {}  # none was measured
    assert "equal, 40 dimensions" not in (run / "metrics.json").read_text()
    must(freebind, "fuse", "--run", run, "--split", "val", "--out", "made", "--name", "whole")
    assert open_banks("made", "val", spaces=["whole"]).dim("whole") == 112


def test_direct_sums_with_several_experts_are_exported_as_one_space(must, data):
    for clap in CLAPS:
        must(freebind, "train", "--data", data, *QUICK, "--expert", clap)
    runs = [f"runs/imagebind-direct_sum-{clap}" for clap in CLAPS]
    must(freebind, "export-space", "--run", *runs, "--out", "whole")
    told = must(freebind, "export-space", "--run", *runs, "--out", "cut", "--dim", 64)
    assert "cut: imagebind+clap_general+clap_music: 64 dimensions, " in told
    assert ", from imagebind, clap_general, clap_music\n" in told
    whole, cut = (FusedSpace.load(folder) for folder in ("whole", "cut"))
    assert files.read_json(Path("whole/space.json"))["metrics"] == {}
    pool = open_banks(data, "pool", spaces=whole.spaces)
    np.testing.assert_array_equal(cut.last.basis, fit_cut(whole, 64, pool).last.basis)
    assert (whole.dim, cut.dim) == (160, 64)
    banks = open_banks(data, "val", spaces=whole.spaces)
    parts = parts_of(whole, banks)
    for modality, part in parts.items():
        rows = whole.mix(modality, part) @ cut.last.basis
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        np.testing.assert_allclose(cut.mix(modality, part), rows, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--bond", "combination", "--dim", 40], "only a direct sum can be cut"),
        (["--dim", 112], "expected: 1 to 111 dimensions"),
        (["--dim", 0], "expected: 1 to 111 dimensions"),
    ],
)
def test_a_cut_that_cannot_be_is_refused_before_any_work(invoke, data, options, says):
    done = invoke(freebind, "train", "--data", data, *QUICK, *options)
    assert (done.status, says in done.err) == (2, True), done.err
    assert not Path("runs").exists()


def test_a_damaged_basis_is_refused(invoke, must, data):
    must(freebind, "train", "--data", data, *QUICK, "--dim", 40)
    basis = Path("runs/imagebind-direct_sum-clap_general/basis.npy")
    basis.write_bytes(basis.read_bytes()[:-8])
    done = invoke(freebind, "eval", "--run", basis.parent)
    assert (done.status, "the basis of a cut was altered" in done.err) == (2, True), done.err
    basis.unlink()
    done = invoke(freebind, "export-space", "--run", basis.parent, "--out", "sum")
    assert (done.status, "the basis of a cut is missing" in done.err) == (2, True), done.err
