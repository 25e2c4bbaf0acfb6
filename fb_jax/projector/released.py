"""Projectors in the authors' layouts, as NumPy arrays: in and out.

    LINEAR.{weight,bias}                          weight [out, in]
    NORM.{weight,bias,running_mean,running_var}   a BatchNorm
    NORM.num_batches_tracked                      batches seen in training

``layouts`` says which Linears and BatchNorms there are. Our MLPs have Linears without biases. In
evaluation a BatchNorm subtracts its running mean from the output of the Linear, so a bias b is the
same as a running mean lower by b. On import the bias goes into the running mean; on export it is
zero. The count of batches plays no part in evaluation; on export it is zero.

Half an MLP comes in with the identity as its second half. The BatchNorm of that half divides all by
one number, which the L2 norm after it takes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import jax
import numpy as np

from fb_jax.errors import FreeBindError
from fb_jax.projector.layouts import FREEBIND, Layout, Mlp
from fb_jax.projector.mcr import GAP
from fb_jax.projector.mixture import Subset, Variables, subset_name

State = Mapping[str, np.ndarray]
"""One projector: key of the released layout to array."""

VECTORS = ("weight", "bias", "running_mean", "running_var")
COUNT = "num_batches_tracked"


def mixture_from_released(
    states: Mapping[str, State], where: object, layout: Layout = FREEBIND
) -> Variables:
    """Return the variables of a released family.

    Args:
        states: Name of a member, see ``Layout.names``, to state dict.
        where: The family, for messages.
        layout: Its layout.

    Returns:
        The members' numbers in the order of ``Layout.names``, with a leading axis, float32.

    Raises:
        FreeBindError: A member or a key is missing or unknown, members differ in shape, a number
            is not finite or a variance is negative.
    """
    _require_names("members", states, layout.names, where)
    members = {f"{where}/{name}" if name else where: states[name] for name in layout.names}
    last, state = list(members.items())[-1]
    shapes = shapes_of(state, last, layout)
    for member, state in members.items():
        _require_state(state, shapes, member)
    variables = [_variables(state, layout) for state in members.values()]
    return jax.tree.map(lambda *leaves: np.stack(leaves).astype(np.float32), *variables)


def shapes_of(state: State, where: object, layout: Layout = FREEBIND) -> dict[str, tuple[int, ...]]:
    """Return the shape that every key must have, given the matrices of a state dict.

    Raises:
        FreeBindError: The matrices are missing, or those of an MLP do not fit each other.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for mlp in layout.mlps.values():
        matrices = _matrices(state, [linear for linear, _ in mlp.values()], where)
        for (linear, norm), shape in zip(mlp.values(), matrices, strict=True):
            shapes |= {f"{linear}.weight": shape, f"{linear}.bias": shape[:1]}
            shapes |= {f"{norm}.{name}": shape[:1] for name in VECTORS} | {f"{norm}.{COUNT}": ()}
    if layout.gap:
        (shape,) = _matrices(state, [layout.gap], where)
        shapes |= {f"{layout.gap}.weight": shape, f"{layout.gap}.bias": shape[:1]}
    return shapes


def _matrices(state: State, linears: list[str], where: object) -> list[tuple[int, ...]]:
    """Return the shapes of Linears that follow each other."""
    found = [state.get(f"{linear}.weight", np.empty(())).shape for linear in linears]
    ends = ["h, d_in", "d_out, h"] if len(linears) > 1 else ["d_out, d_in"]
    chained = all(after[1:] == before[:1] for before, after in pairwise(found))
    if any(len(shape) != 2 for shape in found) or not chained:
        raise FreeBindError(
            "not a released projector",
            where=where,
            expected=" and ".join(f"{x}.weight [{e}]" for x, e in zip(linears, ends, strict=True)),
            got=" and ".join(str(list(shape)) for shape in found),
        )
    return found


def _require_state(state: State, shapes: Mapping[str, tuple[int, ...]], where: object) -> None:
    _require_names("keys", state, shapes, where)
    for key, shape in shapes.items():
        found = state[key]
        if found.shape != shape:
            raise FreeBindError(
                "an array has the wrong shape",
                where=f"{where}: {key}",
                expected=list(shape),
                got=list(found.shape),
            )
        lowest = 0 if key.endswith(("running_var", COUNT)) else -np.inf
        if not (np.isfinite(found) & (found >= lowest)).all():
            raise FreeBindError(
                "an array holds impossible numbers",
                where=f"{where}: {key}",
                expected="finite numbers" if lowest else "finite numbers, none below 0",
            )


def _require_names(
    kind: str, found: Mapping[str, object], wanted: Iterable[str], where: object
) -> None:
    names = set(wanted)
    missing, extra = sorted(names - set(found)), sorted(set(found) - names)
    if missing or extra:
        raise FreeBindError(
            f"the {kind} are not those of the released layout",
            where=where,
            expected=", ".join(sorted(names)),
            got=f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(extra) or 'none'}",
        )


