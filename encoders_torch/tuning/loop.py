"""The training loop of a tuning. It can be stopped after any step, and continues to the same bytes.

FOLDER/tuning.json               what is tuned, on which pairs, with which settings
FOLDER/checkpoint.safetensors    until the tuning is done
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from encoders_torch.encoder import FrozenEncoder
from encoders_torch.explain import explained
from encoders_torch.exporting.ahead import Ahead, read_ahead
from encoders_torch.exporting.reading import ItemReader, Reads, Task
from encoders_torch.sources import Source
from encoders_torch.tensor_files import read_state, with_prefix, write_state
from encoders_torch.torch_encoder import moved
from encoders_torch.tuning.model import ABOUT_FILE, TunedModel, write_tuned
from encoders_torch.tuning.pairs import Pairs
from encoders_torch.tuning.settings import TuneRuntime, TuneSettings
from fb_jax import files
from fb_jax.errors import FreeBindError, Interrupted

CLAIM, CHECKPOINT, LOSSES = "tuning.json", "checkpoint.safetensors", "losses.npy"
WHOLE = 1 << 60
"""Bytes at which a batch of recordings would end: a step has one batch."""

NO_LOSS = float("nan")
MAX_WEIGHT = 1e6
"""Largest magnitude of a weight in a tuning that has not diverged."""

LOWER_RATE = "choose a lower --learning-rate and another --out"

Progress = Callable[[int, float], None]
"""Takes the number of steps just done, and the last loss."""


def loss_of(
    audio: Float[Tensor, "b d"], image: Float[Tensor, "b d"], settings: TuneSettings
) -> Float[Tensor, ""]:
    """Return the loss of a batch.

    Args:
        audio: Unit rows of the recordings.
        image: Unit rows of their images.
        settings: Objective and temperature.
    """
    if settings.objective == "cosine":
        return 1 - (audio * image).sum(dim=1).mean()
    scores = audio @ image.T / settings.temperature
    matches = torch.arange(len(scores), device=scores.device)
    to_image = cross_entropy(scores, matches)
    if settings.objective == "audio_to_image":
        return to_image
    return (to_image + cross_entropy(scores.T, matches)) / 2


class Tuning:
    """A tuning and its folder.

    Args:
        model: It is tuned in place.
        encoder: Its ``read`` prepares recordings.
        pairs: Training pairs.
        settings: Settings that the result depends on.
        folder: For checkpoints and the result.
        about: Where model and encoder come from, as JSON.
        device: Of torch.
    """

    def __init__(
        self,
        model: TunedModel,
        encoder: FrozenEncoder,
        pairs: Pairs,
        settings: TuneSettings,
        folder: Path,
        about: dict[str, object],
        device: str = "cpu",
    ) -> None:
        self.steps = settings.steps(len(pairs))
        self.model = model.to(device).eval().requires_grad_(True)
        self.encoder, self.pairs, self.settings = encoder, pairs, settings
        self.folder, self.device = folder, device
        self.about = {**about, "pairs": pairs.identity(), "settings": asdict(settings)}
        self.optimiser = torch.optim.Adam(self.model.parameters(), settings.learning_rate)
        self.losses: list[float] = []
        self.unreadable: set[int] = set()

    def run(self, runtime: TuneRuntime, progress: Progress = lambda *_: None) -> None:
        """Tune from the last checkpoint to the end; a finished tuning is left as it is.

        Args:
            runtime: How often to save, how to read.
            progress: Called after every step.

        Raises:
            FreeBindError: The folder holds another tuning, the loss is NaN or infinite, or the
                disk is full. The last checkpoint is kept.
        """
        with files.locked(self.folder):
            files.claim(self.folder / CLAIM, self.about, "weights")
            if (self.folder / ABOUT_FILE).exists():
                (self.folder / CHECKPOINT).unlink(missing_ok=True)
                progress(self.steps, NO_LOSS)
                return
            self._resume()
            progress(len(self.losses), NO_LOSS)
            try:
                self._train(runtime, progress)
            except Interrupted:
                self._save()
                raise
            self._finish()

    def _finish(self) -> None:
        self._require_sound()
        files.write_npy(self.folder / LOSSES, np.array(self.losses, np.float32))
        counts = {"steps": self.steps, "unreadable": len(self.unreadable)}
        write_tuned(self.folder, self.model, {**self.about, **counts})
        (self.folder / CHECKPOINT).unlink(missing_ok=True)

    def _train(self, runtime: TuneRuntime, progress: Progress) -> None:
        batch, order = self.settings.batch, self._order()
        with closing(self._read(runtime)) as reads:
            while len(self.losses) < self.steps:
                (recordings,) = next(reads)
                self.losses.append(self._step(list(islice(order, batch)), recordings))
                if len(self.losses) % runtime.checkpoint_steps == 0:
                    self._save()
                progress(1, self.losses[-1])

    def _order(self) -> Iterator[int]:
        return self.settings.order(len(self.pairs), len(self.losses))

    def _read(self, runtime: TuneRuntime) -> Generator[list[Reads], None, None]:
        """Read the recordings of every step, ahead of the steps."""
        source = Source([], self.pairs.folder)
        reader = ItemReader([self.encoder], "audio", self.pairs.items, source, WHOLE)
        order, batch = self._order(), self.settings.batch
        steps = iter(lambda: list(islice(order, batch)), [])
        tasks = (Task(self.pairs.rows[pairs, 0].tolist()) for pairs in steps)
        how = Ahead(workers=runtime.workers, most_bytes=runtime.read_ahead_mb * 10**6)
        return read_ahead(reader, tasks, how)

    def _step(self, pairs: Sequence[int], reads: Reads) -> float:
        """Take one step on the recordings that could be read; return its loss."""
        lost = [pairs[i] for i in reads.failed]
        self.unreadable |= set(self.pairs.rows[lost, 0].tolist())
        if not reads.chunks:
            raise FreeBindError(
                "no recording of a batch can be read",
                where=self.pairs.folder,
                got=reads.failed[0],
                fix="--audio is the folder that the paths of the audio items are relative to",
            )
        (chunk,) = reads.chunks
        images = self.pairs.images[self.pairs.rows[[pairs[i] for i in chunk.at], 1]]
        inputs = moved(chunk.batch, self.device, torch.float32)
        targets = torch.from_numpy(images).to(self.device)
        loss = loss_of(self.model(inputs), targets, self.settings)
        if not torch.isfinite(loss):
            what = f"the loss of step {len(self.losses)} is no number"
            raise FreeBindError(what, where=self.folder, got=loss.item(), fix=LOWER_RATE)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.item()

    def _require_sound(self) -> None:
        """Raise a FreeBindError if a number is not finite, or a weight beyond ``MAX_WEIGHT``."""
        after, fix = f"after step {len(self.losses)}", LOWER_RATE
        if not all(torch.isfinite(value).all() for value in self.model.state_dict().values()):
            raise FreeBindError(f"a weight is no number {after}", where=self.folder, fix=fix)
        if any(value.abs().max() > MAX_WEIGHT for value in self.model.parameters()):
            what, span = f"the weights have grown without bound {after}", f"at most {MAX_WEIGHT:g}"
            raise FreeBindError(what, where=self.folder, expected=span, fix=fix)

    def _save(self) -> None:
        """Write a checkpoint over the one before."""
        self._require_sound()
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        for i, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{i}.{name}": value for name, value in moments.items()}
        tensors["losses"] = torch.tensor(self.losses, dtype=torch.float64)
        tensors["unreadable"] = torch.tensor(sorted(self.unreadable), dtype=torch.int64)
        write_state(self.folder / CHECKPOINT, tensors)

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        fix = "delete it to begin again"
        tensors = read_state(path, fix=fix)
        with explained("a checkpoint is of another model", where=path, fix=fix):
            self._take(tensors)

    def _take(self, tensors: Mapping[str, Tensor]) -> None:
        self.model.load_state_dict(with_prefix(tensors, "model."))
        state = self.optimiser.state_dict()
        for key, value in with_prefix(tensors, "adam.").items():
            number, name = key.split(".")
            state["state"].setdefault(int(number), {})[name] = value
        self.optimiser.load_state_dict(state)
        self.losses = tensors["losses"].tolist()
        self.unreadable = set(tensors["unreadable"].tolist())
