from importlib import import_module

import numpy as np
import pytest

from fb_jax.banks import BankSet, open_banks
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import evaluate, sweep
from fb_jax.evaluation.surfaces.choosing import Aim, choose
from fb_jax.fusion import FusedSpace
from fb_jax.pseudo import Retrieval
from fb_jax.run import Silent, fit
from fb_jax.run.hubs import hub_corrected
from fb_jax.training import Runtime, Training

fit_module, pairs_module, training_module = map(
    import_module, ("fb_jax.run.fit", "fb_jax.pseudo", "fb_jax.training")
)
SPACES = ("imagebind", "clap_general")
QUICK = Training(batch=10, epochs=2, hidden=32)


def arrays(banks: BankSet, space: str) -> dict[str, np.ndarray]:
    return {m: banks[space, m][:] for m in banks.modalities(space)}


@pytest.fixture(scope="module")
def unified(pool):
    return arrays(pool, "imagebind")


@pytest.fixture(scope="module")
def expert(pool):
    return arrays(pool, "clap_general")


@pytest.fixture(scope="module")
def validation(root):
    val = open_banks(root, "val", spaces=SPACES)
    spaces = {name: arrays(val, space) for name, space in zip(("u", "e"), SPACES, strict=True)}
    pairs = {("audio", "text"): None, ("image", "text"): None}
    return BankSet.from_arrays(spaces, pairs, "val")


@pytest.fixture(scope="module")
def space(unified, expert):
    return fit(unified, expert, training=QUICK)


def test_arrays_become_a_fused_space_and_nothing_is_written(space, unified, expert, tmp_path):
    assert (space.spaces, space.factors) == (("unified", "expert"), {"audio": 0.5, "text": 0.1})
    rows = space.fuse("audio", {"unified": unified["audio"][:4], "expert": expert["audio"][:4]})
    assert rows.shape == (4, 64)
    assert not list(tmp_path.iterdir())


def test_the_fused_space_knows_what_the_expert_knows(unified, expert, validation, monkeypatch):
    monkeypatch.setattr("fb_jax.evaluation.hubs.TOO_FEW", 10)
    pool = {"u": unified, "e": expert}
    space = fit(unified, expert, names=("u", "e"), training=QUICK, validation=validation)
    assert space.factors == space.presets["chosen"]
    assert space.factors == choose(sweep(space, validation), Aim()).factors
    aimed = fit(
        unified, expert, names=("u", "e"), training=QUICK, validation=validation, aim="audio-text"
    )
    assert aimed.factors == choose(sweep(space, validation), Aim("audio-text")).factors
    corrected = fit(
        *(unified, expert),
        **{"names": ("u", "e"), "training": QUICK, "validation": validation, "hubs": "chosen"},
    )
    assert corrected.plain == space
    assert (
        corrected.hubs
        == hub_corrected(space, lambda: BankSet.from_arrays(pool), validation)[0].hubs
    )
    assert corrected.hubs is not None
    results = evaluate(space, validation, {"chosen": space.factors})
    before, after = (results[m]["audio-text"]["R@1"] for m in ("unified", "chosen"))
    assert after > before


def test_a_correction_without_validation_pairs_is_left_out_which_is_said(unified, expert, caplog):
    fitted = fit(unified, expert, names=("house", "e"), training=QUICK, hubs="chosen")
    assert fitted.hubs is None
    assert "house+e: no validation pairs, so no hub correction is chosen" in caplog.text


def test_a_modality_that_only_the_expert_has_is_named(unified, expert, caplog):
    misspelt = {"text": expert["text"], "audoi": expert["audio"]}
    fit(unified, misspelt, names=("house", "e"), training=QUICK)
    assert "house has no audoi; e brings it" in caplog.text


def test_with_a_folder_the_same_call_continues_to_the_same_space(space, unified, expert, tmp_path):
    tasks = []

    class Recorder(Silent):
        def task(self, title, total):
            tasks.append((title, total))
            return super().task(title, total)

    for _ in range(2):
        again = fit(unified, expert, training=QUICK, folder=tmp_path, reporter=Recorder())
        assert again == space
    assert tasks == [("pseudo pairs", 330), ("training", 66)] * 2
    assert {path.name for path in tmp_path.iterdir()} == {"pairs", "bond"}


def test_kind_and_settings_reach_the_pairs_and_the_training(unified, expert, monkeypatch):
    calls = {}

    def build_pairs(spec, folder, **settings):
        calls["pairs"] = spec.retrieval, folder, settings["resident_bytes"]
        return pairs_module.build_pairs(spec, folder, **settings)

    def train_bond(pairs, *args):
        calls["training"] = args[:-1]
        return training_module.train_bond(pairs, *args)

    monkeypatch.setattr(fit_module, "build_pairs", build_pairs)
    monkeypatch.setattr(fit_module, "train_bond", train_bond)
    retrieval, runtime = Retrieval(temperature=0.02), Runtime(resident_bytes=99)
    space = fit(
        unified,
        expert,
        kind="displacement",
        retrieval=retrieval,
        training=QUICK,
        runtime=runtime,
    )
    assert calls["pairs"] == (retrieval, None, 99)
    assert calls["training"] == ("displacement", None, QUICK, runtime)
    assert space.dim == 48


def test_arrays_that_do_not_go_together_are_refused(unified, expert):
    with pytest.raises(FreeBindError, match="number of text items"):
        fit(unified, {**expert, "text": expert["text"][1:]}, training=QUICK)
    with pytest.raises(FreeBindError, match="no plan of pseudo pairs"):
        fit(unified, {"text": expert["text"]}, training=QUICK)


def test_a_saved_fit_is_loaded(space, tmp_path):
    space.save(tmp_path / "mine", "mine")
    assert FusedSpace.load(tmp_path / "mine") == space.named("mine")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"unified": {}}, r"no embeddings(.|\n)*unified"),
        ({"expert": {"text": [[1.0, 2.0], [3.0]]}}, r"not a matrix(.|\n)*expert/text"),
    ],
)
def test_what_cannot_be_fitted_is_refused(unified, expert, changed, says):
    with pytest.raises(FreeBindError, match=says):
        fit(**{"unified": unified, "expert": expert, "training": QUICK, **changed})


class NoWork(Silent):
    def task(self, title, total):
        raise AssertionError(title)


def test_an_aim_that_validation_has_no_pairs_for_is_refused_before_training(
    unified, expert, validation
):
    own = {"names": ("u", "e"), "training": QUICK, "validation": validation, "reporter": NoWork()}
    with pytest.raises(FreeBindError, match=r"'audio-image'(.|\n)*audio-text, image-text"):
        fit(unified, expert, aim="image-audio", **own)


def test_validation_under_other_names_is_refused_before_training(unified, expert, validation):
    with pytest.raises(FreeBindError, match=r"nothing to evaluate(.|\n)*rows of u, e"):
        fit(unified, expert, training=QUICK, validation=validation, reporter=NoWork())
