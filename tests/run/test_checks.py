import json
import re
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from fb_jax import files
from fb_jax.banks import Bank, Split, bank_writer, remove_items
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace
from fb_jax.projector import Bond
from fb_jax.pseudo import Retrieval
from fb_jax.run import describe, evaluation_banks, preflight, select_device
from fb_jax.run.estimate import estimate
from fb_jax.training import Runtime, Training


def refusal(config) -> str:
    """Return why a run is refused; nothing may have been written."""
    there = config.folder.exists()
    with pytest.raises(FreeBindError) as refused:
        preflight(config)
    assert config.folder.exists() == there
    assert not config.store.exists()
    return str(refused.value)


def write_bank(folder, rows, **about):
    """Put other rows into the place of a bank."""
    described = replace(Bank.open(folder).about, **about)
    shutil.rmtree(folder)
    with bank_writer(folder, described, dim=rows.shape[1], count=len(rows)) as writer:
        writer.append(rows)


# A run that may start


def test_a_sound_run_passes_and_writes_nothing(config):
    job = preflight(config)
    assert list(job.evaluation) == ["test", "val"]
    assert job.pairs.ranges == {
        "text": range(130),
        "image": range(130, 220),
        "audio": range(220, 330),
    }
    assert len(job.schedule) == 66
    assert not config.folder.exists()
    assert not config.store.exists()


def test_every_row_that_a_run_reads_is_verified(config):
    seen = []
    preflight(config, seen.append)
    pool, evaluation = 2 * (130 + 110) + 90, 5 * (40 + 60)
    assert sum(seen) == pool + evaluation


def test_a_pool_alone_passes(config):
    for split in ("val", "test"):
        shutil.rmtree(config.data / split)
    assert preflight(config).evaluation == {}


@pytest.mark.parametrize(
    ("lacks", "why"),
    [
        (["embeddings/clap_general"], "no clap_general"),
        (["pairs"], "no pairs between modalities that can be fused"),
        (
            ["embeddings/clap_general/text", "pairs/audio-image.npy"],
            "no pairs between modalities that can be fused",
        ),
    ],
)
def test_a_split_without_a_space_or_pairs_is_not_for_this_run(config, lacks, why):
    for path in (config.data / "val" / name for name in lacks):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    job = preflight(config)
    assert (list(job.evaluation), job.left_out) == (["test"], {"val": why})
    assert describe(job)["evaluation"].endswith(
        f"(audio-image, audio-text, image-text); without val: {why}"
    )


def test_a_split_whose_pairs_are_all_of_missing_items_is_not_for_this_run(config):
    folder = config.data / "val/embeddings/clap_general/text"
    write_bank(folder, Bank.open(folder)[:], missing=np.array([0]))
    shutil.rmtree(config.data / "val/pairs")
    Split(config.data / "val").write_pairs("audio", "text", np.array([[0, 0]]))
    assert list(preflight(config).evaluation) == ["test"]


def test_a_split_whose_audios_were_all_removed_is_left_out(config):
    split = Split(config.data / "test")
    remove_items(split, "audio", [item["id"] for item in split.items("audio")])
    job = preflight(config)
    assert list(job.evaluation) == ["val"]
    assert job.left_out == {"test": "no audio item has an embedding in every space"}
    assert list(evaluation_banks(FusedSpace.of(Bond(job.bond)), config.data)) == ["val"]


def test_another_split_can_be_the_pool(config):
    job = preflight(replace(config, pool="test"))
    assert (job.pairs.count("image"), list(job.evaluation)) == (60, ["val"])


def test_one_folder_of_pairs_serves_every_bond_between_the_same_banks(config):
    folder = preflight(config).pairs_folder
    others = [
        replace(config, bond="displacement", out=config.data / "other"),
        replace(config, training=Training(batch=20), runtime=Runtime(log_steps=1)),
    ]
    assert {preflight(other).pairs_folder for other in others} == {folder}
    assert preflight(replace(config, pairs=Retrieval(temperature=0.1))).pairs_folder != folder


def test_a_run_is_told_from_others_by_what_its_result_depends_on(config):
    identity = preflight(config).identity()
    same = replace(config, out=config.data / "x", runtime=Runtime(log_steps=1), device="cpu")
    assert preflight(same).identity() == identity
    for other in (
        replace(config, training=replace(config.training, seed=1)),
        replace(config, training=replace(config.training, pipeline="cmcr")),
        replace(config, training=replace(config.training, noise=0.1)),
        replace(config, bond="exmcr"),
        replace(config, bond="displacement"),
        replace(config, pairs=Retrieval(dtype="float32")),
        replace(config, pairs=Retrieval(anchor="text")),
        replace(config, training=replace(config.training, loss="fb_jax.training:bond_loss")),
    ):
        assert preflight(other).identity() != identity
    assert json.loads(json.dumps(identity)) == {
        "format": "freebind-run",
        "version": 1,
        "bond": "combination",
        "training": preflight(config).config.training.identity(),
        "pairs": preflight(config).pairs.identity(),
    }


