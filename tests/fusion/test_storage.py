import fcntl
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy
from disturb import NO_LOCKS, counted, disturbed
from made import native_rows, planned

from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace, digest

LICENCES = {"imagebind": "CC-BY-NC-SA-4.0", "clap_general": "CC0-1.0"}
FIGURES = {"R@1": 12.34, "R@5": 56.7}
METRICS = {"test": {"versatile": {"audio-text": FIGURES}, "internvl": {"image-text": FIGURES}}}


@pytest.fixture
def folder(product, tmp_path):
    """A product that was saved."""
    product.save(tmp_path / "kept", licences=LICENCES, metrics=METRICS)
    return tmp_path / "kept"


def alter(folder, change):
    """Change space.json and sign it anew: what another writer might have left."""
    about = files.read_json(folder / "space.json")
    change(about)
    files.write_json(folder / "space.json", about)


def put_weights(folder, content):
    (folder / "weights.safetensors").write_bytes(content)
    recorded = {"bytes": len(content), "sha256": files.sha256_of_bytes(content)}
    alter(folder, lambda about: about.update(weights=recorded))


# What comes back


def test_a_product_comes_back_to_the_bit(product, folder):
    loaded = FusedSpace.load(folder)
    assert digest(loaded) == digest(product)
    for modality in product.modalities:
        rows = native_rows(product, modality)
        np.testing.assert_array_equal(loaded.fuse(modality, rows), product.fuse(modality, rows))


def test_the_description_of_a_space_comes_back(product, folder):
    loaded = FusedSpace.load(str(folder))
    assert loaded == replace(product, licences=LICENCES)
    assert (loaded.name, loaded.base.name) == ("internvl_ib_pp", "internvl_ib")
    assert (loaded.dims, loaded.factors) == (product.dims, product.factors)
    assert (loaded.licences, loaded.presets) == (LICENCES, product.presets)
    assert loaded.at("at_expertise").factors == {"audio": 0.8, "text": 0.5}
    assert list(loaded.presets) == list(product.presets)  # the first is the default
    about = files.read_json(folder / "space.json")
    assert (about["metrics"], about["digest"]) == (METRICS, digest(product))
    assert set(about["versions"]) == {"freebind-jax", "jax", "numpy", "safetensors"}
    own = {"dim": 48, "modalities": ["text", "audio"], "licence": "CC0-1.0"}
    assert about["spaces"]["clap_general"] == own


@pytest.mark.parametrize("kind", ["combination", "displacement"])
def test_one_member_at_own_factors_without_norms_comes_back(make_bond, tmp_path, kind):
    bond = make_bond(kind).only(("text", "audio"))
    at = {"text": 0.3, "audio": 1.0}
    space = FusedSpace.of(bond, at=at, normalise=False, presets={})
    space.save(tmp_path / "kept", "mine")
    loaded = FusedSpace.load(tmp_path / "kept")
    assert (loaded.name, loaded.last.normalise, loaded.last.presets) == ("mine", False, {})
    assert loaded == space.named("mine")


def test_a_loaded_space_can_be_changed_and_saved_again(folder, tmp_path):
    changed = FusedSpace.load(folder).with_factors(audio=0.25).with_experts(["clap_general"])
    changed.save(tmp_path / "again", licences={"imagebind": "MIT"})
    again = FusedSpace.load(tmp_path / "again")
    assert (again.name, again.factors) == ("internvl_ib+clap_general", {"audio": 0.25, "text": 0.1})
    assert again.licences == LICENCES | {"imagebind": "MIT"}


def test_a_space_of_tuned_rows_comes_back(tuned, tmp_path):
    tuned.save(tmp_path / "kept")
    assert FusedSpace.load(tmp_path / "kept") == tuned
    card = (tmp_path / "kept" / "README.md").read_text()
    assert "- audio rows of internvl_ib_tuned are those of imagebind_tuned, a tuned encoder" in card


def written_before(about):
    """Bonds had a precision."""
    for stage in about["stages"]:
        for bond in stage["bonds"]:
            bond["precision"] = "tf32"


