import shutil
import signal

import numpy as np
import pytest
from disturb import At

from fb_jax import files
from fb_jax.banks import Bank, Split, open_banks, verify_split, write_items
from fb_jax.errors import FreeBindError, Interrupted
from fb_jax.fusion import FusedSpace, cut, digest, parts_of, sources, write_fused
from fb_jax.fusion import banks as fused_banks
from fb_jax.pseudo import PairSpec

SPACES = ("imagebind", "clap_general")
MODALITIES = ("audio", "image", "text")
KEPT = {"audio": 60, "image": 59, "text": 58}


def change_about(bank, **about):
    """Change the description of a bank: its manifest is JSON."""
    manifest = files.read_json(bank / "manifest.json")
    files.write_json(bank / "manifest.json", manifest | {"about": manifest["about"] | about})


@pytest.fixture
def home(root, tmp_path):
    """A bank root of one's own, some rows of its split test missing."""
    split = Split(shutil.copytree(root, tmp_path / "home") / "test")
    change_about(split.bank_path("clap_general", "text"), missing=[0, 33])
    change_about(split.bank_path("imagebind", "image"), missing=[59])
    return split.path.parent


@pytest.fixture
def banks(home):
    return open_banks(home, "test", spaces=SPACES)


@pytest.fixture(scope="session")
def space(make_bond):
    return FusedSpace.of(make_bond("combination"), at="versatile")


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(fused_banks, "BLOCK_ROWS", 25)  # 3 blocks a modality


# What is written


@pytest.mark.parametrize(("dtype", "near"), [("float32", 1e-6), ("float16", 1e-3)])
@pytest.mark.parametrize("out", ["home", "elsewhere"])
@pytest.mark.usefixtures("small_blocks")
def test_fused_banks_hold_the_rows_that_are_fused_in_memory(
    space, banks, tmp_path, out, dtype, near
):
    options = {"dtype": dtype, "missing": "leave-out"}
    assert write_fused(space, banks, str(tmp_path / out), "fused", **options) == KEPT
    fused = open_banks(tmp_path / out, "test", spaces=["fused"])
    for modality, parts in parts_of(space, banks).items():
        np.testing.assert_array_equal(fused.rows[modality], banks.rows[modality])
        np.testing.assert_allclose(
            fused["fused", modality][:], space.mix(modality, parts), atol=near
        )


def records(split, name):
    """Modality to its missing rows, and to those that an expert lacks."""
    banks = {m: Bank.open(split.bank_path(name, m)) for m in MODALITIES}
    lists = lambda partial: {expert: rows.tolist() for expert, rows in partial.items()}  # noqa: E731
    return {m: (bank.missing.tolist(), lists(bank.partial)) for m, bank in banks.items()}


@pytest.mark.parametrize(
    ("missing", "text"),
    [("leave-out", ([0, 33], {})), ("unified", ([], {"clap_general": [0, 33]}))],
)
def test_items_that_a_space_lacks_are_recorded(space, banks, home, missing, text):
    write_fused(space, banks, home, "fused", missing=missing)
    wanted = {"audio": ([], {}), "image": ([59], {}), "text": text}
    assert records(banks.split, "fused") == wanted


@pytest.mark.usefixtures("small_blocks")
def test_every_item_of_the_unified_space_can_be_found(space, banks, home):
    counts = write_fused(space, banks, home, "fused", dtype="float32")
    assert counts == {"audio": 60, "image": 59, "text": 60}
    text = open_banks(home, "test", spaces=["fused"])["fused", "text"][:]
    unified = open_banks(home, "test", spaces=["imagebind"])["imagebind", "text"]
    np.testing.assert_allclose(text[[0, 33]], unified[np.array([0, 33])], atol=1e-6)
    whole = space.fuse("text", sources(space, banks, "text"))
    np.testing.assert_allclose(np.delete(text, [0, 33], axis=0), whole, atol=1e-6)


