import copy
import shutil
import signal
from dataclasses import asdict, fields, replace
from functools import partial
from importlib import import_module
from itertools import count
from types import SimpleNamespace
from typing import ClassVar

import jax
import numpy as np
import pytest
from disturb import At
from ranges import assert_range
from twin import PARITY, error, load, named, numbers, to_torch, train

from fb_jax import files
from fb_jax.errors import FreeBindError, Interrupted
from fb_jax.projector import subset_name
from fb_jax.pseudo import Chunks, Retrieval, build_pairs
from fb_jax.registry import LOSSES
from fb_jax.training import (
    Runtime,
    Training,
    describe_bond,
    is_trained,
    load_bond,
    read_log,
    train_bond,
)
from fb_jax.training.bond_folder import first_state
from fb_jax.training.checkpoint import Checkpoints
from fb_jax.training.feed import Feed
from fb_jax.training.step import lanes_step

module = import_module("fb_jax.training.train")
HOW = Training(batch=10, epochs=1, hidden=16, seed=21)  # a seed far from ReLU's kink: test_step.py
OFTEN = Runtime(checkpoint_steps=10, log_steps=1)
STEPS = 33
SPACES = {"unified": "imagebind", "expert": "clap_general"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of a combination that was trained undisturbed. Read only."""
    return tmp_path_factory.mktemp("undisturbed")


@pytest.fixture(scope="module")
def bond(pairs, folder):
    return train_bond(pairs, "combination", folder, HOW, OFTEN)


@pytest.fixture
def copied(bond, folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copied")


def schedule_of(pairs, kind, how):
    return how.schedule(describe_bond(pairs.spec, kind), pairs.spec.ranges)


def assert_same_bits(found, wanted):
    for left, right in zip(*(jax.tree.leaves(b.variables) for b in (found, wanted)), strict=True):
        np.testing.assert_array_equal(left, right, strict=True)


def losses(folder):
    return [(line["step"], line["losses"]) for line in read_log(folder / "metrics.jsonl")]


def saved_steps(folder):
    return Checkpoints(folder / "checkpoints").steps()


def stop_at(call):
    """A progress that is called so many times before it interrupts."""
    calls = count(1)

    def progress(_steps, _loss):
        if next(calls) == call:
            raise Interrupted("stopped by the test")

    return progress


def test_a_trained_bond_tells_what_it_is(bond, pairs):
    assert (bond.kind, bond.unified, bond.expert) == ("combination", *SPACES.values())
    assert bond.shared == ("text", "audio")
    assert len(bond.members) == 7
    assert bond.project(pairs.columns["expert", "text"][:9]).shape == (9, 64)


def assert_trained_as_by_torch(bond, pairs, how):
    schedule = how.schedule(bond.spec, pairs.spec.ranges)
    first = first_state(bond.spec, how.seed).variables
    for member, steps in enumerate(schedule.steps):
        batches = (
            [
                [
                    to_torch(pairs.columns[side, modality][schedule.rows(member, step)])
                    for modality in pairs.spec.modalities(side)
                ]
                for side in (bond.direction.source, bond.direction.target)
            ]
            for step in range(steps)
        )
        projector = load(named(first, member))
        train(projector, batches)
        found = named(bond.variables, member)
        for name, wanted in numbers(projector).items():
            assert error(found[name], wanted) < PARITY["float32"], (member, name)


def test_a_combination_is_the_seven_projectors_that_torch_trains_one_by_one(pairs, bond):
    """From the same first weights, each on its own batches, whatever lane it was in when."""
    assert_trained_as_by_torch(bond, pairs, HOW)


def test_a_displacement_is_too_also_where_a_lane_is_idle(pairs, tmp_path):
    how = replace(HOW, batch=40)
    *_, last = schedule_of(pairs, "displacement", how).segments
    assert len(last.members) == 3
    bond = train_bond(pairs, "displacement", tmp_path, how, OFTEN)
    assert bond.project(pairs.columns["unified", "image"][:9]).shape == (9, 48)
    assert_trained_as_by_torch(bond, pairs, how)


def test_every_step_is_logged_with_the_members_that_took_part(bond, folder, pairs):
    schedule = schedule_of(pairs, "combination", HOW)
    steps, logged = zip(*losses(folder), strict=True)
    assert steps == tuple(range(1, STEPS + 1))
    for segment in schedule.segments:
        active = {subset_name(schedule.members[member]) for member in segment.members}
        assert all(line.keys() == active for line in logged[segment.start : segment.stop])


def test_the_loss_falls(bond, folder):
    thirds = []
    for member in map(subset_name, bond.members):
        course = [line[member] for _, line in losses(folder) if member in line]
        thirds.append([np.mean(third) for third in np.array_split(course, 3)])
    first, middle, last = np.mean(thirds, axis=0)
    assert first > middle > last


def test_progress_adds_up_to_the_steps_and_hears_of_the_loss(pairs, tmp_path, bond, folder):
    told = []
    train_bond(
        pairs, "combination", tmp_path, HOW, OFTEN, lambda steps, loss: told.append((steps, loss))
    )
    assert [steps for steps, _ in told] == [0] + [1] * STEPS
    for (_, heard), (_, line) in zip(told[1:], losses(folder), strict=True):
        assert heard == pytest.approx(np.mean(list(line.values())), rel=1e-6)


def test_the_folder_holds_metrics_curves_and_the_last_checkpoints(bond, folder):
    assert {path.name for path in folder.iterdir()} == {
        *(".lock", "bond.json", "metrics.jsonl", "tensorboard", "checkpoints")
    }
    assert saved_steps(folder) == [30, 33]
    (events,) = (folder / "tensorboard").iterdir()
    assert b"loss/text_image_audio" in events.read_bytes()


@pytest.mark.parametrize(
    "runtime",
    [Runtime(), Runtime(checkpoint_steps=7, resident_bytes=0)],
    ids=["by default", "saving at odd steps, streamed"],
)
def test_how_it_runs_does_not_change_the_result(pairs, bond, tmp_path, runtime):
    assert_same_bits(train_bond(pairs, "combination", tmp_path, HOW, runtime), bond)
    assert saved_steps(tmp_path) == ([33] if runtime == Runtime() else [28, 33])


@pytest.mark.parametrize("short", [0, 1], ids=["fits", "a byte too large"])
def test_runtime_settings_reach_the_feed_the_lanes_and_the_log(pairs, tmp_path, monkeypatch, short):
    """Pairs of just the resident bytes are held; losses are logged every few steps."""
    held, executions = [], []
    execution = ("map", "vmap")[short]
    runtime = Runtime(
        log_steps=4, resident_bytes=pairs.spec.table_bytes() - short, lane_execution=execution
    )

    def feed(*args, resident, **settings):
        held.append(resident)
        return Feed(*args, resident=resident, **settings)

    def step(*args, execution, **settings):
        executions.append(execution)
        return lanes_step(*args, execution=execution, **settings)

    monkeypatch.setattr(module, "Feed", feed)
    monkeypatch.setattr(module, "lanes_step", step)
    train_bond(pairs, "combination", tmp_path, HOW, runtime)
    assert held == [not short]
    for name, fastest in (("cpu", "map"), ("gpu", "vmap")):
        monkeypatch.setattr(module, "platform", lambda name=name: name)
        assert module.default_execution() == fastest
    assert set(executions) == {execution}
    stops = {segment.stop for segment in schedule_of(pairs, "combination", HOW).segments}
    assert {step for step, _ in losses(tmp_path)} == {*range(4, STEPS, 4), *stops}


def test_a_checkpoint_is_also_due_by_the_clock_and_speed_is_rows_by_seconds(
    pairs, tmp_path, monkeypatch
):
    """Ten seconds a step, and a checkpoint every half a minute."""
    now = [0]

    def progress(steps, _loss):
        now[0] += 10 * steps
        if now[0] == 80:
            raise Interrupted("stopped by the test")

    clock = SimpleNamespace(monotonic=lambda: float(now[0]))
    monkeypatch.setattr(import_module("fb_jax.training.loop"), "time", clock)
    runtime = Runtime(checkpoint_steps=1000, checkpoint_minutes=0.5, log_steps=2)
    with pytest.raises(Interrupted):
        train_bond(pairs, "combination", tmp_path, HOW, runtime, progress)
    assert saved_steps(tmp_path) == [6, 8]
    speeds = [line["rows_per_second"] for line in read_log(tmp_path / "metrics.jsonl")]
    assert speeds == [2 * 4 * 10 / 10] + [2 * 4 * 10 / 20] * 3


OTHER = {
    "batch": 11,
    "epochs": 2,
    "pipeline": "exmcr",
    "hidden": 8,
    "loss": "mse",
    "learning_rate": 1e-4,
    "temperature": 0.5,
    "noise": 0.01,
    "ensemble": 0.5,
    "symmetric": False,
    "precision": "bf16",
    "seed": 1,
}
ONLY_OF_RIVALS = "intra"


@pytest.mark.parametrize(
    "name", [field.name for field in fields(Training) if field.name != ONLY_OF_RIVALS]
)
def test_every_setting_of_a_training_reaches_the_numbers_and_the_claim(
    pairs, bond, copied, mse, name
):
    other = replace(HOW, **{name: OTHER[name]})
    assert train_bond(pairs, "combination", None, other) != bond
    with pytest.raises(FreeBindError, match=rf"something else(.|\n)*{name}"):
        train_bond(pairs, "combination", copied, other, OFTEN)
    assert saved_steps(copied) == [30, 33]
    known = {name: x for name, x in asdict(other).items() if (name, x) != ("ensemble", 0.0)}
    assert other.identity() == known | {"loss": LOSSES.identity(other.loss)}


@pytest.mark.parametrize("kind", ["cmcr", "exmcr"])
def test_rivals_train_and_resume_to_the_same_bits(pairs, tmp_path, kind):
    """With their noise, AdamW and the decay of its rate, which depend on the step."""
    how = replace(HOW, epochs=3)
    undisturbed = train_bond(pairs, kind, None, how)
    with pytest.raises(Interrupted):
        train_bond(pairs, kind, tmp_path, how, OFTEN, stop_at(8))
    assert_same_bits(train_bond(pairs, kind, tmp_path, how, OFTEN), undisturbed)
    # Ex-MCR has its term only for modalities that the target lacks: here there are none.
    others = [{"noise": 0.01}, *([{"intra": 0.7}] if kind == "cmcr" else [])]
    for other in (replace(how, **settings) for settings in others):
        assert train_bond(pairs, kind, None, other) != undisturbed
        with pytest.raises(FreeBindError, match="something else"):
            train_bond(pairs, kind, tmp_path, other, OFTEN)


@pytest.mark.parametrize("step", [0, 1, 7, 20, 22, 33])
def test_interrupted_and_resumed_is_the_same_as_undisturbed(pairs, bond, folder, tmp_path, step):
    with pytest.raises(Interrupted):
        train_bond(pairs, "combination", tmp_path, HOW, OFTEN, stop_at(step + 1))
    assert saved_steps(tmp_path)[-1:] == ([step] if step else [])
    resumed = train_bond(pairs, "combination", tmp_path, HOW, OFTEN)
    assert_same_bits(resumed, bond)
    assert losses(tmp_path) == losses(folder)


TRAIN = """
from importlib import import_module
from pathlib import Path
from fb_jax.banks import open_banks
from fb_jax.pseudo import Chunks, PairSet, PairSpec, Retrieval
from fb_jax.training import Runtime, Training, train_bond

banks = open_banks({root!r}, spaces=("imagebind", "clap_general"))
spec = PairSpec(banks, "imagebind", "clap_general", {retrieval!r})
pairs = PairSet.open(Path({pairs!r}), spec)
show = lambda steps, loss: print(steps, flush=True)
train_bond(pairs, "combination", Path("bond"), {how!r}, {often!r}, show)
"""


def test_killed_and_run_again_it_ends_in_the_same_bits(python, pairs, bond, folder, tmp_path):
    root, retrieval = str(pairs.spec.banks.split.path.parent), pairs.spec.retrieval
    given = {"root": root, "retrieval": retrieval, "pairs": str(pairs.folder)}
    code = TRAIN.format(**given, how=HOW, often=OFTEN)
    killed = python(code, cwd=tmp_path, at=[At("builtins.print", 24)])
    assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, "0\n" + 22 * "1\n")
    own = tmp_path / "bond"
    assert saved_steps(own) == [10, 20]
    assert len(losses(own)) == 23
    assert_same_bits(train_bond(pairs, "combination", own, HOW, OFTEN), bond)
    assert losses(own) == losses(folder)


def test_a_trained_bond_is_only_read(pairs, bond, copied):
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*")}
    assert_same_bits(train_bond(pairs, "combination", copied, HOW, OFTEN, stop_at(1)), bond)
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*")} == before


def test_a_loaded_bond_is_the_trained_one_without_pairs_or_banks(bond, folder):
    loaded = load_bond(folder)
    assert loaded == bond
    assert_same_bits(loaded, bond)


def test_an_unfinished_bond_is_not_loaded(pairs, tmp_path):
    with pytest.raises(Interrupted):
        train_bond(pairs, "combination", tmp_path, HOW, OFTEN, stop_at(8))
    with pytest.raises(FreeBindError, match="not trained to its end") as refused:
        load_bond(tmp_path)
    assert "step 33" in str(refused.value)
    assert "[7]" in str(refused.value)


def test_a_bond_is_trained_when_its_last_checkpoint_is_there(bond, folder, copied, tmp_path):
    assert is_trained(folder)
    assert not is_trained(tmp_path)
    (copied / "checkpoints" / "33.json").unlink()
    assert not is_trained(copied)


def test_where_no_bond_is_none_is_loaded(tmp_path):
    with pytest.raises(FreeBindError, match=r"missing\n.*bond\.json"):
        load_bond(tmp_path)


def test_a_damaged_checkpoint_is_neither_loaded_nor_trained_on(pairs, copied):
    path = next((copied / "checkpoints" / "33").rglob("manifest.ocdbt"))
    path.write_bytes(path.read_bytes()[:-1])
    for use in (lambda: load_bond(copied), lambda: train_bond(pairs, "combination", copied, HOW)):
        with pytest.raises(FreeBindError, match="altered"):
            use()


def test_a_folder_of_a_bond_of_another_kind_is_refused(pairs, copied):
    with pytest.raises(FreeBindError, match="something else"):
        train_bond(pairs, "displacement", copied, HOW, OFTEN)


def test_two_trainings_never_share_a_folder(pairs, copied):
    with files.locked(copied), pytest.raises(FreeBindError, match="another process"):
        train_bond(pairs, "combination", copied, HOW, OFTEN)


def test_a_folder_of_a_training_on_other_pairs_is_refused(pairs, copied, tmp_path):
    retrieval = replace(pairs.spec.retrieval, dtype="float32")
    others = build_pairs(replace(pairs.spec, retrieval=retrieval), tmp_path / "others")
    with pytest.raises(FreeBindError, match="something else"):
        train_bond(others, "combination", copied, HOW, OFTEN)


def with_columns(pairs, columns):
    changed = copy.copy(pairs)
    changed.columns = {**pairs.columns, **columns}
    return changed


def test_a_loss_that_is_not_finite_stops_with_step_and_projector(pairs, tmp_path):
    """A NaN in one audio: whoever meets it first is named, at the step of that meeting."""
    schedule = schedule_of(pairs, "combination", HOW)
    row, column = pairs.spec.ranges["audio"][3], ("unified", "image")
    rows = pairs.columns[column][:]
    rows[row] = np.nan
    step, segment = next(
        (step, segment)
        for segment in schedule.segments
        for step in range(segment.start, segment.stop)
        if row in schedule[step]
    )
    lane = int(np.argmax((schedule[step] == row).any(axis=1)))
    name = subset_name(schedule.members[segment.members[lane]])
    runtime = Runtime(checkpoint_steps=1, log_steps=5)
    with pytest.raises(FreeBindError, match="the loss is not finite") as stopped:
        train_bond(with_columns(pairs, {column: rows}), "combination", tmp_path, HOW, runtime)
    assert f"step {step + 1}, projector {name}\n" in str(stopped.value)
    assert saved_steps(tmp_path)[-1:] == ([step] if step else [])


@pytest.mark.parametrize("part", ["params", "batch_stats"])
@pytest.mark.parametrize(
    ("number", "says"),
    [
        (np.inf, "the weights are not finite"),
        (-1e16, r"grown without bound\n.*\n.*-1e\+06 to 1e\+06"),
        (1.01e6, "grown without bound"),
        (-0.99e6, None),
    ],
)
def test_weights_that_blow_up_are_never_saved(pairs, tmp_path, monkeypatch, number, part, says):
    """The loss comes before the step: at the first one it is as it should be."""
    module = import_module("fb_jax.training.train")

    def blown(state, batch, **options):
        state, losses = lanes_step(state, batch, **options)
        leaves, tree = jax.tree.flatten(getattr(state.variables, part))
        leaves[-1] = leaves[-1].at[-1].set(number)
        variables = state.variables._replace(**{part: jax.tree.unflatten(tree, leaves)})
        return state._replace(variables=variables), losses

    monkeypatch.setattr(module, "lanes_step", blown)
    train = partial(train_bond, pairs, "combination", tmp_path, HOW, Runtime(checkpoint_steps=1))
    if says is None:
        with pytest.raises(Interrupted):
            train(stop_at(3))
        return
    with pytest.raises(FreeBindError, match=rf"{says}(.|\n)*lower --training.learning-rate") as bad:
        train()
    *_, last = schedule_of(pairs, "combination", HOW).segments[0].members
    name = subset_name(describe_bond(pairs.spec, "combination", 16).members[last])
    assert f"step 1, projector {name}\n" in str(bad.value)
    assert "the last good checkpoint, step 0, is kept" in str(bad.value)
    assert saved_steps(tmp_path) == []


@pytest.mark.parametrize(
    ("kind", "name", "lowest", "highest", "outside"),
    [
        (Training, "batch", 2, 1 << 20, [1, (1 << 20) + 1, True]),
        (Training, "epochs", 1, 100_000, [0, 100_001]),
        (Training, "hidden", 1, 65536, [-1, 65537]),
        (Training, "seed", 0, 2**32 - 1, [-1, 2**32]),
        (Training, "learning_rate", 1e-8, 1.0, [0.0, 9e-9, 1.01, np.nan, np.inf]),
        (Training, "temperature", 1e-4, 100.0, [-0.02, 0.0, 9e-5, 101.0, np.nan]),
        (Training, "noise", 0.0, 1.0, [-0.1, 1.1, np.nan]),
        (Training, "intra", 0.0, 1000.0, [-0.1, 1001.0, np.nan]),
        (Training, "ensemble", 0.0, 1000.0, [-0.1, 1001.0, np.nan]),
        (Runtime, "checkpoint_steps", 1, 10**9, [0, 10**9 + 1]),
        (Runtime, "checkpoint_minutes", 0.0, 1e5, [-0.1, 2e5, np.nan]),
        (Runtime, "log_steps", 1, 10**9, [0, -3]),
        (Runtime, "resident_bytes", 0, 1 << 60, [-1, 1 << 61]),
        (Retrieval, "temperature", 1e-4, 100.0, [0.0, 9e-5, 100.1, np.nan]),
        (Chunks, "queries", 1, 1 << 24, [0, (1 << 24) + 1]),
        (Chunks, "keys", 1, 1 << 24, [0, (1 << 24) + 1]),
        (Chunks, "inner", 1, 1 << 24, [-1, True]),
    ],
)
def test_every_setting_has_a_range_that_its_help_states(kind, name, lowest, highest, outside):
    assert_range(kind, name, lowest, highest, outside)


def test_seeds_up_to_the_last_give_different_weights(pairs):
    spec = describe_bond(pairs.spec, "combination", 4)
    first = [jax.tree.leaves(first_state(spec, seed))[0] for seed in (0, 1, 2**31, 2**32 - 1)]
    assert len({np.asarray(leaf).tobytes() for leaf in first}) == 4


def test_unless_told_a_bond_takes_the_epochs_of_the_paper(pairs):
    how = replace(HOW, epochs=None)
    for kind, epochs in (("combination", 20), ("displacement", 5)):
        assert len(schedule_of(pairs, kind, how)) == epochs * 33


def test_a_batch_that_a_subset_cannot_fill_is_refused_before_anything_is_written(pairs, tmp_path):
    with pytest.raises(FreeBindError, match="subset image\n"):
        train_bond(pairs, "combination", tmp_path / "bond", replace(HOW, batch=91))
    assert not (tmp_path / "bond").exists()


# Without a folder


def test_without_a_folder_a_bond_is_trained_in_memory_to_the_same_bits(pairs, bond, tmp_path):
    class Seen:
        steps: ClassVar[list] = []

        def log(self, step, values):
            self.steps.append((step, set(values)))

    assert train_bond(pairs, "combination", None, HOW, OFTEN, loggers=[Seen()]) == bond
    assert len(Seen.steps) == STEPS
    assert Seen.steps[0][1] >= {"loss/text+image+audio", "rows_per_second"}
    assert not list(tmp_path.iterdir())


# A loss of one's own


def weight(x):
    return x


@pytest.fixture
def mse(monkeypatch):
    """A registered loss."""

    def mse(projected, target, **_settings):
        terms = [(x - y) ** 2 for x in projected.values() for y in target.values()]
        return weight(sum(term.sum(axis=1).mean() for term in terms))

    monkeypatch.setitem(LOSSES._methods, "mse", mse)


def test_an_edited_loss_never_brings_back_the_old_bond(pairs, mse, tmp_path, monkeypatch):
    """Neither from its folder nor, in the same session, from what was compiled before."""
    settings = replace(HOW, loss="mse")
    before = train_bond(pairs, "combination", tmp_path / "a", settings, OFTEN)
    monkeypatch.setitem(globals(), "weight", lambda x: x**2)
    with pytest.raises(FreeBindError, match=r"something else(.|\n)*training\.loss\.code"):
        train_bond(pairs, "combination", tmp_path / "a", settings, OFTEN)
    assert train_bond(pairs, "combination", None, settings) != before
    assert load_bond(tmp_path / "a") == before


def test_half_precision_trains_near_full_precision(pairs, bond):
    half = train_bond(pairs, "combination", None, replace(HOW, precision="bf16"))
    rows = pairs.columns["expert", "text"][:50]
    cosine = (half.project(rows) * bond.project(rows)).sum(axis=1)
    assert 1e-7 < 1 - cosine.mean() < 1e-2


def test_tensor_float_on_a_cpu_is_refused_before_the_folder_is_touched(pairs, tmp_path):
    with pytest.raises(FreeBindError, match="tf32 needs a GPU"):
        train_bond(pairs, "combination", tmp_path / "a", replace(HOW, precision="tf32"))
    assert not (tmp_path / "a").exists()


def test_loggers_of_the_caller_stay_open(pairs):
    class Closing:
        closed = False

        def log(self, step, values):
            assert not self.closed

        def close(self):
            self.closed = True

    logger = Closing()
    for _ in range(2):
        train_bond(pairs, "combination", None, HOW, OFTEN, loggers=[logger])


def test_an_unknown_logger_is_refused_before_training(pairs):
    with pytest.raises(FreeBindError, match="no logger 'tensorbord'"):
        train_bond(pairs, "combination", None, HOW, Runtime(loggers=("tensorbord",)))
