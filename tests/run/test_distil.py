from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from made import every_kind, native_rows, random_bond

from fb_jax.banks import BankSet, unit_rows
from fb_jax.errors import FreeBindError, Interrupted
from fb_jax.evaluation import evaluate
from fb_jax.fusion import FusedSpace, digest
from fb_jax.fusion.card import model_card
from fb_jax.fusion.hubs import Hub, HubCorrection
from fb_jax.projector import Router, RouterSpec
from fb_jax.run.distil import BEFORE, compare_distilled, distil
from fb_jax.training.distillation import Distilling, distil_bond

FEW = Distilling(steps=8, batch=10)
NAMES = ("not normalised", "cut", "two stages")
SPACES = every_kind()


def banks_of(space, count=30, split="pool", pairs=None, without=(), seed=0):
    """Return random rows of all native spaces; those of a modality differ in their number."""
    rows = {
        m: native_rows(space, m, count + 5 * i, seed)
        for i, m in enumerate(space.modalities)
        if m not in without
    }
    natives = {name: {m: rows[m][name] for m in rows if name in rows[m]} for name in space.spaces}
    return BankSet.from_arrays({n: own for n, own in natives.items() if own}, pairs, split)


def bonds_of(space):
    return [bond for stage in space.stages for bond in stage.bonds]


@pytest.mark.parametrize("name", NAMES)
def test_every_mixture_becomes_one_projector_and_nothing_else_changes(name, tmp_path):
    space = SPACES[name]
    made = distil(space, banks_of(space), FEW)
    for old, new in zip(bonds_of(space), bonds_of(made), strict=True):
        assert new.members == (("text", "image", "audio"),)
        assert new.spec == replace(old.spec, members=new.members, distilled=digest(space))
    back = [replace(s, bonds=o.bonds) for s, o in zip(made.stages, space.stages, strict=True)]
    assert replace(made, stages=tuple(back)) == space
    assert digest(made) != digest(space)
    made.save(tmp_path / "kept")
    loaded = FusedSpace.load(tmp_path / "kept")
    assert loaded == made.named(made.title)
    for modality in space.modalities:
        rows = native_rows(space, modality)
        np.testing.assert_array_equal(loaded.fuse(modality, rows), made.fuse(modality, rows))


def test_the_projector_comes_closer_to_the_mixture_than_its_member():
    space = SPACES["combination"]
    (bond,) = bonds_of(space)
    pool, how = banks_of(space, 200), Distilling(steps=300, batch=50)
    (made,) = bonds_of(distil(space, pool, how))
    far = lambda one, m: 1 - (one.project(m) * bond.project(m)).sum(axis=1).mean()  # noqa: E731
    for modality in ("text", "audio"):
        rows = pool["clap_general", modality][:]
        assert far(made, rows) < far(bond.only(made.members[0]), rows) / 2


def test_a_bond_is_trained_on_the_rows_that_pass_through_it():
    space = SPACES["two stages"]
    pool = banks_of(space)
    displaced, *claps = bonds_of(space)
    made = bonds_of(distil(space, pool, Distilling(steps=8, batch=10, most_rows=12)))
    sides = [("imagebind", displaced, ("text", "image", "audio"))]
    sides += [(clap.expert, clap, ("text", "audio")) for clap in claps]
    for (name, bond, modalities), found in zip(sides, made, strict=True):
        every = {"text": 3, "image": 3, "audio": 4}  # of 30, 35 and 40 rows, 12 at most
        rows = np.concatenate([unit_rows(pool[name, m][:: every[m]]) for m in modalities])
        assert found == distil_bond(bond, rows, partial(bond.project, rows), FEW, digest(space))


def test_a_later_projector_sees_distilled_rows_and_aims_at_the_exact_ones():
    base = FusedSpace.of(
        random_bond("combination", ("imagebind", 64), ("clap", 48), ("text", "audio")), name="base"
    )
    later = random_bond("direct_sum", ("base", 64), ("internvl", 56), ("text", "image"), seed=1)
    space = FusedSpace.of(later, base=base)
    pool = banks_of(space)
    made = distil(space, pool, FEW)
    fused = {
        which: np.concatenate(
            [
                unit_rows(stages.fuse(m, {n: pool[n, m][:] for n in stages.spaces_of(m)}))
                for m in ("text", "image", "audio")
            ]
        )
        for which, stages in (("exact", base), ("made", made.base))
    }
    assert np.abs(fused["exact"] - fused["made"]).max() > 1e-3
    targets = partial(later.project, fused["exact"])
    wanted = distil_bond(later, fused["made"], targets, FEW, digest(space))
    assert made.last.bonds == (wanted,)


class Stopping:
    """Stops at the third step of the second task."""

    tasks = 0

    @contextmanager
    def task(self, title, total):
        self.tasks += 1
        steps = []

        def advance(count, _loss=0.0):
            steps.append(count)
            if (self.tasks, sum(steps)) == (2, 3):
                raise Interrupted("stopped")

        yield advance


