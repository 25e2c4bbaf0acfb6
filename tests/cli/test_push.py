import pytest
from made import random_product

from fb_jax.cli.main import main
from fb_jax.fusion import FusedSpace
from fb_jax.interop.onnx import write_onnx
from fb_jax.interop.sentence_transformers import write_sentence_transformer

LICENCES = {
    "imagebind": "CC-BY-NC-SA-4.0",
    "internvl": "MIT",
    "clap_music": "CC0-1.0",
    "clap_general": "CC0-1.0",
}
OWN = {"space.json", "weights.safetensors", "README.md"}


@pytest.fixture
def product():
    return random_product()


@pytest.fixture
def folder(product, tmp_path):
    product.save(tmp_path / "kept", licences=LICENCES)
    return tmp_path / "kept"


def test_the_command_uploads_what_belongs_to_a_space_and_nothing_else(product, hub, folder, invoke):
    write_sentence_transformer(FusedSpace.load(folder), folder)
    write_onnx(product, folder / "space.onnx")
    for name in ("secret.txt", "weights.pkl", "LICENSE"):
        (folder / name).write_text("mine")
    options = ["--public", "--revision", "try", "--message", "a first one"]
    done = invoke(main, "push", folder, "me/space", *options)
    assert "FusedSpace.from_pretrained('me/space')" in done.out
    assert "no commercial use: imagebind (CC-BY-NC-SA-4.0)" in done.err
    added = {"config_sentence_transformers.json", "modules.json"}
    code = {"fused_space.py", "fused_stages.py", "fused_routers.py", "fused_roles.py"}
    assert set(hub.files) == OWN | added | code | {"space.onnx", "LICENSE"}
    assert hub.repositories["me/space"]["visibility"] == "public"
    assert hub.commits[0]["summary"] == "a first one"
    assert "/api/models/me/space/branch/try" in hub.asked
    assert "/api/models/me/space/commit/try" in hub.asked


def test_a_folder_does_not_go_without_the_licences(product, hub, folder, invoke):
    product.save(folder, licences={"imagebind": "MIT", "clap_music": "Unknown"})
    done = invoke(main, "push", folder, "me/space")
    assert done.status == 2
    assert "unknown: internvl, clap_music, clap_general" in done.err
    assert "--licence internvl LICENCE clap_music LICENCE clap_general LICENCE" in done.err
    assert hub.asked == []
    known = [word for pair in LICENCES.items() for word in pair]
    assert invoke(main, "push", folder, "me/space", "--licence", *known).status == 0
    assert FusedSpace.load(folder).licences == LICENCES
