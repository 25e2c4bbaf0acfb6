import shutil
import signal
from dataclasses import replace
from functools import partial
from importlib import import_module
from itertools import count

import jax.numpy as jnp
import numpy as np
import pytest
from disturb import At
from twin import EQUATIONS, PARITY, by_symbol, error, retrieve, symbol, to_torch

from fb_jax import files
from fb_jax.banks import open_banks
from fb_jax.errors import FreeBindError, Interrupted
from fb_jax.pseudo import (
    BankStream,
    Chunks,
    PairSet,
    PairSpec,
    aggregate,
    build_pairs,
    complete,
)
from fb_jax.pseudo.pairs import WritableArray
from fb_jax.pseudo.plans import columns, native
from fb_jax.registry import RETRIEVALS

STARTS = {"text": range(0, 130), "image": range(130, 220), "audio": range(220, 330)}
SHARD = "text/unified_image/emb_00001.npy"
"""The middle shard of the last of the three soft embeddings that complete a text."""


@pytest.fixture(scope="module")
def spec(pairs) -> PairSpec:
    return pairs.spec


@pytest.fixture(scope="module")
def single(spec) -> PairSpec:
    return replace(spec, retrieval=replace(spec.retrieval, dtype="float32"))


@pytest.fixture
def copied(pairs, tmp_path):
    """The folder of finished pairs, to be spoilt."""
    return shutil.copytree(pairs.folder, tmp_path / "copied")


def executed(spec, start):
    """The soft embeddings of a start modality, completed in memory, block by block."""
    chunks = spec.retrieval.chunks
    banks = {column: spec.bank(column) for column in columns(spec.plan)}
    stream, blocks = BankStream(banks, block_rows=chunks.keys), []
    for first in range(0, spec.count(start), chunks.queries):
        rows = slice(first, first + chunks.queries)
        own = {ref: jnp.asarray(banks[ref.column][rows]) for ref in native(spec.plan, start)}
        blocks.append(complete(spec.plan[start], own, stream, spec.retrieval))
    return {ref.column: np.concatenate([block[ref] for block in blocks]) for ref in blocks[0]}


def longhand(spec, start):
    """All five embeddings of a start modality, by the twin."""
    bank = {column: to_torch(spec.bank(column)[:]) for column in columns(spec.plan)}
    own = {column: rows for column, rows in bank.items() if column[1] == start}
    equation = EQUATIONS["audio", "text"][start]
    soft = equation(by_symbol(own), by_symbol(bank), partial(retrieve, unit=True))
    return vars(by_symbol(own)) | soft


def stop_at(call):
    """A progress that is called so many times before it interrupts."""
    calls = count(1)

    def progress(_rows):
        if next(calls) == call:
            raise Interrupted("stopped by the test")

    return progress


def test_pairs_are_one_table_in_which_the_starts_follow_one_another(pairs):
    unified, expert = ("text", "image", "audio"), ("text", "audio")
    assert pairs.spec.starts == tuple(STARTS)
    assert pairs.spec.ranges == STARTS
    assert len(pairs) == 330
    assert (pairs.spec.modalities("unified"), pairs.spec.modalities("expert")) == (unified, expert)
    assert {column: rows.shape for column, rows in pairs.columns.items()} == {
        **{("unified", modality): (330, 64) for modality in unified},
        **{("expert", modality): (330, 48) for modality in expert},
    }


@pytest.mark.parametrize("start", STARTS)
def test_native_embeddings_are_the_rows_of_the_banks_in_their_order(pairs, spec, start):
    rows = STARTS[start]
    own = [ref.column for ref in native(spec.plan, start)]
    assert {column[1] for column in own} == {start}
    for column in own:
        found = pairs.columns[column][rows.start : rows.stop]
        np.testing.assert_array_equal(found, spec.bank(column)[:], strict=True)


@pytest.mark.parametrize("start", STARTS)
def test_stored_embeddings_are_those_of_execution_in_memory_rounded_to_half(pairs, spec, start):
    rows = STARTS[start]
    for column, wanted in executed(spec, start).items():
        found = pairs.columns[column][rows.start : rows.stop]
        np.testing.assert_array_equal(found, np.float32(np.float16(wanted)), strict=True)