def _variables(state: State, layout: Layout) -> Variables:
    mlps = {module: _mlp_variables(state, mlp) for module, mlp in layout.mlps.items()}
    if "" in mlps:
        return mlps[""]
    params, running = ({module: mlp[i] for module, mlp in mlps.items()} for i in range(2))
    if layout.gap:
        kernel, bias = state[f"{layout.gap}.weight"].T, state[f"{layout.gap}.bias"]
        params[GAP] = {"kernel": kernel, "bias": bias}
    return Variables(params, running)


def _mlp_variables(state: State, mlp: Mlp) -> Variables:
    params: dict[str, Any] = {}
    running: dict[str, Any] = {}
    for end, (linear, norm) in mlp.items():
        keys = (f"{norm}.running_mean", f"{linear}.bias")
        mean, bias = (np.asarray(state[key], np.float64) for key in keys)
        params[f"linear_{end}"] = {"kernel": state[f"{linear}.weight"].T}
        params[f"norm_{end}"] = {"scale": state[f"{norm}.weight"], "shift": state[f"{norm}.bias"]}
        running[f"norm_{end}"] = {"mean": mean - bias, "var": state[f"{norm}.running_var"]}
    if "out" in mlp:
        return Variables(params, running)
    own, rest = _second_half(len(mean))
    return Variables(params | own, running | rest)


def _second_half(dim: int) -> Variables:
    """Return the second half of an MLP that changes nothing but the norm of a row."""
    zeros, ones = np.zeros(dim, np.float32), np.ones(dim, np.float32)
    kernel, norm = np.eye(dim, dtype=np.float32), {"scale": ones, "shift": zeros}
    params = {"linear_out": {"kernel": kernel}, "norm_out": norm}
    return Variables(params, {"norm_out": {"mean": zeros, "var": ones}})


def mixture_to_released(
    variables: Variables, members: tuple[Subset, ...], layout: Layout = FREEBIND
) -> dict[str, State]:
    """Return a mixture in a released layout: name of a member to state dict, float32.

    Args:
        variables: The mixture's numbers, leading axis of members.
        members: The starts that each member was trained on.
        layout: See ``mixture_from_released``.

    Raises:
        FreeBindError: The members are not those of the layout, or it holds half an MLP and the
            other half is not the identity.
    """
    names = _names_of(members, layout)
    one = lambda i: jax.tree.map(lambda leaf: np.asarray(leaf[i], np.float32), variables)  # noqa: E731
    return {name: _state(one(i), layout) for i, name in enumerate(names)}


def _names_of(members: tuple[Subset, ...], layout: Layout) -> list[str]:
    """Return the name of each member in the layout."""
    if not layout.folders and len(members) == 1:
        return [""]
    folders = {tuple(sorted(subset)): folder for subset, folder in layout.folders.items()}
    found = [tuple(sorted(member)) for member in members]
    if not folders or set(found) != set(folders) or len(found) != len(folders):
        seven = "the seven members of text, image and audio"
        raise FreeBindError(
            f"the released layout holds {seven if folders else 'one member'}",
            expected=", ".join(map(subset_name, layout.folders)) or "one",
            got=", ".join(map(subset_name, members)),
        )
    return [folders[member] for member in found]


def _state(variables: Variables, layout: Layout) -> State:
    state: dict[str, np.ndarray] = {}
    for module, mlp in layout.mlps.items():
        params, running = (part[module] if module else part for part in variables)
        if "out" not in mlp:
            _require_second_half(Variables(params, running), module)
        for end, (linear, norm) in mlp.items():
            own = {**params[f"norm_{end}"], **running[f"norm_{end}"]}
            state |= _linear(linear, params[f"linear_{end}"]["kernel"], np.zeros_like(own["mean"]))
            vectors = (own[name] for name in ("scale", "shift", "mean", "var"))
            state |= {f"{norm}.{name}": x for name, x in zip(VECTORS, vectors, strict=True)}
            state |= {f"{norm}.{COUNT}": np.zeros((), np.int64)}
    return state | (_linear(layout.gap, **variables.params[GAP]) if layout.gap else {})


def _linear(name: str, kernel: np.ndarray, bias: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{name}.weight": np.ascontiguousarray(kernel.T), f"{name}.bias": bias}


def _require_second_half(variables: Variables, module: str) -> None:
    """Raise a FreeBindError unless the second half of an MLP is the identity."""
    second = _second_half(len(variables.params["linear_out"]["kernel"]))
    for found, wanted in zip(variables, second, strict=True):
        for layer, leaves in wanted.items():
            if not all(np.array_equal(found[layer][name], x) for name, x in leaves.items()):
                raise FreeBindError(
                    "the released layout holds half an MLP, which ends after the ReLU",
                    where=f"{module}: {layer}",
                    got="a whole one",
                )
