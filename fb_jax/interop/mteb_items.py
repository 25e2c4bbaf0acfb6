"""Items of mteb's data as encoders read them: captions, and files with the original bytes.

mteb would decode media, which needs torchcodec, and resample recordings, which needs torchaudio.
Encoders do both themselves, as in an export of banks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import wavfile


def undecoded(dataset: Any) -> Any:
    """Return a ``datasets.Dataset`` whose media stay bytes or paths."""
    for name, feature in dataset.features.items():
        if getattr(feature, "decode", False):
            dataset = dataset.cast_column(name, replace(feature, decode=False))
    return dataset


@contextmanager
def as_items(modality: str, values: Sequence[Any]) -> Iterator[list[str | Path]]:
    """Yield items that an encoder reads; files are gone afterwards.

    Args:
        modality: Name of the modality.
        values: Captions; or media, each as ``{"bytes", "path"}``, a recording also as
            ``{"array", "sampling_rate"}`` with ``[samples]`` or ``[channels, samples]``, and a
            picture also as Pillow's ``Image``.
    """
    if modality == "text":
        yield [str(value) for value in values]
        return
    with tempfile.TemporaryDirectory(prefix="freebind-") as folder:
        yield [_file(value, Path(folder, str(i))) for i, value in enumerate(values)]


def _file(value: Any, path: Path) -> Path:
    """Return the file of a media item; write it if there is none."""
    if not isinstance(value, Mapping):
        path = path.with_suffix(".png")
        value.save(path)
    elif "array" in value:
        # Not with soundfile: the time that it writes into the header changes the digest, on which
        # the part of a long recording depends that CLAP takes.
        wavfile.write(path, int(value["sampling_rate"]), np.float32(value["array"]).T)
    elif value["bytes"] is None:
        return Path(value["path"])
    else:
        path = path.with_suffix(Path(value["path"] or "").suffix)
        path.write_bytes(value["bytes"])
    return path
