"""Every program: what it finds in an export, by the code of its page, is what we find."""

import json
import re
import uuid
from pathlib import Path

import duckdb
import faiss
import lancedb
import numpy as np
import pyarrow.parquet
import pytest
from datasets import Dataset
from made import corrected_scores, native_rows, with_hubs
from qdrant_client import QdrantClient

from fb_jax import files
from fb_jax.banks import open_banks
from fb_jax.errors import FreeBindError, Interrupted
from fb_jax.evaluation import nearest
from fb_jax.fusion import write_fused
from fb_jax.interop import (
    PROGRAMS,
    BlockQuery,
    block_contents,
    programs,
    qdrant,
    row_contents,
    write_export,
)
from fb_jax.interop import contents as contents_module
from fb_jax.interop.qdrant import point_id

PAGES = Path(__file__).parents[2] / "docs" / "interop"
FACTORS = {"audio": 0.3, "text": 0.8}


def snippets(page):
    return re.findall(r"```python\n(.*?)```", (PAGES / f"{page}.md").read_text(), re.DOTALL)


def run(codes, names):
    """Run the code of a page; return what it found, ids and scores."""
    exec("\n".join(codes), names)
    for value in names.values():
        if hasattr(value, "close") and not isinstance(value, type):
            value.close()
    ids, scores = zip(*names["found"], strict=True)
    return list(ids), np.array(scores)


@pytest.fixture
def rows(house):
    """The rows of u+e, of both splits; u lacks a text and an audio."""
    banks = [open_banks(house, split, spaces=["u+e"]) for split in ("test", "val")]
    return row_contents("u+e", banks)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(contents_module, "BLOCK_ROWS", 12)


@pytest.fixture
def best(house):
    """Return ids and scores of the nearest audios of the split test to fused rows."""

    def best(queries, gallery, rows):
        cosines, numbers = nearest(queries, gallery, 5)
        items = open_banks(house, "test", spaces=["u"]).split.items("audio")
        return [items[int(rows[i])]["id"] for i in numbers[0]], cosines[0]

    return best


@pytest.mark.parametrize("program", PROGRAMS)
def test_rows_have_the_nearest_neighbours_that_we_find(program, house, best):
    banks = open_banks(house, "test", spaces=["u+e"])
    assert write_export(row_contents("u+e", [banks]), program, "exported")
    vector = banks["u+e", "text"][3:4]
    ids, scores = run(snippets(program)[:1], {"vector": vector[0]})
    wanted, cosines = best(vector, banks["u+e", "audio"], banks.rows["audio"])
    assert ids == wanted
    np.testing.assert_allclose(scores, cosines, atol=5e-7)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("kind", ["both", "direct_sum", "routed sum"])
def test_blocks_have_the_nearest_neighbours_of_the_fused_rows(
    program, kind, spaces, banks_of, fused_items, best
):
    space, banks = spaces[kind], banks_of(spaces[kind])
    write_export(block_contents(space, [banks]), program, "exported")
    for modality, factors in (("text", FACTORS), ("image", {"audio": 1.0})):
        asked = native_rows(space, modality, count=1)
        fused, query = space.with_factors(**factors), BlockQuery(space, factors)
        (vector,) = query.vectors(modality, asked, find="audio")
        a, b, c = query.norm_terms("audio")
        codes = snippets(program)[: 1 if kind == "direct_sum" else 2]
        ids, scores = run(codes, {"vector": vector, "query": query, "a": a, "b": b, "c": c})
        rows, audio = fused_items(fused, banks, "audio")
        wanted, cosines = best(fused.fuse(modality, asked), audio, rows)
        assert ids == wanted
        np.testing.assert_allclose(scores, cosines, atol=5e-7)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("form", ["both", "direct_sum", "routed cut", "rows"])
def test_hub_corrected_scores_order_the_items(program, form, spaces, banks_of, fused_items):
    space = with_hubs(spaces["combination" if form == "rows" else form])
    banks, asked = banks_of(space), native_rows(space, "text", count=1)
    if form == "rows":
        write_fused(space, banks, "root", "mine", dtype="float32")
        items = open_banks("root", "test", spaces=["mine"], role="item")
        contents, scale = row_contents("mine", [items]), space.hubs.scale("text")
        assert contents.about()["role"] == "item"
        names = {"vector": space.fuse("text", asked, role="query")[0]}
    else:
        query, contents, scale = BlockQuery(space), block_contents(space, [banks]), 1
        (vector,), terms = query.vectors("text", asked, "audio"), query.norm_terms("audio")
        names = {"vector": vector, "query": query, **dict(zip("abc", terms, strict=True))}
    write_export(contents, program, "exported")
    ids, scores = run(snippets(program)[: 2 if form in ("both", "routed cut") else 1], names)
    rows, audio = fused_items(space, banks, "audio")
    wanted = corrected_scores(space, "text", space.fuse("text", asked), "audio", audio)[0]
    first = np.argsort(-wanted, kind="stable")[:5]
    assert ids == [f"audio/{row} 'ü" for row in rows[first]]
    np.testing.assert_allclose(scale * scores, wanted[first], atol=2e-6)


