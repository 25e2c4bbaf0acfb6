import importlib.util

import pytest

from encoders_torch.clap.laion import LaionClapGeneral
from fb_jax.errors import FreeBindError


@pytest.mark.skipif(importlib.util.find_spec("laion_clap") is not None, reason="it is here")
def test_without_laion_clap_its_backend_says_what_to_install(checkpoints):
    with pytest.raises(FreeBindError, match=r"laion_clap cannot be imported(.|\n)*NumPy 1"):
        LaionClapGeneral(checkpoints["clap_general"])


def test_a_checkpoint_is_checked_before_laion_clap_opens_it(tmp_path):
    (tmp_path / "bad.pt").write_bytes(b"no checkpoint")
    with pytest.raises(FreeBindError, match=r"checkpoint(.|\n)*bad\.pt"):
        LaionClapGeneral(tmp_path / "bad.pt")
