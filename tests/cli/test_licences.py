"""Licences on the way out: ``freebind export-space`` says and refuses."""

from pathlib import Path

import numpy as np
import pytest

from fb_jax.banks import Synthetic, open_banks, write_synthetic
from fb_jax.cli.main import main
from fb_jax.fusion import FusedSpace

CLIP_AND_CLAP = {"clip": {"image": 0.3, "text": 0.3}, "clap": {"audio": 0.3, "text": 0.3}}
DIMS = {"clip": 64, "clap": 48}
QUICK = ["--training.batch", 20, "--training.epochs", 4, "--training.hidden", 32]
NC = ["--licence", "imagebind", "CC-BY-NC-SA-4.0"]


def test_a_licence_without_commercial_use_is_said_and_can_be_refused(invoke, run_folder):
    export = ["export-space", "--run", run_folder, *NC]
    refused = invoke(main, *export, "--out", "kept", "--require-licence", "permissive")
    assert refused.status == 2
    assert "imagebind: CC-BY-NC-SA-4.0 (non-commercial)" in refused.err
    assert not Path("kept").exists()
    done = invoke(main, *export, "--out", "kept")
    assert done.status == 0
    assert done.err.count("\n") == 1
    assert "no commercial use: imagebind (CC-BY-NC-SA-4.0)" in done.err


@pytest.mark.parametrize("bond", ["combination", "displacement"])
def test_clip_and_clap_are_one_space_of_three_modalities_under_permissive_licences(
    must, tmp_path, bond
):
    """The paper's bonds where no space has all modalities, from banks to search and export."""
    pool = {"text": 83, "image": 82, "audio": 81}
    made = Synthetic(pool, {"val": 60}, dims=DIMS, noise=CLIP_AND_CLAP)
    write_synthetic(tmp_path / "banks", made)
    ends = ["--data", "banks", "--unified", "clip", "--expert", "clap", "--bond", bond]
    must(main, "train", *ends, *QUICK, "--out", "run")
    must(main, "fuse", "--run", "run", "--split", "val", "--out", "fused", "--name", "all")
    fused = open_banks(tmp_path / "fused", "val", spaces=["all"])
    assert fused.modalities("all") == ("audio", "image", "text")
    like = ["--in", "image", "--like", "audio", "--row", 0]
    must(main, "search", "--root", "fused", "--split", "val", "--space", "all", *like)
    licences = ["--licence", "clip", "MIT", "clap", "CC0-1.0", "--require-licence", "permissive"]
    must(main, "export-space", "--run", "run", "--out", "kept", *licences)
    space, native = FusedSpace.load("kept"), open_banks("banks", "val", spaces=["clap"])
    rows = space.fuse("audio", {"clap": native["clap", "audio"][:]})  # no CLIP knows audio
    np.testing.assert_allclose(rows, fused["all", "audio"][:], atol=1e-3)
    # what no space links: from audio to the image of the same item
    images = fused["all", "image"][:]
    hits = np.mean(np.argmax(rows @ images.T, axis=1) == np.arange(60))
    assert hits > 3 / 60
