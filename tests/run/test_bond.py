import shutil
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
import pytest
import yaml
from disturb import At, disturbed
from matplotlib.image import imread

from fb_jax import files, pseudo
from fb_jax.banks import (
    Bank,
    BankAbout,
    Split,
    append_items,
    bank_grower,
    open_banks,
    remove_items,
)
from fb_jax.errors import FreeBindError, Interrupted
from fb_jax.evaluation import RECALLS, plot_sweep, sweep
from fb_jax.fusion import FusedSpace
from fb_jax.projector import Bond
from fb_jax.registry import METRICS
from fb_jax.run import (
    Reporter,
    Run,
    Silent,
    parse_config,
    preflight,
    prepare,
    report,
    train,
)
from fb_jax.run.folder import RunPaths
from fb_jax.run.provenance import tell_changed
from fb_jax.run.report import Report
from fb_jax.training import Runtime, load_bond

module = import_module("fb_jax.run.bond")
SPACES = ("imagebind", "clap_general")


@pytest.fixture
def finished(run_folder, tmp_path, monkeypatch):
    """A finished run of one's own; the folder that it was started in is the current one."""
    monkeypatch.chdir(shutil.copytree(run_folder.parent, tmp_path / "work"))
    return tmp_path / "work" / "run"


@pytest.fixture
def job(finished):
    return prepare(parse_config(["--config", str(finished / "config.yaml")]), Silent())


def add_text(split, count):
    """Add a text to a split that has ``count``, and its row in imagebind."""
    items = append_items(split, "text", [{"id": "new"}], count)
    bank = Bank.open(split.bank_path("imagebind", "text"))
    about = BankAbout("imagebind", "text", bank.encoder, items.digest)
    with bank_grower(bank, about, start=count, count=count + 1) as writer:
        writer.append(np.eye(1, 64))


def same_numbers(bond, other):
    pairs = zip(jax.tree.leaves(bond.variables), jax.tree.leaves(other.variables), strict=True)
    return all(np.array_equal(x, y) for x, y in pairs)


# The folder


def test_a_run_folder_holds_what_explains_it(run_folder):
    assert {path.name for path in run_folder.iterdir()} == {
        *("run.json", "config.yaml", "provenance.json", "bond"),
        *("metrics.json", "losses.png", "sweep.png", "queries.png", ".lock"),
    }


def test_its_config_is_the_run_with_every_option_resolved(job, finished):
    assert yaml.safe_load((finished / "config.yaml").read_text()) == job.config.to_dict()
    assert job.config.training.epochs == 2


def test_its_provenance_names_banks_versions_and_device(run_folder, root):
    found = files.read_json(run_folder / "provenance.json")
    assert found["data"] == str(root)
    opened = {split: open_banks(root, split, spaces=SPACES) for split in ("pool", "val", "test")}
    assert found["banks"] == {
        split: banks.fingerprints() | banks.pair_fingerprints() for split, banks in opened.items()
    }
    assert (found["evaluation"], found["dim"]) == (["test", "val"], None)
    assert found["metrics"] == [METRICS.identity(name) for name in RECALLS]
    assert {"freebind-jax", "jax", "flax", "numpy"} <= found["versions"].keys()
    assert all(found["versions"][name] == version(name) for name in found["versions"])
    assert found["device"] == "cpu:0"


def test_its_identity_is_that_of_the_job(job, finished):
    assert files.read_json(finished / "run.json") == job.identity()


# Going on


def test_settings_and_device_reach_the_pairs_and_the_training(config, monkeypatch, tmp_path):
    """The training begins on other versions: a later process does not say that it was its own."""
    calls = {}

    def build_pairs(spec, folder, **settings):
        calls["pairs"] = spec, folder, settings["resident_bytes"]
        return pseudo.build_pairs(spec, folder, **settings)

    def train_bond(pairs, *args):
        calls["training"] = args[:-1]
        raise Interrupted("stopped by the test")

    monkeypatch.setattr(module, "build_pairs", build_pairs)
    monkeypatch.setattr(module, "train_bond", train_bond)
    monkeypatch.setattr(module, "computing_on", lambda device: nullcontext(devices.append(device)))
    devices, runtime = [], Runtime(resident_bytes=99)
    monkeypatch.chdir(tmp_path)
    here = Path(config.data.name)
    job = preflight(replace(config, data=here, device="cpu", runtime=runtime, bond="displacement"))
    for package in ("numpy", "jax", "flax", "jax", "numpy"):
        monkeypatch.setattr(module, "PACKAGES", [package])
        with pytest.raises(Interrupted):
            train(job, Silent())
    found = files.read_json(job.paths.provenance)
    assert [*found["versions"], *(p for one in found["later"] for p in one["versions"])] == [
        *("numpy", "jax", "flax")
    ]
    assert found["data"] == str(config.data)
    assert devices == ["cpu"] * 5
    assert calls["pairs"] == (job.pairs, job.pairs_folder, 99)
    settings = config.training.resolved("displacement", job.pairs.ranges)
    assert calls["training"] == ("displacement", job.paths.bond, settings, runtime)


