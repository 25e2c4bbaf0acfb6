"""What manifests say of CLAP's crops, and under which names its files are found."""

import pytest

from encoders_torch import clap
from encoders_torch.clap.encoder import describe
from encoders_torch.clap.published import GENERAL, MUSIC
from encoders_torch.loading import find_encoder, recorded_encoder
from fb_jax.errors import FreeBindError


@pytest.mark.parametrize("name", clap.__all__)
@pytest.mark.parametrize("end", [", transformers", ", laion_clap", ", transformers, in bfloat16"])
def test_the_name_in_a_manifest_loads_the_class_with_the_same_crop(name, end):
    wanted = getattr(clap, name)
    recorded = recorded_encoder(f"{describe(wanted.published, wanted.crop)}{end}")
    assert recorded is not None
    assert find_encoder(recorded) is wanted


@pytest.mark.parametrize("name", ["630k-fusion-best.pt", "laion_clap_fullset_fusion.pt"])
def test_the_general_checkpoint_is_found_under_both_names(tmp_path, name):
    (tmp_path / name).touch()
    assert GENERAL.find(tmp_path) == tmp_path / name
    assert GENERAL.find(tmp_path / name) == tmp_path / name


def test_a_folder_without_the_file_is_told_with_its_names(tmp_path):
    names = "630k-fusion-best.pt or laion_clap_fullset_fusion.pt"
    with pytest.raises(FreeBindError, match=rf"are missing(.|\n)*{names}"):
        GENERAL.find(tmp_path)
    with pytest.raises(FreeBindError, match=MUSIC.file):
        MUSIC.find(tmp_path)
