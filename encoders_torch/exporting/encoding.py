"""Encodes batches: unit rows of the items that succeed, and reasons for those that fail.

A device that fails, or too little memory, is never an item's fault: the first stops the export, the
second halves the batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32

from encoders_torch.encoder import FrozenEncoder
from encoders_torch.explain import in_one_line
from encoders_torch.exporting.batches import first_of, lengths, part
from encoders_torch.exporting.memory import is_out_of_memory
from encoders_torch.exporting.reading import Reads
from fb_jax.banks import find_bad_rows, to_numpy, unit_rows
from fb_jax.banks.directions import require_matrix
from fb_jax.errors import FreeBindError, notice_once

DEVICE_ERRORS = (
    "CUDA error",
    "CUBLAS",
    "cuDNN error",
    "CUDNN_",
    "HIP error",
    "MPS backend",
    "NCCL",
)
"""What torch's errors say: it has no classes for all of them."""

HOPELESS = 64
"""If the encoder fails on so many items before the first success, the items are not to blame."""

Failed = dict[int, str]
"""Item of a batch to the reason why it has no row."""


class Encoding:
    """Encodes batches of one modality.

    Args:
        encoder: The encoder.
        modality: Of the items.
    """

    def __init__(self, encoder: FrozenEncoder, modality: str) -> None:
        self.encoder, self.modality = encoder, modality
        self.most: int | None = None
        """Items that fit into memory together, once a batch did not."""
        self._works: Any = None
        """A batch of one item that was encoded before."""
        self._first_failures = 0

    def encode_reads(self, reads: Reads, count: int) -> tuple[Float32[np.ndarray, "n d"], Failed]:
        """Return the rows of what was read of a task of ``count`` items; see ``encode``."""
        rows = np.zeros((count, self.encoder.dim), np.float32)
        failed = dict(reads.failed)
        for at, batch in reads.chunks:
            rows[at], bad = self.encode(batch, len(at))
            failed |= {at[i]: reason for i, reason in bad.items()}
        return rows, failed

    def encode(self, batch: Any, count: int) -> tuple[Float32[np.ndarray, "b d"], Failed]:
        """Return unit rows, zero for items that failed, and the reasons of those.

        Args:
            batch: From the encoder's ``collate``.
            count: How many items it has.

        Raises:
            FreeBindError: The encoder or its device is broken, one item alone does not fit into
                memory, or the batch or the rows do not have one entry for each item.
        """
        self._require_items(batch, count)
        rows = np.zeros((count, self.encoder.dim), np.float32)
        failed: Failed = {}
        self._fill(batch, 0, rows, failed)
        return rows, failed

    def _require_items(self, batch: Any, count: int) -> None:
        """Raise a FreeBindError unless the parts of a batch are the items: it may be halved."""
        if (found := lengths(batch)) != {count}:
            raise FreeBindError(
                "the batch of an encoder cannot be cut into its items",
                where=self.encoder.name,
                expected=f"{count} items in every part",
                got=", ".join(map(str, sorted(found))),
                fix="let collate return a tensor, array or list of the items, or a dictionary of "
                "them; of a read that is a tuple, the default makes a list of its parts",
            )

    def _fill(
        self, batch: Any, first: int, rows: Float32[np.ndarray, "n d"], failed: Failed
    ) -> None:
        """Write the rows of a batch; if it cannot be encoded, those of its halves."""
        count, error = len(rows), None
        if self.most is None or count <= self.most:
            try:
                bad = self._write(batch, rows)
            except FreeBindError:
                raise
            except Exception as caught:
                error = caught.with_traceback(None)  # which holds the tensors of the batch
            else:
                failed |= {first + i: "its embedding has no direction" for i in bad}
                return
        if error is not None:
            self._judge(error, count)
        if error is not None and count == 1:
            failed[first] = in_one_line(error)
            self._require_some_encoded(error)
            return
        half = (count + 1) // 2
        for start, stop in ((0, half), (half, count)):
            self._fill(part(batch, start, stop), first + start, rows[start:stop], failed)

    def _write(self, batch: Any, rows: Float32[np.ndarray, "n d"]) -> list[int]:
        """Write unit rows; return which have no direction, and are zero."""
        found = self._rows(batch, len(rows))
        bad = np.concatenate(list(find_bad_rows(found).values())).tolist()
        rows[:] = unit_rows(found)
        rows[bad] = 0
        if self._works is None and 0 not in bad:
            self._works = first_of(batch)
        return bad

    def _rows(self, batch: Any, count: int) -> Float[np.ndarray, "b d"]:
        encoder = self.encoder
        rows = to_numpy(encoder.encode(self.modality, batch), encoder.name)
        require_matrix(rows, encoder.name)
        if rows.shape != (count, encoder.dim):
            raise FreeBindError(
                "an encoder returned rows of another shape",
                where=encoder.name,
                expected=[count, encoder.dim],
                got=list(rows.shape),
            )
        return rows

    def _judge(self, error: Exception, count: int) -> None:
        """Raise a FreeBindError unless an item may be to blame, or the batch can be halved."""
        if is_out_of_memory(error):
            if count == 1:
                raise FreeBindError(
                    "one item alone does not fit into memory",
                    where=self.encoder.name,
                    got=in_one_line(error),
                    fix="use a larger device or --precision bfloat16; what is done is kept",
                ) from error
            self._lower((count + 1) // 2)
        elif any(text in str(error) for text in DEVICE_ERRORS) or not self._still_works():
            raise FreeBindError(
                "the encoder or its device failed, not an item",
                where=self.encoder.name,
                got=in_one_line(error),
                fix="repair it, then run the same command again: what is done is kept",
            ) from error

    def _require_some_encoded(self, error: Exception) -> None:
        """Raise a FreeBindError once the first items have all failed."""
        self._first_failures += self._works is None
        if self._first_failures >= HOPELESS:
            raise FreeBindError(
                f"the encoder failed on each of the first {HOPELESS} items",
                where=self.encoder.name,
                got=in_one_line(error),
                fix="repair the encoder or its device, then run the same command again",
            ) from error

    def _lower(self, most: int) -> None:
        self.most = most
        torch.cuda.empty_cache()
        notice_once(f"{self.encoder.name}: memory ran out; from now on {most} items together")

    def _still_works(self) -> bool:
        """Return whether an item that was encoded before can be encoded now, if there is one."""
        try:
            if self._works is not None:
                self._rows(self._works, 1)
        except Exception:
            return False
        return True
