import gzip
import io
import json
import pickle
import tarfile
from pathlib import Path

import pytest

from encoders_torch.sources import SourceOptions, list_items, open_source
from encoders_torch.sources.tar_index import _indexed
from fb_jax.banks import Split
from fb_jax.errors import FreeBindError

SAMPLES = {
    "0": {
        "jpg": b"picture 0",
        "txt": b"a dog\n",
        "json": {"caption": "Hund", "key": 7, "alt": "d"},
    },
    "a/1": {"png": b"picture 1", "json": {"caption": None}},
    "2": {"left.JPG": b"picture 2", "txt": b"caf\xe9", "wav": b"sound"},
}


def write_tar(path, samples=SAMPLES):
    with tarfile.open(path, "w") as tar:
        for key, members in samples.items():
            for suffix, content in members.items():
                content = content if isinstance(content, bytes) else json.dumps(content).encode()
                about = tarfile.TarInfo(f"{key}.{suffix}")
                about.size = len(content)
                tar.addfile(about, io.BytesIO(content))
    return path


def items(modality, path, **columns):
    return list(open_source(modality, path, SourceOptions(**columns)).items)


def test_pictures_are_named_by_tar_and_member_and_found_by_that_name_alone(tmp_path):
    source = open_source("image", write_tar(tmp_path / "s.tar"))
    assert list(source.items) == [
        {"id": "s/0", "path": "s.tar/0.jpg"},
        {"id": "s/a/1", "path": "s.tar/a/1.png"},
        {"id": "s/2", "path": "s.tar/2.left.JPG"},
    ]
    again = pickle.loads(pickle.dumps(source))  # as another process gets it
    _indexed.cache_clear()
    media = [again.content(item) for item in reversed(list(source.items))]
    assert [medium.data for medium in media] == [b"picture 2", b"picture 1", b"picture 0"]
    assert media[0].path == Path("s.tar/2.left.JPG")


def test_captions_are_in_txt_members_with_the_ids_of_the_pictures(tmp_path):
    source = open_source("text", write_tar(tmp_path / "s.tar"))
    dog, broken = source.items
    assert dog == {"id": "s/0", "caption": "a dog"}
    assert broken["id"] == "s/2"
    with pytest.raises(FreeBindError, match="the caption is no valid Unicode"):
        source.content(broken)


def test_captions_and_ids_may_be_fields_of_json_members(tmp_path):
    path = write_tar(tmp_path / "s.tar")
    dog, null = items("text", path, caption_column=("caption",))
    assert dog == {"id": "s/0", "caption": "Hund"}
    assert null == {"id": "s/a/1", "caption": ""}
    first = items("text", path, caption_column=("alt", "txt"), id_column="key")[:2]
    assert first == [{"id": "7#0", "caption": "d"}, {"id": "7#1", "caption": "a dog"}]
    without = {"0": {"json": {"title": "a"}}, "1": {"json": b"{"}}
    a, broken = items("text", write_tar(tmp_path / "t.tar", without))
    assert a == {"id": "t/0", "caption": "a"}
    assert broken == {"id": "row 1", "caption": "", "fault": "t.tar/1.json is no JSON object"}


def test_a_suffix_names_the_members_that_count(tmp_path):
    path = write_tar(tmp_path / "s.tar", {"0": {"seg.png": b"mask", "jpg": b"picture"}})
    assert items("image", path)[0]["path"] == "s.tar/0.seg.png"
    assert items("image", path, path_column="jpg")[0]["path"] == "s.tar/0.jpg"
    assert items("depth", path, path_column="seg.png")[0]["path"] == "s.tar/0.seg.png"
    with pytest.raises(FreeBindError, match=r"no column 'gif'(.|\n)*jpg"):
        items("image", path, path_column="gif")


def test_samples_without_the_modality_are_counted(tmp_path, caplog):
    path = write_tar(tmp_path / "s.tar")
    assert items("audio", path) == [{"id": "s/2", "path": "s.tar/2.wav"}]
    assert f"{tmp_path}: samples without audio: 2\n" in caplog.text
    assert f"{tmp_path}: left unread as audio: 2 .json, 1 .jpg, 1 .txt, 1 .png" in caplog.text


@pytest.mark.parametrize("form", ["shards-{008..010}.tar", "."])
def test_shards_are_read_in_their_order(tmp_path, form):
    for number in (10, 8, 9):
        write_tar(tmp_path / f"shards-{number:03d}.tar", {"k": {"jpg": str(number).encode()}})
    source = open_source("image", tmp_path / form)
    assert [item["id"] for item in source.items] == [f"shards-{n}/k" for n in ("008", "009", "010")]
    assert [source.content(item).data for item in source.items] == [b"8", b"9", b"10"]
    write_tar(tmp_path / "shards-011.tar", {"k": {"jpg": b"11"}})
    split = Split(tmp_path / "banks/pool")
    list_items(split, "image", source)
    grown = list_items(split, "image", open_source("image", tmp_path), append=True)
    assert [item["path"] for item in grown][2:] == ["shards-010.tar/k.jpg", "shards-011.tar/k.jpg"]


def test_a_shard_that_is_missing_is_named(tmp_path):
    write_tar(tmp_path / "a-0.tar")
    with pytest.raises(FreeBindError, match=r"a tar is missing\n.*a-1\.tar"):
        open_source("image", tmp_path / "a-{0..1}.tar")


def cut(content):
    return content[:700]


