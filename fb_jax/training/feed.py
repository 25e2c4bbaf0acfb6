"""Feeding batches: Grain yields whole batches of row numbers; rows come from device or disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fb_jax.banks import Rows
from fb_jax.pseudo import Column
from fb_jax.training.objective import Batch
from fb_jax.training.schedule import Schedule

READ_THREADS = 4
Table = Mapping[Column, Float[Array, "n _"]]


class Feed:
    """An iterator of batches whose state can be saved and restored.

    An element of Grain's iterator is a whole step: row by row it is 20 times slower.

    Args:
        schedule: Step to rows of the table of pairs, ``[lanes, b]``.
        columns: (side, modality) to a column of the table.
        resident: Hold the table on the device. Otherwise threads read rows from disk ahead of the
            step that needs them.
        iterator_state: Where to continue; None starts at the beginning.
    """

    def __init__(
        self,
        schedule: Schedule,
        columns: Mapping[Column, Rows],
        *,
        resident: bool,
        iterator_state: dict[str, Any] | None = None,
    ) -> None:
        steps = grain.MapDataset.source(schedule)
        if resident:
            table = {column: jnp.asarray(rows[:]) for column, rows in columns.items()}
            self._finish: Callable[[Any], Batch] = partial(_take, table)
        else:
            steps = steps.map(partial(_read, columns))
            self._finish = jax.device_put
        options = grain.ReadOptions(num_threads=READ_THREADS, prefetch_buffer_size=READ_THREADS)
        self._iterator = iter(steps.to_iter_dataset(options))
        if iterator_state is not None:
            self._iterator.set_state(iterator_state)

    def __next__(self) -> Batch:
        return self._finish(next(self._iterator))

    @property
    def iterator_state(self) -> dict[str, Any]:
        """Grain's iterator state, as JSON types."""
        return self._iterator.get_state()


@jax.jit
def _take(table: Table, rows: jax.Array) -> Batch:
    return {column: values[rows] for column, values in table.items()}


def _read(columns: Mapping[Column, Rows], rows: np.ndarray) -> dict[Column, np.ndarray]:
    flat = rows.reshape(-1)
    return {column: values[flat].reshape(*rows.shape, -1) for column, values in columns.items()}
