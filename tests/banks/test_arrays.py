import pickle

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from made import random_bond
from twin import PARITY, error

from fb_jax.banks import Bank, BankSet, Split, open_banks, unit_rows
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace, write_fused
from fb_jax.pseudo import PairSpec, Retrieval, build_pairs

RNG = np.random.default_rng(0)
T, V, A = (RNG.normal(size=(n, 6)).astype(np.float32) for n in (9, 8, 7))
TE, AE = (RNG.normal(size=(n, 5)).astype(np.float32) for n in (9, 7))
SPACES = {"u": {"text": T, "image": V, "audio": A}, "e": {"text": TE, "audio": AE}}


def banks(**changed) -> BankSet:
    spaces = {space: {**modalities} for space, modalities in SPACES.items()}
    for key, array in changed.items():
        space, modality = key.split("_")
        spaces[space][modality] = array
    return BankSet.from_arrays(spaces, {("text", "audio"): np.array([[8, 0], [0, 6]])}, "val")


def test_arrays_are_read_as_unit_rows():
    found = banks()
    assert found["e", "audio"].shape == (7, 5)
    np.testing.assert_array_equal(found["u", "text"][2:5], unit_rows(T)[2:5])
    np.testing.assert_array_equal(found["u", "text"][np.array([8, 0])], unit_rows(T)[[8, 0]])
    assert (found.modalities("e"), found.dim("u")) == (("text", "audio"), 6)
    np.testing.assert_array_equal(found.rows["image"], np.arange(8))
    found.verify()


@pytest.mark.parametrize(
    "convert",
    [
        jnp.asarray,
        torch.from_numpy,
        lambda x: torch.from_numpy(x).requires_grad_() * 2.0**-40,
        lambda x: torch.from_numpy(x).double() * 2.0**-900,
        lambda x: np.asfortranarray(x) * np.float32(2**100),
    ],
    ids=["jax", "torch", "with a gradient", "double", "Fortran order"],
)
def test_arrays_may_come_from_other_libraries(convert):
    np.testing.assert_array_equal(banks(u_text=convert(T))["u", "text"][:], unit_rows(T))


def test_a_fingerprint_names_the_content():
    digests = banks().fingerprints()
    assert digests == banks(u_text=T.copy()).fingerprints()
    other = T.copy()
    other[8, 5] += 1e-6
    for changed in (other, T.astype(np.float64), T[::-1], T[:, ::-1]):
        assert banks(u_text=changed).fingerprints()["u/text"] != digests["u/text"]
    ones = np.ones((9, 6), "<f4")
    same_bytes = ones, ones.view(">f4"), ones.reshape(6, 9)
    alone = [BankSet.from_arrays({"u": {"text": array}}).fingerprints() for array in same_bytes]
    assert len({digest["u/text"] for digest in alone}) == 3


def test_a_memory_map_stays_on_disk(tmp_path):
    np.save(tmp_path / "t.npy", T)
    mapped = np.load(tmp_path / "t.npy", mmap_mode="r")
    found = banks(u_text=mapped)
    assert isinstance(found["u", "text"].array._rows, np.memmap)
    np.testing.assert_array_equal(found["u", "text"][:], unit_rows(T))


def test_pairs_are_tables_or_row_by_row():
    found = banks()
    assert found.paired() == [("audio", "text")]
    np.testing.assert_array_equal(found.pairs("text", "audio"), [[8, 0], [0, 6]])
    np.testing.assert_array_equal(found.pairs("audio", "text"), [[0, 8], [6, 0]])
    straight = BankSet.from_arrays(SPACES, {("image", "text"): None})
    np.testing.assert_array_equal(straight.pairs("image", "text"), np.arange(8)[:, None] * [1, 1])
    tables = None, [[8, 0], [0, 6]], [[8, 0], [1, 6]]
    other = [BankSet.from_arrays(SPACES, {("text", "audio"): table}) for table in tables]
    digests = [these.pair_fingerprints()["pairs/audio-text"] for these in other]
    assert found.pair_fingerprints() == {"pairs/audio-text": digests[1]}
    assert len(set(digests)) == 3


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"e_text": TE[:8]}, r"number of text items\n.*e/text\n.*9 rows\n.*8 rows"),
        ({"e_audio": TE}, r"number of audio items\n.*e/audio\n.*7 rows\n.*9 rows"),
        ({"e_text": TE[:, :4]}, r"differ in dimension\n.*val/e\n.*text 4, audio 5"),
        ({"u_image": V[0]}, r"not a matrix of embeddings\n.*u/image\n.*\[n, d\] floats\n.*\[6\]"),
        ({"u_image": np.ones((8, 6), int)}, r"not a matrix(.|\n)*int64"),
        ({"u_image": torch.ones((8, 6), dtype=torch.int32)}, r"not a matrix(.|\n)*int32"),
        ({"u_image": V + 1j}, r"not a matrix(.|\n)*\[n, d\] floats(.|\n)*complex64"),
        ({"u_image": [[1.0], [1.0, 2.0]]}, r"not a matrix(.|\n)*u/image(.|\n)*inhomogeneous"),
        ({"u_image": np.ma.masked_less(V, 0)}, r"not a matrix(.|\n)*masked entries"),
        (
            {"u_image": V * (np.arange(8) != 5)[:, None]},
            r"zero rows\n.*u/image(.|\n)*1 zero rows, the first is row 5",
        ),
        (
            {"u_image": V * np.where(np.arange(8) == 3, np.nan, 1)[:, None]},
            r"NaN or infinite rows(.|\n)*row 3",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changed, says):
    with pytest.raises(FreeBindError, match=says):
        banks(**changed)


