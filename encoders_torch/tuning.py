"""Tuning an audio encoder on audio-image pairs: settings, pairs, steps (``tune.py`` runs it)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import safetensors.torch
import torch
from jaxtyping import Float, Integer
from torch import Tensor
from torch.nn.functional import cross_entropy

from encoders_torch.encoder import FrozenEncoder
from encoders_torch.reading import ItemReader, Read, read_ahead
from encoders_torch.tuned import ABOUT_FILE, Tuned, below, write_tuned
from fb_jax.banks import Bank, ItemList, files, open_banks, open_split
from fb_jax.errors import FreeBindError, Interrupted, require_positive

Objective = Literal["cosine", "symmetric", "audio_to_image"]
CLAIM, CHECKPOINT, LOSSES = "tuning.json", "checkpoint.safetensors", "losses.npy"
BATCHES_AHEAD = 4
NO_LOSS = float("nan")


@dataclass(frozen=True)
class TuneSettings:
    """How an encoder is tuned: the same settings on the same pairs give the same bits on a CPU.

    Attributes:
        objective: The mean cosine of a recording and its image, or InfoNCE in both directions or
            from audio to image alone.
        learning_rate: Of Adam.
        batch: Pairs a step; the last partial batch of an epoch is dropped.
        epochs: Passes over the pairs.
        temperature: Of InfoNCE, as of the bonds [P].
        seed: Of shuffling.
    """

    objective: Objective = "cosine"
    learning_rate: float = 3e-5
    batch: int = 128
    epochs: int = 4
    temperature: float = 1 / 50
    seed: int = 0

    def __post_init__(self) -> None:
        require_positive(
            "tuning",
            learning_rate=self.learning_rate,
            batch=self.batch,
            epochs=self.epochs,
            temperature=self.temperature,
        )

    def steps(self, pairs: int) -> int:
        """Return the number of steps on so many pairs.

        Raises:
            FreeBindError: There are fewer than a batch.
        """
        if pairs < self.batch:
            raise FreeBindError(
                "there are fewer pairs than a batch", expected=f"{self.batch} or more", got=pairs
            )
        return self.epochs * (pairs // self.batch)

    def order(self, pairs: int, first: int) -> Iterator[int]:
        """Return the pairs of all steps from one on, in their order."""
        whole = pairs // self.batch
        for epoch in range(first // whole, self.epochs):
            shuffled = np.random.default_rng([self.seed, epoch]).permutation(pairs)
            skip = first - epoch * whole if epoch == first // whole else 0
            yield from shuffled[skip * self.batch : whole * self.batch].tolist()


@dataclass(frozen=True)
class TuneRuntime:
    """What does not change the result.

    Attributes:
        workers: Processes that read recordings; 0 reads between the steps.
        read_ahead_mb: Bound of what is read and waits.
        checkpoint_steps: Steps between checkpoints.
    """

    workers: int = 2
    read_ahead_mb: int = 512
    checkpoint_steps: int = 200

    def __post_init__(self) -> None:
        positive = {"read_ahead_mb": self.read_ahead_mb, "checkpoint_steps": self.checkpoint_steps}
        require_positive("tuning", **positive)
        if self.workers < 0:
            raise FreeBindError("tuning workers are 0 or more", got=self.workers)


@dataclass(frozen=True)
class Pairs:
    """What is tuned on.

    Attributes:
        items: The recordings.
        folder: That their paths are in.
        images: The product's image bank.
        rows: ``[p, 2]``: row of ``items``, row of ``images``.
    """

    items: ItemList
    folder: Path
    images: Bank
    rows: Integer[np.ndarray, "p 2"]

    def __len__(self) -> int:
        return len(self.rows)

    def identity(self) -> dict[str, object]:
        """Return what tells these pairs from others, as JSON."""
        return {
            "items": self.items.digest,
            "images": self.images.fingerprint,
            "rows": files.sha256_of_bytes(np.ascontiguousarray(self.rows, np.int64).tobytes()),
        }


def open_pairs(root: Path, split: str, space: str, folder: Path) -> Pairs:
    """Open the pairs of recordings and images of a split.

    Args:
        root: A bank root.
        split: With items of audio and image, a table of both, and a fused bank of the images.
        space: Name of the fused space.
        folder: That the paths of the audio items are in.

    Raises:
        FreeBindError: One of them is missing or damaged, or no pair is left.
    """
    where = open_split(root, split)
    table = where.read_pairs("audio", "image")
    banks = open_banks(root, split, spaces=[space])
    if "image" not in banks.modalities(space):
        raise FreeBindError("there are no fused images", where=where.bank_path(space, "image"))
    images = banks[space, "image"]
    images.verify()
    kept = banks.rows["image"]
    place = np.searchsorted(kept, table[:, 1])
    there = kept[np.minimum(place, len(kept) - 1)] == table[:, 1]
    rows = np.stack([table[there, 0], place[there]], axis=1)
    return Pairs(where.items("audio"), folder, images, rows)


def loss_of(
    audio: Float[Tensor, "b d"], image: Float[Tensor, "b d"], how: TuneSettings
) -> Float[Tensor, ""]:
    """Return the loss of a batch.

    Args:
        audio: Unit rows of the recordings.
        image: Unit rows of their images.
        how: Objective and temperature.
    """
    if how.objective == "cosine":
        return 1 - (audio * image).sum(dim=1).mean()
    scores = audio @ image.T / how.temperature
    own = torch.arange(len(scores), device=scores.device)
    to_image = cross_entropy(scores, own)
    if how.objective == "audio_to_image":
        return to_image
    return (to_image + cross_entropy(scores.T, own)) / 2


class Tuning:
    """A tuning that can be stopped after any step, and its folder.

    Args:
        tuned: What is tuned: its parameters change.
        encoder: Whose ``read`` prepares recordings.
        pairs: To tune on.
        how: Settings.
        folder: For checkpoints and the result.
        about: What the result is made from besides, as JSON.
        device: Of torch.
    """

    def __init__(
        self,
        tuned: Tuned,
        encoder: FrozenEncoder,
        pairs: Pairs,
        how: TuneSettings,
        folder: Path,
        about: dict[str, object],
        device: str = "cpu",
    ) -> None:
        self.steps = how.steps(len(pairs))
        self.tuned = tuned.to(device).eval().requires_grad_(True)
        self.encoder, self.pairs, self.how, self.folder = encoder, pairs, how, folder
        self.device = device
        self.about = {**about, "pairs": pairs.identity(), "settings": asdict(how)}
        self.optimiser = torch.optim.Adam(self.tuned.parameters(), how.learning_rate)
        self.losses: list[float] = []
        self.unreadable: set[int] = set()

    def run(
        self, runtime: TuneRuntime, progress: Callable[[int, float], None] = lambda *_: None
    ) -> None:
        """Tune, or go on tuning, or do nothing if it is done.

        Args:
            runtime: How often to save, how to read.
            progress: Told of steps that were done and of the last loss.

        Raises:
            FreeBindError: The folder holds another tuning, the loss is no number, or the disk is
                full: the last checkpoint is kept.
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
                self._go_on(runtime, progress)
            except Interrupted:
                self._save()
                raise
            self._require_finite()
            files.write_npy(self.folder / LOSSES, np.array(self.losses, np.float32))
            told = {"steps": self.steps, "unreadable": len(self.unreadable)}
            write_tuned(self.folder, self.tuned, {**self.about, **told})
            (self.folder / CHECKPOINT).unlink(missing_ok=True)

    def _go_on(self, runtime: TuneRuntime, progress: Callable[[int, float], None]) -> None:
        reader = ItemReader(self.encoder, "audio", self.pairs.items, self.pairs.folder)
        order, ahead = self.how.order(len(self.pairs), len(self.losses)), BATCHES_AHEAD
        rows = self.how.order(len(self.pairs), len(self.losses))
        with closing(
            read_ahead(
                reader,
                (int(self.pairs.rows[pair, 0]) for pair in rows),
                workers=runtime.workers,
                most_items=ahead * self.how.batch,
                most_bytes=runtime.read_ahead_mb * 10**6,
            )
        ) as reads:
            while len(self.losses) < self.steps:
                batch = list(islice(reads, self.how.batch))
                self.losses.append(self._step(list(islice(order, self.how.batch)), batch))
                if len(self.losses) % runtime.checkpoint_steps == 0:
                    self._save()
                progress(1, self.losses[-1])

    def _step(self, pairs: Sequence[int], reads: Sequence[Read]) -> float:
        """Take one step on what could be read; return its loss."""
        whole = [i for i, read in enumerate(reads) if read.reason is None]
        lost = [pairs[i] for i, read in enumerate(reads) if read.reason is not None]
        self.unreadable |= set(self.pairs.rows[lost, 0].tolist())
        if not whole:
            raise FreeBindError(
                "no recording of a batch can be read",
                where=self.pairs.folder,
                got=reads[0].reason,
                fix="--audio is the folder that the paths of the audio items are in",
            )
        images = self.pairs.images[self.pairs.rows[[pairs[i] for i in whole], 1]]
        inputs = torch.from_numpy(np.stack([reads[i].item() for i in whole])).to(self.device)
        loss = loss_of(self.tuned(inputs), torch.from_numpy(images).to(self.device), self.how)
        if not torch.isfinite(loss):
            raise FreeBindError(
                f"the loss of step {len(self.losses)} is no number",
                where=self.folder,
                got=loss.item(),
                fix="a lower --learning-rate, into another --out",
            )
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.item()

    def _require_finite(self) -> None:
        """Raise a FreeBindError if a step has made a weight no number."""
        if not all(torch.isfinite(value).all() for value in self.tuned.state_dict().values()):
            raise FreeBindError(
                f"a weight is no number after step {len(self.losses)}",
                where=self.folder,
                fix="a lower --learning-rate, into another --out",
            )

    def _save(self) -> None:
        """Write a checkpoint over the one before."""
        self._require_finite()
        tensors = {f"model.{k}": v for k, v in self.tuned.state_dict().items()}
        for i, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{i}.{name}": value for name, value in moments.items()}
        tensors["losses"] = torch.tensor(self.losses, dtype=torch.float64)
        tensors["unreadable"] = torch.tensor(sorted(self.unreadable), dtype=torch.int64)
        content = safetensors.torch.save({k: v.cpu().contiguous() for k, v in tensors.items()})
        files.write_atomic(self.folder / CHECKPOINT, lambda file: file.write(content))

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        try:
            tensors = safetensors.torch.load_file(path)
        except safetensors.SafetensorError as error:
            raise FreeBindError(
                "a checkpoint is damaged", where=path, got=error, fix="delete it to begin again"
            ) from error
        self.tuned.load_state_dict(below(tensors, "model."))
        state = self.optimiser.state_dict()
        for key, value in below(tensors, "adam.").items():
            number, name = key.split(".")
            state["state"].setdefault(int(number), {})[name] = value
        self.optimiser.load_state_dict(state)
        self.losses = tensors["losses"].tolist()
        self.unreadable = set(tensors["unreadable"].tolist())
