"""The tuned audio encoder as FreeBind's authors released it [C]: one state dict.

It holds ImageBind's audio tower under ``ib.``, and seven projectors under
``ib_head.projectors.{0..6}.``; their order does not matter, since their mean is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from encoders_torch.explain import explained
from encoders_torch.imagebind.checkpoint import load_audio, of_towers
from encoders_torch.tensor_files import read_state, with_prefix
from encoders_torch.tuning.mixture import Mixture, folded
from encoders_torch.tuning.model import TunedModel
from fb_jax.errors import FreeBindError

MEMBERS = 7
LINEARS, NORMS = ("mlps.0", "mlps.3"), ("mlps.1", "mlps.4")
VECTORS = ("weight", "bias", "running_mean", "running_var")


def read_released(path: Path) -> TunedModel:
    """Read the released file.

    Raises:
        FreeBindError: It is damaged, or has other keys or shapes.
    """
    state = read_state(path)
    model = TunedModel(
        load_audio(of_towers(with_prefix(state, "ib.")), path), released_mixture(state, path)
    )
    _require_keys([k for k in state if not k.startswith(("ib.", "ib_head.projectors."))], [], path)
    return model


def released_mixture(state: Mapping[str, Tensor], where: Path) -> Mixture:
    """Return the mixture of the seven projectors; biases and BatchNorm are folded in.

    Raises:
        FreeBindError: A projector or a key is missing, one is too many, or shapes do not fit.
    """
    numbers = {key.split(".")[2] for key in state if key.startswith("ib_head.projectors.")}
    _require_keys(numbers, map(str, range(MEMBERS)), where)
    members = [with_prefix(state, f"ib_head.projectors.{i}.") for i in range(MEMBERS)]
    members = [{k.removeprefix("Head2."): v for k, v in member.items()} for member in members]
    for member in members:
        _require_keys(member, _projector_keys(), where)
    with explained("the projectors' arrays do not fit together", where=where):
        first, last = (_layer(members, *names) for names in zip(LINEARS, NORMS, strict=True))
        names = ("weight_in", "bias_in", "weight_out", "bias_out")
        return Mixture.of(dict(zip(names, (*first, *last), strict=True)))


def _projector_keys() -> list[str]:
    linears = [f"{linear}.{name}" for linear in LINEARS for name in ("weight", "bias")]
    norms = [f"{norm}.{name}" for norm in NORMS for name in (*VECTORS, "num_batches_tracked")]
    return linears + norms


def _layer(
    members: Sequence[Mapping[str, Tensor]], linear: str, norm: str
) -> tuple[Float[Tensor, "p rows columns"], Float[Tensor, "p 1 columns"]]:
    def stacked(key: str) -> Tensor:
        return torch.stack([member[key] for member in members])

    scale, shift, mean, var = (stacked(f"{norm}.{name}") for name in VECTORS)
    mean = mean.double() - stacked(f"{linear}.bias").double()
    return folded(stacked(f"{linear}.weight").mT, scale, shift, mean, var)


def _require_keys(got: Iterable[str], wanted: Iterable[str], where: Path) -> None:
    here, names = set(got), set(wanted)
    if here != names:
        missing, extra = sorted(names - here), sorted(here - names)
        raise FreeBindError(
            "these are not the keys of a tuned audio encoder",
            where=where,
            expected="an audio tower under ib., seven projectors under ib_head.projectors.0 to 6",
            got=f"missing: {', '.join(missing[:5]) or 'none'}; too many: "
            f"{', '.join(extra[:5]) or 'none'}",
        )