# Options that cannot be


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"expert": "clap_genral"}, "no space 'clap_genral'\n|/pool\n|did you mean 'clap_general'"),
        ({"unified": "imagbind"}, "no space 'imagbind'\n|did you mean 'imagebind'"),
        ({"pool": "pol"}, "no split 'pol'\n|did you mean 'pool'"),
        ({"expert": "imagebind"}, "a space cannot be its own expert|two spaces|imagebind"),
        ({"pairs": Retrieval(anchor="imag")}, "no anchor|'imag'|did you mean 'image'"),
        ({"training": Training(batch=91)}, "larger than a subset|subset image|at most 90|got: +91"),
        ({"training": Training(batch=10, loss="info_nec")}, "no loss 'info_nec'|mean 'info_nce'"),
        ({"training": Training(batch=10, loss="os:system")}, "a loss does not fit|os:system"),
        ({"metrics": ("os:system",)}, "a metric does not fit|os:system|ranks"),
        ({"data": Path("a\udcff")}, "this cannot be a path|no valid Unicode"),
        ({"out": Path("a\0b")}, "this cannot be a path|a null character"),
        ({"pairs": Retrieval(method="sofmax")}, "no retrieval 'sofmax'\n|did you mean 'softmax'"),
        ({"metrics": ("R@2",)}, "no metric 'R@2'\n|did you mean 'R@"),
        ({"runtime": Runtime(loggers=("tensorbord",))}, "no logger 'tensorbord'|'tensorboard'"),
    ],
    ids=lambda value: None if isinstance(value, str) else " ".join(value),
)
def test_an_option_that_cannot_be_is_named(config, change, says):
    told = refusal(replace(config, **change))
    for part in says.split("|"):
        assert part.replace("got: +", "got:      ") in told


def test_a_word_world_that_does_not_exist_is_named(config):
    assert "no such bank root\n" in refusal(replace(config, data=config.data / "nowhere"))


gpu_here = any(device.platform == "gpu" for device in jax.devices())


@pytest.mark.skipif(gpu_here, reason="there is a GPU")
def test_a_gpu_where_there_is_none_is_refused(config):
    told = refusal(replace(config, device="gpu"))
    assert "there is no gpu to compute on" in told
    assert "cuda12" in told
    assert "--device cpu" in told


@pytest.mark.parametrize("part", ["pairs", "training"])
def test_tf32_is_refused_on_a_cpu(config, part):
    changed = replace(getattr(config, part), precision="tf32")
    assert "tf32 needs a GPU" in refusal(replace(config, device="cpu", **{part: changed}))


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_a_device_is_one_that_jax_sees(device):
    assert select_device(device) in (*jax.devices(), *jax.devices("cpu"))


# Banks that cannot be


def one_modality(split):
    shutil.rmtree(split.bank_path("clap_general", "audio"))


def other_items(split):
    folder = split.bank_path("clap_general", "text")
    write_bank(folder, Bank.open(folder)[:], items_sha256="another list")


def fewer_rows(split):
    folder = split.bank_path("clap_general", "text")
    write_bank(folder, Bank.open(folder)[:-1])


def other_dimension(split):
    folder = split.bank_path("clap_general", "text")
    write_bank(folder, np.hstack([Bank.open(folder)[:], Bank.open(folder)[:]]))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (one_modality, ["no plan of pseudo pairs", "expert: text", "two or more"]),
        (other_items, ["belongs to another item list", "clap_general/text", "another list"]),
        (fewer_rows, ["belongs to another item list", "clap_general/text", "130 items", "129"]),
        (other_dimension, ["differ in dimension", "embeddings/clap_general", "audio 48, text 96"]),
    ],
)
def test_banks_that_do_not_go_together_are_refused(config, damage, says):
    damage(Split(config.data / "pool"))
    told = refusal(config)
    assert [part for part in says if part not in told] == []


@pytest.mark.parametrize("split", ["pool", "val"])
@pytest.mark.parametrize(
    ("value", "kind"), [(np.nan, "NaN or infinite"), (np.inf, "NaN or infinite"), (0, "zero")]
)
def test_rows_without_a_direction_are_counted_and_the_first_is_named(config, split, value, kind):
    folder = config.data / split / "embeddings/clap_general/text"
    rows = Bank.open(folder)[:]
    rows[[7, 31]] = value
    write_bank(folder, rows)
    told = refusal(config)
    assert f"{folder}\n" in told
    assert f"2 {kind} rows, the first is row 7" in told