def test_options_reach_the_report(config, monkeypatch):
    calls = []
    for name in ("plot_losses", "read_log"):
        monkeypatch.setattr(module, name, lambda *_: None)
    monkeypatch.setattr(module, "cut_once", lambda space, *args: calls.append(args) or space)
    monkeypatch.setattr(
        module, "report_space", lambda *args: calls.append(args[4]) or Report(args[0], {})
    )
    changed = replace(config, bond="direct_sum", dim=4, pool="test", metrics=("MRR",))
    job = preflight(changed)
    report(job, Bond(job.bond), Silent())
    assert calls == [(4, None, config.data, "test"), ("MRR",)]
    assert preflight(replace(changed, dim=111)).config.dim == 111
    for dims, says in (((0, 112), "1 to 111 dimensions"), ((3, 5), "cut to other dimensions")):
        for dim in dims:
            with pytest.raises(FreeBindError, match=says):
                preflight(replace(changed, dim=dim))
        np.save(config.data.parent / "basis.npy", np.empty((112, 4)))
        monkeypatch.setattr(RunPaths, "basis", config.data.parent / "basis.npy")
    preflight(changed)


def test_a_basis_is_kept_for_the_bond_that_it_was_fitted_on_alone(config, make_bond, monkeypatch):
    for name in ("plot_losses", "read_log"):
        monkeypatch.setattr(module, name, lambda *_: None)
    monkeypatch.setattr(
        module, "report_space", lambda space, *_: spaces.append(space) or Report(space, {})
    )
    spaces = []
    job, bond = preflight(replace(config, bond="direct_sum", dim=4)), make_bond("direct_sum")
    report(job, bond, Silent())
    kept = job.paths.kept_basis(FusedSpace.of(bond))
    np.testing.assert_array_equal(kept, spaces[0].last.basis)
    other = jax.tree.map(lambda x: x + np.float32(1), bond.variables)
    with pytest.raises(FreeBindError, match=r"basis of a cut(.|\n)*fits it again"):
        report(job, Bond(bond.spec, other), Silent())


def test_a_finished_run_is_read_and_not_trained_again(job, finished, contents):
    before = contents(finished / "bond")
    bond = train(job, Silent())
    assert contents(finished / "bond") == before
    assert same_numbers(bond, load_bond(finished / "bond"))


def test_reporting_again_writes_the_same_results(job, finished):
    before = (finished / "metrics.json").read_bytes()
    (finished / "metrics.json").unlink()
    (finished / "sweep.png").unlink()
    results = report(job, load_bond(finished / "bond"), Silent()).results
    assert (finished / "metrics.json").read_bytes() == before
    assert files.read_json(finished / "metrics.json")["retrieval"] == results
    assert (finished / "sweep.png").exists()


def test_the_picture_shows_the_split_val_and_what_was_chosen(run_folder, root, tmp_path):
    space, val = Run(run_folder).space, open_banks(root, "val", spaces=SPACES)
    assert space.factors == space.presets["chosen"]
    title, again = "imagebind+clap_general, val", tmp_path / "again.png"
    plot_sweep(sweep(space, val), space.presets, title, again)
    pixels = [imread(path) for path in (run_folder / "sweep.png", tmp_path / "again.png")]
    np.testing.assert_array_equal(*pixels)


def test_a_folder_of_another_run_is_not_trained_into(job, finished):
    files.write_json(finished / "run.json", job.identity() | {"bond": "displacement"})
    with pytest.raises(FreeBindError, match="results that were made from something else"):
        train(job, Silent())


