import shutil
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from fb_jax import files
from fb_jax.banks import open_banks
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace, cut, with_basis
from fb_jax.run import evaluation_banks, points_for
from fb_jax.run.metrics import read_figures
from fb_jax.run.report import cut_once, report_space

SPACES = ("imagebind", "clap_general")


def test_a_space_is_evaluated_at_its_presets_and_its_own_factors(make_bond):
    space = FusedSpace.of(make_bond("combination"), at="at_expertise")
    assert points_for(space) == space.presets
    own = space.with_factors(text=0.3)
    assert points_for(own) == {**space.presets, "imagebind+clap_general": own.factors}


def test_splits_to_evaluate_have_pairs_and_are_not_the_pool(make_bond, root):
    space = FusedSpace.of(make_bond("combination"))
    assert list(evaluation_banks(space, root)) == ["test", "val"]
    assert list(evaluation_banks(space, root, "test")) == ["val"]


def test_a_split_with_pairs_of_modalities_that_cannot_be_fused_is_left_out(
    make_bond, root, tmp_path
):
    home = shutil.copytree(root, tmp_path / "home")
    shutil.rmtree(home / "val/embeddings/clap_general/audio")
    for name in ("audio-image", "image-text"):
        (home / f"val/pairs/{name}.npy").unlink()
    assert list(evaluation_banks(FusedSpace.of(make_bond("combination")), home)) == ["test"]


def test_a_report_has_the_metrics_that_are_asked_for(make_bond, test_banks, tmp_path):
    space = FusedSpace.of(make_bond("combination"))
    reporter = SimpleNamespace(task=lambda title, total: nullcontext(lambda n: steps.append(n)))
    steps = []
    made = report_space(space, {"val": test_banks}, tmp_path, reporter, ["MRR"])
    space, results = made.space, made.results
    assert steps == [*(1, 1, 1), 0, 1]  # three pairs of modalities of the sweep; a split
    figures = results["val"]["unified"]["audio-text"]
    assert set(figures) == {"MRR", "MRR audio->text", "MRR text->audio"}
    assert files.read_json(tmp_path / "metrics.json")["retrieval"] == results
    assert read_figures(tmp_path / "metrics.json", space) == results
    with pytest.raises(FreeBindError, match="of another space"):
        read_figures(tmp_path / "metrics.json", space.with_factors(audio=0.123))
    assert (tmp_path / "sweep.png").exists()
    files.write_json(tmp_path / "metrics.json", {"test": {}})
    with pytest.raises(FreeBindError, match=r"something else\n.*metrics\.json\n.*`retrieval`"):
        read_figures(tmp_path / "metrics.json", space)


def test_a_sum_is_cut_to_the_basis_that_is_kept_or_to_one_of_the_pool(make_bond, root):
    space, kept = FusedSpace.of(make_bond("direct_sum")), np.eye(112, 4, dtype=np.float32)
    fitted = cut(space, 4, open_banks(root, "val", spaces=SPACES))
    assert cut_once(space, 4, kept, root, "val") == with_basis(space, kept) != fitted
    for other in (None, kept[:, :3]):
        assert cut_once(space, 4, other, root, "val") == fitted
