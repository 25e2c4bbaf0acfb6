"""The examples of docs/spaces.md for other programs run, one after another."""

import re
import shlex
from pathlib import Path

import numpy as np
import sentence_transformers
from made import native_rows, random_bond
from sentence_transformers import SentenceTransformer

from fb_jax.cli.main import main
from fb_jax.fusion import FusedSpace

PAGE = (Path(__file__).parents[2] / "docs/spaces.md").read_text()
NATIVE = {"imagebind": 24, "clap_music": 16, "clap_general": 16}
LICENCES = dict.fromkeys(NATIVE, "MIT")


class Letters:
    """Stands for a model of sentence-transformers: counts letters."""

    def __init__(self, dim):
        self.dim = dim

    def encode(self, items, show_progress_bar):
        codes = [np.frombuffer(item.encode(), np.uint8) for item in items]
        return np.stack([np.bincount(code, minlength=128)[-self.dim :] + 1.0 for code in codes])


def test_the_page_on_spaces_shows_how_others_load_one(hub, monkeypatch, tmp_path):
    bonds = [
        random_bond("combination", ("imagebind", 24), (name, 16), ("text", "audio"), seed)
        for seed, name in enumerate(("clap_music", "clap_general"))
    ]
    space = FusedSpace.of(*bonds, name="imagebind_pp")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sentence_transformers, "SentenceTransformer", with_encoders)
    space.save("spaces/imagebind_pp", licences={**LICENCES, "clap_music": "unknown"})

    section = PAGE.partition("## For other programs")[2].partition("## The authors'")[0]
    for line in re.findall(r"^freebind .*", section, re.M):
        monkeypatch.setattr("sys.argv", shlex.split(line, comments=True))
        main()
    rows = native_rows(space, "audio", 1)
    names = {"space": space, "my_model": Letters(16)}
    names |= dict(zip("xyz", (rows[name][0] for name in NATIVE), strict=True))
    for code in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
        if "onnxruntime" in code:
            names |= dict(zip("xyz", (rows[name] for name in NATIVE), strict=True))
        exec(code, names)
    wanted = space.with_factors(audio=0.3).fuse("audio", rows)
    np.testing.assert_allclose(names["fused"], wanted, atol=1e-6)
    found = names["model"].encode([{"audio": {name: rows[name][0] for name in NATIVE}}])
    np.testing.assert_allclose(found, space.fuse("audio", rows), atol=1e-6)
    assert set(hub.repositories) == {"me/imagebind-pp", "me/mine"}


def with_encoders(*args, **options):
    """Return the model of a folder, with stand-ins for its encoders."""
    model = SentenceTransformer(*args, **options)
    model[0].encoders |= {name: Letters(dim) for name, dim in NATIVE.items()}
    return model