def test_a_folder_of_the_previous_format_is_read_and_renewed(product, folder, contents):
    now = contents(folder)
    alter(folder, written_before)
    assert contents(folder) != now
    assert FusedSpace.load(folder) == replace(product, licences=LICENCES)
    product.save(folder, licences=LICENCES)
    assert contents(folder) == now


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


# Writing


def test_writing_the_same_again_changes_nothing(product, folder, contents):
    before = contents(folder)
    product.save(folder, licences=LICENCES, metrics=METRICS)
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["kept"]


PUT = {
    "another space": lambda product, path: product.with_factors(audio=0.1).save(path),
    "other presets": lambda product, path: without_presets(product).save(path),
    "a file": lambda product, path: path.write_text("mine"),
    "a folder": lambda product, path: (path / "sub").mkdir(parents=True),
    "a list": lambda product, path: files.write_json(path / "space.json", [1]),
    "figures": lambda product, path: files.write_json(path / "space.json", {"metrics": 3}),
}


def without_presets(space):
    return space.with_last(replace(space.last, presets={}))


@pytest.mark.parametrize("what", PUT)
def test_a_folder_that_holds_something_else_is_left_alone(product, tmp_path, contents, what):
    path = tmp_path / "kept"
    PUT[what](product, path)
    before = contents(tmp_path)
    with pytest.raises(FreeBindError, match=r"this folder holds something else(.|\n)*kept\n"):
        product.save(path)
    assert contents(tmp_path) == before


def test_licences_and_figures_of_the_same_space_are_replaced(product, folder, contents):
    before = contents(folder)
    other = {"test": {"versatile": {"audio-text": FIGURES | {"R@1": 99.5}}}}
    product.save(folder, licences=LICENCES | {"internvl": "MIT"}, metrics=other)
    assert "99.5" in (folder / "README.md").read_text()
    assert FusedSpace.load(folder) == replace(product, licences=LICENCES | {"internvl": "MIT"})
    product.save(folder, licences=LICENCES, metrics=METRICS)
    assert contents(folder) == before
    product.save(folder, licences=LICENCES)  # keeps the figures
    assert contents(folder) == before
    product.save(folder, licences=LICENCES, metrics={})
    assert "Results" not in (folder / "README.md").read_text()


def test_a_converted_file_is_named_only_if_the_space_is_another_now(product, folder, caplog):
    (folder / "space.onnx").touch()
    product.save(folder, licences=LICENCES | {"internvl": "MIT"}, metrics={}, other_factors=True)
    assert "space.onnx" not in caplog.text
    product.with_factors(text=0.77).save(folder, other_factors=True)
    assert "kept: space.onnx: the space of an earlier time; freebind convert again" in caplog.text


def test_results_of_an_evaluation_are_figures(one, test_banks, tmp_path):
    from fb_jax.evaluation import evaluate

    results = evaluate(one, test_banks)
    for _ in range(2):  # written, then replaced
        one.save(tmp_path / "kept", metrics={"test": results})
        assert files.read_json(tmp_path / "kept" / "space.json")["metrics"]["test"] == results


