"""Training the towers of a space by InfoNCE on pairs, as CLIP, CLAP and ImageBind were."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from examples.word_world.corpus import media_name
from examples.word_world.encoders import WordEncoder
from examples.word_world.recipe import Fit, SpaceRecipe, SpacesRecipe

LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.05
FIRST_TEMPERATURE = 0.07
REPORT_STEPS = 50

Items = Callable[[Path, Fit, str], list[str | Path]]
"""Corpus, fit and modality to the items of the fit: captions or paths."""


def training_items(corpus: Path, fit: Fit, modality: str) -> list[str | Path]:
    """Return the items of a fit; item i is the same word in every modality."""
    words, rows = (corpus / "train/words.txt").read_text().splitlines(), range(*fit.words)
    if modality == "text":
        return [words[i] for i in rows]
    if modality == "image":
        return [corpus / f"train/image/{media_name(i, words[i])}.png" for i in rows]
    domain = lambda i: fit.domains[i % len(fit.domains)]  # noqa: E731
    return [corpus / f"train/{domain(i)}/{media_name(i, words[i])}.wav" for i in rows]


def fit_space(
    space: SpaceRecipe,
    batch: int,
    seed: int,
    encoder: type[WordEncoder],
    items: Callable[[Fit, str], list[str | Path]],
    report: Callable[[str], None],
) -> nn.ModuleDict:
    """Train the towers of a space.

    Args:
        space: Recipe of the space.
        batch: Pairs in a step.
        seed: Seed of initial weights and batches.
        encoder: Builds the towers, and reads items.
        items: Returns the items of a fit and a modality; see ``training_items``.
        report: Called with a line of text every ``REPORT_STEPS`` steps.
    """
    torch.manual_seed(seed)
    towers = encoder.towers(space.modalities, space.dim, space.width)
    for fit in space.fits:
        data = {m: np.stack([*map(encoder.readers[m], items(fit, m))]) for m in fit.modalities}
        _fit(towers, {m: torch.from_numpy(rows) for m, rows in data.items()}, fit, batch, report)
    return towers


def make_space(
    name: str,
    folder: Path,
    recipe: SpacesRecipe,
    seed: int,
    encoder: type[WordEncoder] = WordEncoder,
    items: Items = training_items,
) -> str:
    """Train the towers of one space of a world, and write them; return the space's name."""
    torch.set_num_threads(1)  # the matrices are small: two threads are slower than one
    report = lambda line: print(f"  {name}: {line}", flush=True)  # noqa: E731
    space, of_corpus = recipe.spaces[name], partial(items, folder / "corpus")
    towers = fit_space(space, recipe.batch, seed, encoder, of_corpus, report)
    encoder.save(folder / "spaces" / f"{name}.safetensors", towers, name, space)
    return name


def _fit(
    towers: nn.ModuleDict,
    data: dict[str, Tensor],
    fit: Fit,
    batch: int,
    report: Callable[[str], None],
) -> None:
    left, right = fit.modalities
    scale = nn.Parameter(torch.tensor(1 / FIRST_TEMPERATURE).log())
    trained = [p for m in fit.modalities if m != fit.frozen for p in towers[m].parameters()]
    optimiser = torch.optim.AdamW([*trained, scale], LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, fit.steps)
    order = torch.empty(0, dtype=torch.long)
    for step in range(fit.steps):
        if len(order) < batch:
            order = torch.randperm(len(data[left]))
        rows, order = order[:batch], order[batch:]
        loss = info_nce(towers[left](data[left][rows]), towers[right](data[right][rows]), scale)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if (step + 1) % REPORT_STEPS == 0 or step + 1 == fit.steps:
            report(f"{left}-{right}: step {step + 1} of {fit.steps}, loss {loss.item():.3f}")


def info_nce(
    left: Float[Tensor, "b d"], right: Float[Tensor, "b d"], scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """Return the symmetric InfoNCE of unit rows, at a learned temperature of at least 1/100."""
    logits = scale.exp().clamp(max=100) * left @ right.T
    target = torch.arange(len(left))
    cross_entropy = nn.functional.cross_entropy
    return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2
