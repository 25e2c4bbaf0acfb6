"""The package's towers, by a stand-in of its interface: the package is not on PyPI."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from encoders_torch.export import export
from encoders_torch.export_config import ExportConfig
from encoders_torch.exporting.target import ExportSettings
from encoders_torch.loading import load_encoder
from fb_jax.banks import Bank, Split
from fb_jax.errors import FreeBindError

STAND_IN = Path(__file__).parents[1] / "imagebind_stand_in"
MODALITIES = ("audio", "image", "text")


@pytest.fixture
def package(monkeypatch):
    """The stand-in as ``imagebind``; its module of models."""
    monkeypatch.syspath_prepend(STAND_IN)
    yield importlib.import_module("imagebind.models.imagebind_model")
    for name in [name for name in sys.modules if name.partition(".")[0] == "imagebind"]:
        del sys.modules[name]


@pytest.fixture
def upstream(package, weights):
    return load_encoder("imagebind", weights, "cpu", "upstream")


@pytest.mark.parametrize("modality", MODALITIES)
def test_its_towers_give_the_rows_of_ours(upstream, encoder, package, items, modality):
    batch = [upstream.read(modality, item) for item in items[modality]]
    found = upstream.rows(modality, batch)
    np.testing.assert_allclose(found, encoder.rows(modality, batch), rtol=0, atol=1e-6)
    assert upstream.tower(modality).model is package.MADE[-1]


def test_only_the_modality_that_is_asked_for_is_kept(upstream):
    upstream.prepare("audio")
    kept = {key.split(".")[3] for key in upstream.model.state_dict()}
    assert kept == {"audio"}


def test_it_is_told_apart_from_ours_and_else_the_same(upstream, encoder):
    assert upstream.name == encoder.name.replace("own towers", "package imagebind")
    assert upstream.name != encoder.name
    for same in ("dim", "modalities", "licence", "weights_sha256"):
        assert getattr(upstream, same) == getattr(encoder, same)
    assert not upstream.tower("text").training
    assert not any(p.requires_grad for p in upstream.model.parameters())


def test_a_bank_of_one_backend_is_not_continued_by_the_other(package, weights, tmp_path):
    (tmp_path / "captions.txt").write_text("a dog\na cat\n")
    given = {"space": ("imagebind",), "weights": (str(weights),), "device": "cpu"}
    source = {"text": tmp_path / "captions.txt", "out": tmp_path / "banks"}
    how = ExportSettings(workers=0)
    export(ExportConfig(**given, **source, settings=how, backend=("upstream",)))
    bank = Bank.open(Split(tmp_path / "banks/pool").bank_path("imagebind", "text"))
    assert bank.encoder.name.endswith("package imagebind")
    with pytest.raises(FreeBindError, match=r"package imagebind(.|\n)*own towers"):
        export(ExportConfig(**given, **source, settings=how))


def test_a_package_with_other_keys_is_refused(package, weights, monkeypatch):
    monkeypatch.setattr(package.ImageBindModel, "state_dict", lambda self: {"other": torch.ones(1)})
    with pytest.raises(FreeBindError, match=r"not ImageBind's keys(.|\n)*1 missing: other"):
        load_encoder("imagebind", weights, "cpu", "upstream").prepare("text")


@pytest.mark.skipif(importlib.util.find_spec("imagebind") is not None, reason="it is here")
def test_without_the_package_it_says_what_to_install(weights):
    says = r"package imagebind cannot be imported(.|\n)*pip install git\+https(.|\n)*--backend"
    with pytest.raises(FreeBindError, match=says):
        load_encoder("imagebind", weights, "cpu", "upstream")