def test_an_interrupted_chain_continues_and_ends_in_the_same_bits(tmp_path):
    space, kept = SPACES["two stages"], tmp_path / "kept"
    pool = banks_of(space)
    found = lambda: [[int(p.stem) for p in f.glob("*.json")] for f in kept.glob("*/checkp*")]  # noqa: E731
    with pytest.raises(Interrupted):
        distil(space, pool, FEW, Stopping(), kept)
    assert sorted(found()) == [[3], [10]]  # the first bond is trained
    made = distil(space, pool, FEW, folder=kept)
    assert made == distil(space, pool, FEW)
    assert len(found()) == 3
    distil(space, pool, replace(FEW, seed=1), folder=kept)
    assert len(found()) == 6


def test_rows_that_a_tuned_encoder_replaces_are_not_trained_on():
    space = SPACES["tuned"]
    pool = banks_of(space)
    (bond,) = bonds_of(space)
    rows = np.concatenate([unit_rows(pool["imagebind", m][:]) for m in ("text", "image")])
    (found,) = bonds_of(distil(space, pool, FEW))
    assert found == distil_bond(bond, rows, partial(bond.project, rows), FEW, digest(space))


@pytest.mark.parametrize("name", ["cmcr", "exmcr", "one member"])
def test_a_space_of_single_projectors_has_nothing_to_distil(name):
    with pytest.raises(FreeBindError, match="nothing to distil: every bond has one projector"):
        distil(SPACES[name], banks_of(SPACES[name]), FEW)


def test_means_whose_length_counts_are_not_distilled():
    space = SPACES["combination"]
    bare = replace(space, stages=(replace(space.last, unit_experts=False),))
    with pytest.raises(FreeBindError, match="the length of a mixture's mean counts here"):
        distil(bare, banks_of(bare), FEW)


def test_routers_stay():
    space = SPACES["combination"]
    inputs = ("imagebind", "clap_general")
    spec = RouterSpec("audio", inputs, tuple(space.dims[n] for n in inputs), 2)
    kept = {"audio": Router.constant(spec, np.array([0.4, 1.6], np.float32))}
    routed = replace(space, stages=(replace(space.last, routers=kept),))
    assert distil(routed, banks_of(routed), FEW).last.routers == kept


def test_a_single_projector_beside_a_mixture_stays():
    space = SPACES["two stages, the last brings points"]
    base, extended = bonds_of(space)
    made = distil(space, banks_of(space), FEW)
    assert [len(bond.members) for bond in bonds_of(made)] == [1, 1]
    assert bonds_of(made)[1] == extended
    assert bonds_of(made)[0] != base
    again = distil(SPACES["combination"], banks_of(SPACES["combination"]), FEW)
    with pytest.raises(FreeBindError, match="nothing to distil"):
        distil(again, banks_of(again), FEW)


def test_a_pool_without_the_rows_is_refused():
    space = SPACES["displacement"]
    with pytest.raises(FreeBindError, match="the pool lacks rows that go through") as error:
        distil(space, banks_of(space, without=("audio",)), FEW)
    assert "audio of imagebind" in str(error.value)


def test_the_card_says_what_was_distilled():
    space = SPACES["cut"]
    card = model_card(distil(space, banks_of(space), FEW))
    wanted = "by 1 projector of hidden width 8, trained on text+image+audio, distilled from the"
    assert card.count(f"{wanted} mixture in {digest(space)}") == 2


def test_figures_before_and_after_stand_beside_the_sources():
    space = SPACES["two stages"].named("mine")
    made = distil(space, banks_of(space), FEW)
    val = banks_of(space, 40, "val", {("audio", "text"): np.stack([np.arange(40)] * 2, axis=1)})
    found = compare_distilled(space, made, {"val": val})["val"]
    before = evaluate(space, val, {BEFORE: space.factors}, ("R@1", "R@5"))
    after = evaluate(made, val, {"mine": space.factors}, ("R@1", "R@5"))
    assert found[BEFORE] == before[BEFORE]
    assert found["mine"] == after["mine"]
    assert found["clap_music"] == before["clap_music"] == after["clap_music"]
    assert set(found) == {*before, "mine"}
    hubs = HubCorrection(
        {("audio", "text"): Hub(2, 0.9)},
        {m: space.fuse(m, native_rows(space, m, 20, 3)) for m in ("audio", "text")},
    )
    assert compare_distilled(replace(space, hubs=hubs), made, {"val": val})["val"] == found


def test_hub_correction_of_the_mixture_is_left_out_and_told(caplog):
    space = SPACES["combination"]
    x = np.eye(5, space.dim, dtype=np.float32)
    hubs = HubCorrection({("audio", "text"): Hub(2, 0.5)}, {"audio": x, "text": x})
    made = distil(replace(space, hubs=hubs), banks_of(space), FEW)
    assert made.hubs is None
    assert "hub correction was fitted on the mixtures' rows; left out" in caplog.text
