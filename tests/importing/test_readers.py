import io
import subprocess
import sys
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import torch

from fb_jax import importing
from fb_jax.banks.rows import BLOCK_ROWS
from fb_jax.errors import FreeBindError
from fb_jax.importing import Choice, import_bank, open_source, open_sources
from fb_jax.importing.arrow import Part, Table, VectorColumn
from fb_jax.importing.bank import scan_rows
from fb_jax.importing.readers import READERS
from fb_jax.importing.source import Guarded

from .stores import STORES, faiss_index, numbered, table

COUNT, DIM = 90, 4
ROWS = np.random.default_rng(0).integers(-9, 9, (COUNT, DIM)).astype(np.float32)  # in bfloat16 too
ROWS[:, 0] = 1 + np.arange(COUNT) % 50
WITH_COLUMNS = ("clip", "parts", "hf", "splits", "t.lance", "ids")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Every kind of source, written once."""
    home = tmp_path_factory.mktemp("sources")
    for store in STORES:
        store.write(home / store.name, ROWS)
    return home


@pytest.fixture(params=STORES, ids=lambda store: store.name)
def store(request):
    return request.param


def test_every_kind_of_source_gives_its_rows(written, store):
    source = open_source(written / store.name, "image", store.choice)
    assert source.matrix.shape == (COUNT, DIM)
    np.testing.assert_array_equal(source.matrix[:], ROWS)
    np.testing.assert_array_equal(source.matrix[80:200], ROWS[80:])


def test_slices_may_be_read_in_any_order(written, store):
    matrix = open_source(written / store.name, "image", store.choice).matrix
    for start, stop in [
        (30, 60),
        (60, 60),
        (60, 90),
        (7, 9),
        (50, 20),
        (89, 99),
        (90, 90),
        (9, 30),
    ]:
        np.testing.assert_array_equal(matrix[start:stop], ROWS[start:stop])


def test_every_reader_is_tried(written):
    names = [(written / store.name, store.choice) for store in STORES]
    used = {next(r.name for r in READERS if r.fits(path)) for path, _ in names}
    assert used == {reader.name for reader in READERS}


def test_ids_and_captions_come_with_the_rows(written, store):
    columns = open_source(written / store.name, "image", store.choice).columns
    tabular = store.name.endswith((".parquet", ".feather", ".arrow"))
    assert (columns is not None) == (tabular or store.name.startswith(WITH_COLUMNS))
    if columns is None:
        return
    items = list(importing.list_items(columns))
    assert [item["id"] for item in items] == [str(10 + i) for i in range(COUNT)]
    if not store.name.startswith("ids"):
        assert [item.get("caption") for item in items[:2]] == [None, "caption 1"]
        assert "caption" not in items[0]


def test_the_same_rows_have_the_same_digest_in_every_format(written):
    names = ("x.npy", "plain.npz", "x.safetensors", "x.pt", "numbered", "parts", "t.lance", "hf")
    chosen = {store.name: store.choice for store in STORES}
    found = {scan_rows(open_source(written / n, "text", chosen[n]).matrix).digest for n in names}
    assert len(found) == 1
    other = open_source(written / "double.npy", "text").matrix
    assert scan_rows(other).digest not in found


def test_a_source_imported_again_changes_nothing_and_another_is_refused(
    split, written, tmp_path, contents
):
    import_bank(split, "house", "text", written / "parts")
    before = contents(split.path)
    import_bank(split, "house", "text", written / "parts")
    other = table(-ROWS)
    pyarrow.parquet.write_table(other, tmp_path / "parts.parquet")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts.parquet").rename(tmp_path / "parts" / "0.parquet")
    with pytest.raises(FreeBindError, match="this folder holds another array"):
        import_bank(split, "house", "text", tmp_path / "parts")
    assert contents(split.path) == before


# Which matrix


@pytest.mark.parametrize(
    ("name", "choice", "says"),
    [
        ("plain.npz", Choice(), r"several could be the matrix(.|\n)*few \[2, 4\] float32, x \[90"),
        ("plain.npz", Choice(key="y"), "there is no matrix 'y'"),
        ("plain.npz", Choice(key="other"), r"not a matrix of embeddings(.|\n)*\[3\]"),
        ("dict.pth", Choice(key="n"), "there is no matrix 'n'"),
        ("b.npy", Choice(), r"no type(.|\n)*bfloat16(.|\n)*--read-as bfloat16"),
        ("x.npy", Choice(key="x"), r"\.npy has no --key"),
        ("numbered", Choice(column="x"), "has no --column"),
        ("x.safetensors", Choice(read_as="bfloat16"), "has no --read-as"),
        ("parts", Choice(column="TEXT"), r"column TEXT holds no vectors(.|\n)*string"),
        ("parts", Choice(column="txt"), r"no column of vectors 'txt'(.|\n)*emb, key"),
        ("splits", Choice(), r"several could be the split(.|\n)*train 2 rows, test 90 rows"),
    ],
)
def test_a_choice_that_fits_nothing_or_several_is_refused(written, name, choice, says):
    with pytest.raises(FreeBindError, match=says) as error:
        open_sources(written / name, choice)
    assert name in str(error.value)


def test_several_columns_of_vectors_need_a_name(tmp_path):
    both = table(ROWS).append_column("title_emb", table(-ROWS)["emb"])
    pyarrow.parquet.write_table(both, tmp_path / "x.parquet")
    with pytest.raises(FreeBindError, match=r"emb fixed_size_list(.|\n)*title_emb(.|\n)*--column"):
        open_sources(tmp_path / "x.parquet")
    chosen = open_source(tmp_path / "x.parquet", "text", Choice(column="title_emb"))
    np.testing.assert_array_equal(chosen.matrix[:5], -ROWS[:5])
    assert chosen.notes[0].startswith("vectors: column `title_emb`, fixed_size_list<")


def test_what_was_chosen_is_said(written):
    notes = {s.name: open_source(written / s.name, "image", s.choice).notes for s in STORES}
    assert notes["x.npy"] == notes["one.npz"] == ()
    assert notes["plain.npz"] == ("matrix: `x`",)
    assert "unpacked into a temporary file" in notes["packed.npz"][1]
    assert "read into memory" in notes["old.pt"][0]
    assert notes["splits"][0] == "split of the dataset: `test`"


def test_bfloat16_by_name_in_the_header_needs_no_option(tmp_path):
    header = "{'descr': 'bfloat16', 'fortran_order': False, 'shape': (1, 2), }".ljust(117) + "\n"
    magic = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
    (tmp_path / "x.npy").write_bytes(magic + header.encode() + b"\x80\x3f\x00\xc0")
    assert open_source(tmp_path / "x.npy", "text").matrix[:].tolist() == [[1, -2]]


# Folders


def test_numbers_count_not_the_order_of_names(tmp_path):
    numbered(tmp_path / "x", ROWS, width=8)  # emb_10 sorts before emb_2
    np.testing.assert_array_equal(open_source(tmp_path / "x", "text").matrix[:], ROWS)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: (f / "emb_1.npy").unlink(), r"missing(.|\n)*number 1\n.*number 2"),
        (
            lambda f: (f / "emb_0.npy").unlink() or (f / "emb_1.npy").unlink(),
            "number 1\n.*number 2",
        ),
        (lambda f: np.save(f / "emb_01.npy", ROWS), r"twice(.|\n)*number 2\n.*number 1"),
        (lambda f: np.save(f / "other.npy", ROWS), r"not the numbered parts(.|\n)*other\.npy"),
        (lambda f: np.save(f / "txt_0.npy", ROWS), "not the numbered parts"),
        (lambda f: np.save(f / "emb_2.npy", ROWS[:, :2]), r"one matrix(.|\n)*\[90, 2\]"),
        (lambda f: np.save(f / "emb_2.npy", ROWS.astype(int)), r"one matrix(.|\n)*int64"),
    ],
)
def test_a_folder_that_is_not_one_matrix_is_refused(tmp_path, change, says):
    numbered(tmp_path / "x", ROWS, width=30)
    change(tmp_path / "x")
    with pytest.raises(FreeBindError, match=says):
        open_sources(tmp_path / "x")


def test_a_folder_may_begin_at_one(tmp_path):
    numbered(tmp_path / "x", ROWS, width=30)
    (tmp_path / "x" / "emb_0.npy").rename(tmp_path / "x" / "emb_3.npy")
    expected = np.roll(ROWS, -30, axis=0)
    np.testing.assert_array_equal(open_source(tmp_path / "x", "text").matrix[:], expected)


def test_two_columns_of_one_name_are_refused(tmp_path):
    columns = [pa.array(["a", "b"]), pa.array(["c", "d"]), pa.array(np.eye(2).tolist())]
    twice = pa.Table.from_arrays(columns, names=["caption", "caption", "v"])
    pyarrow.parquet.write_table(twice, tmp_path / "x.parquet")
    with pytest.raises(FreeBindError, match=r"the same name\n.*x\.parquet\n.*got: +caption$"):
        open_source(tmp_path / "x.parquet", "text")


def test_tables_of_a_folder_must_have_the_same_columns(tmp_path):
    pyarrow.parquet.write_table(table(ROWS), tmp_path / "0.parquet")
    pyarrow.parquet.write_table(table(ROWS, "list"), tmp_path / "1.parquet")
    with pytest.raises(FreeBindError, match=r"differ in their columns\n.*1\.parquet"):
        open_sources(tmp_path)


# Vectors in tables


@pytest.mark.parametrize("kind", ["list", "fixed", "large"])
@pytest.mark.parametrize("dtype", [pa.float16(), pa.float32(), pa.float64()])
def test_a_null_vector_is_a_bad_row(split, tmp_path, kind, dtype):
    lists = {"list": pa.list_(dtype), "fixed": pa.list_(dtype, 2), "large": pa.large_list(dtype)}
    values = [None, [3.0, 4.0], [1.0, None], [0.0, 2.0]]
    column = pa.array(values, pa.list_(pa.float64())).cast(lists[kind])
    pyarrow.parquet.write_table(pa.table({"v": column}), tmp_path / "x.parquet")
    with pytest.raises(FreeBindError, match="2 NaN or infinite rows, the first is row 0"):
        import_bank(split, "house", "text", tmp_path / "x.parquet")
    bank = import_bank(split, "house", "text", tmp_path / "x.parquet", bad_rows="missing")
    assert bank.missing.tolist() == [0, 2]
    np.testing.assert_allclose(bank[1::2], [[0.6, 0.8], [0, 1]], atol=3e-4)


def test_a_column_of_nulls_is_no_matrix(tmp_path):
    vectors = pa.array([None, None], pa.list_(pa.float32()))
    pyarrow.parquet.write_table(pa.table({"v": vectors}), tmp_path / "x.parquet")
    with pytest.raises(FreeBindError, match=r"not a matrix of embeddings(.|\n)*\[2, 0\]"):
        open_sources(tmp_path / "x.parquet")


def test_vectors_of_another_length_are_refused_with_their_row(tmp_path):
    vectors = pa.array([[], None, [1.0, 2.0], [1.0]], pa.list_(pa.float32()))
    pyarrow.parquet.write_table(pa.table({"v": vectors[:3]}), tmp_path / "x.parquet")
    matrix = open_source(tmp_path / "x.parquet", "text").matrix
    assert np.isnan(matrix[:2]).all()
    assert matrix[2:3].tolist() == [[1, 2]]
    pyarrow.parquet.write_table(pa.table({"v": vectors}), tmp_path / "x.parquet")
    with pytest.raises(FreeBindError, match=r"row 3\n  expected: 2 numbers\n  got:      1 numbers"):
        open_source(tmp_path / "x.parquet", "text")


# Damage, and other things


@pytest.mark.parametrize(
    ("description", "ids", "says"),
    [
        ("IVF2,PQ2x4fs", False, "kind IVFPQFastScan"),
        ("IVF2,Flat", True, "ids of its own"),
        ("PCA2,Flat", False, "kind PreTransform"),
    ],
)
def test_an_index_that_does_not_give_its_vectors_back_is_refused(tmp_path, description, ids, says):
    faiss_index(description, ids=ids)(tmp_path / "x.faiss", ROWS)
    with pytest.raises(FreeBindError, match=rf"cannot be read back(.|\n)*{says}"):
        open_sources(tmp_path / "x.faiss")


@pytest.mark.parametrize("description", ["SQ8", "HNSW8_SQ8", "IVF2,SQ8", "PQ2x4"])
def test_an_index_that_rounds_says_so(tmp_path, description):
    faiss_index(description)(tmp_path / "x.faiss", ROWS)
    source = open_source(tmp_path / "x.faiss", "text")
    assert "these are not the embeddings that were added" in source.notes[0]
    assert np.corrcoef(source.matrix[:].ravel(), ROWS.ravel())[0, 1] > 0.8


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("x.pt", "torch", "encoders"),
        ("large.parquet", "pyarrow.parquet", "parquet"),
        ("plain.arrow", "pyarrow.ipc", "parquet"),
        ("clip", "pyarrow.parquet", "parquet"),
        ("hf", "datasets", "datasets"),
        ("t.lance", "lancedb", "lancedb"),
        ("flat.faiss", "faiss", "faiss"),
    ],
)
def test_a_library_that_is_missing_is_named_with_its_extra(
    written, monkeypatch, name, module, extra
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(FreeBindError, match=rf"pip install 'freebind-jax\[{extra}\]'"):
        open_sources(written / name)


class Planted:
    def __reduce__(self):
        return (print, ("this must not run",))


@pytest.mark.parametrize("save", [torch.save, lambda thing, path: np.save(path, thing)])
def test_no_pickle_is_run(tmp_path, save, capsys):
    path = tmp_path / ("x.pt" if save is torch.save else "x.npy")
    save(np.array([Planted()]) if path.suffix == ".npy" else Planted(), path)
    with pytest.raises(FreeBindError) as error:
        open_sources(path)
    assert "weights_only" not in str(error.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.npz", b"PK"),
        ("x.pt", b"PK\x03\x04"),
        ("x.pth", b"\x80\x02."),
        ("x.parquet", b"PAR1"),
        ("x.arrow", b"ARROW1"),
        ("x.feather", b"FEA1"),
        ("x.faiss", b"IxF2" + bytes(30)),
        ("x.bin", b"anything"),
        ("x.lance/data", b""),
        ("x/state.json", b"{}"),
        ("x/img_emb/a.txt", b""),
    ],
)
def test_a_damaged_source_is_refused_with_its_name(tmp_path, name, content):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(content)
    path = tmp_path / name.split("/")[0]
    with pytest.raises(FreeBindError) as error:
        open_sources(path)
    assert str(path) in str(error.value)


def test_a_member_of_an_archive_that_claims_too_much_is_refused(tmp_path):
    file = io.BytesIO()
    np.save(file, ROWS)
    content = file.getvalue().replace(b"(90, 4)", b"(99, 4)")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", content)
        archive.writestr("y.npy", bytes(1000))
    with pytest.raises(FreeBindError, match="cannot be read"):
        open_sources(tmp_path / "x.npz", Choice(key="x"))


def test_a_step_is_refused_and_not_left_out(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(4))
    with pytest.raises(FreeBindError, match="a step of 2"):
        open_source(tmp_path / "x.npy", "text").matrix[::2]


# Memory


def test_no_more_than_a_block_is_asked_for(split):
    """Also in a table whose batches are larger."""
    count, seen = 3 * BLOCK_ROWS + 5, []
    vectors = pa.FixedSizeListArray.from_arrays(np.ones(2 * count, np.float32), 2)
    batch = pa.RecordBatch.from_arrays([vectors], ["v"])

    class Recorded(VectorColumn):
        def _matrix(self, lists, first):
            seen.append(len(lists))
            return super()._matrix(lists, first)

        def __getitem__(self, rows):
            seen.append(len(range(*rows.indices(count))))
            return super().__getitem__(rows)

    whole = Table(
        split.path, batch.schema, [Part(count, lambda _names, start: iter([batch.slice(start)]))]
    )
    source = importing.Source(split.path / "x", "a stub", Guarded(Recorded(whole, "v"), split.path))
    assert len(import_bank(split, "house", "text", source)) == count
    assert max(seen) == BLOCK_ROWS


MEASURE = """
import sys
from fb_jax.banks.rows import blocks_of
from fb_jax.importing import open_source

def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) * 1024

matrix = open_source(sys.argv[1], "text").matrix
matrix[:1]
before = peak = anonymous()
for _, block in blocks_of(matrix):
    peak = max(peak, anonymous())
print(len(matrix), peak - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", ["x.npy", "large.parquet", "plain.arrow", "t.lance"])
def test_a_million_rows_never_stand_in_memory(tmp_path, name):
    count, dim = 1_000_000, 64
    if name == "x.npy":  # sparse: it takes no disk
        np.lib.format.open_memmap(tmp_path / name, "w+", np.float32, (count, dim)).flush()
    else:
        count = 300_000
        rows = np.random.default_rng(0).normal(size=(count, dim)).astype(np.float32)
        next(store for store in STORES if store.name == name).write(tmp_path / name, rows)
    command = [sys.executable, "-c", MEASURE, name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    read, grown = map(int, done.stdout.split())
    assert read == count
    assert grown < count * dim * 4
    assert grown < 64 * 2**20
