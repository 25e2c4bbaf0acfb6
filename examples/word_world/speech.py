"""Speech by the C library of espeak-ng (Debian: libespeak-ng1)."""

from __future__ import annotations

import ctypes
import ctypes.util
from typing import Any

import numpy as np

from fb_jax.errors import FreeBindError

SYNCHRONOUS = 2
BUFFER_MS = 500
RATE, VOLUME, PITCH = 1, 2, 3  # espeak_PARAMETER
UTF8 = 1
SILENCE = 0.01  # of full scale; softer sound is cut at both ends

_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def find_library() -> str | None:
    """Return the name of espeak-ng's shared library, or None if it is not installed."""
    return ctypes.util.find_library("espeak-ng")


class Speaker:
    """Speaks words. The library has one global state, so a process may have only one speaker.

    Raises:
        FreeBindError: The library or its data are missing.
    """

    def __init__(self) -> None:
        name = find_library()
        if name is None:
            raise FreeBindError("espeak-ng is missing", fix="apt install libespeak-ng1")
        self._library = ctypes.CDLL(name)
        self.sample_rate: int = self._library.espeak_Initialize(SYNCHRONOUS, BUFFER_MS, None, 0)
        if self.sample_rate <= 0:
            raise FreeBindError("espeak-ng has no data", fix="apt install espeak-ng-data")
        self._blocks: list[np.ndarray] = []
        self._keep = _Callback(self._collect)  # C holds no reference, so we must
        self._library.espeak_SetSynthCallback(self._keep)

    def _collect(self, samples: Any, count: int, _events: object) -> int:
        if samples and count:
            self._blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(self, word: str, voice: str, rate: int, pitch: int) -> np.ndarray:
        """Speak a word.

        Args:
            word: Word to speak.
            voice: Accent and variant by espeak-ng's names: ``en-us+m3``.
            rate: Words per minute.
            pitch: 0 to 100.

        Returns:
            ``[samples]`` float32 in -1 to 1 at ``sample_rate``, without silence at its ends.

        Raises:
            FreeBindError: There is no such voice, or no sound came out.
        """
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise FreeBindError("espeak-ng has no such voice", got=voice)
        self._library.espeak_SetParameter(RATE, rate, 0)
        self._library.espeak_SetParameter(PITCH, pitch, 0)
        self._blocks.clear()
        text = word.encode()
        self._library.espeak_Synth(text, len(text) + 1, 0, 1, 0, UTF8, None, None)
        if not self._blocks:
            raise FreeBindError("espeak-ng said nothing", got=word)
        wave = np.concatenate(self._blocks).astype(np.float32) / 2**15
        loud = np.flatnonzero(np.abs(wave) > SILENCE)
        return wave[loud[0] : loud[-1] + 1] if len(loud) else wave
