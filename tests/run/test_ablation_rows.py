"""The rows of ablations, made with random numbers in place of trained ones."""

from dataclasses import replace

import pytest
from made import write_all_spaces

from fb_jax.fusion import FusedSpace
from fb_jax.run import RunConfig, Silent
from fb_jax.run.ablation import Planned, Roles, Row, plan
from fb_jax.run.ablation_record import Ablation, without_val
from fb_jax.run.ablation_rows import bond_states, make_rows
from fb_jax.run.recipe import Product
from fb_jax.training import Training

SPACES = ("imagebind", "internvl", "clap_general", "clap_music")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four spaces, 24 to 30 unpaired items. Read only."""
    root = tmp_path_factory.mktemp("banks")
    write_all_spaces(root, {"text": 30, "image": 27, "audio": 24}, {"val": 11, "test": 12})
    return root


@pytest.fixture
def config(data, tmp_path):
    folders = {"data": data, "out": tmp_path / "home", "store": tmp_path / "pairs"}
    training = Training(batch=10, epochs=1, hidden=8)
    return RunConfig(**folders, product="ablation", unified="imagebind", training=training)


@pytest.fixture
def make(config, trained):
    """Make the rows of a table."""

    def make(table):
        rows, _ = plan(table, Roles(), SPACES)
        return make_rows(rows, config, Silent(), lambda _title, _job: None)

    return make


def test_the_rows_of_a_table_share_their_product(make, trained, tmp_path):
    models = make("table8")
    assert [run.folder.name for run in trained.runs] == ["imagebind-displacement-internvl"]
    mixture = models["mixture"]
    assert mixture.factors == {"image": 0.9, "text": 0.9}
    (bond,) = mixture.last.bonds
    for label, starts in {"A": ("audio",), "VT": ("text", "image")}.items():
        assert models[label] == FusedSpace.of(
            bond.only(starts), at="it_expertise", name="internvl_ib"
        )
    assert FusedSpace.load(tmp_path / "home/internvl_ib/space").last.bonds == (bond,)


def test_all_tables_together_need_eight_bonds(config):
    tables = ("table5", "table6", "table7", "table8", "figures")
    rows = [row for table in tables for row in plan(table, Roles(), SPACES)[0]]
    assert {state.config.folder.name for state in bond_states(rows, config, Silent())} == {
        "imagebind-combination-internvl",
        "imagebind-displacement-internvl",
        "internvl_ib-displacement-clap_music",
        "internvl_ib_music-displacement-clap_general",
        "imagebind-combination-clap_music",
        "imagebind-combination-clap_general",
        "internvl_ib-combination-clap_music",
        "internvl_ib-combination-clap_general",
    }


def test_bonds_of_another_pipeline_lie_apart(config):
    rows, _ = plan("table9", Roles(), SPACES)
    states = list(bond_states(rows, config, Silent()))
    found = [
        (state.config.training.pipeline, str(state.config.folder.relative_to(config.home)))
        for state in states
    ]
    bonds = ("imagebind-combination-internvl", "imagebind-displacement-internvl")
    assert found == [
        (pipeline, folder + bond)
        for bond in bonds
        for pipeline, folder in (("cmcr", "cmcr/"), ("exmcr", "exmcr/"), ("freebind", ""))
    ]
    assert {state.job.bond.pipeline for state in states} == {"cmcr", "exmcr", "freebind"}


def test_a_row_is_at_the_factors_of_its_recipe_or_else_at_chosen_ones(config, trained):
    trained.choice = {"image": 0.2, "text": 0.3}
    recipe = Product("free", "imagebind", "displacement", ("internvl",))
    free = Planned(Row("free"), recipe)
    rows = [*plan("table5", Roles(), SPACES)[0], free]
    models = make_rows(rows, config, Silent(), lambda _title, _job: None)
    assert models["ImageBind"] == "imagebind"
    assert models["+Dr(InternVL)"].factors == {"image": 0.9, "text": 0.9}
    assert models["free"].factors == trained.choice


def test_a_dry_run_knows_what_is_there(config):
    rows, _ = plan("table6", Roles(), SPACES)
    before = list(bond_states(rows, config, Silent()))
    assert [(bond.config.folder.name, bond.state) for bond in before[:3]] == [
        ("imagebind-displacement-internvl", "to train"),
        ("internvl_ib-displacement-clap_music", "to train, after internvl_ib"),
        ("internvl_ib_music-displacement-clap_general", "to train, after internvl_ib_music"),
    ]
    assert len({bond.config.folder for bond in before}) == len(before) == 8
    assert (before[0].pairs, before[0].steps) == (81, 8)
    assert sum(before[0].missing.values()) > 0
    assert (before[1].pairs, before[1].steps, before[1].missing) == (None, None, {})
    assert not config.home.exists()


def test_the_split_to_choose_on_is_in_no_table_if_there_are_others(data, config):
    rows, _ = plan("table5", Roles(), SPACES)
    ablation = Ablation.of("table5", rows, config)
    assert (list(ablation.splits), list(ablation.sets)) == (["val", "test"], ["test"])
    assert list(replace(ablation, config=replace(config, val="test")).sets) == ["val"]
    alone = {"val": ablation.splits["val"]}
    assert without_val(alone, "val") == alone
