"""What a worker hands to the exporting process: in shared memory, whatever it is.

Torch's queue is a pipe with a thread that fills it. A worker that dies in the middle of a large
message leaves a reader that waits for the rest for ever, and what the thread cannot send is dropped
without a word. So the worker itself packs what it read, and messages are small.
"""

from __future__ import annotations

from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from torch.utils.data._utils.pin_memory import pin_memory

SMALL = 2048
"""Bytes that go through the pipe itself: half of what is written whole or not at all (PIPE_BUF)."""


class Parcel:
    """A value on its way to another process, which must open it while this one lives.

    Args:
        value: Tensors in it are shared, all else is pickled.

    Raises:
        Exception: Of many kinds; the value cannot be pickled, or there is too little memory.
    """

    def __init__(self, value: Any) -> None:
        packed = ForkingPickler.dumps(value)
        self.content: bytes | torch.Tensor = bytes(packed)
        if len(packed) > SMALL:
            self.content = torch.frombuffer(packed, dtype=torch.uint8).share_memory_()

    def opened(self) -> Any:
        """Return the value."""
        if isinstance(self.content, torch.Tensor):
            return ForkingPickler.loads(self.content.numpy().data)
        return ForkingPickler.loads(self.content)

    def pin_memory(self) -> Any:
        """Return the value with tensors where a GPU reads them faster; for torch's thread."""
        return pin_memory(self.opened())
