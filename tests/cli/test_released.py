from pathlib import Path

import pytest
import torch
from twin.released import clap_clip, extension, random_projector, ulip_clip

from fb_jax.cli.main import main
from fb_jax.fusion import FusedSpace, digest
from fb_jax.projector.layouts import FOLDERS


@pytest.fixture
def theirs(tmp_path):
    """The families of internvl_ib_pp as the authors lay them out, hidden width 8."""
    dims = {"InternVL_IB_Proj": (1024, 768), "InternVL_IB_PP_G_Proj": (512, 768)}
    for family, (dim_in, dim_out) in dims.items():
        for seed, member in enumerate(FOLDERS.values()):
            path = tmp_path / "theirs" / family / member / "best.pt"
            path.parent.mkdir(parents=True)
            torch.save(random_projector(seed, dim_in, 8, dim_out).state_dict(), path)
    return tmp_path / "theirs"


def test_released_checkpoints_come_in_go_out_and_come_back(invoke, theirs):
    done = invoke(
        main, "released", "import", theirs, "--out", "spaces", "--licence", "internvl", "MIT"
    )
    assert (done.status, done.err) == (0, "")
    told = "spaces/internvl_ib_pp: 768 dimensions, from imagebind, internvl, clap_general\n"
    assert told in done.out
    first = FusedSpace.load("spaces/internvl_ib_pp")
    assert first.licences == {"internvl": "MIT"}

    done = invoke(main, "released", "export", "spaces/internvl_ib_pp", "--out", "ours")
    assert (done.status, done.out) == (0, "ours: InternVL_IB_Proj, InternVL_IB_PP_G_Proj\n")
    files = lambda root: {str(p.relative_to(root)) for p in Path(root).rglob("*.pt")}  # noqa: E731
    assert files("ours") == files(theirs)
    assert invoke(main, "released", "import", "ours", "--out", "again").status == 0
    again = FusedSpace.load("again/internvl_ib_pp")
    assert digest(again) == digest(first)


def test_files_of_c_mcr_and_ex_mcr_come_in_go_out_and_come_back(invoke, tmp_path):
    made = {"clap_clip": clap_clip(0), "ulip_clip": ulip_clip(1), "ex_clap": extension(2)}
    (tmp_path / "checkpoints").mkdir()
    for name, module in made.items():
        torch.save(module.state_dict(), tmp_path / "checkpoints" / f"{name}.pt")
    done = invoke(main, "released", "import", "checkpoints", "--out", "spaces")
    assert (done.status, done.err) == (0, "")
    assert "spaces/exmcr: 512 dimensions, from clip, clap\n" in done.out
    done = invoke(main, "released", "import", "checkpoints/ulip_clip.pt", "--out", "alone")
    assert done.out == "alone/cmcr_ulip: 512 dimensions, from clip, ulip\n"
    assert [path.name for path in Path("alone").iterdir()] == ["cmcr_ulip"]
    for name, family in {"cmcr_clap": "clap_clip", "exmcr": "ex_clap"}.items():
        assert invoke(main, "released", "export", f"spaces/{name}", "--out", "ours").status == 0
        done = invoke(main, "released", "import", f"ours/{family}.pt", "--out", "again")
        again, first = (FusedSpace.load(f"{root}/{name}") for root in ("again", "spaces"))
        assert digest(again) == digest(first)
    assert sorted(path.name for path in Path("ours").iterdir()) == ["clap_clip.pt", "ex_clap.pt"]


def test_a_folder_that_holds_none_is_refused(invoke, tmp_path):
    done = invoke(main, "released", "import", tmp_path, "--out", "spaces")
    assert (done.status, "there is no released family here" in done.err) == (2, True)


NO_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, *_):
        if name == "torch":
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, NoTorch())
sys.argv = ["freebind", "released", "import", ".", "--out", "spaces"]
from fb_jax.cli.main import main
main()
"""


def test_without_torch_the_command_says_what_to_install(python, tmp_path):
    done = python(NO_TORCH, cwd=tmp_path)
    assert done.returncode == 2
    assert "the package torch is not installed" in done.stderr
    assert "freebind-jax[encoders]" in done.stderr
