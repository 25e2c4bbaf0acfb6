"""NumPy's files: ``.npy``, ``.npz``, and folders of numbered ``.npy`` files."""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import ml_dtypes  # its import tells NumPy what bfloat16 is
import numpy as np

from fb_jax import files
from fb_jax.banks import Concatenated, Rows, to_numpy
from fb_jax.errors import FreeBindError
from fb_jax.importing.source import Choice, Form, ReadRows, Source, chosen_note, pick_matrix

NUMBERED = re.compile(r"(.*?)([0-9]+)")
NAMELESS = np.dtype("V2")
LOCAL_HEADER = 30
"""Bytes before the name of a member of a .zip file; the last 4 are two lengths of what follows."""


class NpyRows(ReadRows):
    """Rows of a ``.npy`` file, which is mapped only while they are read: there may be thousands.

    Args:
        path: The file, or an archive that holds it.
        read_as: "bfloat16" if that is what two nameless bytes are.
        offset: Where it begins in an archive.
    """

    def __init__(self, path: Path, read_as: str | None = None, offset: int = 0) -> None:
        self.path, self._read_as, self._offset = path, read_as, offset
        self.shape = self._mapped().shape

    def __getitem__(self, rows: slice) -> np.ndarray:
        return floats(self._mapped()[rows], self._read_as, self.path)

    def _mapped(self) -> np.ndarray:
        return files.open_npy(self.path, "a matrix", offset=self._offset)


def floats(rows: np.ndarray, read_as: str | None, path: Path) -> np.ndarray:
    """Return rows as they are, but bfloat16 as float32.

    Raises:
        FreeBindError: A number is two nameless bytes, and ``read_as`` does not say what they are.
    """
    if rows.dtype == NAMELESS:
        if read_as is None:
            raise FreeBindError(
                "the numbers of this file have no type",
                where=path,
                expected="floats",
                got="two nameless bytes a number; NumPy stores bfloat16 so",
                fix="if they are bfloat16: --read-as bfloat16",
            )
        rows = rows.view(ml_dtypes.bfloat16)
    return to_numpy(rows, path)


def open_npy(path: Path, choice: Choice) -> list[Source]:
    """Open a ``.npy`` file."""
    return [Source(path, "a NumPy array", NpyRows(path, choice.read_as))]


def open_npz(path: Path, choice: Choice) -> list[Source]:
    """Open one array of an ``.npz`` file; a compressed one is unpacked into a temporary file."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        forms = {name: _form(archive, info, choice) for name, info in members.items()}
        key = pick_matrix(path, forms, choice.key)
        info = members[key]
        if info.compress_type == zipfile.ZIP_STORED:
            rows: Rows = NpyRows(path, choice.read_as, _offset(path, info))
            notes = chosen_note(key, forms)
        else:
            rows = _Unpacked(archive, info, choice.read_as)
            size = files.gigabytes(info.file_size)
            unpacked = f"it is compressed, and unpacked into a temporary file of {size}"
            notes = (*chosen_note(key, forms), unpacked)
    return [Source(path, "an .npz file", rows, notes=notes)]


class _Unpacked(NpyRows):
    """Rows of a compressed array, in a temporary file that goes when they do."""

    def __init__(
        self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, read_as: str | None
    ) -> None:
        folder = Path(tempfile.gettempdir())
        files.require_space({folder: info.file_size})
        self._file = tempfile.NamedTemporaryFile(dir=folder, suffix=".npy")  # noqa: SIM115
        with archive.open(info) as packed:
            shutil.copyfileobj(packed, self._file)
        self._file.flush()
        super().__init__(Path(self._file.name), read_as)


def _form(archive: zipfile.ZipFile, info: zipfile.ZipInfo, choice: Choice) -> Form:
    with archive.open(info) as file:
        shape, _, dtype = files.read_npy_header(file)
    return shape, choice.read_as if dtype == NAMELESS and choice.read_as else dtype.name


def _offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Return where the content of a member that is not compressed begins."""
    with files.open_regular(path) as file:
        file.seek(info.header_offset)
        lengths = np.frombuffer(file.read(LOCAL_HEADER)[-4:], "<u2")
    return info.header_offset + LOCAL_HEADER + int(lengths.sum())


def open_numbered(path: Path, choice: Choice) -> list[Source]:
    """Open a folder of numbered ``.npy`` files as one matrix, in the order of their numbers."""
    parts = [NpyRows(file, choice.read_as) for file in in_order(path.glob("*.npy"), path)]
    return [Source(path, f"{len(parts)} numbered NumPy arrays", joined(parts))]


def joined(parts: Sequence[NpyRows]) -> Rows:
    """Return matrices as one, one after the other.

    Raises:
        FreeBindError: One is no matrix of floats, or has other columns.
    """
    first, dtypes = parts[0], [part[:0].dtype for part in parts]
    for part, dtype in zip(parts, dtypes, strict=True):
        if len(part.shape) != 2 or part.shape[1:] != first.shape[1:] or dtype.kind != "f":
            raise FreeBindError(
                "the files of a folder do not make one matrix",
                where=part.path,
                expected=f"[n, {first.shape[-1]}] floats, as {first.path.name} has",
                got=f"{list(part.shape)} {dtype}",
            )
    return Concatenated(parts, first.shape[1], np.result_type(*dtypes))


def in_order(paths: Iterable[Path], folder: Path) -> list[Path]:
    """Return numbered files in the order of their numbers.

    Raises:
        FreeBindError: A file has no number or another name, or a number is missing or there twice.
    """
    visible = [path for path in paths if not path.name.startswith(".")]
    found = [(path, NUMBERED.fullmatch(path.stem)) for path in visible]
    numbered = sorted((int(match[2]), path) for path, match in found if match)
    if len({match and match[1] for _, match in found}) != 1 or not numbered:
        raise FreeBindError(
            "the files of this folder are not the numbered parts of one matrix",
            where=folder,
            expected="NAME0, NAME1 and so on",
            got=", ".join(sorted(path.name for path in visible)[:8]) or "no file",
            fix="move the parts of one matrix into a folder of their own",
        )
    for wanted, (number, path) in enumerate(numbered, min(numbered[0][0], 1)):
        if number != wanted:
            raise FreeBindError(
                "a numbered file is missing, or there twice",
                where=path,
                expected=f"number {wanted}",
                got=f"number {number}",
                fix="restore the files as they were: otherwise rows would mean other items",
            )
    return [path for _, path in numbered]
