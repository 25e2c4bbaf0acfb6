"""The model card of a fused space, for whoever finds the folder, with the hub's header."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from fb_jax.fusion.cut import CutSum
from fb_jax.fusion.factors import Factors, as_text
from fb_jax.fusion.space import FusedSpace
from fb_jax.fusion.sums import DirectSum
from fb_jax.projector import Bond, PipelineName, subset_name

Figures = dict[str, dict[str, dict[str, float | None]]]
"""Model to pair of modalities to metric to value; None if it is not a number."""

HUBS = ", hub-corrected"
"""How the name of a row with hub correction ends."""

MODULES_FILE = "modules.json"
"""The file by which sentence-transformers knows a folder that it can load."""

HUB_LICENCES = (
    "apache-2.0",
    "bsd-2-clause",
    "bsd-3-clause",
    "cc-by-4.0",
    "cc-by-nc-4.0",
    "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-4.0",
    "cc-by-nd-4.0",
    "cc-by-sa-4.0",
    "cc0-1.0",
    "gpl-3.0",
    "mit",
    "openrail",
    "unknown",
)
"""Licences of encoders that the Hugging Face hub has an identifier for."""

METHODS: Mapping[PipelineName, str] = {
    "freebind": "FreeBind (Wang et al., ICML 2024, arXiv:2405.04883)",
    "cmcr": "C-MCR (Wang et al., NeurIPS 2023, arXiv:2305.14381)",
    "exmcr": "Ex-MCR (Zhang, Wang et al., NeurIPS 2024, arXiv:2310.08884)",
}
"""What to cite for the projectors of a pipeline."""

ON_THE_HUB = re.compile(r"(?:st|hf):([\w.-]+/[\w.-]+)", re.ASCII)
"""Name of an encoder that is a model on the hub."""


ROLES_OF_MODEL = """model.encode_query([item])  # a row that asks
model.encode_document([item])  # a row to be found
"""
"""How a model of sentence-transformers gives rows in a role."""


def plain_row(space: FusedSpace, at: str) -> str:
    """Return the name of a space at some factors, without its hub correction.

    The name of the factors alone is that of the uncut space.
    """
    return f"{at}, {space.dim} dimensions" if isinstance(space.last, CutSum) else at


def own_row(space: FusedSpace, points: Mapping[str, Factors]) -> str:
    """Return the name of a space at its own factors, as it is: cut, or with its hub correction.

    Args:
        space: The space.
        points: Name to factors; without its own, they go by the title.
    """
    own = (name for name, factors in points.items() if factors == space.factors)
    at = next(own, space.title)
    return plain_row(space, at) if space.hubs is None else f"{at}{HUBS}"


def model_card(
    space: FusedSpace, metrics: Mapping[str, Any] | None = None, *, modules: bool = False
) -> str:
    """Return the card as Markdown, with the header of a model on the Hugging Face hub.

    Args:
        space: The fused space.
        metrics: Split to model to pair to figures; without them the section is left out.
        modules: The folder has files for sentence-transformers, too.
    """
    sections = [
        f"---\n{_header(space, metrics or {}, modules)}---",
        f"# {space.title}",
        f"A fused embedding space of {space.dim} dimensions for {', '.join(space.modalities)},"
        f" fused from {', '.join(space.spaces)} by {_methods(space)}."
        " It holds projectors between frozen spaces, not the encoders.",
        "## Spaces\n\n" + _spaces(space),
        "## How they are fused\n\n" + "\n".join(_stages(space)),
        "## Use\n\n" + _use(space) + (_use_modules(space) if modules else ""),
        *(_results(split, models) for split, models in (metrics or {}).items()),
        "## Licences\n\nEmbeddings made with this space derive from all the spaces above and fall"
        " under the licences of all of them; so may these weights, which were trained on their"
        " embeddings.",
    ]
    return "\n\n".join(sections) + "\n"


def _methods(space: FusedSpace) -> str:
    pipelines = (bond.spec.pipeline for stage in space.stages for bond in stage.bonds)
    return " and ".join(dict.fromkeys(METHODS[pipeline] for pipeline in pipelines))


def _header(space: FusedSpace, metrics: Mapping[str, Any], modules: bool) -> str:
    """Return what the hub reads of a card, as YAML; fields of which nothing is known are left out.

    https://github.com/huggingface/hub-docs/blob/main/modelcard.md
    """
    bases = [ON_THE_HUB.fullmatch(encoder) for encoder in space.encoders.values()]
    results = list(_model_index(space, metrics))
    fields = {
        **_licence(space),
        "library_name": "sentence-transformers" if modules else "freebind-jax",
        "pipeline_tag": "feature-extraction",
        "tags": ["freebind", "embeddings", "multimodal", *space.modalities],
        "base_model": list(dict.fromkeys(found[1] for found in bases if found)),
        "model-index": [{"name": space.title, "results": results}] if results else [],
    }
    known = {name: part for name, part in fields.items() if part}
    text: str = yaml.safe_dump(known, sort_keys=False, allow_unicode=True)
    return text


def _licence(space: FusedSpace) -> dict[str, str]:
    """Return the licence of the spaces; several are one of the hub's kind ``other``, by name."""
    names = dict.fromkeys(space.licences.get(name, "unknown").lower() for name in space.spaces)
    if len(names) == 1 and (only := next(iter(names))) in HUB_LICENCES:
        return {"license": only}
    plain = (re.sub(r"[^a-z0-9.]+", "-", name).strip("-") or "unnamed" for name in names)
    return {"license": "other", "license_name": "-and-".join(dict.fromkeys(plain))}


