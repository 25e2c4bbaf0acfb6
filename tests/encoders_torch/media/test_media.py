import copy
import dataclasses
import pickle

import numpy as np
import pytest
import soundfile
from PIL import Image

from encoders_torch.media import Media, MediaOptions, read_channels, read_image, read_mono
from fb_jax.errors import FreeBindError


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (3, 2), (10, 20, 30)).save(tmp_path / "x.png")
    return Media(tmp_path / "x.png")


@pytest.fixture
def recording(tmp_path):
    soundfile.write(tmp_path / "x.wav", np.linspace(-0.5, 0.5, 200).reshape(100, 2), 8000)
    return Media(tmp_path / "x.wav")


def test_several_encoders_share_one_decoding(picture, recording):
    first, digest = read_image(picture), picture.digest()
    sound, mono = read_channels(recording), read_mono(recording)
    picture.path.unlink()
    recording.path.unlink()
    assert read_image(picture) == first
    assert picture.digest() == digest
    assert np.array_equal(read_channels(recording)[0], sound[0])
    assert np.array_equal(read_mono(recording)[0], mono[0])
    with pytest.raises(FreeBindError, match="is missing"):
        read_image(picture, "L")


def test_an_encoder_cannot_spoil_what_the_next_one_gets(picture, recording):
    read_image(picture).putpixel((0, 0), (0, 0, 0))
    assert read_image(picture).getpixel((0, 0)) == (10, 20, 30)
    with pytest.raises(ValueError, match="read-only"):
        read_channels(recording)[0][:] -= 1


def test_a_limit_counts_for_what_was_decoded_before(picture, recording):
    read_image(picture), read_channels(recording)
    with pytest.raises(FreeBindError, match="at most 5 "):
        read_image(picture, max_pixels=5)
    with pytest.raises(FreeBindError, match="at most 5 "):
        read_channels(recording, max_samples=5)


def test_copies_and_pickles_are_equal_and_hold_nothing_decoded(picture):
    small = len(pickle.dumps(picture))
    read_image(picture)
    assert len(pickle.dumps(picture)) == small
    replaced = dataclasses.replace(picture, options=MediaOptions(turn=True))
    others = [copy.copy(picture), copy.deepcopy(picture), pickle.loads(pickle.dumps(picture))]
    assert all(other == picture and hash(other) == hash(picture) for other in others)
    picture.path.unlink()
    for other in [*others, replaced]:
        with pytest.raises(FreeBindError, match="is missing"):
            read_image(other)


def test_a_file_that_changes_under_its_path_is_read_anew(picture):
    read_image(picture.path)
    Image.new("RGB", (5, 5)).save(picture.path)
    assert read_image(picture.path).size == (5, 5)


def test_bytes_are_read_as_the_file_that_they_come_from(picture, recording):
    for media, read in ((picture, read_image), (recording, lambda item: read_channels(item)[0])):
        held = dataclasses.replace(media, data=media.path.read_bytes())
        assert np.array_equal(np.asarray(read(held)), np.asarray(read(media)))
        assert held.digest() == media.digest()
        assert held.size == media.size


def test_only_a_whole_file_is_a_path(recording):
    assert soundfile.info(recording).frames == 100
    for other in ({"data": b""}, {"start": 1.0}, {"stop": 2.0}):
        with pytest.raises(FreeBindError, match="no file of its own"):
            soundfile.info(dataclasses.replace(recording, **other))


def test_a_segment_has_another_digest(recording):
    part = dataclasses.replace(recording, start=0.001)
    assert (
        len({recording.digest(), part.digest(), dataclasses.replace(part, stop=1.0).digest()}) == 3
    )