def test_a_pool_that_has_changed_since_is_another_run(config, caplog):
    """Whatever else differs, too: the message says what the run was trained on."""
    files.claim(config.folder / "run.json", preflight(config).identity(), "results")
    remove_items(Split(config.data / "pool"), "audio", ["synthetic-pool-audio-5"])
    add_text(Split(config.data / "pool"), 130)
    with pytest.raises(FreeBindError, match=r"the pool(.|\n)*first 130 rows(.|\n)*--out") as error:
        preflight(config)
    assert error.match(r"which has 131 now, and 1 audio items that were removed since")
    preflight(replace(config, out=config.data.parent / "other"))


def test_altered_pairs_are_not_trained_on(job, finished):
    shutil.rmtree(finished / "bond")
    shard = next(job.pairs_folder.glob("text/*/emb_00000.npy"))
    np.save(shard, -np.load(shard))
    with pytest.raises(FreeBindError, match=r"altered after it was written\n.*emb_00000.npy"):
        train(job, Silent())


# Run


def test_a_run_gives_its_bond_and_the_figures_that_it_recorded(run_folder):
    run = Run(run_folder)
    assert (run.bond.kind, run.bond.shared, run.splits) == (
        "combination",
        ("text", "audio"),
        ["test", "val"],
    )
    recorded = files.read_json(run_folder / "metrics.json")["retrieval"]
    assert {split: run.evaluate(split) for split in run.splits} == recorded


def test_a_run_evaluates_any_point_and_any_banks(run_folder, root):
    run, points = Run(run_folder), {"mine": {"audio": 0.5, "text": 0.1}}
    found = run.evaluate("val", points, data=root)
    assert found["mine"] == run.evaluate("val")["versatile"]


def test_the_default_space_is_at_the_chosen_factors_and_else_at_the_first_preset(finished, caplog):
    bond, run = load_bond(finished / "bond"), Run(finished)
    assert run.space == FusedSpace.of(bond).choosing(run.chosen.factors)
    assert not caplog.records
    (finished / "metrics.json").unlink()
    assert run.space == FusedSpace.of(bond) == FusedSpace.of(bond, at="versatile")
    assert "no metrics.json, so its factors are those of the preset" in caplog.text


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(FreeBindError, match=r"not a run folder\n(.|\n)*run\.json"):
        Run(tmp_path)


def test_an_unfinished_run_is_refused(finished):
    shutil.rmtree(finished / "bond" / "checkpoints")
    with pytest.raises(FreeBindError, match=r"not trained to its end(.|\n)*step 66"):
        Run(finished)


def test_banks_that_changed_since_are_noticed(finished, root, tmp_path):
    home = shutil.copytree(root, tmp_path / "home")
    manifest = home / "test/embeddings/imagebind/text/manifest.json"
    found = files.read_json(manifest)
    files.write_json(manifest, found | {"about": found["about"] | {"missing": [0]}})
    recorded = files.read_json(finished / "provenance.json")
    files.write_json(finished / "provenance.json", recorded | {"data": str(home)})
    run = Run(finished)
    with pytest.raises(FreeBindError, match=r"banks have changed(.|\n)*--data"):
        run.open_banks("test")
    assert len(run.open_banks("test", data=home).rows["text"]) == 59
    assert len(run.open_banks("val").rows["text"]) == 40


def test_a_run_says_what_it_knew_of_banks_that_have_grown_since(finished, root, tmp_path, caplog):
    home = shutil.copytree(root, tmp_path / "home")
    recorded = files.read_json(finished / "provenance.json")
    files.write_json(finished / "provenance.json", recorded | {"data": str(home)})
    for split, count in ((Split(home / "pool"), 130), (Split(home / "test"), 60)):
        add_text(split, count)
    remove_items(Split(home / "test"), "audio", ["synthetic-test-audio-5"])
    banks = Run(finished).open_banks("test")
    assert (len(banks.rows["text"]), len(banks.rows["audio"])) == (60, 59)
    for told in (
        "test: this run knows the first 60 rows of imagebind/text, which has 61 now",
        "test: this run knows 1 audio items that were removed since",
        "pool: this run was trained on the first 130 rows of imagebind/text, which has 131 now",
    ):
        assert told in caplog.text


def test_what_is_gone_or_has_changed_since_the_last_results_is_told_and_not_what_is_new(caplog):
    recorded = {"test": {"a/text": "1"}, "val": {"a/text": "1", "pairs/audio-text": "2"}}
    here = {
        "test": {"a/text": "1", "b/text": "2", "items/text-removed": "2"},
        "val": {"a/text": "2"},
    }
    tell_changed(recorded, here, "banks")
    assert [record.message for record in caplog.records] == [
        "banks: gone since the last results, which are computed again: val/pairs/audio-text",
        "banks: changed since the last results: test/items/text-removed, val/a/text",
    ]


