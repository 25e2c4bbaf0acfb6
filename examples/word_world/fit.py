"""Training a space's towers on pairs, the way CLIP, CLAP and ImageBind were: InfoNCE."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from examples.word_world.corpus import media_name
from examples.word_world.encoders import READERS, build_towers
from examples.word_world.recipe import Fit, Recipe, SpaceRecipe

LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.05
FIRST_TEMPERATURE = 0.07
EVERY = 50  # steps between two reports


def fit_space(
    corpus: Path,
    recipe: Recipe,
    space: SpaceRecipe,
    seed: int,
    told: Callable[[str], None] = lambda _: None,
) -> nn.ModuleDict:
    """Train a space's towers.

    Args:
        corpus: See ``corpus``.
        recipe: Of the world.
        space: Of the space.
        seed: Of first weights and batches.
        told: Gets a line now and then.

    Returns:
        The towers.
    """
    torch.manual_seed(seed)
    towers = build_towers(space)
    for fit in space.fits:
        data = {m: training_items(corpus, fit, m) for m in fit.modalities}
        _fit(towers, data, fit, recipe.batch, told)
    return towers


def training_items(corpus: Path, fit: Fit, modality: str) -> Tensor:
    """Return the features ``[n, t, f]`` of a fit's training words; row i is the same word."""
    words = (corpus / "train/words.txt").read_text().split()
    read, rows = READERS[modality], range(*fit.words)
    if modality == "text":
        found = [read(words[i]) for i in rows]
    elif modality == "image":
        found = [read(corpus / f"train/image/{media_name(i, words[i])}.png") for i in rows]
    else:
        turn = [fit.domains[i % len(fit.domains)] for i in rows]
        names = [
            f"train/{d}/{media_name(i, words[i])}.wav" for i, d in zip(rows, turn, strict=True)
        ]
        found = [read(corpus / name) for name in names]
    return torch.from_numpy(np.stack(found))


def _fit(
    towers: nn.ModuleDict,
    data: dict[str, Tensor],
    fit: Fit,
    batch: int,
    told: Callable[[str], None],
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
        if (step + 1) % EVERY == 0 or step + 1 == fit.steps:
            told(f"{left}-{right}: step {step + 1} of {fit.steps}, loss {loss.item():.3f}")


def info_nce(
    left: Float[Tensor, "b d"], right: Float[Tensor, "b d"], scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """Symmetric InfoNCE of unit rows, at a learned temperature of at least 1/100."""
    logits = scale.exp().clamp(max=100) * left @ right.T
    target = torch.arange(len(left))
    cross_entropy = nn.functional.cross_entropy
    return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2
