import sys

import pytest

from encoders_torch.clap.laion import LaionClapGeneral
from fb_jax.errors import FreeBindError


@pytest.mark.parametrize(
    "code",
    [
        "raise OSError('no connection to the hub')",
        "def CLAP_Module(*args, **kwargs):\n    raise OSError('no connection to the hub')",
    ],
)
def test_what_laion_clap_lacks_is_told(checkpoints, tmp_path, monkeypatch, code):
    (tmp_path / "laion_clap.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "laion_clap", None)
    del sys.modules["laion_clap"]  # undone with the line before
    with pytest.raises(FreeBindError, match=r"roberta-base(.|\n)*OSError: no connection"):
        LaionClapGeneral(checkpoints["clap_general"])


def test_a_checkpoint_is_checked_before_laion_clap_opens_it(tmp_path):
    (tmp_path / "bad.pt").write_bytes(b"no checkpoint")
    with pytest.raises(FreeBindError, match=r"it is damaged(.|\n)*bad\.pt"):
        LaionClapGeneral(tmp_path / "bad.pt")
