from fcntl import LOCK_EX

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from disturb import counted
from safetensors.numpy import save_file

from fb_jax.banks import Encoder, Split, unit_rows, write_items
from fb_jax.errors import FreeBindError
from fb_jax.importing import import_bank, import_pairs

ROWS = np.array([[3.0, 4.0], [0.0, 5.0], [-2.0, 0.0]])
UNIT = np.array([[0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])


@pytest.fixture
def save(tmp_path):
    def save(name, content):
        path, content = tmp_path / name, content.encode() if isinstance(content, str) else content
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, dict):
            save_file(content, path)
        elif content is not None:
            np.save(path, content) if name.endswith(".npy") else save_file({"x": content}, path)
        return path

    return save


@pytest.fixture
def source(save):
    return save("x.npy", ROWS)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """One row more than a shard has, and four blocks."""
    rows = np.random.default_rng(0).normal(size=(65_537, 2)).astype(np.float32)
    np.save(path := tmp_path_factory.mktemp("many") / "many.npy", rows)
    return path


# Banks


@pytest.mark.parametrize("stored", ["float16", "float32"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("kind", [".npy", ".safetensors"])
def test_a_matrix_of_floats_becomes_a_bank_of_unit_rows(split, save, kind, dtype, stored):
    bank = import_bank(split, "clap", "text", save(f"x{kind}", ROWS.astype(dtype)), dtype=stored)
    np.testing.assert_array_equal(bank.array[:], UNIT.astype(np.float32).astype(stored))
    np.testing.assert_allclose(bank[:], UNIT, atol=3e-4)


@pytest.mark.parametrize(
    "rows",
    [1e300 * ROWS, 1e-300 * ROWS, np.float32(1e-44 * ROWS[1:]), np.asfortranarray(ROWS)],
    ids=["long", "short", "subnormal", "Fortran order"],
)
def test_rows_may_be_of_any_length_and_lie_in_any_order(split, save, rows):
    bank = import_bank(split, "clap", "text", save("x.npy", rows))
    np.testing.assert_allclose(bank[:], UNIT[-len(rows) :], atol=3e-4)


def test_plain_numpy_reads_the_numbered_files_in_sorted_order(split, many):
    bank = import_bank(split, "clap", "text", many, dtype="float32")
    shards = [np.load(path) for path in sorted(bank.folder.glob("*.npy"))]
    assert len(shards) == 2
    np.testing.assert_array_equal(np.concatenate(shards), unit_rows(np.load(many)), strict=True)


@pytest.mark.parametrize(
    ("bad", "kind"),
    [([np.nan, 1], "NaN or infinite"), ([1, -np.inf], "NaN or infinite"), ([0.0, 0], "zero")],
)
def test_bad_rows_are_refused_or_listed_as_missing(split, save, bad, kind):
    source = save("x.npy", np.array([[3e99, 4e99], bad, [5, 0], bad]))
    with pytest.raises(
        FreeBindError, match=rf"{kind} rows(.|\n)*2 {kind} rows, the first is row 1"
    ):
        import_bank(split, "clap", "text", source)
    assert not split.path.exists()
    bank = import_bank(split, "clap", "text", source, bad_rows="missing")
    assert bank.present().tolist() == [0, 2]
    assert not bank[1::2].any()
    bank.verify()


def test_a_bank_of_missing_rows_alone_is_refused(split, save):
    source = save("x.npy", np.zeros((3, 4), np.float32))
    with pytest.raises(FreeBindError, match="every row is NaN, infinite or zero"):
        import_bank(split, "clap", "text", source, bad_rows="missing")
    assert not split.items_path("text").exists()


def test_missing_rows_are_found_and_exempt_wherever_they_are(split, save, many):
    """Also in the first and last row of a block, of a shard and of all."""
    rows, bad = np.load(many), [0, 5, 16_383, 16_384, 65_535, 65_536]
    rows[bad] = np.nan
    bank = import_bank(split, "clap", "text", save("x.npy", rows), bad_rows="missing")
    assert np.flatnonzero(~bank[:].any(axis=1)).tolist() == bank.missing.tolist() == bad
    bank.verify()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.safetensors", None, "a matrix is missing"),
        ("x.csv", "1,2", r"cannot be imported(.|\n)*expected: \.npy, \.npz, \.safetensors"),
        ("x.npy", "1,2", "cannot be read"),
        ("x.npy", "", "cannot be read"),
        ("x.npy", np.array([{}]), "cannot be read"),
        ("x.safetensors", "1,2", "cannot be read"),
        (
            "x.safetensors",
            {"a": ROWS, "b": ROWS},
            r"several could be the matrix(.|\n)*a \[3, 2\] float64, b(.|\n)*--key a",
        ),
        ("x.safetensors", {}, r"no matrix here(.|\n)*nothing"),
        ("x.npy", ROWS.astype(int), r"not a matrix of embeddings(.|\n)*\[3, 2\], int64"),
        ("x.npy", ROWS * 1j, r"expected: +\[n, d\] floats(.|\n)*\[3, 2\], complex128"),
        ("x.npy", ROWS[0], r"not a matrix of embeddings(.|\n)*\[2\], not a matrix"),
        ("x.safetensors", ROWS[None], r"no matrix here(.|\n)*x \[1, 3, 2\] float64"),
        ("x.npy", ROWS[:0], r"not a matrix of embeddings(.|\n)*\[0, 2\]"),
    ],
)
def test_a_file_that_holds_no_matrix_of_floats_is_refused(split, save, name, content, says):
    with pytest.raises(FreeBindError, match=says) as error:
        import_bank(split, "clap", "text", save(name, content))
    assert name in str(error.value)
    assert not split.path.exists()


