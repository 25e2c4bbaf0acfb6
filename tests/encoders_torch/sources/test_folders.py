import os
from pathlib import Path
from unicodedata import normalize

import pytest

from encoders_torch.media.suffixes import suffixes
from encoders_torch.sources import list_items, open_source
from fb_jax.errors import FreeBindError


def items(modality, path):
    return list(open_source(modality, path).items)


def test_a_folder_tree_is_its_media_in_the_order_of_their_paths(media):
    source = open_source("image", media / "image")
    names = ["0.png", "a/9.png", "a/x.png", "b/10.png", "b/2.png"]
    assert list(source.items) == [{"id": name, "path": name} for name in names]
    assert source.folder == media / "image"


def test_ids_do_not_depend_on_where_the_folder_is(media, tmp_path):
    first = items("audio", media / "audio")
    (media / "audio").rename(tmp_path / "elsewhere")
    assert items("audio", tmp_path / "elsewhere") == first


def test_hidden_files_and_folders_are_left_out(media):
    before = items("image", media / "image")
    (media / "image/._0.png").write_bytes(b"what a Mac leaves behind")
    (media / "image/.thumbnails").mkdir()
    (media / "image/0.png").rename(media / "image/.thumbnails/0.png")
    assert items("image", media / "image") == before[1:]


def test_suffixes_are_what_the_libraries_read():
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".gif", ".bmp"} < suffixes("image")
    assert not {".pdf", ".h5"} & suffixes("image")  # written only; a stub
    assert {".wav", ".flac", ".mp3", ".ogg", ".opus", ".aif"} < suffixes("audio")
    assert ".raw" not in suffixes("audio")


def test_capitals_of_a_suffix_do_not_matter(tmp_path):
    for name in ("x.JPG", "y.Png"):
        (tmp_path / name).touch()
    assert [item["id"] for item in items("image", tmp_path)] == ["x.JPG", "y.Png"]


def test_a_folder_of_another_modality_is_taken_whole(tmp_path):
    for name in ("b.npy", "a.anything"):
        (tmp_path / name).touch()
    assert [item["id"] for item in items("depth", tmp_path)] == ["a.anything", "b.npy"]


def test_a_name_that_is_not_unicode_is_refused(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")).touch()
    with pytest.raises(FreeBindError, match=r"no valid Unicode(.|\n)*caf"):
        open_source("image", tmp_path)


def nfd(text):
    """Spell a name as macOS does."""
    return normalize("NFD", text)


def test_names_of_macos_and_linux_give_the_same_items_and_find_the_files(tmp_path, split):
    names = ["café/thé.png", "cafz.png"]  # in NFD, the accent comes before z, and é after it
    for folder, spell in (("mac", nfd), ("linux", str)):
        for name in names:
            (tmp_path / folder / spell(name)).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / spell(name)).write_text(folder)
    mac, linux = (open_source("image", tmp_path / folder) for folder in ("mac", "linux"))
    assert [i["id"] for i in mac.items] == [i["id"] for i in linux.items] == ["cafz.png", names[0]]
    listed = list_items(split, "image", mac)
    assert list_items(split, "image", linux, append=True).digest == listed.digest
    for item in listed:
        assert mac.content(item).path.read_text() == "mac"
        assert linux.content(item).path.read_text() == "linux"


def test_two_names_that_look_the_same_are_refused(tmp_path):
    for name in ("thé.png", nfd("thé.png")):
        (tmp_path / name).touch()
    with pytest.raises(FreeBindError, match=r"spell accents(.|\n)*'the\\u0301.*'th\\xe9"):
        open_source("image", tmp_path)


def test_what_nothing_reads_is_counted_and_named(media, caplog, monkeypatch):
    for name in ("a.md", "b.HEIC", "README"):
        (media / "image" / name).touch()
    core = suffixes("image") - {".heic"}
    monkeypatch.setattr("encoders_torch.sources.folder.suffixes", lambda _: core)
    monkeypatch.setattr(
        "encoders_torch.sources.folder.extra_for", lambda s, _: "heif" if s == ".heic" else None
    )
    open_source("image", media / "image")
    says = "left unread as image: 2 .md, 1 .heic (needs the extra heif), 1 without a suffix"
    assert says in caplog.text


def test_a_file_whose_name_ends_like_a_segment_is_itself(tmp_path):
    for name in ("clip", "clip#t=5"):
        (tmp_path / name).write_text(name)
    source = open_source("depth", tmp_path)
    for item in source.items:
        with source.content(item).open() as file:
            assert file.read().decode() == item["path"]


def test_a_folder_of_many_suffixes_is_counted_in_a_short_line(media, caplog):
    for number in range(99):
        (media / f"log.{number}").touch()
    open_source("image", media)
    (line,) = (line for line in caplog.text.splitlines() if "unread" in line)
    assert line.endswith(" others")
    assert len(line) < 400