def test_pairs_in_single_precision_are_exact_and_what_the_equations_say(single, tmp_path):
    pairs = build_pairs(single, tmp_path)
    for start, rows in STARTS.items():
        found = {c: table[rows.start : rows.stop] for c, table in pairs.columns.items()}
        for column, wanted in executed(single, start).items():
            np.testing.assert_array_equal(found[column], wanted, strict=True)
        wanted = longhand(single, start)
        for column, table in found.items():
            assert error(table, wanted[symbol(*column)]) < PARITY["float32"]


def test_the_bytes_to_store_are_told_beforehand(spec, single, pairs):
    soft = 130 * (48 + 64 + 64) + 90 * (48 + 48 + 64 + 64) + 110 * (48 + 64 + 64)
    assert spec.stored_bytes() == 2 * soft
    assert single.stored_bytes() == 4 * soft
    headers = 128 * len(list(pairs.folder.rglob("*.npy")))
    assert sum(path.stat().st_size for path in pairs.folder.rglob("*.npy")) == 2 * soft + headers


def test_the_operations_are_told_beforehand(spec):
    text = 110 * (48 + 48 + 64) + 90 * (64 + 64)
    audio = 130 * (48 + 48 + 64) + 90 * (64 + 64)
    image = (130 + 110) * (64 + 48 + 64)
    assert spec.operations() == 2 * (130 * text + 110 * audio + 90 * image)


@pytest.mark.parametrize("short", [0, 1], ids=["fits", "a byte too large"])
def test_banks_stay_on_the_device_up_to_the_resident_size(
    spec, pairs, tmp_path, contents, monkeypatch, short
):
    """Those that the hops from a start read: text and audio need fewer than an image."""
    held = []

    def stream(*args, resident, **settings):
        held.append(resident)
        return BankStream(*args, resident=resident, **settings)

    monkeypatch.setattr(import_module("fb_jax.pseudo.pairs"), "BankStream", stream)
    audio = 4 * (130 * (48 + 64) + 90 * 64)
    build_pairs(spec, tmp_path, resident_bytes=audio - short)
    assert held == [True, False, not short]
    assert contents(tmp_path) == contents(pairs.folder)


def test_progress_tells_of_every_item_once_also_of_those_that_were_there(spec, copied):
    shutil.rmtree(copied / "audio")
    told = []
    build_pairs(spec, copied, progress=told.append)
    assert sum(told) == 330
    assert told == [220, 50, 50, 10]  # the first are those that were there


def test_building_finished_pairs_again_only_opens_them(spec, pairs, copied):
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*")}
    assert build_pairs(spec, copied).fingerprint() == pairs.fingerprint()
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*")} == before


@pytest.mark.parametrize("call", [1, 2, 4, 6, 8])
def test_interrupted_and_resumed_is_the_same_as_undisturbed(spec, pairs, tmp_path, call, contents):
    with pytest.raises(Interrupted):
        build_pairs(spec, tmp_path, progress=stop_at(call))
    with pytest.raises(FreeBindError):
        PairSet.open(tmp_path, spec)
    build_pairs(spec, tmp_path)
    assert contents(tmp_path) == contents(pairs.folder)


def test_stopped_by_a_full_disk_it_goes_on_where_it_was(spec, pairs, tmp_path, contents):
    files.claim(tmp_path / "pairs.json", spec.identity(), "pseudo pairs")
    (tmp_path / SHARD).mkdir(parents=True)  # in the way of a shard: two others are ahead of it
    with pytest.raises(FreeBindError, match="could not be written"):
        build_pairs(spec, tmp_path)
    (tmp_path / SHARD).rmdir()
    build_pairs(spec, tmp_path)
    assert contents(tmp_path) == contents(pairs.folder)


EVERY = ["100", "30", "50", "40", "50", "50", "10"]

BUILD = """
from pathlib import Path
from fb_jax.banks import open_banks
from fb_jax.pseudo import Chunks, PairSpec, Retrieval, build_pairs

banks = open_banks({root!r}, spaces=("imagebind", "clap_general"))
spec = PairSpec(banks, "imagebind", "clap_general", {retrieval!r})
build_pairs(spec, Path("pairs"), progress=lambda rows: print(rows, flush=True))
"""


def test_killed_and_run_again_it_ends_in_the_same_bytes(python, spec, pairs, tmp_path, contents):
    root = str(spec.banks.split.path.parent)
    code = BUILD.format(root=root, retrieval=spec.retrieval)
    killed = python(code, cwd=tmp_path, at=[At("builtins.print", 3)])
    assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, "0\n50\n")
    assert len(list(tmp_path.rglob("*.npy"))) == 6
    done = python(code, cwd=tmp_path)
    assert (done.returncode, done.stdout.split()) == (
        0,
        ["100", "30", "50", "40", "50", "50", "10"],
    )
    assert contents(tmp_path / "pairs") == contents(pairs.folder)


