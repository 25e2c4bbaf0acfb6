"""Training the towers of a space by InfoNCE on pairs, as CLIP, CLAP and ImageBind were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from examples.word_world.corpus import media_name
from examples.word_world.encoders import READERS, build_towers, save_towers
from examples.word_world.recipe import Fit, Recipe, SpaceRecipe

LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.05
FIRST_TEMPERATURE = 0.07
REPORT_STEPS = 50


def fit_space(
    corpus: Path,
    recipe: Recipe,
    space: SpaceRecipe,
    seed: int,
    report: Callable[[str], None],
) -> nn.ModuleDict:
    """Train the towers of a space.

    Args:
        corpus: Folder of the corpus.
        recipe: Recipe of the world.
        space: Recipe of the space.
        seed: Seed of initial weights and batches.
        report: Called with a line of text every ``REPORT_STEPS`` steps.
    """
    torch.manual_seed(seed)
    towers = build_towers(space)
    for fit in space.fits:
        data = {m: training_items(corpus, fit, m) for m in fit.modalities}
        _fit(towers, data, fit, recipe.batch, report)
    return towers


def make_space(name: str, folder: Path, recipe: Recipe, seed: int) -> str:
    """Train the towers of one space of a world, and write them; return the space's name."""
    torch.set_num_threads(1)  # the matrices are small: two threads are slower than one
    report = lambda line: print(f"  {name}: {line}", flush=True)  # noqa: E731
    towers = fit_space(folder / "corpus", recipe, recipe.spaces[name], seed, report)
    save_towers(folder / "spaces" / f"{name}.safetensors", towers, name, recipe.spaces[name])
    return name


def training_items(corpus: Path, fit: Fit, modality: str) -> Tensor:
    """Return the features ``[n, t, f]`` of a fit; row i is the same word in every modality."""
    words = (corpus / "train/words.txt").read_text().split()
    read, rows = READERS[modality], range(*fit.words)
    if modality == "text":
        features = [read(words[i]) for i in rows]
    elif modality == "image":
        features = [read(corpus / f"train/image/{media_name(i, words[i])}.png") for i in rows]
    else:
        domain = lambda i: fit.domains[i % len(fit.domains)]  # noqa: E731
        names = [f"train/{domain(i)}/{media_name(i, words[i])}.wav" for i in rows]
        features = [read(corpus / name) for name in names]
    return torch.from_numpy(np.stack(features))


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
