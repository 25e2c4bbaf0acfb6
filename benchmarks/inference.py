"""Inference of the mixture, and the same as a torch loop: ``python benchmarks/inference.py``.

Projects rows of one modality through the seven projectors of one expert, in evaluation mode, to
Psi(x). Two ratios are printed: the time of the seven folded projectors divided by that of one
projector, and by that of a torch loop over seven.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
import tyro
from timing import TORCH_PRECISION, Contender, matmuls, seconds, show, torch_device
from torch import nn

from fb_jax.banks import unit_rows
from fb_jax.numerics import Precision, normalised
from fb_jax.projector import (
    Projector,
    Variables,
    fold,
    init_mixture,
    mean_output,
    project_members,
)

MEMBERS = 7


@dataclass(frozen=True)
class Sizes:
    rows: int = 512
    dim_in: int = 512
    hidden: int = 2048
    dim_out: int = 1024
    precision: Precision = "float32"
    rounds: int = 3

    @property
    def member_operations(self) -> float:
        return 2.0 * self.rows * self.hidden * (self.dim_in + self.dim_out)


def random_mixture(sizes: Sizes) -> Variables:
    projector = Projector(sizes.dim_out, sizes.hidden, sizes.precision)
    initial = init_mixture(projector, jax.random.key(0), sizes.dim_in, MEMBERS)
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: jnp.asarray(x + rng.uniform(0, 0.1, x.shape), x.dtype), initial)


def folded_members(sizes: Sizes, variables: Variables, x: np.ndarray, count: int) -> Contender:
    folded = fold(jax.tree.map(lambda leaf: leaf[:count], variables))
    return lambda: unit_rows(mean_output(folded, x, sizes.precision))


def unfolded(sizes: Sizes, variables: Variables, x: np.ndarray) -> Contender:
    projector = Projector(sizes.dim_out, sizes.hidden, sizes.precision)
    mean = jax.jit(lambda v, x: normalised(project_members(projector, v, x).mean(axis=0)))
    return lambda: np.asarray(mean(variables, jnp.asarray(x)))


def torch_member(variables: Variables, member: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for layer in ("in", "out"):
        norm, running = variables.params[f"norm_{layer}"], variables.batch_stats[f"norm_{layer}"]
        weight = np.array(variables.params[f"linear_{layer}"]["kernel"][member]).T
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        batch_norm = nn.BatchNorm1d(weight.shape[0])
        leaves = {"weight": norm["scale"], "bias": norm["shift"]}
        leaves |= {"running_mean": running["mean"], "running_var": running["var"]}
        linear.load_state_dict({"weight": torch.from_numpy(weight.copy())})
        tensors = {name: torch.from_numpy(np.array(leaf[member])) for name, leaf in leaves.items()}
        batch_norm.load_state_dict(tensors, strict=False)
        layers += [linear, batch_norm, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval().to(torch_device())


def torch_loop(sizes: Sizes, variables: Variables, x: np.ndarray) -> Callable[[], np.ndarray]:
    members = [torch_member(variables, member) for member in range(MEMBERS)]
    rows, half = torch.from_numpy(x).to(torch_device()), sizes.precision == "bf16"

    def run() -> np.ndarray:
        with torch.no_grad(), torch.autocast(torch_device().type, torch.bfloat16, enabled=half):
            outputs = [F.normalize(member(rows)) for member in members]
            return F.normalize(torch.stack(outputs).mean(dim=0)).float().cpu().numpy()

    return run


def main() -> None:
    sizes = tyro.cli(Sizes)
    torch.set_float32_matmul_precision(TORCH_PRECISION[sizes.precision])
    x = unit_rows(np.random.default_rng(1).normal(size=(sizes.rows, sizes.dim_in)))
    variables = random_mixture(sizes)
    single, folded, loop = "JAX, one projector", "JAX, 7 folded", "torch loop over 7"
    timed: dict[str, Contender] = {
        loop: torch_loop(sizes, variables, x),
        folded: folded_members(sizes, variables, x, MEMBERS),
        "JAX, 7 as trained": unfolded(sizes, variables, x),
        single: folded_members(sizes, variables, x, 1),
    }
    outputs = {name: np.asarray(run()) for name, run in timed.items()}
    plain = matmuls(2048, sizes.precision)
    times = seconds({**plain, **timed}, sizes.rounds)
    operations = dict.fromkeys(plain, 2.0 * 2048**3)
    operations |= dict.fromkeys(timed, MEMBERS * sizes.member_operations)
    operations[single] = sizes.member_operations
    title = f"{sizes.rows} rows, {sizes.dim_in}-{sizes.hidden}-{sizes.dim_out}, {sizes.precision}"
    show(title, times, operations, loop)
    print(f"7 folded: {times[folded] / times[single]:.2f} x the time of one projector")
    print(f"7 folded: {times[folded] / times[loop]:.2f} x the time of the torch loop")
    difference = np.abs(outputs[folded] - outputs[loop]).max()
    print(f"largest difference from the torch loop: {difference:.1e}")


if __name__ == "__main__":
    main()