@pytest.mark.parametrize("names", [("clap/x", "text"), ("clap", "a-b")])
def test_a_name_that_could_be_no_folder_is_refused(split, source, names):
    with pytest.raises(FreeBindError, match="cannot name a"):
        import_bank(split, *names, source)


def test_the_source_names_the_encoder_unless_it_is_known(split, source):
    known, unknown = Encoder("clap", "abc", "CC0-1.0"), Encoder("x.npy")
    assert import_bank(split, "a", "text", source).encoder == unknown
    assert import_bank(split, "b", "text", source, encoder=known).encoder == known


@pytest.mark.parametrize("encoder", [None, Encoder("clap")])
def test_importing_again_changes_nothing_and_another_matrix_is_refused(
    split, source, save, contents, encoder
):
    import_bank(split, "clap", "text", source, encoder=encoder)
    before = contents(split.path)
    import_bank(split, "clap", "text", source, encoder=encoder)
    with pytest.raises(FreeBindError, match="this folder holds"):
        import_bank(split, "clap", "text", save("x.npy", -ROWS), encoder=encoder)
    with pytest.raises(FreeBindError, match=r"differ in dimension(.|\n)*as text has"):
        import_bank(split, "clap", "audio", save("wide.npy", np.eye(7)), encoder=encoder)
    assert contents(split.path) == before
    shard = split.bank_path("clap", "text") / "emb_00000.npy"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x55")
    with pytest.raises(FreeBindError, match="altered after it was written"):
        import_bank(split, "clap", "text", save("x.npy", ROWS), encoder=encoder)


@pytest.mark.parametrize("kind", [".npy", ".parquet"])
def test_an_import_that_was_stopped_goes_on_to_the_same_bytes(
    split, tmp_path, many, contents, kind
):
    first, rest = [], []
    if kind == ".parquet":
        vectors = pa.FixedSizeListArray.from_arrays(np.load(many).ravel(), 2)
        many = tmp_path / "many.parquet"
        pyarrow.parquet.write_table(pa.table({"v": vectors}), many, row_group_size=30_000)

    def stop_after_a_shard(rows):
        first.append(rows)
        if sum(first) > 65_536:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_bank(split, "clap", "text", many, progress=stop_after_a_shard)
    import_bank(split, "clap", "text", many, progress=rest.append)
    assert sum(rest) == 1
    import_bank(Split(tmp_path / "undisturbed"), "clap", "text", many)
    assert contents(split.path) == contents(tmp_path / "undisturbed")


# Items


