import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from fb_jax.banks import open_banks
from fb_jax.cli.main import main

ROWS = np.array([[3, 4], [0, 5], [-2, 0]], np.float32)
WHERE = ("--root", "banks", "--split", "test", "--space", "house")


@pytest.fixture
def clip(tmp_path):
    """An output folder of clip-retrieval: two parts of both modalities, and their items."""
    for number, rows in enumerate((slice(0, 2), slice(2, 3))):
        for folder, matrix in (("img_emb", ROWS), ("text_emb", -ROWS)):
            (tmp_path / "clip" / folder).mkdir(parents=True, exist_ok=True)
            np.save(tmp_path / "clip" / folder / f"{folder}_{number}.npy", matrix[rows])
        about = pa.table({"image_path": ["0.jpg", "1.jpg", "2.jpg"], "caption": ["a", None, "c"]})
        (tmp_path / "clip" / "metadata").mkdir(exist_ok=True)
        part = about.slice(rows.start, 2)
        pyarrow.parquet.write_table(part, tmp_path / "clip" / "metadata" / f"m_{number}.parquet")
    return tmp_path / "clip"


@pytest.fixture
def table(tmp_path):
    vectors = pa.array(ROWS.tolist())
    whole = pa.table({"uid": [5, 6, 7], "title": ["a", "b", None], "v": vectors, "w": vectors})
    pyarrow.parquet.write_table(whole, tmp_path / "x.parquet")
    return tmp_path / "x.parquet"


def test_a_folder_of_clip_retrieval_becomes_two_banks_at_once(invoke, clip):
    done = invoke(main, "bank", "import", clip, *WHERE)
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[:3] == [
        "ids: numbers of the rows",
        "captions: column `caption`",
        "paths: column `image_path`",
    ]
    assert "house/image: 3 x 2 float16" in done.out
    assert "house/text: 3 x 2 float16" in done.out
    banks = open_banks("banks", "test", spaces=["house"])
    unit = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
    np.testing.assert_allclose(banks["house", "image"][:], unit, atol=3e-4)
    np.testing.assert_allclose(banks["house", "text"][:], -unit, atol=3e-4)
    assert list(banks.split.items("text")) == [
        {"id": "0", "caption": "a", "path": "0.jpg"},
        {"id": "1", "path": "1.jpg"},
        {"id": "2", "caption": "c", "path": "2.jpg"},
    ]


def test_one_modality_of_it_can_be_picked(invoke, clip):
    done = invoke(main, "bank", "import", clip, *WHERE, "--modality", "text")
    assert done.status == 0
    assert open_banks("banks", "test", spaces=["house"]).modalities("house") == ("text",)
    done = invoke(main, "bank", "import", clip, *WHERE, "--modality", "audio")
    assert "there is no modality 'audio'" in done.err
    assert "one of: image, text" in done.err


def test_a_part_that_is_lost_is_noticed(invoke, clip):
    (clip / "metadata" / "m_1.parquet").unlink()
    done = invoke(main, "bank", "import", clip, *WHERE)
    assert "differ in length" in done.err
    (clip / "img_emb" / "img_emb_0.npy").unlink()
    (clip / "img_emb" / "img_emb_1.npy").rename(clip / "img_emb" / "img_emb_2.npy")
    assert "number 1" in invoke(main, "bank", "import", clip, *WHERE).err


def test_a_source_of_one_matrix_needs_a_modality(invoke, table):
    done = invoke(main, "bank", "import", table, *WHERE, "--column", "v")
    assert done.status == 2
    assert "--modality text" in done.err


def test_a_dry_run_writes_nothing(invoke, table, tmp_path):
    more = ("--modality", "text", "--column", "w", "--dry-run", "--dtype", "float32")
    done = invoke(main, "bank", "import", table, *WHERE, *more)
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert "3 rows of 2 numbers, float64" in lines[0]
    assert lines[1].startswith("vectors: column `w`")
    assert "ids: '5', '6'" in lines
    assert "captions: 'a', 'b'" in lines
    assert any(line.endswith("as float32") for line in lines)
    assert lines[-1] == "dry run: nothing written"
    assert not (tmp_path / "banks").exists()


def test_columns_and_pairs_by_id_from_table_to_table(invoke, table, tmp_path):
    more = ("--modality", "text", "--column", "v", "--caption-column", "-")
    assert invoke(main, "bank", "import", table, *WHERE, *more).status == 0
    np.save(tmp_path / "a.npy", ROWS)
    (tmp_path / "a.csv").write_text("file,uid\nx.wav,x\ny.wav,y\nz.wav,z\n")
    more = ("--modality", "audio", "--items", tmp_path / "a.csv")
    done = invoke(main, "bank", "import", tmp_path / "a.npy", *WHERE, *more)
    assert done.out.startswith("ids: column `uid`\npaths: column `file`\n")
    (tmp_path / "pairs.tsv").write_text("clip\twords\nx\t7\nz\t5\n")
    sides = ("--root", "banks", "--split", "test", "--left", "audio", "--right", "text")
    done = invoke(main, "bank", "pairs", tmp_path / "pairs.tsv", *sides)
    assert (
        done.out
        == "audio: column `clip`, ids\ntext: column `words`, ids\n2 pairs of audio and text\n"
    )
    banks = open_banks("banks", "test", spaces=["house"])
    assert banks.pairs("audio", "text").tolist() == [[0, 2], [2, 0]]


def test_options_of_bad_rows_and_encoders_reach_an_import_and_an_append(invoke, tmp_path):
    np.save(tmp_path / "bad.npy", np.vstack([ROWS, [[np.nan, 1.0]]]))
    text = (*WHERE, "--modality", "text", "--encoder.name", "mine")
    refused = invoke(main, "bank", "import", tmp_path / "bad.npy", *text)
    assert (refused.status, "1 NaN or infinite rows" in refused.err) == (2, True)
    done = invoke(main, "bank", "import", tmp_path / "bad.npy", *text, "--bad-rows", "missing")
    assert (done.status, "1 missing" in done.out) == (0, True), done.err
    other = invoke(
        *(main, "bank", "import", tmp_path / "bad.npy", *text[:-1], "other", "--append"),
        *("--bad-rows", "missing"),
    )
    assert (other.status, "must come from the model of the bank" in other.err) == (2, True)