@pytest.mark.usefixtures("small_blocks")
def test_items_are_fused_from_the_experts_that_have_them(product, home):
    """The experts of both stages lack some texts."""
    split, product = Split(home / "test"), product.with_experts("clap_general")
    lacking = {"internvl": [0, 3, 4], "clap_general": [0, 33]}
    for expert, rows in lacking.items():
        change_about(split.bank_path(expert, "text"), missing=rows)
    write_fused(product, open_banks(home, "test", spaces=product.spaces), home, "fused")
    assert records(split, "fused")["text"] == ([], lacking)
    found = open_banks(home, "test", spaces=["fused"])["fused", "text"]
    native = {space: Bank.open(split.bank_path(space, "text")) for space in product.spaces}
    for row in np.array([[0], [3], [6], [33], [59]]):
        here = {s: b[row] for s, b in native.items() if row[0] not in lacking.get(s, [])}
        np.testing.assert_allclose(found[row], product.fuse("text", here), atol=1e-3)


@pytest.mark.usefixtures("small_blocks")
def test_progress_counts_every_item(space, banks, tmp_path):
    seen = []
    write_fused(space, banks, tmp_path / "out", "fused", progress=seen.append)
    assert sum(seen) == 3 * 60


def test_another_root_gets_the_items_and_pairs_and_is_whole(space, banks, tmp_path):
    write_fused(space, banks, tmp_path / "out", "fused")
    there = Split(tmp_path / "out" / "test")
    assert {line.split(":")[0] for line in verify_split(there)} == {
        *(f"items {modality}" for modality in MODALITIES),
        *(f"fused/{modality}" for modality in MODALITIES),
        *(f"pairs {pair}" for pair in ("audio-image", "audio-text", "image-text")),
    }


def test_fused_banks_give_the_figures_of_the_fused_space(space, banks, tmp_path):
    from fb_jax.evaluation import evaluate, retrieval

    options = {"dtype": "float32", "missing": "leave-out"}
    write_fused(space, banks, tmp_path / "out", "fused", **options)
    fused = open_banks(tmp_path / "out", "test", spaces=["fused"])
    audio, text = fused["fused", "audio"], fused["fused", "text"]
    found = retrieval(audio[:], text[:], fused.pairs("audio", "text"), ("audio", "text"))
    assert found == evaluate(space, banks)["versatile"]["audio-text"]


def test_fused_banks_can_be_searched(space, banks, home):
    from fb_jax.evaluation import nearest

    write_fused(space, banks, home, "fused")
    fused = open_banks(home, "test", spaces=["fused"])
    _, rows = nearest(fused["fused", "text"][:5], fused["fused", "text"], 1)
    np.testing.assert_array_equal(rows[:, 0], np.arange(5))


def test_a_fused_space_can_be_the_unified_space_of_a_second_stage(space, pool, root, tmp_path):
    home = shutil.copytree(root, tmp_path / "home")
    write_fused(space, pool, home, "imagebind_pp")
    second = open_banks(home, spaces=["imagebind_pp", "internvl"])
    assert PairSpec(second, "imagebind_pp", "internvl").starts == ("text", "image", "audio")


def test_the_licences_of_all_sources_are_carried_over(space, home):
    for modality in ("text", "audio"):
        bank = home / "test/embeddings/clap_general" / modality
        change_about(bank, encoder={"name": "CLAP", "licence": "CC-BY-NC-4.0"})
    write_fused(space, open_banks(home, "test", spaces=SPACES), home, "fused")
    for modality in MODALITIES:
        encoder = Bank.open(home / "test/embeddings/fused" / modality).encoder
        assert encoder.licence == (
            "derived from Apache-2.0 (imagebind), CC-BY-NC-4.0 (clap_general)"
        )


def test_banks_name_the_space_that_they_were_fused_by(space, banks, home):
    write_fused(space, banks, home, "fused")
    assert Bank.open(home / "test/embeddings/fused/text").encoder.weights_sha256 == digest(space)


@pytest.mark.usefixtures("small_blocks")
def test_a_cut_direct_sum_is_written_in_its_dimensions(one, banks, tmp_path):
    fewer = cut(one, 12, banks)
    write_fused(fewer, banks, tmp_path / "out", "fused", dtype="float32")
    fused = open_banks(tmp_path / "out", "test", spaces=["fused"])
    for modality, parts in parts_of(fewer, banks).items():
        rows = fused["fused", modality][:]
        assert rows.shape[1] == 12
        there = np.isin(fused.rows[modality], banks.rows[modality])
        np.testing.assert_allclose(rows[there], fewer.mix(modality, parts), atol=1e-6)