@pytest.mark.parametrize(
    ("name", "text", "ids", "captions"),
    [
        ("x.txt", "\ufeffa\u2028dog\x0b\nFüße\x85\n\n", "012", ["a\u2028dog\x0b", "Füße\x85", ""]),
        ("x.txt", "\r\n\ufeffb \x0c\r\n c\rd", "012", ["", "\ufeffb \x0c", " c\rd"]),
        (
            "x.jsonl",
            '{"id": "p", "caption": "a"}\n{"id": "q"}\n{"id": "r"}',
            "pqr",
            ["a", None, None],
        ),
        (None, "", "012", [None] * 3),
    ],
)
def test_items_are_captions_or_objects_or_just_numbers(
    split, source, save, name, text, ids, captions
):
    first = import_bank(split, "a", "text", str(source), items=name and str(save(name, text)))
    assert [(item["id"], item.get("caption")) for item in split.items("text")] == list(
        zip(ids, captions, strict=True)
    )
    assert import_bank(split, "b", "text", source).items_sha256 == first.items_sha256


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, r"list is missing\n.*x\.txt"),
        ("a\nb\n", r"expected: 2 rows(.|\n)*got: +3 rows"),
        ("a\nb\nc\nd\n", r"expected: 4 rows(.|\n)*got: +3 rows"),
        ("", "expected: 0 rows"),
    ],
)
def test_items_that_do_not_fit_the_matrix_are_refused_and_not_stored(
    split, source, save, text, says
):
    with pytest.raises(FreeBindError, match=says):
        import_bank(split, "clap", "text", source, items=save("x.txt", text))
    assert not split.path.exists()


# Pairs


@pytest.fixture
def listed(split):
    """A split of two images and three texts."""
    for modality, count in (("image", 2), ("text", 3)):
        write_items(split.items_path(modality), ({"id": str(row)} for row in range(count)))
    return split


@pytest.mark.parametrize(
    ("modalities", "name", "content"),
    [
        (("image", "text"), "p.csv", "\ufeff0,2\r\n\n1, 0\r\n1,2"),
        (("text", "image"), "p.csv", "2,0\n0,1\n2,1\n"),
        (("image", "text"), "p.npy", np.array([[0, 2], [1, 0], [1, 2]], np.uint8)),
    ],
)
def test_pairs_are_stored_in_alphabetical_order_of_the_modalities(
    listed, save, modalities, name, content
):
    with counted("fcntl.flock", on=f"items/.lock {int(LOCK_EX)}$") as locks:
        table = import_pairs(listed, *modalities, str(save(name, content)))
    assert len(locks) == 1
    np.testing.assert_array_equal(table, np.load(listed.pairs_path("image", "text")), strict=True)
    assert table.tolist() == [[0, 2], [1, 0], [1, 2]]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("p.csv", None, r"is missing\n.*p\.csv"),
        ("p.csv", "0,0.5\n", "'0.5' is no item of text"),
        ("p.csv", "0,1_0\n", "'1_0' is no item of text"),
        ("p.csv", "0,١\n", "is no item of text"),
        ("p.csv", "0,1\n0\n", "line 2\n  expected: 2\n  got:      1"),
        ("p.npy", "0,1\n", "cannot be read"),
        ("p.npy", np.array([[0.0, 1.0]]), "wrong form"),
        ("p.csv", "0,1,2\n", "line 1\n  expected: 2\n  got:      3"),
        ("p.csv", "", "wrong form"),
        ("p.csv", "0,0\n2,0\n", r"rows below 2 and 3\n.*1 pairs outside, the first is \[2, 0\]"),
        ("p.csv", "0,-1\n", "points past an item list"),
        ("p.csv", "0,1\n0,1\n", "a pair twice"),
    ],
)
def test_a_table_that_pairs_nothing_is_refused_and_not_stored(listed, save, name, content, says):
    with pytest.raises(FreeBindError, match=says):
        import_pairs(listed, "image", "text", save(name, content))
    assert listed.paired() == []


def test_pairs_need_the_items_of_both_modalities(listed, save):
    with pytest.raises(
        FreeBindError, match=r"item list is missing(.|\n)*class\.jsonl(.|\n)*--by id"
    ):
        import_pairs(listed, "image", "class", save("p.csv", "0,0\n"))


def test_a_list_that_was_lost_is_not_replaced_by_another(split, source, tmp_path, save):
    (tmp_path / "captions.txt").write_text("".join(f"{i}\n" for i in range(len(ROWS))))
    import_bank(split, "clap", "text", source, items=tmp_path / "captions.txt")
    lost = split.items_path("text").read_bytes()
    split.items_path("text").unlink()
    for items in (None, save("other.txt", "".join(f"x{i}\n" for i in range(len(ROWS))))):
        with pytest.raises(FreeBindError, match=r"item list is lost(.|\n)*--items"):
            import_bank(split, "other", "text", source, items=items)
    assert not split.items_path("text").exists()
    import_bank(split, "other", "text", source, items=tmp_path / "captions.txt")
    assert split.items_path("text").read_bytes() == lost