def test_a_damaged_folder_of_the_same_space_is_not_taken_for_whole(product, folder):
    content = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(content[:-7])
    with pytest.raises(FreeBindError, match="weights were altered"):
        product.save(folder)


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_write_that_stops_leaves_nothing_under_its_name(product, tmp_path, monkeypatch, stop):
    write, calls = files.write_atomic, []

    def fail(path, content):
        calls.append(path)
        if len(calls) == stop:
            raise FreeBindError("the disk is full")
        write(path, content)

    with monkeypatch.context() as patch:
        for home in (files, files.writing):
            patch.setattr(home, "write_atomic", fail)
        with pytest.raises(FreeBindError, match="disk is full"):
            product.save(tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
    product.save(tmp_path / "kept")
    assert FusedSpace.load(tmp_path / "kept").spaces == product.spaces


def test_a_save_waits_for_others_and_lasts_and_removes_only_what_is_left_of_its_own(
    product, tmp_path
):
    left = [tmp_path / f"{name}.space-1-2.partial" for name in ("mine", "other")]
    for path in left:
        path.mkdir()
    with counted("fcntl.flock os.replace os.fsync") as calls:
        product.save(tmp_path / "mine")
    assert calls[0] == f"{tmp_path}/ {int(fcntl.LOCK_EX)}"
    assert calls[-1] == f"{tmp_path}/ {int(fcntl.LOCK_UN)}"
    work = [call for call in calls if not call.endswith(f" {int(fcntl.LOCK_UN)}")]
    assert work[-2].endswith(f" {tmp_path}/mine")
    assert work[-1] == f"{tmp_path}/"
    assert [path.exists() for path in left] == [False, True]
    left[0].mkdir()
    with disturbed(NO_LOCKS):
        product.save(tmp_path / "mine")
    assert left[0].exists()  # who knows whose it is


def test_an_empty_folder_gives_way(product, tmp_path):
    (tmp_path / "kept").mkdir()
    product.save(tmp_path / "kept")
    assert FusedSpace.load(tmp_path / "kept").name == "internvl_ib_pp"


def test_a_space_of_planned_bonds_is_not_saved(product, tmp_path):
    with pytest.raises(FreeBindError, match=r"trained before it is saved\n.*internvl"):
        planned(product).save(tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []


def test_an_edited_card_is_told_and_read(product, folder, caplog):
    FusedSpace.load(folder)
    assert caplog.text == ""
    (folder / "README.md").write_text("mine")
    assert digest(FusedSpace.load(folder)) == digest(product)
    assert "this model card was edited" in caplog.text


# What is refused


@pytest.mark.parametrize("file", ["space.json", "weights.safetensors"])
@pytest.mark.parametrize("position", [0.02, 0.5, 0.98])
def test_a_flipped_bit_is_noticed(folder, file, position):
    content = bytearray((folder / file).read_bytes())
    content[int(position * len(content))] ^= 1
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
    [("space.json", "not a fused space"), ("weights.safetensors", "weights")],
)
def test_a_missing_file_is_named(folder, file, says):
    (folder / file).unlink()
    with pytest.raises(FreeBindError, match=says):
        FusedSpace.load(folder)


def test_the_space_in_a_folder_is_named(folder):
    folder.rename(folder.parent / "space")
    with pytest.raises(FreeBindError, match=rf"not a fused space(.|\n)*is {folder.parent}/space$"):
        FusedSpace.load(folder.parent)


def test_there_is_no_space_where_there_is_no_folder(tmp_path):
    with pytest.raises(FreeBindError, match=r"not a fused space\n.*nowhere\n.*with space.json"):
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
def test_a_missing_key_is_named(folder, key):
    def drop(about):
        *way, last = key.split(".")
        for part in way:
            about = about[int(part) if part.isdigit() else part]
        del about[last]

    alter(folder, drop)
    with pytest.raises(
        FreeBindError,
        match=rf"not the description of a (fused space|bond)(.|\n)*{key.split('.')[-1]}",
    ):
        FusedSpace.load(folder)


def test_a_space_without_stages_is_refused(folder):
    alter(folder, lambda about: about.update(stages=[]))
    with pytest.raises(FreeBindError, match="not the description of a fused space"):
        FusedSpace.load(folder)


def test_weights_of_no_stage_are_refused(folder):
    tensors = safetensors.numpy.load((folder / "weights.safetensors").read_bytes())
    put_weights(folder, safetensors.numpy.save(tensors | {"2.x.y": np.ones(3)}))
    with pytest.raises(FreeBindError, match=r"of a fused space(.|\n)*2\.x\.y"):
        FusedSpace.load(folder)


def test_weights_that_are_no_safetensors_are_refused(folder):
    put_weights(folder, b"not safetensors")
    with pytest.raises(FreeBindError, match=r"weights cannot be read\n.*weights"):
        FusedSpace.load(folder)
