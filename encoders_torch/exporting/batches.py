"""Parts of a batch, and how much memory an item takes: for whatever encoders return."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import pairwise
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

PLAIN = (str, bytes, int, float, bool, type(None))


def part(batch: Any, start: int, stop: int) -> Any:
    """Return items ``start`` to ``stop`` of a batch from ``FrozenEncoder.collate``."""
    if isinstance(batch, Mapping):
        return {name: part(value, start, stop) for name, value in batch.items()}
    return batch[start:stop]


def lengths(batch: Any) -> set[int]:
    """Return how many items the parts of a batch have: one number, if the batch can be cut."""
    if isinstance(batch, Mapping):
        return set().union(*map(lengths, batch.values()))
    try:
        return {len(batch)}
    except TypeError:  # a number
        return {0}


def first_of(batch: Any) -> Any:
    """Return a batch of the first item, which does not hold the memory of the others."""
    if isinstance(batch, Mapping):
        return {name: first_of(value) for name, value in batch.items()}
    first = batch[:1]
    if isinstance(first, Tensor):
        return first.clone()
    return first.copy() if isinstance(first, np.ndarray) else first


def bytes_of(value: Any) -> int:
    """Return about how many bytes a value takes that ``FrozenEncoder.read`` returned.

    Raises:
        Exception: Of many kinds; another process cannot be given the value.
    """
    if isinstance(value, Tensor | np.ndarray):
        return value.nbytes
    if isinstance(value, Image.Image):
        return value.width * value.height * len(value.getbands())
    if isinstance(value, PLAIN):
        return sys.getsizeof(value)
    if isinstance(value, Mapping):
        return sum(map(bytes_of, value.values()))
    if is_dataclass(value):
        return sum(bytes_of(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, Sequence):
        numbers = set(map(type, value)) <= {int, float}  # tokens: one by one would take long
        return 32 * len(value) if numbers else sum(map(bytes_of, value))
    return len(ForkingPickler.dumps(value))


def groups(sizes: Sequence[int], most: int) -> list[slice]:
    """Cut items into groups that end when they reach ``most`` bytes."""
    cuts, size = [0], 0
    for i, more in enumerate(sizes):
        size += more
        if size >= most or i + 1 == len(sizes):
            cuts.append(i + 1)
            size = 0
    return [slice(start, stop) for start, stop in pairwise(cuts)]
