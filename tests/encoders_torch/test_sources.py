import pytest

from encoders_torch.sources import open_source
from fb_jax.errors import FreeBindError


def test_a_folder_tree_is_its_media_in_the_order_of_their_paths(media):
    source = open_source("image", media / "image")
    assert [item["id"] for item in source.items] == [
        "0.png",
        "a/9.png",
        "a/x.png",
        "b/10.png",
        "b/2.png",
    ]
    assert source[1] == media / "image/a/9.png"


def test_ids_do_not_depend_on_where_the_folder_is(media, tmp_path):
    first = open_source("audio", media / "audio").items
    (media / "audio").rename(tmp_path / "elsewhere")
    assert open_source("audio", tmp_path / "elsewhere").items == first


def test_a_text_file_is_a_caption_a_line(media):
    source = open_source("text", media / "text.txt")
    assert source.items[2] == {"id": "2", "caption": "three"}
    assert source[3] == "four and a"


@pytest.mark.parametrize(
    ("modality", "path", "says"),
    [
        ("image", "no", "no such folder of image files(.|\n)*/no"),
        ("image", "text.txt", "no such folder of image files"),
        ("image", "audio", "there is no image here(.|\n)*png"),
        ("text", "audio", "captions cannot be read(.|\n)*a UTF-8 text file"),
        ("text", "empty.txt", "there is no text here(.|\n)*a caption a line"),
        ("text", "latin.txt", "captions cannot be read(.|\n)*utf-8"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused(media, modality, path, says):
    (media / "empty.txt").touch()
    (media / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(FreeBindError, match=says):
        open_source(modality, media / path)
