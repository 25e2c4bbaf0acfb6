"""``python -m parity.freebind``: from the published layout of files to a verdict, at toy size."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from safetensors.torch import load_file
from tiny.clap import write_clap
from torch import nn
from twin.released import random_projector

from encoders_torch.imagebind.checkpoint import of_towers
from parity import freebind
from parity.checkpoints import FILES, PRODUCTS, find
from tests.encoders_torch.tiny_models import save_internvl

TINY = Path(__file__).parents[1] / "encoders_torch/fixtures/imagebind_tiny/weights.safetensors"
HEADS = ("vision.2.weight", "audio.2.weight", "text.proj.1.weight")
FAMILIES = {"IB": (512, 1024), "InternVL_IB_Proj": (1024, 768), "InternVL_IB_FTPP": (512, 768)}


def wide_imagebind():
    """The toy ImageBind with the published number of dimensions."""
    torch.manual_seed(0)
    state = {name: value.float() for name, value in load_file(TINY).items()}
    for head in HEADS:
        name = f"modality_heads.{head}"
        state[name] = torch.randn(1024, state[name].shape[1])
    return state


def save_tuned(state, path):
    audio = {f"ib.{name}": value for name, value in of_towers(state).items() if "audio" in name}
    heads = nn.ModuleList(random_projector(seed, 1024, 4, 768) for seed in range(7))
    named = {f"ib_head.projectors.{name}": value for name, value in heads.state_dict().items()}
    torch.save(audio | named, path)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random toys, laid out as FreeBind's README says. Read only."""
    folder = tmp_path_factory.mktemp("checkpoints")
    state = wide_imagebind()
    torch.save(state, folder / "imagebind_huge.pth")
    save_tuned(state, folder / "DrvtFT_audio_with_head.pt")
    for space, fused in (("clap_general", True), ("clap_music", False)):
        path = write_clap(folder / space, fused=fused, dim=512)
        shutil.move(path, folder / FILES[space][-1])
        shutil.copytree(
            folder / space / "roberta-base", folder / "roberta-base", dirs_exist_ok=True
        )
    (folder / "InternVL-14B-224px").mkdir()
    save_internvl(folder / "InternVL-14B-224px")
    for product in PRODUCTS.values():
        for family in product.families:
            kind = next(kind for kind in FAMILIES if family.startswith(kind))
            for seed, member in enumerate(("mix", "A", "T", "V", "AT", "AV", "TV")):
                path = folder / family / member / "best.pt"
                path.parent.mkdir(parents=True)
                dim_in, dim_out = FAMILIES[kind]
                torch.save(random_projector(seed, dim_in, 4, dim_out).state_dict(), path)
    return folder


@pytest.fixture(scope="module")
def assets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("assets")
    rng = np.random.default_rng(0)
    for name in ("BBQ", "toilet", "train"):
        soundfile.write(folder / f"{name}.wav", rng.uniform(-0.5, 0.5, 3 * 32000), 32000)
        pixels = rng.integers(0, 256, (90, 160, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.jpeg")
    return folder


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*args):
        monkeypatch.setattr("sys.argv", ["freebind", *map(str, args)])
        with pytest.raises(SystemExit) as stop:
            freebind.main()
        code = stop.value.code
        said = capsys.readouterr().out
        return (1, said + code) if isinstance(code, str) else (int(code), said)

    return run


def test_random_models_fail_with_all_tables(run, weights, assets):
    status, said = run("--weights", weights, "--assets", assets, "--trust-remote-code")
    assert status == 1
    assert said.count("ours | theirs") == 12
    assert "0.7426 0.1838 0.0736" in said
    assert "imagebind_pp: largest difference" in said
    assert "allowed 0.005: FAIL" in said
    assert "allowed 0.005: a hint only, decides nothing" in said


def test_what_agrees_passes(run, weights, assets):
    wide = ("--within", 1.0)
    status, said = run("--weights", weights, "--assets", assets, *wide)
    assert status == 0
    assert "allowed 1.0: pass" in said
    assert "internvl_ib_tuned_pp is left out" in said
    assert "--trust-remote-code" in said


def test_without_the_anchor_nothing_is_decided(run, weights, assets, tmp_path):
    part = tmp_path / "part"
    shutil.copytree(weights, part, ignore=shutil.ignore_patterns("IB_PP_M_Proj"))
    wide = ("--within", 1.0, "--trust-remote-code")
    status, said = run("--weights", part, "--assets", assets, *wide)
    assert status == 1
    assert "IB_PP_M_Proj, best.pt in " in said
    assert "NOT DECIDED: imagebind_pp" in said


def test_what_is_missing_is_named(run, assets, tmp_path):
    status, said = run("--weights", tmp_path, "--assets", assets)
    assert status == 1
    for name in (
        "imagebind_huge.pth (imagebind)",
        "630k-fusion-best.pt or laion_clap_fullset_fusion.pt (clap_general)",
        "DrvtFT_audio_with_head.pt or InternVL_IB_audio_with_head.pt",
        "InternVL_IB_FTPP_G_Proj, best.pt in ",
        "nothing can be compared",
    ):
        assert said.count(name) == 1
    assert "no folder" not in said


def test_folders_that_are_not_there_and_all_that_belongs_in_them_are_named_at_once(run, tmp_path):
    weights, assets = tmp_path / "weights", tmp_path / "assets"
    status, said = run("--weights", weights, "--assets", assets)
    assert status == 1
    assert f"Missing in {weights}, which is no folder" in said
    assert f"Missing in {assets}, which is no folder" in said
    for name in ("imagebind_huge.pth", "IB_PP_G_Proj, best.pt in ", "BBQ.wav", "train.jpeg"):
        (line,) = [line for line in said.splitlines() if line.startswith(f"  {name}")]
        assert "https://" in line


def test_a_single_lost_member_is_named(run, weights, assets, tmp_path):
    part = tmp_path / "part"
    shutil.copytree(weights, part)
    (part / "IB_PP_G_Proj/AV/best.pt").unlink()
    status, said = run("--weights", part, "--assets", assets)
    assert status == 1
    assert "  IB_PP_G_Proj, best.pt in AV: https://" in said


def test_its_help_shows_how_it_is_called(run):
    status, said = run("--help")
    assert (status, "usage: python -m parity.freebind " in said) == (0, True)


def test_either_name_of_a_checkpoint_is_found(tmp_path):
    for name in reversed(FILES["clap_general"]):
        (tmp_path / name).touch()
        assert find(tmp_path, "clap_general") == tmp_path / name
    assert find(tmp_path, "imagebind") is None


def test_a_table_is_the_softmax_of_ten_times_the_cosines():
    left, right = np.float32([[1, 0], [0.6, 0.8]]), np.float32([[1, 0], [0, 1]])
    first = 1 / (1 + np.exp(-10))
    second = 1 / (1 + np.exp(2))
    wanted = [[first, 1 - first], [second, 1 - second]]
    np.testing.assert_allclose(freebind.table(left, right), wanted, atol=1e-7)