def alter(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [truncate, lambda path: path.unlink()], ids=["cut", "missing"])
def test_a_shard_that_is_not_whole_is_noticed_when_pairs_are_opened(spec, copied, damage):
    damage(copied / SHARD)
    with pytest.raises(FreeBindError, match=r"emb_00001\.npy"):
        PairSet.open(copied, spec)


def test_an_altered_shard_is_noticed_when_pairs_are_verified(spec, copied):
    verified = []
    PairSet.open(copied, spec).verify(verified.append)
    assert sum(verified) == 3 * 130 + 4 * 90 + 3 * 110
    alter(copied / SHARD)
    with pytest.raises(FreeBindError, match=r"altered.*\n.*text/unified_image/emb_00001\.npy"):
        PairSet.open(copied, spec).verify()


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "fb_jax.pseudo:aggregate"},
        {"temperature": 0.02},
        {"normalise": False},
        {"precision": "bf16"},
        {"dtype": "float32"},
        {"chunks": Chunks(queries=50, keys=32, inner=24)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_folder_of_pairs_that_were_made_otherwise_is_refused(spec, copied, changed, contents):
    other = replace_retrieval(spec, **changed)
    before = contents(copied)
    for use in (partial(build_pairs, other, copied), partial(PairSet.open, copied, other)):
        with pytest.raises(FreeBindError, match="something else") as refused:
            use()
        assert next(iter(changed)) in str(refused.value)
    assert contents(copied) == before


def test_opening_pairs_that_are_not_there_leaves_nothing_behind(spec, tmp_path):
    with pytest.raises(FreeBindError, match="missing"):
        PairSet.open(tmp_path / "none", spec)
    assert not (tmp_path / "none").exists()


def test_an_anchor_names_pairs_by_the_plan_that_comes_of_it(spec, copied):
    around = {m: replace(spec, retrieval=replace(spec.retrieval, anchor=m)) for m in STARTS}
    assert {m: other.anchor for m, other in around.items()} == {m: m for m in STARTS}
    assert spec.anchor == "image"
    assert len(PairSet.open(copied, around["image"])) == 330  # what is there by default
    with pytest.raises(FreeBindError, match="something else"):
        PairSet.open(copied, around["audio"])


def test_a_space_is_no_expert_of_its_own(root):
    banks = open_banks(root, spaces=["imagebind"])
    with pytest.raises(FreeBindError, match=r"its own expert(.|\n)*imagebind"):
        PairSpec(banks, "imagebind", "imagebind")


def test_a_folder_of_pairs_from_other_banks_is_refused(root, copied):
    banks = open_banks(root, "val", spaces=("imagebind", "clap_general"))
    with pytest.raises(FreeBindError, match="something else"):
        build_pairs(PairSpec(banks, "imagebind", "clap_general"), copied)


def test_items_that_a_space_lacks_are_left_out_of_starts_keys_and_values(root, single, tmp_path):
    missing = {
        ("imagebind", "text"): [0, 129],
        ("clap_general", "text"): [64],
        ("imagebind", "image"): [7],
    }
    kept = {
        "text": np.setdiff1d(np.arange(130), [0, 64, 129]),
        "image": np.setdiff1d(np.arange(90), [7]),
        "audio": np.arange(110),
    }
    shutil.copytree(root / "pool", tmp_path / "root" / "pool")
    for (space, modality), rows in missing.items():
        path = tmp_path / "root" / "pool" / "embeddings" / space / modality / "manifest.json"
        manifest = files.read_json(path)
        manifest["about"]["missing"] = rows
        files.write_json(path, manifest)
    banks = open_banks(tmp_path / "root", spaces=("imagebind", "clap_general"))
    spec = replace(single, banks=banks)
    pairs = build_pairs(spec, tmp_path / "pairs")
    assert list(map(spec.count, STARTS)) == [127, 89, 110]
    for start, rows in spec.ranges.items():
        wanted = longhand(spec, start)
        for column, table in pairs.columns.items():
            found = table[rows.start : rows.stop]
            assert error(found, wanted[symbol(*column)]) < PARITY["float32"]
            if column[1] == start:
                np.testing.assert_array_equal(found, single.bank(column)[kept[start]])


def test_the_identity_of_pairs_is_all_that_they_are_computed_from(spec, pairs):
    assert pairs.arrays["text", ("unified", "image")].manifest.about == {
        "start": "text",
        "embedding": "~image^u",
        "claim": files.sha256_of_json(spec.identity()),
    }
    assert spec.identity() == {
        "format": "freebind-pairs",
        "version": 1,
        "unified": "imagebind",
        "expert": "clap_general",
        "retrieval": {
            "method": RETRIEVALS.identity("softmax"),
            "temperature": 0.01,
            "normalise": True,
            "precision": "float32",
            "dtype": "float16",
            "chunks": {"queries": 50, "keys": 32, "inner": 25},
        },
        "plan": {start: list(map(str, spec.plan[start])) for start in STARTS},
        "banks": spec.banks.fingerprints(),
        "pairs": {"text": 130, "image": 90, "audio": 110},
    }


def test_the_fingerprint_is_of_the_identity_and_of_every_array(pairs, copied, spec):
    assert PairSet.open(copied, spec).fingerprint() == pairs.fingerprint()
    others = [PairSet(replace_retrieval(spec, precision="bf16"), pairs.arrays)]
    for key, array in pairs.arrays.items():
        other = WritableArray(*array.shape, "float16")
        other.append(-array[:])
        others.append(PairSet(spec, pairs.arrays | {key: other}))
    assert len({p.fingerprint() for p in (pairs, *others)}) == 2 + len(pairs.arrays)


def test_two_processes_do_not_write_one_folder(pairs, tmp_path):
    with files.locked(tmp_path), pytest.raises(FreeBindError, match="another process"):
        build_pairs(pairs.spec, tmp_path)


def test_without_a_folder_pairs_stay_in_memory_and_are_the_same(spec, pairs):
    held = build_pairs(spec)
    assert held.folder is None
    assert len(held) == len(pairs)
    for column, rows in pairs.columns.items():
        np.testing.assert_array_equal(held.columns[column][:], rows[:], strict=True)
    assert held.fingerprint() == build_pairs(spec).fingerprint()
    held.verify()


def replace_retrieval(spec, **changed):
    return replace(spec, retrieval=replace(spec.retrieval, **changed))


@RETRIEVALS.register("sharp")
def sharp(queries, blocks, dims, **_settings):
    """The values of the nearest key alone, by a softmax so sharp that nothing else counts."""
    return aggregate(queries, blocks, dims, temperature=1e-6)


def test_every_setting_reaches_the_retrieval(spec, monkeypatch):
    calls = []

    def spy(queries, blocks, dims, **settings):
        blocks = list(blocks)
        calls.append((len(queries), {len(block.keys) for block in blocks}, settings))
        return aggregate(queries, blocks, dims, **settings)

    monkeypatch.setitem(RETRIEVALS._methods, "spy", spy)
    own = replace_retrieval(
        spec,
        method="spy",
        temperature=0.02,
        normalise=False,
        precision="bf16",
        dtype="float32",
        chunks=Chunks(queries=60, keys=40, inner=20),
    )
    pairs = build_pairs(own)
    counts, keys, settings = zip(*calls, strict=True)
    assert [*dict.fromkeys(counts)] == [60, 10, 30, 50]
    assert set.union(*keys) == {40}
    assert all(s == {"temperature": 0.02, "precision": "bf16", "inner": 20} for s in settings)
    for array in pairs.arrays.values():
        assert array[:].dtype == np.float32
        assert np.linalg.norm(array[:], axis=1).min() < 0.95


def test_a_retrieval_is_chosen_by_name_and_its_code_names_the_pairs(spec, pairs, tmp_path):
    own = replace_retrieval(spec, method="sharp")
    rows = build_pairs(own, tmp_path).columns["unified", "image"][:130]  # soft images of the texts
    bank = spec.bank(("unified", "image"))[:]
    assert np.abs(rows - bank[(rows @ bank.T).argmax(axis=1)]).max() < 1e-3
    assert own.identity()["retrieval"]["method"] != spec.identity()["retrieval"]["method"]

    @RETRIEVALS.register("sharp")
    def edited(queries, blocks, dims, **_settings):
        return aggregate(queries, blocks, dims, temperature=1e-5)

    try:
        with pytest.raises(FreeBindError, match=r"retrieval\.method\.code"):
            build_pairs(own, tmp_path)
    finally:
        RETRIEVALS.register("sharp")(sharp)
    with pytest.raises(FreeBindError, match="no retrieval 'shrap'"):
        replace_retrieval(spec, method="shrap").identity()