def _model_index(space: FusedSpace, metrics: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the figures of the space, and of no other model, in the form of the hub."""
    own = [plain_row(space, at) for at in (*space.presets, space.title)]
    own.append(own_row(space, space.presets))
    for split, models in metrics.items():
        fused = {model: models[model] for model in models if model in own}
        for pair in sorted({pair for by_pair in fused.values() for pair in by_pair}):
            figures = [
                {"type": metric, "value": value, "name": f"{metric}, {model}"}
                for model, by_pair in fused.items()
                for metric, value in by_pair.get(pair, {}).items()
                if value is not None
            ]
            if figures:
                yield {
                    "task": {"type": "retrieval", "name": f"{pair} retrieval"},
                    "dataset": {"type": split, "name": f"{split}, {pair}", "split": split},
                    "metrics": figures,
                }


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
        yield f"- weights of the experts in {stage.title}: {as_text(stage.factors)}"
        for modality, router in stage.routers.items():
            spaces = ", ".join(stage.blocks_of(modality))
            yield (
                f"- a router of {modality} weighs {spaces} for each item of {stage.title}, from "
                f"its rows in {', '.join(router.spec.inputs)}"
            )
        if isinstance(stage, DirectSum):
            yield _direct_sum(stage)
        for modality, native in stage.tuned_rows.items():
            yield f"- {modality} rows of {stage.title} are those of {native}, a tuned encoder"
    if space.hubs is not None:
        yield (
            f"- {space.hubs}: an item that is near to everything ranks lower. Rows that ask and"
            " rows to be found are two kinds of row; their cosine is what ranks"
        )
    for name, factors in space.presets.items():
        yield f"- preset `{name}`: {as_text(factors)}"


def _bond(bond: Bond) -> str:
    spec, direction = bond.spec, bond.direction
    ends = {
        "unified": f"{bond.unified} ({bond.dim('unified')})",
        "expert": f"{bond.expert} ({bond.dim('expert')})",
    }
    what = f"{ends[direction.source]} is projected into {ends[direction.target]}"
    if direction.new:
        what = f"{' and '.join(ends.values())} are projected into a new space, each"
    own = "" if spec.pipeline == "freebind" else f"{spec.pipeline} "
    origin = f", distilled from the mixture in {spec.distilled}" if spec.distilled else ""
    return (
        f"- {bond.kind}: {what} by {len(bond.members)} {own}projector{'s'[len(bond.members) < 2 :]}"
        f" of hidden width {spec.hidden}, trained on {', '.join(map(subset_name, bond.members))}"
        f"{origin}"
    )


def _direct_sum(stage: DirectSum) -> str:
    cut = f", cut from {len(stage.basis)} by PCA" if isinstance(stage, CutSum) else ""
    return (
        f"- {stage.title} is a direct sum of {stage.dim} dimensions{cut}: the spaces stand side by"
        " side; where a space lacks a modality, the projectors fill it in with"
        f" {stage.fill:g} of the squared norm"
    )


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
{_roles(space, modality)}```"""


def _roles(space: FusedSpace, modality: str) -> str:
    """Return how to fuse rows that ask and rows to be found, if there is a hub correction."""
    if space.hubs is None:
        return ""
    shape = f"[n, {space.role_dim}]"
    return f"""query = space.fuse("{modality}", rows, role="query")  # {shape}, rows that ask
item = space.fuse("{modality}", rows, role="item")  # {shape}, rows to be found
"""


def _use_modules(space: FusedSpace) -> str:
    modality = space.modalities[0]
    rows = ", ".join(f'"{name}": np.ones({space.dims[name]})' for name in space.spaces_of(modality))
    factors = ", ".join(f'"{modality}": {factor:g}' for modality, factor in space.factors.items())
    return f"""

With sentence-transformers, without JAX; `fused_space.py` is the code that it runs:

```python
import numpy as np
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("FOLDER", trust_remote_code=True)
item = {{"{modality}": {{{rows}}}}}  # your embeddings of one item
model.encode([item], factors={{{factors}}})  # [1, {space.dim}]; factors may be left out
{"" if space.hubs is None else ROLES_OF_MODEL}```"""


def _results(split: str, models: Mapping[str, Any]) -> str:
    pairs = sorted({pair for by_pair in models.values() for pair in by_pair})
    first: Mapping[str, float | None] = next(iter(next(iter(models.values()), {}).values()), {})
    names = [name for name in first if "->" not in name]
    rows = [
        [model, *(_cell(by_pair.get(pair, {}), names) for pair in pairs)]
        for model, by_pair in models.items()
    ]
    title = f"## Results on {split}\n\n{'/'.join(names)}, mean of both directions; recalls in %."
    return f"{title}\n\n{_table(['model', *pairs], rows)}"


def _cell(figures: Mapping[str, float | None], names: Iterable[str]) -> str:
    values = [figures.get(name) for name in names] if figures else []
    return "/".join("-" if value is None else f"{value:.1f}" for value in values)
