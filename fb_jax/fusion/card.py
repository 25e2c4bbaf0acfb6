"""The model card of a fused space, for whoever finds the folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fb_jax.fusion.cut import CutSum
from fb_jax.fusion.space import FusedSpace
from fb_jax.fusion.sums import DirectSum
from fb_jax.projector import Bond, subset_name


def model_card(space: FusedSpace, metrics: Mapping[str, Any] | None = None) -> str:
    """Return the card as Markdown.

    Args:
        space: The fused space.
        metrics: Split to model to pair to figures; without them the section is left out.
    """
    sections = [
        f"# {space.title}",
        f"A fused embedding space of {space.dim} dimensions for {', '.join(space.modalities)},"
        f" fused from {', '.join(space.spaces)} by FreeBind (Wang et al., ICML 2024,"
        " arXiv:2405.04883)."
        " It holds projectors between frozen spaces, not the encoders.",
        "## Spaces\n\n" + _spaces(space),
        "## How they are fused\n\n" + "\n".join(_stages(space)),
        "## Use\n\n" + _use(space),
        *(_results(split, models) for split, models in (metrics or {}).items()),
        "## Licences\n\nEmbeddings made with this space derive from all the spaces above and fall"
        " under the licences of all of them; so may these weights, which were trained on their"
        " embeddings.",
    ]
    return "\n\n".join(sections) + "\n"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _spaces(space: FusedSpace) -> str:
    rows = [
        (name, str(dim), ", ".join(space.modalities_of(name)), space.licences.get(name, "unknown"))
        for name, dim in space.dims.items()
    ]
    return _table(["space", "dimensions", "modalities", "licence"], rows)


def _stages(space: FusedSpace) -> Iterable[str]:
    for stage in space.stages:
        yield from map(_bond, stage.bonds)
        yield f"- weights of the experts in {stage.title}: {_factors(stage.factors)}"
        if isinstance(stage, DirectSum):
            yield _direct_sum(stage)
        for modality, native in stage.tuned_rows.items():
            yield f"- {modality} rows of {stage.title} are those of {native}, a tuned encoder"
    for name, factors in space.presets.items():
        yield f"- preset `{name}`: {_factors(factors)}"


def _bond(bond: Bond) -> str:
    direction, names = bond.direction, {"unified": bond.unified, "expert": bond.expert}
    return (
        f"- {bond.kind}: {names[direction.source]} ({bond.spec.dim_in}) is projected into"
        f" {names[direction.target]} ({bond.spec.dim_out}) by {len(bond.members)} projectors of"
        f" hidden width {bond.spec.hidden}, trained on {', '.join(map(subset_name, bond.members))}"
    )


def _direct_sum(stage: DirectSum) -> str:
    cut = f", cut from {len(stage.basis)} by PCA" if isinstance(stage, CutSum) else ""
    return (
        f"- {stage.title} is a direct sum of {stage.dim} dimensions{cut}: the spaces stand side by"
        " side; where a space lacks a modality, the projectors fill it in with"
        f" {stage.fill:g} of the squared norm"
    )


def _factors(factors: Mapping[str, float]) -> str:
    return ", ".join(f"{modality} {factor:g}" for modality, factor in factors.items())


def _use(space: FusedSpace) -> str:
    modality = space.shared[0] if space.shared else space.modalities[0]
    rows = ", ".join(
        f'"{name}": np.ones((1, {space.dims[name]}))' for name in space.spaces_of(modality)
    )
    return f"""```python
import numpy as np
from fb_jax import FusedSpace

space = FusedSpace.load("FOLDER")
rows = {{{rows}}}  # your embeddings, [n, d]
fused = space.fuse("{modality}", rows)  # [n, {space.dim}], unit rows
```"""


def _results(split: str, models: Mapping[str, Any]) -> str:
    pairs = sorted({pair for by_pair in models.values() for pair in by_pair})
    first: Mapping[str, float] = next(iter(next(iter(models.values()), {}).values()), {})
    names = [name for name in first if "->" not in name]
    rows = [
        [model, *(_cell(by_pair.get(pair, {}), names) for pair in pairs)]
        for model, by_pair in models.items()
    ]
    title = f"## Results on {split}\n\n{'/'.join(names)}, mean of both directions; recalls in %."
    return f"{title}\n\n{_table(['model', *pairs], rows)}"


def _cell(figures: Mapping[str, float], names: Iterable[str]) -> str:
    return "/".join(f"{figures[name]:.1f}" for name in names) if figures else ""