def test_altered_banks_are_not_evaluated(finished, root, tmp_path):
    home = shutil.copytree(root, tmp_path / "home")
    shard = home / "test/embeddings/imagebind/text/emb_00000.npy"
    np.save(shard, -np.load(shard))
    with pytest.raises(FreeBindError, match=r"altered(.|\n)*imagebind/text/emb_00000.npy"):
        Run(finished).evaluate("test", data=home)


# Reporters


def test_a_finished_run_is_checked_and_evaluated_task_by_task(job):
    class Recorder(Silent):
        def task(self, title, total):
            tasks.append((title, total))
            return super().task(title, total)

    tasks = []
    assert isinstance(Recorder(), Reporter)
    report(job, train(prepare(job.config, Recorder()), Recorder()), Recorder())
    assert tasks == [
        ("checking the banks", 0),
        ("training", 66),
        ("factors of imagebind+clap_general", 0),
        ("evaluation of imagebind+clap_general", 2),
    ]


def test_a_pool_alone_gives_no_results_to_plot(finished, root, tmp_path, caplog):
    home = tmp_path / "home"
    shutil.copytree(root / "pool", home / "pool")
    alone = preflight(
        parse_config(["--config", str(finished / "config.yaml"), "--data", str(home)])
    )
    assert report(alone, train(alone, Silent()), Silent()).results == {}
    assert "test/pairs/audio-text" in caplog.text
    assert not (finished / "sweep.png").exists()


def test_without_a_table_a_run_is_evaluated_again_and_keeps_its_results_until_then(
    finished, root, tmp_path
):
    home = shutil.copytree(root, tmp_path / "home")
    (home / "val/pairs/audio-text.npy").unlink()
    old = [
        (path, path.read_bytes())
        for path in map(finished.joinpath, ("metrics.json", "provenance.json"))
    ]
    args = ["--config", str(finished / "config.yaml"), "--data", str(home)]
    job = prepare(parse_config(args), Silent())
    bond = train(job, Silent())
    with (
        disturbed(At("disturb.write", 1, "ENOSPC", on="metrics.json")),
        pytest.raises(FreeBindError),
    ):
        report(job, bond, Silent())
    assert old == [(path, path.read_bytes()) for path, _ in old]
    results = report(job, bond, Silent()).results
    assert "audio-text" not in results["val"]["unified"]
    assert Run(finished).evaluate("val") == results["val"]


def test_a_finished_run_needs_its_pairs_no_more(job, finished):
    shutil.rmtree(finished.parent / "pairs")
    assert same_numbers(train(job, Silent()), load_bond(finished / "bond"))
    assert not (finished.parent / "pairs").exists()


def test_pairs_that_changed_since_are_noticed(finished, root, tmp_path):
    home = shutil.copytree(root, tmp_path / "home")
    provenance = files.read_json(finished / "provenance.json")
    files.write_json(finished / "provenance.json", provenance | {"data": str(home)})
    table = np.load(home / "test/pairs/audio-text.npy")
    Split(home / "test").write_pairs("audio", "text", np.roll(table[:, ::-1], 1, axis=0)[1:])
    with pytest.raises(FreeBindError, match=r"have changed(.|\n)*pairs/audio-text"):
        Run(finished).evaluate("test")


def test_a_table_that_is_new_is_evaluated_and_recorded_when_the_run_is_repeated(
    run_folder, root, tmp_path, monkeypatch
):
    home = shutil.copytree(root, tmp_path / "home")
    table = home / "val/pairs/audio-text.npy"
    hidden = table.rename(tmp_path / "hidden.npy")
    finished = shutil.copytree(run_folder.parent, tmp_path / "work") / "run"
    (finished / "provenance.json").unlink()
    monkeypatch.chdir(finished.parent)
    args = ["--config", str(finished / "config.yaml"), "--data", str(home)]
    for there in (False, True):
        if there:
            shutil.copy(hidden, table)
            Run(finished).evaluate("val", data=home)  # what is new stops nobody
        job = prepare(parse_config(args), Silent())
        results = report(job, train(job, Silent()), Silent()).results
        recorded = files.read_json(finished / "provenance.json")["banks"]["val"]
        assert ("audio-text" in results["val"]["unified"]) == there
        assert ("pairs/audio-text" in recorded) == there
        assert Run(finished).evaluate("val") == results["val"]  # of the root that was read last
