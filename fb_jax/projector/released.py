"""The layout of the authors' released projectors [C], as NumPy arrays: in and out.

A family is seven folders, one for each member, each with a state dict of these keys:

    Head2.mlps.{0,3}.{weight,bias}                             the Linears, weight [out, in]
    Head2.mlps.{1,4}.{weight,bias,running_mean,running_var}    the BatchNorms
    Head2.mlps.{1,4}.num_batches_tracked                       batches seen in training

Our Linears have no biases. In evaluation a BatchNorm subtracts its running mean from the output of
the Linear, so a bias b is the same as a running mean lower by b. On import the bias goes into the
running mean; on export it is zero. The count of batches plays no part in evaluation; on export it
is zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import jax
import numpy as np

from fb_jax.errors import FreeBindError
from fb_jax.projector.mixture import Subset, Variables, subset_name

State = Mapping[str, np.ndarray]
"""One projector: key of the released layout to array."""

LAYERS = {"in": ("Head2.mlps.0", "Head2.mlps.1"), "out": ("Head2.mlps.3", "Head2.mlps.4")}
VECTORS = ("weight", "bias", "running_mean", "running_var")
COUNT = "num_batches_tracked"

FOLDERS: Mapping[Subset, str] = {
    ("text",): "T",
    ("image",): "V",
    ("audio",): "A",
    ("text", "image"): "TV",
    ("text", "audio"): "AT",
    ("image", "audio"): "AV",
    ("text", "image", "audio"): "mix",
}
"""Member to its folder; ``mix`` was trained on all three starts."""


def mixture_from_released(states: Mapping[str, State], where: object) -> Variables:
    """Return the variables of a released family.

    Args:
        states: Folder to state dict.
        where: The family, for messages.

    Returns:
        The members' numbers in the order of ``FOLDERS``, leading axis 7, float32.

    Raises:
        FreeBindError: A member or a key is missing or unknown, members differ in shape, a number
            is not finite or a variance is negative.
    """
    _require_names("members", states, FOLDERS.values(), where)
    first = shapes_of(states["mix"], f"{where}/mix")
    for folder, state in states.items():
        _require_state(state, first, f"{where}/{folder}")
    members = [_variables(states[folder]) for folder in FOLDERS.values()]
    return jax.tree.map(lambda *leaves: np.stack(leaves).astype(np.float32), *members)


def shapes_of(state: State, where: object) -> dict[str, tuple[int, ...]]:
    """Return the shape that every key must have, given the two matrices of a state dict.

    Raises:
        FreeBindError: The matrices are missing or do not fit each other.
    """
    (first, _), (second, _) = LAYERS.values()
    matrices = [state.get(f"{layer}.weight", np.empty(())).shape for layer in (first, second)]
    if [len(shape) for shape in matrices] != [2, 2] or matrices[1][1] != matrices[0][0]:
        raise FreeBindError(
            "not a released projector",
            where=where,
            expected=f"{first}.weight [h, d_in] and {second}.weight [d_out, h]",
            got=" and ".join(str(list(shape)) for shape in matrices),
        )
    shapes: dict[str, tuple[int, ...]] = {}
    for (linear, norm), shape in zip(LAYERS.values(), matrices, strict=True):
        shapes |= {f"{linear}.weight": shape, f"{linear}.bias": shape[:1]}
        shapes |= {f"{norm}.{name}": shape[:1] for name in VECTORS} | {f"{norm}.{COUNT}": ()}
    return shapes


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


def _variables(state: State) -> Variables:
    params: dict[str, dict[str, np.ndarray]] = {}
    running: dict[str, dict[str, np.ndarray]] = {}
    for layer, (linear, norm) in LAYERS.items():
        keys = (f"{norm}.running_mean", f"{linear}.bias")
        mean, bias = (np.asarray(state[key], np.float64) for key in keys)
        params[f"linear_{layer}"] = {"kernel": state[f"{linear}.weight"].T}
        params[f"norm_{layer}"] = {"scale": state[f"{norm}.weight"], "shift": state[f"{norm}.bias"]}
        running[f"norm_{layer}"] = {"mean": mean - bias, "var": state[f"{norm}.running_var"]}
    return Variables(params, running)


def mixture_to_released(variables: Variables, members: tuple[Subset, ...]) -> dict[str, State]:
    """Return a mixture in the released layout: folder to state dict, float32.

    Args:
        variables: The mixture's numbers, leading axis of members.
        members: The starts that each member was trained on.

    Raises:
        FreeBindError: The members are not the seven subsets of text, image and audio.
    """
    folders = {tuple(sorted(subset)): folder for subset, folder in FOLDERS.items()}
    found = [tuple(sorted(member)) for member in members]
    if set(found) != set(folders) or len(found) != len(folders):
        raise FreeBindError(
            "the released layout holds the seven members of text, image and audio",
            expected=", ".join(map(subset_name, FOLDERS)),
            got=", ".join(map(subset_name, members)),
        )
    return {folders[member]: _state(variables, i) for i, member in enumerate(found)}


def _state(variables: Variables, member: int) -> State:
    state: dict[str, np.ndarray] = {}
    for layer, (linear, norm) in LAYERS.items():
        own = {**variables.params[f"norm_{layer}"], **variables.batch_stats[f"norm_{layer}"]}
        kernel = np.asarray(variables.params[f"linear_{layer}"]["kernel"][member], np.float32)
        scale, shift, mean, var = (
            np.array(own[name][member], np.float32) for name in ("scale", "shift", "mean", "var")
        )
        state |= {f"{linear}.weight": np.ascontiguousarray(kernel.T)}
        state |= {f"{linear}.bias": np.zeros_like(mean)}
        state |= {f"{norm}.weight": scale, f"{norm}.bias": shift}
        state |= {f"{norm}.running_mean": mean, f"{norm}.running_var": var}
        state |= {f"{norm}.{COUNT}": np.zeros((), np.int64)}
    return state