def test_the_page_shows_how_to_get_a_query(spaces, monkeypatch):
    space = spaces["combination"]
    space.save("space")
    (code,) = snippets("README")
    names = {"rows": native_rows(space, "text", count=1)}
    exec(code, names)
    assert names["vector"].shape == (32,)
    terms = BlockQuery(space, {"audio": 0.3}).norm_terms("audio")
    assert tuple(names[name] for name in "abc") == terms


def test_every_program_has_a_page_of_short_snippets_and_a_row_in_the_table():
    table = (PAGES / "README.md").read_text()
    for program in PROGRAMS:
        assert f"]({program}.md) | `{program}` |" in table
        assert [len(code.splitlines()) <= 6 for code in snippets(program)] == [True, True]


# What every program holds


def read_parquet():
    return Dataset.from_parquet("exported/items.parquet", cache_dir="cache").to_list()


def read_lancedb():
    return lancedb.connect("exported").open_table("items").to_arrow().to_pylist()


def read_faiss():
    lines = Path("exported/items.jsonl").read_text().split("\n")[:-1]
    index = faiss.read_index("exported/items.faiss")
    assert index.ntotal == len(lines)
    return [json.loads(line) | {"vector": index.reconstruct(i)} for i, line in enumerate(lines)]


def read_qdrant():
    client = QdrantClient(path="exported")
    points, _ = client.scroll("items", limit=1000, with_vectors=True)
    client.close()
    found = [point.payload | {"vector": point.vector} for point in points]
    assert [str(uuid.UUID(point.id)) for point in points] == [point_id(item) for item in found]
    return sorted(found, key=lambda item: (item["split"], item["modality"], item["row"]))


def read_duckdb():
    with duckdb.connect("exported/items.duckdb", read_only=True) as database:
        return database.sql("FROM items").to_arrow_table().to_pylist()