def test_no_arrays_are_no_banks():
    for spaces in ({}, {"u": {}}, SPACES | {"x": {}}):
        with pytest.raises(FreeBindError, match="there are no embeddings"):
            BankSet.from_arrays(spaces)


def test_a_table_past_the_rows_is_refused():
    with pytest.raises(FreeBindError, match="points past an item list"):
        BankSet.from_arrays(SPACES, {("text", "audio"): np.array([[0, 7]])})


def test_pseudo_pairs_are_those_of_the_same_rows_on_disk(root):
    disk = open_banks(root, spaces=["imagebind", "clap_general"])
    arrays = {
        space: {m: disk[space, m][:] for m in disk.modalities(space)}
        for space in ("imagebind", "clap_general")
    }
    memory = BankSet.from_arrays(arrays)
    how = Retrieval(dtype="float32")
    specs = (PairSpec(one, "imagebind", "clap_general", how) for one in (disk, memory))
    found, wanted = map(build_pairs, specs)
    for column, rows in wanted.columns.items():
        assert error(found.columns[column][:], rows[:]) < PARITY["float32"]


def test_fused_rows_of_arrays_can_be_written(root, tmp_path):
    disk = open_banks(root, "test", spaces=["imagebind", "clap_general"])
    arrays = {
        s: {m: disk[s, m][:] for m in disk.modalities(s)} for s in ("imagebind", "clap_general")
    }
    ends = ("imagebind", 64), ("clap_general", 48)
    space = FusedSpace.of(random_bond("combination", *ends, ("text", "audio")))
    memory = BankSet.from_arrays(arrays, {("audio", "text"): None}, "test")
    write_fused(space, memory, tmp_path, "fused", dtype="float32")
    bank = Bank.open(Split(tmp_path / "test").bank_path("fused", "text"))
    rows = {s: arrays[s]["text"] for s in arrays}
    np.testing.assert_allclose(bank[:], space.fuse("text", rows), atol=1e-6)
    assert len(open_banks(tmp_path, "test", spaces=["fused"]).pairs("audio", "text")) == 60


def test_banks_compare_hash_pickle_and_print(root):
    disk = open_banks(root, "test", spaces=["imagebind"])
    for these, prints in ((banks(), "val (in memory)': u/text [9, 6], "), (disk, "imagebind/text")):
        assert these == these
        assert these != banks()
        assert len({these, banks()}) == 2
        assert prints in repr(these)
        again = pickle.loads(pickle.dumps(these))
        assert again.fingerprints() == these.fingerprints()
    assert repr(disk["imagebind", "text"]).endswith("imagebind/text', [60, 64])")


def test_an_array_of_bfloat16_is_read_as_float32():
    found = banks(u_text=jnp.asarray(T, jnp.bfloat16))["u", "text"][:]
    np.testing.assert_array_equal(found, unit_rows(np.asarray(jnp.asarray(T, jnp.bfloat16), "f4")))


def test_pairs_of_a_modality_that_is_not_there_are_refused():
    with pytest.raises(FreeBindError, match=r"no modality 'txt'(.|\n)*did you mean 'text'"):
        BankSet.from_arrays(SPACES, {("audio", "txt"): None})


def test_pairs_of_a_modality_with_itself_are_refused():
    with pytest.raises(FreeBindError, match="a pair table joins text with itself"):
        BankSet.from_arrays(SPACES, {("text", "text"): None})


def test_other_pairs_on_disk_are_not_overwritten(tmp_path):
    target = Split(tmp_path / "val")
    banks().split.copy_items_to(target)
    banks().split.copy_items_to(target)
    before = target.read_pairs("text", "audio")
    np.testing.assert_array_equal(before, [[8, 0], [0, 6]])
    others = BankSet.from_arrays(SPACES, {("text", "audio"): [[8, 0], [0, 5]]}, "val")
    with pytest.raises(FreeBindError, match="holds other pairs"):
        others.split.copy_items_to(target)
    np.testing.assert_array_equal(target.read_pairs("text", "audio"), before)
