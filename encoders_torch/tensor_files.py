"""Files of named tensors (.pt, .pth, .safetensors), read without running code in them."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from fb_jax import files
from fb_jax.errors import FreeBindError

WEIGHTS_FILE = "weights.safetensors"
GET_AGAIN = (
    "get the file again from its publisher. Do not load it in another way unless you trust "
    "them: a pickle can run any code"
)


def read_state(path: Path, key: str | None = None, fix: str = GET_AGAIN) -> dict[str, Tensor]:
    """Read a state dict onto the CPU.

    Args:
        path: File that ``torch.save`` wrote, or a ``.safetensors`` file.
        key: If the file holds a dict with this key, its value is the state dict.
        fix: What to do if the file cannot be read.

    Returns:
        Name to tensor, in the file's dtypes; mapped from the file where its format allows it.

    Raises:
        FreeBindError: The file is missing, damaged, holds code, or holds anything but tensors.
    """
    try:
        with files.open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
        loaded = _load(path, size)
    except FreeBindError:
        raise
    except Exception as error:  # torch.load raises nearly any kind
        raise FreeBindError(
            "this file cannot be read: it is damaged, or holds more than tensors",
            where=path,
            expected="tensors by name, which torch.load reads with weights_only=True",
            got=_reason(error),
            fix=fix,
        ) from error
    if isinstance(loaded, Mapping) and key in loaded:
        loaded = loaded[key]
    problem = _problem(loaded, size)
    if problem:
        raise FreeBindError(
            "this file is no state dict", where=path, expected="a dict of name: tensor", got=problem
        )
    return dict(loaded)


def _load(path: Path, size: int) -> Any:
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    mapped = zipfile.is_zipfile(path)  # torch's format since 1.6; the older one cannot be mapped
    if mapped:
        _require_uncompressed(path, size)
    with (
        warnings.catch_warnings(action="ignore"),  # what they warn of is an error here
        torch.serialization.safe_globals(_numpy_scalars()),
    ):
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)


def _require_uncompressed(path: Path, size: int) -> None:
    """Raise unless the parts of a zip fit into it, as torch's do: others could fill the memory."""
    with zipfile.ZipFile(path) as parts:
        claimed = sum(part.file_size for part in parts.infolist())
    if claimed > size:
        raise ValueError(f"parts of {claimed:,} bytes in a file of {size:,}")


def _numpy_scalars() -> list[Any]:
    """Return what a pickled NumPy scalar consists of: LAION's files hold scores beside weights."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")]
    homes = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")  # NumPy 1 and 2
    return [np.dtype, *kinds, *((scalar, home) for home in homes)]


def _reason(error: Exception) -> str:
    """Return torch's reason without its advice to load the file unsafely."""
    text = str(error).partition("WeightsUnpickler error:")[2] or str(error)
    return f"{type(error).__name__}: {text.strip().partition(chr(10))[0]}"


def _problem(loaded: object, size: int) -> str | None:
    if not isinstance(loaded, Mapping):
        return type(loaded).__name__
    for name, value in loaded.items():
        if not (isinstance(name, str) and isinstance(value, Tensor)):
            return f"{name}: {type(value).__name__}"
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            return f"{name}: a tensor that is sparse, quantized or without numbers"
        if value.nbytes > size:  # one stored number that is repeated
            return f"{name}: {value.nbytes:,} bytes in a file of {size:,}"
    return None if loaded else "an empty dict"


def with_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names have a prefix, by their names without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def write_state(path: Path, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Write a ``.safetensors`` file; return its size and digest as JSON for a manifest."""
    content = safetensors.torch.save({k: v.detach().cpu().contiguous() for k, v in state.items()})
    files.write_atomic(path, lambda file: file.write(content))
    return {"bytes": len(content), "sha256": files.sha256_of_bytes(content)}


# A folder of weights: a JSON file that describes it, and weights.safetensors


class Weights(msgspec.Struct):
    """What the JSON file says about the weights."""

    sha256: str


class Described(msgspec.Struct):
    """What every such JSON file holds."""

    weights: Weights


def read_folder(
    path: Path, kind: str, version: tuple[str, int], fix: str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a folder's JSON file, and the tensors beside it.

    Args:
        path: The JSON file.
        kind: Kind of the folder, for errors.
        version: Its format and version.
        fix: How to make such a folder.

    Raises:
        FreeBindError: A file is missing, altered, or of another format or version.
    """
    if not path.is_file():
        expected = f"a folder with {path.name}"
        raise FreeBindError(
            f"there is no {kind} here", where=path.parent, expected=expected, fix=fix
        )
    about = files.read_versioned(path, version, f"this {kind}", fix)
    weights = path.parent / WEIGHTS_FILE
    recorded = files.convert(about, Described, path).weights
    if not weights.is_file() or files.sha256_of(weights) != recorded.sha256:
        raise FreeBindError("the weights are missing or were altered", where=weights)
    return about, read_state(weights)
