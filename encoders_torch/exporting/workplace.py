"""Where an export computes: in this process, or on a cluster (``on_ray``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from encoders_torch.encoder import FrozenEncoder
from encoders_torch.exporting.job import Job

Load = Callable[[], FrozenEncoder]


@runtime_checkable
class Workplace(Protocol):
    """Loads encoders, and does jobs with them."""

    def load(self, load: Load) -> FrozenEncoder:
        """Return an encoder for the jobs done here, or raise a FreeBindError."""

    def run(self, job: Job) -> None:
        """Encode the shards of a job that are left, or raise a FreeBindError."""


class Here:
    """This process."""

    def load(self, load: Load) -> FrozenEncoder:
        """See ``Workplace``."""
        return load()

    def run(self, job: Job) -> None:
        """See ``Workplace``."""
        job.run()