def spoil(content):
    return content[:1024] + b"x" * 512 + content[1536:]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (cut, "a tar cannot be read"),
        (spoil, r"a tar is damaged\n(.|\n)*no header at byte 1024"),
        (gzip.compress, "damaged, cut off or compressed"),
        (lambda _: b"", "a tar cannot be read"),
    ],
)
def test_a_damaged_tar_is_refused_and_not_taken_for_a_short_one(tmp_path, change, says):
    path = write_tar(tmp_path / "s.tar", {"0": {"jpg": b"a" * 400}, "1": {"jpg": b"b"}})
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(FreeBindError, match=says):
        open_source("image", path)


def test_a_tar_without_its_end_mark_is_said(tmp_path, caplog):
    path = write_tar(tmp_path / "s.tar", {"0": {"jpg": b"a"}})
    path.write_bytes(path.read_bytes()[:1024])
    assert len(items("image", path)) == 1
    assert "s.tar: has no end mark" in caplog.text


def test_two_members_of_one_name_are_refused(tmp_path):
    path = write_tar(tmp_path / "s.tar", {"0": {"jpg": b"a"}, "1": {"jpg": b"b"}})
    with tarfile.open(path, "a") as tar:
        tar.addfile(tarfile.TarInfo("0.jpg"))
    with pytest.raises(FreeBindError, match=r"same name\n(.|\n)*0\.jpg"):
        open_source("image", path)


def test_what_is_no_member_fails_alone(tmp_path):
    source = open_source("image", write_tar(tmp_path / "s.tar"))
    for path, says in (("s.tar/9.jpg", "no such member"), ("9.jpg", "names no member of a tar")):
        with pytest.raises(FreeBindError, match=says):
            source.content({"id": "x", "path": path})


def add_link(path, name, kind, target):
    with tarfile.open(path, "a") as tar:
        about = tarfile.TarInfo(name)
        about.type, about.linkname = kind, target
        tar.addfile(about)


def test_a_link_is_what_it_leads_to(tmp_path):
    path = write_tar(tmp_path / "s.tar", {"a/0": {"jpg": b"picture", "txt": b"a dog"}})
    add_link(path, "a/1.jpg", tarfile.LNKTYPE, "a/0.jpg")
    add_link(path, "b/2.jpg", tarfile.SYMTYPE, "../a/1.jpg")
    add_link(path, "b/3.txt", tarfile.SYMTYPE, "/a/0.txt")
    add_link(path, "b/4.jpg", tarfile.SYMTYPE, "elsewhere.jpg")
    source = open_source("image", path)
    *found, nowhere = source.items
    assert [item["id"] for item in found] == ["s/a/0", "s/a/1", "s/b/2"]
    assert [source.content(item).data for item in found] == [b"picture"] * 3
    with pytest.raises(
        FreeBindError, match=r"cannot be read\n(.|\n)*b/4\.jpg: a sparse file, or a link"
    ):
        source.content(nowhere)
    dog, broken = items("text", path)
    assert dog["caption"] == "a dog"
    assert broken["fault"] == "s.tar/b/3.txt is a sparse file, or a link to no member"


def test_capitals_of_a_tar_do_not_matter_and_a_file_without_suffix_is_no_picture(tmp_path, caplog):
    path = write_tar(tmp_path / "S.TAR", {"0": {"jpg": b"a"}})
    with tarfile.open(path, "a") as tar:
        tar.addfile(tarfile.TarInfo("README"))
    source = open_source("image", path)
    assert list(source.items) == [{"id": "S/0", "path": "S.TAR/0.jpg"}]
    assert source.content(*source.items).data == b"a"
    assert "left unread as image: 1 without a suffix" in caplog.text


def test_tars_that_were_joined_as_files_are_refused(tmp_path):
    path = write_tar(tmp_path / "s.tar", {"0": {"jpg": b"a"}})
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(FreeBindError, match=r"goes on after its end mark\n(.|\n)*--concatenate"):
        open_source("image", path)


def test_what_is_not_the_first_of_its_sample_is_counted(tmp_path, caplog):
    path = write_tar(tmp_path / "s.tar", {"v1": {"5_a.jpg": b"a", "7_b.jpg": b"b", "json": b"{}"}})
    assert [item["path"] for item in items("image", path)] == ["s.tar/v1.5_a.jpg"]
    assert "left unread as image: 1 .jpg\n" in caplog.text


def test_hidden_tars_do_not_count_and_tars_are_not_called_unread(tmp_path, caplog):
    write_tar(tmp_path / "s.tar", {"0": {"jpg": b"a"}})
    (tmp_path / "._s.tar").write_bytes(b"what macOS adds")
    assert len(items("image", tmp_path)) == 1
    assert "unread" not in caplog.text


def test_a_tar_that_was_written_again_is_read_again(tmp_path):
    source = open_source("image", write_tar(tmp_path / "s.tar", {"0": {"jpg": b"old"}}))
    write_tar(tmp_path / "s.tar", {"more": {"jpg": b"a" * 600}, "0": {"jpg": b"new"}})
    assert source.content({"id": "s/0", "path": "s.tar/0.jpg"}).data == b"new"


def test_numbers_may_count_down(tmp_path):
    for number in (0, 1):
        write_tar(tmp_path / f"{number}.tar", {"k": {"jpg": b"a"}})
    found = items("image", tmp_path / "{1..0}.tar")
    assert [item["id"] for item in found] == ["1/k", "0/k"]
