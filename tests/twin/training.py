"""The projector, its loss, and a training loop for one member."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize


class Projector(nn.Module):
    """Linear - BatchNorm - ReLU - Linear - BatchNorm, then L2 norm; Linears without biases."""

    def __init__(self, d_in: int, hidden: int, d_out: int) -> None:
        super().__init__()
        self.linear_in = nn.Linear(d_in, hidden, bias=False)
        self.norm_in = nn.BatchNorm1d(hidden)
        self.linear_out = nn.Linear(hidden, d_out, bias=False)
        self.norm_out = nn.BatchNorm1d(d_out)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm_in(self.linear_in(x)))
        return normalize(self.norm_out(self.linear_out(x)))


def numbers(projector: Projector) -> dict[str, Tensor]:
    """Return a projector's numbers as fb_jax names and shapes them; they share its memory."""
    found = {}
    for place in ("in", "out"):
        norm = projector.get_submodule(f"norm_{place}")
        found[f"linear_{place}.kernel"] = projector.get_submodule(f"linear_{place}").weight.T
        found[f"norm_{place}.scale"] = norm.weight
        found[f"norm_{place}.shift"] = norm.bias
        found[f"norm_{place}.mean"] = norm.running_mean
        found[f"norm_{place}.var"] = norm.running_var
    return {name: tensor.detach() for name, tensor in found.items()}


def named(variables: Iterable[Mapping], member: int | None = None) -> dict[str, Tensor]:
    """Return the numbers in fb_jax's (nested) collections, of one member of a mixture if told."""
    return {
        f"{layer}.{name}": torch.from_numpy(np.array(x if member is None else x[member]))
        for collection in variables
        for layer, leaves in collection.items()
        for name, x in leaves.items()
    }


def load(values: Mapping[str, Tensor]) -> Projector:
    """Return a projector with these numbers, in their dtype."""
    (d_in, hidden), d_out = values["linear_in.kernel"].shape, len(values["norm_out.mean"])
    projector = Projector(d_in, hidden, d_out).to(values["linear_in.kernel"].dtype)
    for name, tensor in numbers(projector).items():
        tensor.copy_(values[name])
    return projector


def mixture(projectors: Iterable[Projector], x: Tensor) -> Tensor:
    """The mean of the projectors' unit outputs, then L2 norm; in evaluation mode."""
    return normalize(torch.stack([projector.eval()(x) for projector in projectors]).mean(dim=0))


def info_nce(x: Tensor, y: Tensor, temperature: float = 1 / 50, symmetric: bool = True) -> Tensor:
    """Cross-entropy of row i of y among all rows, given row i of x; and the other way round."""
    logits, own = x @ y.T / temperature, torch.arange(len(x))
    forth, back = cross_entropy(logits, own), cross_entropy(logits.T, own)
    return (forth + back) / 2 if symmetric else forth


def distillation(
    x: Tensor, y: Tensor, taught: Tensor, temperature: float = 1 / 50, symmetric: bool = True
) -> Tensor:
    """Cross-entropy of the softmax of scores to that of taught scores; and the other way round."""
    logits, targets = x @ y.T / temperature, taught / temperature
    forth = cross_entropy(logits, targets.softmax(dim=1))
    back = cross_entropy(logits.T, targets.T.softmax(dim=1))
    return (forth + back) / 2 if symmetric else forth


def bond_loss(projected: Sequence[Tensor], target: Sequence[Tensor], **options: object) -> Tensor:
    """Eq. 7 and 8: InfoNCE between every projected and every target modality."""
    total = torch.zeros((), dtype=projected[0].dtype)
    for x in projected:
        for y in target:
            total = total + info_nce(x, y, **options)
    return total


def train(
    projector: Projector,
    batches: Iterable[tuple[Sequence[Tensor], Sequence[Tensor]]],
    learning_rate: float = 1e-3,
) -> list[float]:
    """Train one projector on batches of (source modalities, target modalities).

    Modalities are in the order text, image, audio; BatchNorm sees one at a time. Targets are made
    unit rows again: what was stored in half precision has lost a little of its length.
    """
    adam, losses = torch.optim.Adam(projector.parameters(), lr=learning_rate), []
    projector.train()
    for source, target in batches:
        adam.zero_grad()
        loss = bond_loss([projector(x) for x in source], [normalize(y) for y in target])
        loss.backward()
        adam.step()
        losses.append(loss.item())
    return losses
