"""The class world's encoders: those of the word world, for longer media and for phrases.

    python -m encoders_torch.export --encoder examples.class_world.encoders:ClassEncoder \\
        --weights SPACE.safetensors ...
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float32

from encoders_torch.media import Media
from examples.class_world.pictures import HEIGHT, WIDTH
from examples.word_world.encoders import BANDS, LETTERS, WordEncoder, read_picture, read_speech
from fb_jax.errors import FreeBindError

FRAMES = 112  # 1.3 s
MOST_CHARACTERS = 48
CHARACTERS = LETTERS + " "


def read_phrase(phrase: str | Path | Media) -> Float32[np.ndarray, "48 27"]:
    """Return the letters and spaces of a phrase, one-hot, without case and punctuation.

    Raises:
        FreeBindError: There are none, or more than ``MOST_CHARACTERS``.
    """
    numbers = [CHARACTERS.find(character) for character in str(phrase).lower()]
    numbers = [number for number in numbers if number >= 0]
    if not 1 <= len(numbers) <= MOST_CHARACTERS:
        raise FreeBindError(
            "the class world encodes short phrases only",
            expected=f"1 to {MOST_CHARACTERS} letters a-z and spaces",
            got=repr(str(phrase)[:80]),
        )
    one_hot = np.zeros((MOST_CHARACTERS, len(CHARACTERS)), np.float32)
    one_hot[np.arange(len(numbers)), numbers] = 1
    return one_hot


class ClassEncoder(WordEncoder):
    """The encoder of one space, in the interface of ``encoders_torch.export``.

    Args:
        weights: File from ``save``.
        device: Device of torch.
    """

    world = "class-world"
    shapes: ClassVar = {
        "audio": (FRAMES, BANDS),
        "image": (WIDTH, HEIGHT),
        "text": (MOST_CHARACTERS, len(CHARACTERS)),
    }
    patches: ClassVar = {"audio": 4, "image": 2, "text": 2}
    readers: ClassVar = {
        "audio": partial(read_speech, frames=FRAMES),
        "image": partial(read_picture, size=(WIDTH, HEIGHT)),
        "text": read_phrase,
    }
