"""Claims that were lost or copied: nothing is continued or read as what it is not."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from disturb import NO_FOLDER_SYNC, NO_LOCKS, disturbed
from orbax.checkpoint._src.serialization import tensorstore_utils

from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.pseudo import PairSet, build_pairs
from fb_jax.run import Run
from fb_jax.training import Training, load_bond, train_bond
from fb_jax.training.checkpoint import Checkpoints

TRAINING = Training(batch=10, epochs=1, hidden=8)


@pytest.fixture
def other(pairs):
    """The same pairs at another temperature."""
    return replace(pairs.spec, retrieval=replace(pairs.spec.retrieval, temperature=1.0))


@pytest.mark.parametrize("use", [PairSet.open, lambda folder, spec: build_pairs(spec, folder)])
def test_pairs_are_not_taken_for_those_of_another_temperature(pairs, other, tmp_path, use):
    folder = tmp_path / "pairs"
    shutil.copytree(pairs.folder, folder)
    with pytest.raises(FreeBindError, match=r"temperature 1.0 .asked"):
        use(folder, other)
    (folder / "pairs.json").unlink()
    with pytest.raises(FreeBindError, match=r"pairs\.json"):
        use(folder, other)
    files.claim(tmp_path / "elsewhere" / "pairs.json", other.identity(), "pairs")
    shutil.copy(tmp_path / "elsewhere" / "pairs.json", folder)
    with pytest.raises(FreeBindError, match=r"do not belong to their claim|another array"):
        use(folder, other)


@pytest.fixture(scope="module")
def trained(pairs, tmp_path_factory):
    """The folder of a bond."""
    folder = tmp_path_factory.mktemp("trained") / "bond"
    train_bond(pairs, "combination", folder, TRAINING)
    return folder


@pytest.mark.parametrize(
    "change", [{"learning_rate": 1e-4}, {"temperature": 0.5}, {"seed": 1}, {"symmetric": False}]
)
def test_a_checkpoint_is_not_taken_for_that_of_another_training(pairs, trained, tmp_path, change):
    folder, other = tmp_path / "bond", replace(TRAINING, **change)
    shutil.copytree(trained, folder)
    claim = files.read_json(folder / "bond.json")
    (folder / "bond.json").unlink()
    with pytest.raises(FreeBindError, match=r"lost bond\.json(.|\n)*checkpoints"):
        train_bond(pairs, "combination", folder, other)
    claim["training"] |= change
    files.write_json(folder / "bond.json", claim)
    with pytest.raises(FreeBindError, match=r"belongs to another training\n.*claim"):
        train_bond(pairs, "combination", folder, other)
    with pytest.raises(FreeBindError, match=r"belongs to another training"):
        load_bond(folder)


def test_checkpoints_of_earlier_versions_are_read(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "bond")
    for record in (folder / "checkpoints").glob("*.json"):
        files.write_json(record, files.read_json(record)["files"])
    with pytest.raises(FreeBindError, match="claim"):  # this version wrote them with one
        load_bond(folder)
    claim = files.read_json(folder / "bond.json")
    del claim["spec"]
    files.write_json(folder / "bond.json", claim)
    assert load_bond(folder) == load_bond(trained)


def test_orbax_is_told_what_a_disk_lacks(tmp_path, monkeypatch):
    contexts, make = [], tensorstore_utils.get_ts_context

    def noted(**options):
        contexts.append(make(**options).spec.to_json())
        return make(**options)

    monkeypatch.setattr(tensorstore_utils, "get_ts_context", noted)
    state, lacking = {"x": np.arange(3)}, {"file_io_sync": False}
    for number, faults in enumerate([(), (NO_LOCKS,), (NO_FOLDER_SYNC,)]):
        with disturbed(*faults):
            Checkpoints(tmp_path / str(number)).save(1, state, {})
        assert all((lacking.items() <= found.items()) == bool(faults) for found in contexts)
        contexts.clear()
        assert Checkpoints(tmp_path / str(number)).restore(1, state)[0]["x"].tolist() == [0, 1, 2]
        contexts.clear()


@pytest.fixture
def copied(run_folder, tmp_path):
    return shutil.copytree(run_folder, tmp_path / "run")


def test_a_run_is_not_read_with_the_bond_or_the_provenance_of_another(run_folder, copied):
    assert Run(copied).bond == Run(run_folder).bond
    provenance = files.read_json(copied / "provenance.json")
    files.write_json(copied / "provenance.json", provenance | {"run": "0" * 64})
    with pytest.raises(FreeBindError, match="belongs to another run"):
        Run(copied)
    files.write_json(copied / "provenance.json", provenance)
    claim = files.read_json(copied / "bond/bond.json")
    for form in (None, [], "x"):
        files.write_json(copied / "bond/bond.json", claim | {"form": form})
        with pytest.raises(FreeBindError, match=r"something else\n.*bond\.json"):
            Run(copied)
    for change in ({"training": claim["training"] | {"seed": 1}}, {"spec": "0" * 64}):
        files.write_json(copied / "bond/bond.json", claim | change)
        with pytest.raises(FreeBindError, match=r"bond of another run\n.*bond\n"):
            Run(copied)


@pytest.mark.parametrize("name", ["../x/text", "text", "pairs/audio/text"])
def test_a_bank_in_the_provenance_cannot_lead_out_of_its_split(copied, name):
    provenance = files.read_json(copied / "provenance.json")
    files.write_json(copied / "provenance.json", provenance | {"banks": {"pool": {name: "0"}}})
    with pytest.raises(FreeBindError, match=r"provenance\.json"):
        Run(copied)
