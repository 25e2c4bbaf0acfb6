"""Settings of a tuning, and the order in which it takes pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fb_jax.errors import FreeBindError, require_range

Objective = Literal["cosine", "symmetric", "audio_to_image"]


@dataclass(frozen=True)
class TuneSettings:
    """The same settings on the same pairs give the same bits on a CPU.

    Attributes:
        objective: cosine is the mean cosine of a recording and its image; symmetric is InfoNCE in
            both directions; audio_to_image is InfoNCE in one direction.
        learning_rate: Learning rate of Adam, 1e-08 to 1.
        batch: Pairs in a step, 1 to 65536. The last partial batch of an epoch is dropped.
        epochs: Passes over the pairs, 1 to 100000.
        temperature: Temperature of InfoNCE, 0.0001 to 100.
        seed: Seed for shuffling the pairs, 0 to 4294967295.
    """

    objective: Objective = "cosine"
    learning_rate: float = 3e-5
    batch: int = 128
    epochs: int = 4
    temperature: float = 1 / 50
    seed: int = 0

    def __post_init__(self) -> None:
        require_range("tuning", 1e-8, 1.0, learning_rate=self.learning_rate)
        require_range("tuning", 1, 1 << 16, batch=self.batch)
        require_range("tuning", 1, 100_000, epochs=self.epochs)
        require_range("tuning", 1e-4, 100.0, temperature=self.temperature)
        require_range("tuning", 0, (1 << 32) - 1, seed=self.seed)

    def steps(self, pairs: int) -> int:
        """Return the number of steps on ``pairs`` pairs.

        Raises:
            FreeBindError: There are fewer pairs than a batch.
        """
        if pairs < self.batch:
            raise FreeBindError(
                "there are fewer pairs than a batch", expected=f"{self.batch} or more", got=pairs
            )
        return self.epochs * (pairs // self.batch)

    def order(self, pairs: int, first: int) -> Iterator[int]:
        """Return the numbers of the pairs of all steps from step ``first`` on, in order."""
        steps = pairs // self.batch
        for epoch in range(first // steps, self.epochs):
            shuffled = np.random.default_rng([self.seed, epoch]).permutation(pairs)
            skip = first - epoch * steps if epoch == first // steps else 0
            yield from shuffled[skip * self.batch : steps * self.batch].tolist()


@dataclass(frozen=True)
class TuneRuntime:
    """These options do not change the result.

    Attributes:
        workers: Processes that read recordings, 0 to 1024. 0 reads between the steps.
        read_ahead_mb: At most this many megabytes are read ahead, 1 to 1048576.
        checkpoint_steps: Steps between checkpoints, 1 to 1000000000.
    """

    workers: int = 2
    read_ahead_mb: int = 512
    checkpoint_steps: int = 200

    def __post_init__(self) -> None:
        require_range("tuning", 0, 1024, workers=self.workers)
        require_range("tuning", 1, 1 << 20, read_ahead_mb=self.read_ahead_mb)
        require_range("tuning", 1, 10**9, checkpoint_steps=self.checkpoint_steps)
