"""Reading files: one reader for each format, which raises nothing but a FreeBindError."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from fb_jax.errors import FreeBindError


def read_npy(path: Path, what: str) -> np.ndarray:
    """Read a ``.npy`` file that holds no objects.

    Args:
        path: Of the file.
        what: It is, for the message.

    Raises:
        FreeBindError: It is missing, truncated, or no such file.
    """
    try:
        array: np.ndarray = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise FreeBindError(f"{what} cannot be read", where=path, got=error) from error
    return array


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        FreeBindError: It is missing or not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise FreeBindError("a file is missing", where=path) from None
    except OSError as error:
        raise FreeBindError("a file cannot be read", where=path, got=error) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FreeBindError("a file is not valid JSON", where=path, got=error) from error
