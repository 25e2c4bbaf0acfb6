import json
import re
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy

from fb_jax.banks import files
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace, weights_digest

LICENCES = {"imagebind": "CC-BY-NC-SA-4.0", "clap_general": "CC0-1.0"}
FIGURES = {"R@1": 12.34, "R@5": 56.7}
METRICS = {"test": {"versatile": {"audio-text": FIGURES}, "internvl": {"image-text": FIGURES}}}


@pytest.fixture
def folder(product, tmp_path):
    """A product that was saved."""
    product.save(tmp_path / "kept", licences=LICENCES, metrics=METRICS)
    return tmp_path / "kept"


def native(space, modality, count=5):
    rng = np.random.default_rng(0)
    return {s: rng.normal(size=(count, space.dims[s])) for s in space.spaces_of(modality)}


def alter(folder, change):
    """Change space.json and sign it anew: what another writer might have left."""
    about = files.read_json(folder / "space.json")
    change(about)
    plain = {name: value for name, value in about.items() if name != "sha256"}
    files.write_json(folder / "space.json", plain | {"sha256": files.sha256_of_json(plain)})


def put_weights(folder, tensors):
    content = safetensors.numpy.save(tensors)
    (folder / "weights.safetensors").write_bytes(content)
    digest = {"bytes": len(content), "sha256": files.sha256_of_bytes(content)}
    alter(folder, lambda about: about.update(weights=digest))


# What comes back


def test_a_product_comes_back_to_the_bit(product, folder):
    loaded = FusedSpace.load(folder)
    assert weights_digest(loaded) == weights_digest(product)
    for modality in product.modalities:
        rows = native(product, modality)
        np.testing.assert_array_equal(loaded.fuse(modality, rows), product.fuse(modality, rows))


def test_what_a_space_says_of_itself_comes_back(product, folder):
    loaded = FusedSpace.load(folder)
    assert (loaded.name, loaded.base.name) == ("internvl_ib_pp", "internvl_ib")
    assert (loaded.dims, loaded.factors) == (product.dims, product.factors)
    assert (loaded.licences, loaded.presets) == (LICENCES, product.presets)
    assert [bond.members for bond in loaded.bonds] == [bond.members for bond in product.bonds]
    assert loaded.at("at_expertise").factors == {"audio": 0.8, "text": 0.5}


@pytest.mark.parametrize("kind", ["combination", "displacement"])
def test_one_member_at_own_factors_without_norms_comes_back(make_bond, tmp_path, kind):
    bond = make_bond(kind).only(("text", "audio"))
    space = FusedSpace((bond,), {"text": 0.3, "audio": 1.0}, normalise=False, presets={})
    space.save(tmp_path / "kept", "mine")
    loaded = FusedSpace.load(tmp_path / "kept")
    assert (loaded.name, loaded.normalise, loaded.presets) == ("mine", False, {})
    assert weights_digest(loaded) == weights_digest(space)


def test_a_loaded_space_can_be_changed_and_saved_again(folder, tmp_path):
    changed = FusedSpace.load(folder).with_factors(audio=0.25).with_experts(["clap_general"])
    changed.save(tmp_path / "again")
    again = FusedSpace.load(tmp_path / "again")
    assert (again.name, again.factors) == ("internvl_ib+clap_general", {"audio": 0.25, "text": 0.1})
    assert again.licences == LICENCES


NO_CHECKPOINTS = """
import sys
for name in ("orbax", "optax", "grain", "torch"):
    sys.modules[name] = None
from fb_jax.fusion import FusedSpace
import numpy as np
space = FusedSpace.load("kept")
print(space.fuse("image", {"imagebind": np.ones((2, 64)), "internvl": np.ones((2, 56))}).shape)
"""


def test_reading_needs_no_checkpoint_code_and_no_torch(folder, python):
    done = python(NO_CHECKPOINTS, cwd=folder.parent)
    assert (done.returncode, done.stdout) == (0, "(2, 56)\n"), done.stderr


# The card


def test_the_card_tells_spaces_factors_licences_and_figures(folder):
    card = (folder / "README.md").read_text()
    for line in (
        "# internvl_ib_pp",
        "| imagebind | 64 | text, image, audio | CC-BY-NC-SA-4.0 |",
        "| clap_music | 48 | text, audio | unknown |",
        "- displacement: imagebind (64) is projected into internvl (56) by 7 projectors",
        "- combination: clap_general (48) is projected into internvl_ib (56) by 7 projectors",
        "- weights of the experts in internvl_ib: image 0.9, text 0.9",
        "- weights of the experts in internvl_ib_pp: audio 0.5, text 0.1",
        "- preset `at_expertise`: audio 0.8, text 0.5",
        "## Results on test",
        "| model | audio-text | image-text |",
        "| versatile | 12.3/56.7 |  |",
    ):
        assert line in card
    assert json.loads((folder / "space.json").read_text())["metrics"] == METRICS