@pytest.mark.parametrize("split", ["pool", "test"])
@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda shard: shard.unlink(), "a shard is missing"),
        (
            lambda shard: shard.write_bytes(shard.read_bytes()[:-1]),
            "a shard cannot be read: truncated",
        ),
        (lambda shard: np.save(shard, -np.load(shard)), "a shard was altered"),
    ],
    ids=["missing", "truncated", "altered"],
)
def test_a_damaged_shard_is_named(config, split, damage, says):
    shard = config.data / split / "embeddings/imagebind/audio/emb_00001.npy"
    damage(shard)
    told = refusal(config)
    assert says in told
    assert str(shard) in told


def test_a_split_of_another_dimension_than_the_pool_is_refused(config):
    for modality in ("text", "audio"):
        folder = config.data / "val/embeddings/clap_general" / modality
        write_bank(folder, np.hstack([Bank.open(folder)[:], Bank.open(folder)[:]]))
    told = refusal(config)
    assert "val" in told
    assert "48" in told


def test_a_pair_table_that_cannot_be_is_refused(config):
    table = config.data / "val/pairs/audio-text.npy"
    table.with_suffix(".json").unlink()
    files.write_npy(table, np.array([[0, 40]]))
    told = refusal(config)
    assert "points past an item list" in told
    assert str(table) in told


def test_a_table_of_a_modality_with_itself_is_refused(config):
    table = config.data / "val/pairs/audio-audio.npy"
    shutil.copy(table.with_name("audio-text.npy"), table)
    told = refusal(config)
    assert "a pair table joins audio with itself" in told
    assert f"move {table} out of the bank root" in told


# Folders that cannot be


def test_a_folder_of_another_run_is_refused_and_left_alone(config, contents):
    files.write_json(config.folder / "run.json", preflight(config).identity())
    before = contents(config.folder)
    told = refusal(replace(config, training=replace(config.training, seed=1)))
    assert "made from something else" in told
    assert "run.json" in told
    assert "training.seed 1" in told
    assert contents(config.folder) == before
    preflight(config)  # the same run may go on


def test_a_folder_with_something_else_is_refused_and_left_alone(config, contents):
    config.folder.mkdir()
    preflight(config)  # an empty one will do
    (config.folder / "thesis.tex").write_text("years of work")
    told = refusal(config)
    assert "holds something else" in told
    assert "thesis.tex" in told
    assert "--out" in told
    assert contents(config.folder) == {"thesis.tex": b"years of work"}


@pytest.mark.parametrize("which", ["out", "store"])
def test_a_folder_where_nothing_can_be_written_is_refused(config, which):
    (config.data / "file").write_text("no folder")
    told = refusal(replace(config, **{which: config.data / "file" / "run"}))
    assert re.search(r"this is a file, not a folder\n.*/file\n", told)


def test_pairs_and_checkpoints_must_fit_the_disk_together_beside_what_is_there(config, monkeypatch):
    job, disk, usage = preflight(config), [0], namedtuple("usage", "total used free")
    needs = estimate(job.pairs, job.bond, job.schedule)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, disk[-1]))
    disk.append(needs.pairs_disk + needs.checkpoints_disk)
    preflight(config)
    disk.append(disk[-1] - 1)
    message = refusal(config)
    files.write_atomic(job.paths.bond / "checkpoint", lambda file: file.write(b"1234567"))
    files.write_json(job.paths.marker, job.identity())
    disk.append(disk[1] - 7)
    preflight(config)
    files.write_atomic(job.pairs_folder / "array", lambda file: file.write(b"12345"))
    disk.append(disk[1] - 12)
    preflight(config)
    disk.append(disk[1] - 13)
    with pytest.raises(FreeBindError, match="too little disk space"):
        preflight(config)
    assert "too little disk space" in message
    assert f"{config.store}, {config.folder}" in message
    assert re.search(r"expected: 1\.1 MB free\n.*got: +1\.1 MB free", message)


def test_labels_are_no_pairs_and_the_split_is_left_out(config):
    shutil.rmtree(config.data / "val/pairs")
    shutil.copy(config.data / "val/items/text.jsonl", config.data / "val/items/class.jsonl")
    Split(config.data / "val").write_pairs("audio", "class", np.array([[0, 0], [1, 0]]))
    job = preflight(config)
    assert (list(job.evaluation), list(job.left_out)) == (["test"], ["val"])


def test_what_a_kill_left_of_the_first_file_does_not_block_the_folder(config):
    config.folder.mkdir()
    (config.folder / "run.json.partial").write_text("{")
    preflight(config)
