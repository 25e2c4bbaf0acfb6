from dataclasses import replace

import numpy as np
import pytest
from huggingface_hub import constants, snapshot_download
from made import native_rows, random_product, with_hubs

from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace, digest
from fb_jax.interop.hub import push_folder
from fb_jax.interop.sentence_transformers import (
    load_sentence_transformer,
    write_sentence_transformer,
)

LICENCES = {
    "imagebind": "CC-BY-NC-SA-4.0",
    "internvl": "MIT",
    "clap_music": "CC0-1.0",
    "clap_general": "CC0-1.0",
}
OWN = {"space.json", "weights.safetensors", "README.md"}
FIGURES = {"test": {"versatile": {"audio-text": {"R@1": 12.3}}}}


@pytest.fixture
def product():
    return random_product()


@pytest.fixture
def folder(product, tmp_path):
    product.save(tmp_path / "kept", licences=LICENCES, metrics=FIGURES)
    return tmp_path / "kept"


def test_a_space_goes_to_the_hub_and_comes_back(product, hub):
    address = product.push_to_hub("me/space", "mine", licences=LICENCES, metrics=FIGURES)
    assert address.startswith(f"{hub.address}/me/space/commit/")
    assert set(hub.files) == OWN
    assert hub.repositories["me/space"]["visibility"] == "private"
    assert hub.commits[0]["summary"].startswith("mine: 56 dimensions, weights of the experts")
    assert "| versatile | 12.3 |" in hub.files["README.md"].decode()
    loaded = FusedSpace.from_pretrained("me/space")
    assert digest(loaded) == digest(product)
    assert (loaded.name, loaded.licences) == ("mine", LICENCES)
    rows = native_rows(product, "audio")
    np.testing.assert_array_equal(loaded.fuse("audio", rows), product.fuse("audio", rows))


def test_the_references_of_a_hub_correction_go_along(product, hub):
    space = with_hubs(product)
    space.push_to_hub("me/space", licences=LICENCES)
    assert len(set(hub.files) - OWN) == 1
    assert FusedSpace.from_pretrained("me/space").hubs == space.hubs


def test_a_space_does_not_go_without_the_licences(product, hub):
    with pytest.raises(FreeBindError, match="with the licences of all its native spaces"):
        product.push_to_hub("me/space", licences={"imagebind": "MIT"})
    assert hub.asked == []


def test_a_damaged_folder_does_not_go(hub, folder):
    (folder / "weights.safetensors").write_bytes(b"")
    with pytest.raises(FreeBindError, match="weights were altered"):
        push_folder(folder, "me/space")
    assert hub.asked == []


def test_an_encoder_on_this_machine_is_told(product, hub, folder, caplog, tmp_path):
    encoders = {"clap_music": f"st:{tmp_path}", "internvl": "st:owner/model"}
    replace(product, encoders=encoders).push_to_hub("me/space", licences=LICENCES)
    assert "clap_music: its encoder st:/" in caplog.text
    assert "internvl: its encoder" not in caplog.text


def test_a_folder_is_read_as_load_reads_it(folder):
    assert FusedSpace.from_pretrained(folder) == FusedSpace.load(folder)
    with pytest.raises(FreeBindError, match="a folder has no revisions"):
        FusedSpace.from_pretrained(folder, revision="main")


@pytest.mark.parametrize("source", ["spaces/no/where", "nowhere", "../up/there"])
def test_neither_a_folder_nor_a_name_is_refused(source):
    with pytest.raises(FreeBindError, match=r"no folder and no name on the hub(.|\n)*OWNER/NAME"):
        FusedSpace.from_pretrained(source)


def test_what_the_hub_lacks_is_told_in_our_words(hub):
    with pytest.raises(
        FreeBindError, match=r"me/none cannot be downloaded\n.*NotFound(.|\n)*hf auth"
    ):
        FusedSpace.from_pretrained("me/none", revision="v1")


def test_a_hub_out_of_reach_is_told_in_our_words(product, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(FreeBindError, match=r"the hub did not take me/space\n.*Connect"):
        product.push_to_hub("me/space", licences=LICENCES, token="hf_stand_in")


def test_sentence_transformers_reads_a_space_of_the_hub(product, hub, folder):
    write_sentence_transformer(FusedSpace.load(folder), folder)
    push_folder(folder, "me/space")
    local = snapshot_download("me/space")
    model = load_sentence_transformer(local, device="cpu")
    rows = native_rows(product, "image", 1)
    item = {"image": {name: array[0] for name, array in rows.items()}}
    np.testing.assert_allclose(model.encode([item]), product.fuse("image", rows), atol=1e-6)
