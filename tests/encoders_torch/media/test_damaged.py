"""Files that were cut off or changed are read, or fail with our error; nothing else happens."""

import random
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
import soundfile
from PIL import Image

from encoders_torch.media import Media, read_channels, read_image
from fb_jax.errors import FreeBindError
from tests.encoders_torch.media.videos import write_video


def write(path):
    if path.suffix == ".heic":
        pillow_heif.from_pillow(Image.effect_noise((64, 48), 50).convert("RGB")).save(path)
    elif path.suffix in (".flac", ".wav", ".mp3"):
        soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 8000), 8000)
    else:
        write_video(path, seconds=1)


def damaged(content, chance):
    """Cut a file off, or change some of its bytes, most of them in its header."""
    if chance.random() < 0.3:
        return content[: chance.randrange(len(content))]
    changed = bytearray(content)
    for _ in range(chance.choice((1, 3, 10, 50))):
        changed[chance.randrange(min(len(changed), chance.choice((500, 10**9))))] = chance.choice(
            (0, 255, chance.randrange(256))
        )
    return bytes(changed)


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts", "heic", "flac", "wav", "mp3"])
def test_damaged_files_fail_with_our_error_only(tmp_path, kind, capfd):
    write(tmp_path / f"x.{kind}")
    content, chance = (tmp_path / f"x.{kind}").read_bytes(), random.Random(0)
    messages = []
    for _ in range(40):
        data, start = damaged(content, chance), chance.choice((0.0, 0.2))
        for read in (read_channels, read_image):
            try:
                read(Media(Path(f"x.{kind}"), data=data, start=start))
            except FreeBindError as error:
                messages.append(str(error))
    assert messages
    assert all(f"x.{kind}" in message for message in messages)
    assert "Traceback" not in capfd.readouterr().err
