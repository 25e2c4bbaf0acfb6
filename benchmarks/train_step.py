"""A training step of the mixture, in JAX and in torch: ``python benchmarks/train_step.py``.

The seven projectors need different numbers of steps. One lane for each would leave 3 of 7 lanes
idle on average; 4 lanes hold them all (a lane trains projectors one after another). Every contender
does the work of one step of 4 lanes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
import tyro
from timing import TORCH_PRECISION, Contender, matmuls, seconds, show, torch_device
from torch import nn

from fb_jax.numerics import Precision
from fb_jax.projector import BondSpec, End
from fb_jax.training.objective import Objective
from fb_jax.training.step import LaneExecution, init_state, lanes_step

LANES, MEMBERS = 4, 7
SOURCE, TARGET = ("text", "audio"), ("text", "image", "audio")


@dataclass(frozen=True)
class Sizes:
    batch: int = 1024
    dim_in: int = 512
    hidden: int = 2048
    dim_out: int = 1024
    precision: Precision = "float32"
    rounds: int = 3

    @property
    def member_operations(self) -> float:
        """Operations of the matrix products in one step of one member, forward and backward."""
        projector = 2 * self.batch * self.hidden * (self.dim_in + self.dim_out) * len(SOURCE)
        scores = 2 * self.batch**2 * self.dim_out * len(SOURCE) * len(TARGET)
        return 3.0 * (projector + scores)


def random_batch(sizes: Sizes, lanes: int) -> dict:
    rng = np.random.default_rng(0)
    dims = {("expert", m): sizes.dim_in for m in SOURCE}
    dims |= {("unified", m): sizes.dim_out for m in TARGET}
    rows = {c: rng.normal(size=(lanes, sizes.batch, d)).astype(np.float32) for c, d in dims.items()}
    return {c: x / np.linalg.norm(x, axis=-1, keepdims=True) for c, x in rows.items()}


def jax_step(sizes: Sizes, lanes: int, execution: LaneExecution) -> Contender:
    ends = End("imagebind", TARGET, sizes.dim_out), End("clap_general", SOURCE, sizes.dim_in)
    spec = BondSpec.between("combination", *ends, sizes.hidden)
    objective = Objective(spec, SOURCE, TARGET, precision=sizes.precision)
    batch = jax.tree.map(jnp.asarray, random_batch(sizes, lanes))
    members = replace(spec, members=spec.members[:lanes])
    state = init_state(members, jax.random.key(0))
    step = partial(lanes_step, objective=objective, execution=execution)

    def run() -> object:
        nonlocal state
        state, losses = step(state, batch)
        return losses

    return run


def torch_projector(sizes: Sizes) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(sizes.dim_in, sizes.hidden, bias=False),
        nn.BatchNorm1d(sizes.hidden),
        nn.ReLU(),
        nn.Linear(sizes.hidden, sizes.dim_out, bias=False),
        nn.BatchNorm1d(sizes.dim_out),
    ).to(torch_device())


def torch_loss(projector: nn.Module, batch: dict) -> torch.Tensor:
    total = torch.zeros((), device=torch_device())
    labels = torch.arange(len(next(iter(batch.values()))), device=torch_device())
    for source in SOURCE:
        x = F.normalize(projector(batch["expert", source]), dim=1)
        for target in TARGET:
            scores = x @ batch["unified", target].T / 0.02
            total = (
                total + (F.cross_entropy(scores, labels) + F.cross_entropy(scores.T, labels)) / 2
            )
    return total


def torch_loop(sizes: Sizes, members: int) -> Contender:
    projectors = [torch_projector(sizes) for _ in range(members)]
    optimisers = [torch.optim.Adam(p.parameters(), lr=1e-3) for p in projectors]
    rows = random_batch(sizes, 1)
    batch = {c: torch.from_numpy(x[0]).to(torch_device()) for c, x in rows.items()}
    half = sizes.precision == "bf16"

    def run() -> object:
        for projector, optimiser in zip(projectors, optimisers, strict=True):
            with torch.autocast(torch_device().type, torch.bfloat16, enabled=half):
                loss = torch_loss(projector, batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return None

    return run


def main() -> None:
    sizes = tyro.cli(Sizes)
    torch.set_float32_matmul_precision(TORCH_PRECISION[sizes.precision])
    reference = f"torch loop over {LANES}"
    timed = {
        reference: torch_loop(sizes, LANES),
        f"JAX map over {LANES} lanes": jax_step(sizes, LANES, "map"),
        f"JAX vmap over {LANES} lanes": jax_step(sizes, LANES, "vmap"),
        f"JAX map over {MEMBERS}, 3 idle": jax_step(sizes, MEMBERS, "map"),
        f"JAX vmap over {MEMBERS}, 3 idle": jax_step(sizes, MEMBERS, "vmap"),
    }
    square = 2048
    plain = matmuls(square, sizes.precision)
    times = seconds({**plain, **timed}, sizes.rounds)
    operations = dict.fromkeys(plain, 2.0 * square**3)
    operations |= dict.fromkeys(timed, LANES * sizes.member_operations)
    title = (
        f"batch {sizes.batch:,}, {sizes.dim_in}-{sizes.hidden}-{sizes.dim_out}, {sizes.precision}"
    )
    show(title, times, operations, reference)


if __name__ == "__main__":
    main()
