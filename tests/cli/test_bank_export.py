import json
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pytest
from pyarrow import parquet

from fb_jax import extras
from fb_jax.banks import open_banks
from fb_jax.cli.main import main
from fb_jax.evaluation import nearest
from fb_jax.fusion import sources
from fb_jax.interop import BlockQuery
from fb_jax.run import Run


@pytest.fixture
def export(invoke):
    """Run ``freebind bank export`` into the folder ``exported``."""
    return lambda *args: invoke(main, "bank", "export", "--out", "exported", *args)


def test_rows_of_several_splits_are_exported_and_counted(export, root):
    rows = ["--root", root, "--space", "clap_general", "--to", "parquet"]
    done = export("--split", "val", "test", *rows, "--modality", "audio")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[-4:] == [
        "val/audio: 40 items",
        "test/audio: 60 items",
        "licence: Apache-2.0",
        "exported: 48 dimensions, inner product, exact search; written",
    ]
    table = parquet.read_table("exported/items.parquet")
    assert table["split"].to_pylist() == ["val"] * 40 + ["test"] * 60
    assert export("--split", "val", "test", *rows, "--modality", "audio").out.endswith(
        "exact search; this very export was there already\n"
    )
    done = export("--split", "val", *rows)
    assert done.status == 2
    assert "this folder holds items that were made from something else" in done.err


def test_blocks_of_a_run_are_searched_at_factors_of_the_query(export, run_folder, test_banks):
    done = export("--split", "test", "--form", "blocks", "--run", run_folder, "--to", "duckdb")
    assert (done.status, done.err) == (0, "")
    assert "exported: 128 dimensions, inner product" in done.out
    assert "score: inner product / sqrt(a + b * parts_product + c * parts_balance)" in done.out
    space, factors = Run(run_folder).space, {"audio": 0.9, "text": 0.6}
    query, fused = BlockQuery(space, factors), space.with_factors(**factors)
    asked = {name: test_banks[name, "text"][:1] for name in space.spaces}
    (vector,) = query.vectors("text", asked, "audio")
    a, b, c = query.norm_terms("audio")
    norm = f"sqrt({a} + {b} * parts_product + {c} * parts_balance)"
    score = f"array_inner_product(vector, ?::FLOAT[128]) / {norm}"
    sql = f"SELECT row, {score} AS s FROM items WHERE modality = 'audio' ORDER BY s DESC LIMIT 3"
    with duckdb.connect("exported/items.duckdb") as database:
        found = np.array(database.execute(sql, [vector]).fetchall())
    audio = fused.fuse("audio", sources(space, test_banks, "audio"))
    cosines, rows = nearest(fused.fuse("text", asked), audio, 3)
    assert found[:, 0].tolist() == rows[0].tolist()
    np.testing.assert_allclose(found[:, 1], cosines[0], atol=5e-7)


def test_blocks_of_a_stored_space_come_from_the_root_that_is_named(export, run_folder, root):
    Run(run_folder).space.save("space")
    args = ["--split", "test", "--form", "blocks", "--fused", "space", "--to", "faiss"]
    done = export(*args)
    assert (done.status, "expected: --data BANKS" in done.err) == (2, True)
    assert export(*args, "--root", root, "--modality", "image").status == 0
    lines = Path("exported/items.jsonl").read_bytes().splitlines()
    items = [json.loads(line) for line in lines]
    assert [item["parts_product"] for item in items] == pytest.approx([1] * 60)  # no image expert


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--space", "imagebind"], "it is not clear whose rows to export"),
        (["--root", "."], "it is not clear whose rows to export"),
        (["--root", ".", "--space", "s", "--run", "r"], "it is not clear whose rows to export"),
        (["--split", "--root", "ROOT", "--space", "imagebind"], "there is nothing to export"),
        (["--form", "blocks", "--space", "s"], "banks do not know the blocks of their rows"),
        (["--form", "blocks"], "name one thing to work on"),
        (["--to", "chroma"], "there is no program to export to 'chroma'"),
        (["--index", "approximate", "--root", "ROOT", "--space", "imagebind"], "no approximate"),
    ],
)
def test_what_cannot_be_exported_is_refused(export, root, args, says):
    args = [root if arg == "ROOT" else arg for arg in args]
    split = [] if "--split" in args else ["--split", "test"]
    done = export(*split, "--to", "duckdb", *args)
    assert done.status == 2
    assert says in done.err


def test_a_missing_package_is_told_before_any_work(export, monkeypatch):
    def missing(module):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(extras, "import_module", missing)
    done = export("--split", "test", "--to", "lancedb")
    assert (done.status, "pip install 'freebind-jax[lancedb]'" in done.err) == (2, True)


def test_altered_banks_are_not_exported(export, root, tmp_path):
    home = shutil.copytree(root, tmp_path / "home")
    shard = next((home / "test/embeddings/imagebind/text").glob("*.npy"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"\7")
    args = ["--root", home, "--space", "imagebind", "--to", "parquet"]
    done = export("--split", "test", *args)
    assert done.status == 2
    assert not (tmp_path / "exported").exists()
    assert export("--split", "test", *args, "--modality", "audio").status == 0
    assert len(open_banks(home, "test", spaces=["imagebind"])["imagebind", "audio"]) == 60
