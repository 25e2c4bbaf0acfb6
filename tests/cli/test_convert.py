import numpy as np
import onnxruntime
import pytest
from made import every_kind, native_rows

from fb_jax.cli.main import main
from fb_jax.fusion import FusedSpace
from fb_jax.interop.sentence_transformers import load_sentence_transformer

SPACE = every_kind()["combination"]
FIGURES = {"test": {"versatile": {"audio-text": {"R@1": 12.3}}}}
ROWS = native_rows(SPACE, "text", 2)


@pytest.fixture
def folder(tmp_path):
    SPACE.save(tmp_path / "kept", licences={"imagebind": "MIT"}, metrics=FIGURES)
    return tmp_path / "kept"


def test_a_folder_gets_an_onnx_file(folder, must):
    out, again = (must(main, "convert", folder, "--to", "onnx") for _ in range(2))
    assert out == again
    assert f"{folder}/space.onnx: imagebind+clap_general: 64 dimensions" in out
    assert "ask for an output: text, image, audio; its inputs: MODALITY.SPACE" in out
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(folder / "space.onnx", options)
    (found,) = session.run(["text"], {f"text.{name}": rows for name, rows in ROWS.items()})
    np.testing.assert_allclose(found, SPACE.fuse("text", ROWS), atol=1e-6)
    assert FusedSpace.load(folder).factors == SPACE.factors


@pytest.mark.parametrize("other", [True, False])
def test_a_folder_is_read_by_sentence_transformers_too(folder, must, tmp_path, other):
    (tmp_path / "house").mkdir()
    out = tmp_path / "other" if other else folder
    asked = ["--encoder", "imagebind=st:house", *(["--out", out] if other else [])]
    said = must(main, "convert", folder, "--to", "sentence-transformers", *asked)
    assert "clap_general: no encoder is named, so its rows must be given" in said
    assert "imagebind: no encoder" not in said
    assert f"SentenceTransformer('{out}', trust_remote_code=True)" in said
    space = FusedSpace.load(out)
    assert space.encoders == {"imagebind": f"st:{tmp_path}/house"}
    assert space.licences == {"imagebind": "MIT"}
    assert "12.3" in (out / "README.md").read_text()
    items = [{"text": {name: rows[0] for name, rows in ROWS.items()}}]
    found = load_sentence_transformer(out, device="cpu").encode(items)
    np.testing.assert_allclose(found, SPACE.fuse("text", ROWS)[:1], atol=1e-6)


def test_an_encoder_for_an_onnx_file_is_refused(folder, invoke):
    done = invoke(main, "convert", folder, "--to", "onnx", "--encoder", "imagebind=st:a/b")
    assert (done.status, "takes native rows, not items" in done.err) == (2, True)
