import sys

import pytest

from encoders_torch.media import extra_for, suffixes


def test_folders_take_videos_for_their_sound_and_their_picture():
    assert {".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".mpg"} < suffixes("image")
    assert {".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".mpg"} < suffixes("audio")
    assert {".heic", ".heif", ".avif"} < suffixes("image")
    assert {".m4a", ".aac"} < suffixes("audio")
    assert not {".m4a", ".wav"} & suffixes("image")
    assert not {".heic", ".png"} & suffixes("audio")
    assert suffixes("text") == suffixes("depth") == frozenset()


@pytest.mark.parametrize(
    ("module", "suffix", "modality", "extra"),
    [
        ("av", ".mp4", "audio", "video"),
        ("av", ".M4A", "audio", "video"),
        ("av", ".mp4", "image", "video"),
        ("pillow_heif", ".HEIC", "image", "heif"),
    ],
)
def test_what_an_extra_would_read_is_known_without_it(monkeypatch, module, suffix, modality, extra):
    assert extra_for(suffix, modality) is None
    monkeypatch.setitem(sys.modules, module, None)
    assert extra_for(suffix, modality) == extra
    assert suffix.lower() not in suffixes(modality)


def test_no_extra_reads_what_nothing_reads():
    for modality in ("audio", "image", "text", "depth"):
        assert extra_for(".pdf", modality) is None
        assert extra_for("", modality) is None