def test_the_cards_example_runs(folder):
    (example,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    found: dict = {}
    exec(example.replace("FOLDER", str(folder)), found)
    assert found["fused"].shape == (1, 56)


# Writing


def test_writing_the_same_again_changes_nothing(product, folder, contents):
    before = contents(folder)
    product.save(folder, licences=LICENCES, metrics=METRICS)
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["kept"]


@pytest.mark.parametrize("what", ["another space", "a file", "something else"])
def test_what_is_there_is_never_overwritten(product, tmp_path, contents, what):
    path = tmp_path / "kept"
    if what == "another space":
        product.with_factors(audio=0.1).save(path)
    elif what == "a file":
        path.write_text("mine")
    else:
        (path / "sub").mkdir(parents=True)
    before = contents(tmp_path)
    with pytest.raises(FreeBindError, match=r"this folder holds something else(.|\n)*kept\n"):
        product.save(path)
    assert contents(tmp_path) == before


def test_what_is_told_of_the_same_space_is_renewed(product, folder, contents):
    before = contents(folder)
    other = {"test": {"versatile": {"audio-text": FIGURES | {"R@1": 99.5}}}}
    product.save(folder, licences=LICENCES, metrics=other)
    assert "99.5" in (folder / "README.md").read_text()
    assert weights_digest(FusedSpace.load(folder)) == weights_digest(product)
    product.save(folder, licences=LICENCES, metrics=METRICS)
    assert contents(folder) == before


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_write_that_stops_leaves_nothing_under_its_name(product, tmp_path, monkeypatch, stop):
    write, calls = files.write_atomic, []

    def fail(path, content):
        calls.append(path)
        if len(calls) == stop:
            raise FreeBindError("the disk is full")
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_atomic", fail)
        with pytest.raises(FreeBindError, match="disk is full"):
            product.save(tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
    product.save(tmp_path / "kept")
    assert FusedSpace.load(tmp_path / "kept").spaces == product.spaces


def test_an_empty_folder_gives_way(product, tmp_path):
    (tmp_path / "kept").mkdir()
    product.save(tmp_path / "kept")
    assert FusedSpace.load(tmp_path / "kept").name == "internvl_ib_pp"


# What is refused


@pytest.mark.parametrize("file", ["space.json", "weights.safetensors"])
@pytest.mark.parametrize("place", [0.02, 0.5, 0.98])
def test_a_flipped_bit_is_noticed(folder, file, place):
    content = bytearray((folder / file).read_bytes())
    content[int(place * len(content))] ^= 1
    (folder / file).write_bytes(content)
    with pytest.raises(
        FreeBindError, match=rf"(altered|not valid JSON|another format)(.|\n)*{file}"
    ):
        FusedSpace.load(folder)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("space.json", "not valid JSON"),
        ("weights.safetensors", r"weights were altered(.|\n)*bytes"),
    ],
)
def test_a_truncated_file_is_noticed(folder, file, says):
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[:-7])
    with pytest.raises(FreeBindError, match=says):
        FusedSpace.load(folder)


@pytest.mark.parametrize(
    ("file", "says"),
    [("space.json", "this is no fused space"), ("weights.safetensors", "a file cannot be read")],
)
def test_a_missing_file_is_told(folder, file, says):
    (folder / file).unlink()
    with pytest.raises(FreeBindError, match=says):
        FusedSpace.load(folder)


def test_there_is_no_space_where_there_is_no_folder(tmp_path):
    with pytest.raises(FreeBindError, match=r"no fused space\n.*nowhere\n.*with space.json"):
        FusedSpace.load(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ['{"format": "freebind-bond", "version": 1}', "[1]", "3"])
def test_another_json_file_is_no_space(folder, content):
    (folder / "space.json").write_text(content)
    with pytest.raises(FreeBindError, match=r"has another format(.|\n)*freebind-space, version 1"):
        FusedSpace.load(folder)


def test_another_version_is_refused(folder):
    alter(folder, lambda about: about.update(version=2))
    with pytest.raises(
        FreeBindError, match=r"another format(.|\n)*version 1\n.*version 2\n.*release"
    ):
        FusedSpace.load(folder)


KEYS = ["spaces", "stages", "weights", "stages.0.factors", "stages.1.bonds.0.dim_in"]


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key_is_told(folder, key):
    def drop(about):
        *way, last = key.split(".")
        for part in way:
            about = about[int(part) if part.isdigit() else part]
        del about[last]

    alter(folder, drop)
    with pytest.raises(FreeBindError, match=rf"tells of no fused space(.|\n)*{key.split('.')[-1]}"):
        FusedSpace.load(folder)


def test_a_space_without_stages_is_refused(folder):
    alter(folder, lambda about: about.update(stages=[]))
    with pytest.raises(FreeBindError, match="tells of no fused space"):
        FusedSpace.load(folder)


NAME = "1.clap_general.linear_in.kernel"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.pop(NAME), r"kernel\n.*float32 \[7, 48, 8\]\n.*nothing"),
        (lambda t: t.update({NAME: t[NAME][:6]}), r"kernel\n.*\[7, 48, 8\]\n.*\[6, 48, 8\]"),
        (lambda t: t.update({NAME: t[NAME].astype(np.float16)}), r"float32 (.|\n)*float16"),
        (lambda t: t.update({"2.x.y": t[NAME]}), r"no fused space(.|\n)*2\.x\.y"),
    ],
)
def test_weights_that_do_not_fit_are_refused(folder, change, says):
    tensors = safetensors.numpy.load((folder / "weights.safetensors").read_bytes())
    change(tensors)
    put_weights(folder, tensors)
    with pytest.raises(FreeBindError, match=says):
        FusedSpace.load(folder)


def test_weights_that_are_no_safetensors_are_refused(folder):
    content = b"not safetensors"
    (folder / "weights.safetensors").write_bytes(content)
    digest = {"bytes": len(content), "sha256": files.sha256_of_bytes(content)}
    alter(folder, lambda about: about.update(weights=digest))
    with pytest.raises(FreeBindError, match="the weights cannot be read"):
        FusedSpace.load(folder)


def test_the_digest_of_a_product_covers_its_base(product):
    other = replace(product, base=product.base.with_factors(text=0.8))
    assert weights_digest(other) != weights_digest(product)
