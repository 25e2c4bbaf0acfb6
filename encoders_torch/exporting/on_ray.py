"""Exports on a Ray cluster: Ray Data hands out shards, by their numbers, to actors.

An actor loads the encoders once, and does with a shard what a local export does. It claims the
shard in the same way, so that no two write it; a shard whose actor died is encoded again. All
machines must see the bank root, the media, the weights and the current folder at the same paths.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from encoders_torch.encoder import FrozenEncoder
from encoders_torch.explain import explained
from encoders_torch.exporting.job import Job
from encoders_torch.exporting.ray_actor import ATTEMPTS, Attempts, Plan, ShardActor, outcome
from encoders_torch.exporting.report import Timings
from encoders_torch.exporting.workplace import Load
from fb_jax.errors import FreeBindError
from fb_jax.extras import import_extra

T = TypeVar("T")
LOOK_SECONDS = 1.0
"""Seconds between two looks whether the export was interrupted."""

IN_MANIFESTS = ("name", "dim", "modalities", "weights_sha256", "licence")


class Remote(FrozenEncoder):
    """What is known here of an encoder that the actors load.

    Args:
        load: Loads it; Ray must be able to pickle this.
        about: What the base class takes.
    """

    def __init__(self, load: Load, about: dict[str, Any]) -> None:
        super().__init__(**about)
        self.load = load

    def read(self, modality: str, item: str | Path | Any) -> Any:
        """See the base class; actors do it."""
        raise NotImplementedError

    def encode(self, modality: str, batch: Any) -> np.ndarray:
        """See the base class; actors do it."""
        raise NotImplementedError


class Cluster:
    """A Ray cluster that this process is connected to; see ``connected``.

    Args:
        ray: The package.
        gpu: Whether each actor gets a GPU of its own.
        actors: Number of actors.
    """

    def __init__(self, ray: Any, gpu: bool, actors: int) -> None:
        self.ray, self.gpu, self.actors = ray, gpu, actors

    def load(self, load: Load) -> Remote:
        """Load an encoder on the cluster; return what is known of it.

        Raises:
            FreeBindError: It cannot be loaded there.
        """
        describe = self.ray.remote(num_gpus=int(self.gpu), max_retries=ATTEMPTS - 1)(_describe)
        with explained("an encoder cannot be loaded on the Ray cluster"):
            about = self.ray.get(describe.remote(load, Path.cwd()))
        if isinstance(about, str):
            raise FreeBindError(about)
        return Remote(load, about)

    def run(self, job: Job) -> None:
        """Let actors encode the shards of a job that are left. Its encoders are from ``load``.

        Raises:
            FreeBindError: Of an actor; or its process died again and again.
        """
        for target in job.targets:
            target.result.timings = job.timings
        loads = [encoder.load for encoder in job.reader.encoders if isinstance(encoder, Remote)]
        done = set(job.shards) - set(left := job.left())
        job.progress(sum(map(job.size, done)), job.timings)
        while left:
            for row in self._rows(Plan.of(job, loads), left, partial(job.progress, 0, job.timings)):
                if row["error"]:
                    raise FreeBindError(row["error"])
                _add(job.timings, row)
                for target in job.targets:
                    target.result.done += job.size(row["shard"])
                job.progress(job.size(row["shard"]), job.timings)
            before, left = left, job.left()
            if len(left) == len(before):  # others have them
                return

    def _rows(
        self, plan: Plan, shards: Sequence[int], look: Callable[[], None]
    ) -> Iterator[dict[str, Any]]:
        """Yield what actors return, as it comes; ``look`` is called while nothing does."""
        data = self.ray.data
        rows = data.from_items([{"id": n} for n in shards], override_num_blocks=len(shards)).map(
            ShardActor,
            fn_constructor_args=(plan, self.ray.remote(num_cpus=0)(Attempts).remote()),
            compute=data.ActorPoolStrategy(
                size=min(self.actors, len(shards)), max_tasks_in_flight_per_actor=1
            ),
            num_gpus=int(self.gpu),
        )
        with explained("the Ray cluster failed", fix="run the same command again"):
            yield from _watched(iter(rows.iter_rows()), look)


def _describe(load: Load, folder: Path) -> dict[str, Any] | str:
    encoder = outcome(folder, load)
    if isinstance(encoder, str):
        return encoder
    return {name: getattr(encoder, name) for name in IN_MANIFESTS}


def _watched(elements: Iterator[T], look: Callable[[], None]) -> Iterator[T]:
    """Pass elements on; call ``look``, which may raise, while there is none."""
    thread = ThreadPoolExecutor(1)
    try:
        while True:
            following = thread.submit(next, elements, None)
            while not wait([following], LOOK_SECONDS).done:
                look()
            if (element := following.result()) is None:
                return
            yield element
    finally:
        thread.shutdown(wait=False)


def _add(timings: Timings, row: dict[str, Any]) -> None:
    for phase in fields(timings):
        setattr(timings, phase.name, getattr(timings, phase.name) + row[phase.name])


@contextmanager
def connected(
    address: str, device: str, actors: int | None = None, readers: int = 2
) -> Iterator[Cluster]:
    """Connect to a Ray cluster.

    Args:
        address: Of Ray: ``local`` starts one on this machine, ``auto`` finds the one that it
            belongs to.
        device: Name of a device for torch. Unless it is the CPU, every actor gets a GPU if there
            are any.
        actors: Number of actors. None: as many as there are GPUs; without any, one for every
            ``1 + readers`` processors.
        readers: Number of processes that read for an actor.

    Raises:
        FreeBindError: Ray is not installed, or there is no cluster.
    """
    ray = _imported()
    with explained("the Ray cluster cannot be used", where=address, fix="see ray status"):
        ray.init(address, logging_level=logging.ERROR)
    try:
        has = ray.cluster_resources()
        gpu = device != "cpu" and has.get("GPU", 0) >= 1
        fitting = has["GPU"] if gpu else has.get("CPU", 1) // (1 + readers)
        yield Cluster(ray, gpu, actors or max(1, int(fitting)))
    finally:
        ray.shutdown()


def _imported() -> Any:
    """Return the package, which tells only errors from now on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = import_extra("ray.data", "ray")
        data.DataContext.get_current().enable_progress_bars = False
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return import_extra("ray", "ray")