READERS = {
    "parquet": read_parquet,
    "lancedb": read_lancedb,
    "faiss": read_faiss,
    "qdrant": read_qdrant,
    "duckdb": read_duckdb,
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_items_of_all_splits_are_there_and_those_without_a_vector_are_not(program, rows, house):
    write_export(rows, program, "exported")
    found = READERS[program]()
    place = [(item["split"], item["modality"]) for item in found]
    assert {p: place.count(p) for p in place} == {
        **{("test", "audio"): 30, ("test", "image"): 23, ("test", "text"): 39},
        **{("val", "audio"): 5, ("val", "text"): 7},
    }
    assert [i["row"] for i in found[:5]] == [0, 1, 2, 3, 5]  # u lacks 4
    for item in found[0], found[-1]:
        bank = open_banks(house, item["split"], spaces=["u+e"])["u+e", item["modality"]]
        assert item["id"] == f"{item['modality']}/{item['row']} 'ü"
        captioned = item["modality"] == "text"
        assert item["caption"] == (f"caption {item['row']}" if captioned else None)
        assert item["path"] == (None if captioned else f"path {item['row']}")
        (row,) = bank.array[np.array([item["row"]])]
        np.testing.assert_allclose(item["vector"], row, atol=1e-7)
    norms = [np.linalg.norm(item["vector"]) for item in found]
    np.testing.assert_allclose(norms, 1, atol=1e-6)


def test_the_record_beside_it_says_where_vectors_are_from(rows):
    write_export(rows, "faiss", "exported")
    record = files.read_json(Path("exported/export.json"))
    assert record["items"]["test/audio"] | {"rows": ""} == {
        **{"exported": 30, "left out": 1, "rows": ""}
    }
    bank = record["banks"]["val"]["u+e/audio"]
    assert bank["encoder"]["licence"] == "derived from CC-BY-NC-SA-4.0 (u), CC0-1.0 (e)"
    assert (record["form"], record["space"], record["index"]) == ("rows", "u+e", "exact")


# Approximate indexes


@pytest.fixture
def many(rows, monkeypatch):
    """One item more than is searched exactly."""
    monkeypatch.setattr(programs, "EXACT_ROWS", len(rows) - 1)
    return rows


def test_faiss_gets_a_graph_for_many_items(many):
    write_export(many, "faiss", "exported")
    assert files.read_json(Path("exported/export.json"))["index"] == "approximate"
    index = faiss.read_index("exported/items.faiss")
    assert isinstance(index, faiss.IndexHNSWFlat)
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT
    assert (index.hnsw.efSearch, index.hnsw.efConstruction) == (128, 200)
    vector = index.reconstruct(40)[None]
    assert index.search(vector, 1)[1].tolist() == [[40]]
    search = faiss.SearchParametersHNSW(sel=faiss.IDSelectorBatch([7, 9]), efSearch=128)
    assert set(index.search(vector, 2, params=search)[1][0].tolist()) == {7, 9}


def test_lancedb_gets_an_index_for_many_items(many):
    write_export(many, "lancedb", "exported")
    table = lancedb.connect("exported").open_table("items")
    (index,) = table.list_indices()
    assert (index.index_type, index.columns) == ("IvfHnswSq", ["vector"])
    assert table.index_stats(index.name).distance_type == "dot"
    vector = read_lancedb()[40]["vector"]
    (hit,) = table.search(vector).distance_type("dot").refine_factor(10).limit(1).to_list()
    assert (hit["split"], hit["row"]) == ("test", read_lancedb()[40]["row"])
    assert hit["_distance"] == pytest.approx(0, abs=1e-6)


def test_qdrant_says_that_its_local_mode_is_for_few(rows, monkeypatch, caplog):
    monkeypatch.setattr(qdrant, "MOST_LOCAL", len(rows) - 1)
    write_export(rows, "qdrant", "exported")
    assert "QdrantClient.migrate copies them to a server" in caplog.text
    source, target = QdrantClient(path="exported"), QdrantClient(path="copy")
    source.migrate(target)
    assert target.count("items").count == len(rows)
    for client in (source, target):
        client.close()


def test_exactly_as_many_as_can_be_searched_exactly_are(rows, monkeypatch):
    monkeypatch.setattr(programs, "EXACT_ROWS", len(rows))
    assert programs.is_exact("faiss", "auto", len(rows))
    assert not programs.is_exact("faiss", "approximate", 1)
    assert programs.is_exact("faiss", "exact", len(rows) + 1)
    assert programs.is_exact("duckdb", "auto", len(rows) + 1)
    with pytest.raises(FreeBindError, match=r"duckdb has no approximate index\n.*lancedb or faiss"):
        programs.is_exact("duckdb", "approximate", 1)


# Whole or not at all


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_interrupted_export_leaves_nothing_and_goes_well_again(program, rows, monkeypatch):
    calls = []

    def stop(count):
        calls.append(count)
        if len(calls) == 3:
            raise Interrupted("interrupted")

    with pytest.raises(Interrupted):
        write_export(rows, program, "exported", progress=stop)
    assert list(Path().iterdir()) == []
    Path("exported.1-2.partial/left").mkdir(parents=True)  # as kill -9 would
    counts = []
    assert write_export(rows, program, "exported", progress=counts.append)
    assert sum(counts) == len(rows) == 104
    assert [path.name for path in Path().iterdir()] == ["exported"]
    assert not write_export(rows, program, "exported")  # it is there


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_export_that_lost_its_vectors_is_not_taken_for_whole(program, rows):
    write_export(rows, program, "exported")
    assert not write_export(rows, program, "exported")
    Path("exported", PROGRAMS[program].file).rename("lost")
    with pytest.raises(FreeBindError, match="an export has lost its vectors"):
        write_export(rows, program, "exported")


def test_what_else_is_there_is_kept(rows, house):
    write_export(rows, "parquet", "exported")
    other = row_contents("u", [open_banks(house, "test", spaces=["u"])])
    for contents, program in ((rows, "duckdb"), (other, "parquet")):
        with pytest.raises(FreeBindError, match="holds items that were made from something else"):
            write_export(contents, program, "exported")
    Path("mine").mkdir()
    Path("mine/notes").touch()
    with pytest.raises(FreeBindError, match="this folder holds something else"):
        write_export(rows, "parquet", "mine")
    Path("file").touch()
    with pytest.raises(FreeBindError, match="this is a file, not a folder"):
        write_export(rows, "parquet", "file")


def test_a_programs_own_error_says_which_one(rows, monkeypatch):
    def fail(*_):
        raise RuntimeError("odd")

    monkeypatch.setattr(pyarrow.parquet, "ParquetWriter", fail)
    with pytest.raises(
        FreeBindError, match=r"parquet could not write an export\n.*exported\n.*odd"
    ):
        write_export(rows, "parquet", "exported")
    with pytest.raises(FreeBindError, match="there is no program to export to 'chroma'"):
        write_export(rows, "chroma", "exported")


# What is exported


def test_splits_of_one_space_have_one_dimension(house, monkeypatch):
    banks = [open_banks(house, split, spaces=["u"]) for split in ("test", "val")]
    monkeypatch.setattr(type(banks[0]), "dim", lambda self, _space: len(self.rows["text"]))
    with pytest.raises(FreeBindError, match=r"splits differ in dimension\n.*u\n.*39.*7"):
        row_contents("u", banks)


def test_a_modality_that_a_split_lacks_is_refused(house):
    banks = [open_banks(house, split, spaces=["u"]) for split in ("test", "val")]
    with pytest.raises(FreeBindError, match=r"no modality 'image'\n.*val\n"):
        row_contents("u", banks, ["image"])