def test_rows_of_another_precision_are_other_rows(space, banks, tmp_path):
    options = {"dtype": "float32", "missing": "leave-out"}
    write_fused(space, banks, tmp_path / "out", "fused", precision="bf16", **options)
    fused = open_banks(tmp_path / "out", "test", spaces=["fused"])["fused", "text"][:]
    half, full = (space.mix("text", parts_of(space, banks, p)["text"]) for p in ("bf16", "float32"))
    np.testing.assert_allclose(fused, half, atol=1e-6)
    assert 1e-5 < np.abs(fused - full).max() < 1e-1
    with pytest.raises(FreeBindError, match="this folder holds another array"):
        write_fused(space, banks, tmp_path / "out", "fused", **options)


# Disturbances


@pytest.mark.parametrize(("blocks", "kept"), [(1, 25), (2, 50), (3, 50), (4, 85), (9, 170)])
@pytest.mark.usefixtures("small_blocks")
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    space, banks, tmp_path, contents, blocks, kept
):
    calls = []

    def stop(rows):
        calls.extend([rows] if rows else [])
        if len(calls) == blocks:
            raise Interrupted("stop")

    with pytest.raises(Interrupted):
        write_fused(space, banks, tmp_path / "a", "fused", progress=stop)
    found = []
    write_fused(space, banks, tmp_path / "a", "fused", progress=found.append)
    assert found[0] == kept
    write_fused(space, banks, tmp_path / "undisturbed", "fused")
    assert contents(tmp_path / "a") == contents(tmp_path / "undisturbed")


FUSE = """
from fb_jax.banks import open_banks
from fb_jax.fusion import FusedSpace, banks, write_fused

banks.BLOCK_ROWS, space = 25, FusedSpace.load("space")
write_fused(space, open_banks("home", "test", spaces=space.spaces), "a", "fused")
"""


@pytest.mark.usefixtures("small_blocks")
def test_after_kill_9_a_rerun_ends_in_the_same_bytes(space, banks, python, tmp_path, contents):
    space.save(tmp_path / "space")
    at = At("os.replace", on=r"image/emb_00001\.npy$")  # the second shard of the second modality
    assert python(FUSE, cwd=tmp_path, at=[at]).returncode == -signal.SIGKILL
    assert (tmp_path / "a/test/embeddings/fused/image/emb_00000.npy").exists()
    assert not (tmp_path / "a/test/embeddings/fused/image/emb_00001.npy").exists()
    for name in ("a", "undisturbed"):
        write_fused(space, banks, tmp_path / name, "fused")
    assert contents(tmp_path / "a") == contents(tmp_path / "undisturbed")


# What is refused


def other_items(there):
    write_items(there.items_path("text"), [{"id": "another"}])


def other_pairs(there):
    files.write_npy(there.pairs_path("text", "audio"), np.array([[0, 1]]))


@pytest.mark.parametrize(
    ("put", "named"), [(other_items, "items/text.jsonl"), (other_pairs, "pairs/audio-text.npy")]
)
def test_a_root_with_other_items_or_pairs_is_refused_and_left_alone(
    space, banks, tmp_path, contents, put, named
):
    put(Split(tmp_path / "out" / "test"))
    before = contents(tmp_path / "out")
    with pytest.raises(FreeBindError, match=rf"other (items|pairs)(.|\n)*{named}(.|\n)*--out"):
        write_fused(space, banks, tmp_path / "out", "fused")
    assert contents(tmp_path / "out").items() >= before.items()
    assert not (tmp_path / "out/test/embeddings").exists()


@pytest.mark.parametrize("change", [{"name": "imagebind"}, {"name": "fused", "text": 0.3}])
def test_a_bank_that_is_there_is_never_overwritten(space, banks, home, contents, change):
    write_fused(space, banks, home, "fused")
    before = contents(home)
    name, factors = change["name"], {key: change[key] for key in change if key != "name"}
    with pytest.raises(FreeBindError, match="this folder holds another array"):
        write_fused(space.with_factors(**factors), banks, home, name)
    assert contents(home) == before


def test_a_name_that_is_no_folder_name_is_refused(space, banks, tmp_path):
    with pytest.raises(FreeBindError, match="'a/b' cannot name a space"):
        write_fused(space, banks, tmp_path / "out", "a/b")
    assert not (tmp_path / "out").exists()
