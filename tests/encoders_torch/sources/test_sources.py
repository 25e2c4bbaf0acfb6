import json
import os
import sys

import pytest

from encoders_torch.export import export
from encoders_torch.export_config import ExportConfig
from encoders_torch.exporting.pipeline import export_bank
from encoders_torch.exporting.target import ExportSettings
from encoders_torch.sources import SourceOptions, open_source
from fb_jax.banks import open_banks
from fb_jax.errors import FreeBindError


def items(modality, path):
    return list(open_source(modality, path).items)


@pytest.mark.parametrize(
    ("modality", "path", "says"),
    [
        (
            "image",
            "no",
            r"no such source of image(.|\n)*/no(.|\n)*a folder of \.jpg, .* \(\d+ more suf",
        ),
        ("image", "text.md", "no such source of image"),
        ("image", "image/0.png", r"no such source(.|\n)*fix: +give the folder of this file, or a"),
        ("image", "a.tar.gz", r"no such source(.|\n)*fix: +gunzip it: a\.tar\.gz"),
        ("image", "audio", "there is no image here(.|\n)*png"),
        ("text", "audio", r"no such source of text(.|\n)*\.csv"),
        ("text", "no.csv", "is missing"),
        ("text", "pipe.txt", r"cannot be read\n.*pipe\.txt\n(.|\n)*a named pipe"),
        ("image", "pipe.parquet", "a named pipe"),
        ("text", "empty.txt", r"^a list has no rows\n.*empty\.txt$"),
        ("text", "empty.csv", r"first line does not name the columns\n.*empty\.csv"),
        ("text", "head.csv", r"^a list has no rows\n.*head\.csv$"),
        ("text", "semicolons.csv", r"columns: id;caption\n.*fix: +separate .* \.csv by commas"),
        ("text", "bad.parquet", "Parquet file cannot be read"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused(media, modality, path, says):
    for name in ("empty.txt", "empty.csv", "a.tar.gz"):
        (media / name).touch()
    (media / "head.csv").write_text("caption\n")
    (media / "semicolons.csv").write_text("id;caption\n1;a\n")
    for name in ("pipe.txt", "pipe.parquet"):
        os.mkfifo(media / name)
    (media / "bad.parquet").write_text("no parquet")
    with pytest.raises(FreeBindError, match=says):
        open_source(modality, media / path)


def test_options_that_no_source_uses_are_said(media, tmp_path, caplog):
    how = SourceOptions("p", ("c",), "id", turn=True, frame_at=0.0)
    ExportConfig(("a",), tmp_path, image=media / "image", reading=how).sources()
    assert "image: a folder of files has no columns; not used: --path-column, --id-c" in caplog.text
    assert "not used by image: --caption-column\n" in caplog.text
    (media / "a.csv").write_text("id,c\n1,a\n")
    ExportConfig(("a",), tmp_path, text=media / "a.csv", reading=how).sources()
    assert "not used by text: --path-column, --turn, --frame-at\n" in caplog.text


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)  # as if it were not installed
    says = r"pyarrow\.parquet is not installed(.|\n)*pip install 'freebind-jax\[parquet\]'"
    with pytest.raises(FreeBindError, match=says):
        open_source("text", tmp_path / "a.parquet")


def test_paths_may_be_strings(media):
    for modality, path in (("text", media / "text.txt"), ("image", media / "image")):
        assert items(modality, str(path)) == items(modality, path)


def test_broken_rows_are_failures_that_say_why_and_the_others_are_exported(toy, split, tmp_path):
    lines = ['{"caption": "a dog"}', '{"caption": null}', '{"caption": ', '{"caption": 5}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    source, how = open_source("text", tmp_path / "a.jsonl"), ExportSettings(workers=0)
    result = export_bank(toy, source, split, "toy", "text", how)
    failures = map(json.loads, result.report.read_text().splitlines())
    assert [(f["row"], f["reason"]) for f in failures] == [
        (1, "the caption is empty"),
        (2, "line 3 is no JSON object"),
        (3, "the caption is no text: 5"),
    ]
    assert open_banks(split.path.parent, spaces=["toy"]).rows["text"].tolist() == [0]


@pytest.mark.parametrize("split", ["", "../x", "a/b"])
def test_a_bad_split_is_refused_before_anything_is_read(tmp_path, split):
    config = ExportConfig(("a",), tmp_path / "banks", split, text=tmp_path / "missing.txt")
    with pytest.raises(FreeBindError, match="cannot name a split"):
        export(config)
    assert not (tmp_path / "banks").exists()
