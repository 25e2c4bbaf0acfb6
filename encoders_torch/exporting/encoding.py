"""Encoding one batch: unit rows of the items that succeed, and reasons for those that fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from encoders_torch.encoder import FrozenEncoder
from encoders_torch.explain import in_one_line
from encoders_torch.exporting.reading import Read
from fb_jax.banks import find_bad_rows, to_numpy, unit_rows
from fb_jax.banks.directions import require_matrix
from fb_jax.errors import FreeBindError

HOPELESS = 8
"""If a batch of this many items or more fails completely, the items are not to blame."""


def encode_batch(
    encoder: FrozenEncoder, modality: str, reads: Sequence[Read]
) -> tuple[Float32[np.ndarray, "b d"], dict[int, str]]:
    """Return unit rows, zero for items that failed, and the reasons of those.

    Raises:
        FreeBindError: The encoder or its device is broken, the batch is too large, or the rows do
            not have the form of embeddings.
    """
    rows = np.zeros((len(reads), encoder.dim), np.float32)
    failed = {i: read.reason for i, read in enumerate(reads) if read.reason is not None}
    usable = np.array([i for i in range(len(reads)) if i not in failed], int)
    if not len(usable):
        return rows, failed
    try:
        found = _require_rows(encoder, modality, [reads[i].item() for i in usable])
    except FreeBindError:
        raise
    except Exception as error:
        if len(reads) == 1:
            return rows, {0: in_one_line(error)}
        _require_memory(error, len(usable))
        alone = [encode_batch(encoder, modality, [read]) for read in reads]  # to find the culprit
        _require_some_encoded(error, [failure for _, failure in alone])
        rows = np.concatenate([row for row, _ in alone])
        return rows, {i: failure[0] for i, (_, failure) in enumerate(alone) if failure}
    bad = usable[np.concatenate(list(find_bad_rows(found).values()))].tolist()
    rows[usable] = unit_rows(found)
    rows[bad] = 0
    return rows, dict.fromkeys(bad, "its embedding has no direction") | failed


def _require_some_encoded(error: Exception, failed: Sequence[dict[int, str]]) -> None:
    """Raise a FreeBindError if the encoder or its device is broken, not single items."""
    if len(failed) >= HOPELESS and all(failed):
        raise FreeBindError(
            f"the encoder failed on every item of a batch of {len(failed)}",
            got=in_one_line(error),
            fix="repair the encoder or its device, then run the same command again",
        ) from error


def _require_memory(error: Exception, count: int) -> None:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's
        raise FreeBindError(
            f"a batch of {count} does not fit into memory",
            got=in_one_line(error),
            fix="choose a smaller --batch, and delete the shards that the larger one wrote",
        ) from error


def _require_rows(
    encoder: FrozenEncoder, modality: str, batch: Sequence[Any]
) -> Float[np.ndarray, "b d"]:
    rows = to_numpy(encoder.encode(modality, encoder.collate(modality, batch)), encoder.name)
    require_matrix(rows, encoder.name)
    if rows.shape != (len(batch), encoder.dim):
        raise FreeBindError(
            "an encoder returned rows of another shape",
            where=encoder.name,
            expected=[len(batch), encoder.dim],
            got=list(rows.shape),
        )
    return rows
