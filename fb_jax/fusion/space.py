"""A fused space: a sequence of stages.

The first stage fuses native spaces. The unified space of each later stage is the result of the
stage before it, at its factors [P]: a product is a space like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
from jaxtyping import Float32

from fb_jax.errors import FreeBindError, unknown
from fb_jax.fusion.checks import native_rows, require_base, require_hubs, require_routers
from fb_jax.fusion.factors import Factors, as_text
from fb_jax.fusion.hubs import HubCorrection, Role
from fb_jax.fusion.stage import Items, Parts, Stage
from fb_jax.fusion.sums import make_stage
from fb_jax.numerics import Precision
from fb_jax.projector import Bond


@dataclass(frozen=True)
class FusedSpace:
    """A unified space and its experts, fused stage by stage.

    Attributes:
        stages: At least one, in the order they are applied.
        licences: Native space to the licence of its encoder, where it is known.
        encoders: Native space to the name of its encoder, where it is known: as ``--encoder`` of
            the export of banks takes it, such as ``st:sentence-transformers/clip-ViT-B-32``.
        hubs: Hub correction at these very factors; at others there is none.
    """

    stages: tuple[Stage, ...]
    licences: Mapping[str, str] = field(default_factory=dict, hash=False)
    encoders: Mapping[str, str] = field(default_factory=dict, hash=False)
    hubs: HubCorrection | None = field(default=None, hash=False)

    # A space knows no files: fb_jax.fusion.storage adds these two methods.
    save: ClassVar[Callable[..., None]]
    load: ClassVar[Callable[..., FusedSpace]]

    def push_to_hub(self, repo_id: str, name: str = "", **options: Any) -> str:
        """Upload the space to the Hugging Face hub: see ``fb_jax.interop.hub.push_to_hub``."""
        address: str = _hub().push_to_hub(self, repo_id, name, **options)
        return address

    @staticmethod
    def from_pretrained(source: Path | str, **options: Any) -> FusedSpace:
        """Read a space from a folder or the hub: see ``fb_jax.interop.hub.from_pretrained``."""
        space: FusedSpace = _hub().from_pretrained(source, **options)
        return space

    def __post_init__(self) -> None:
        if not self.stages:
            raise FreeBindError("a fused space needs a stage", got="none")
        if base := self.base:  # which has checked its own
            require_base(self.last, base.name, base.modalities, base.dim, base.dims)
        if self.last.routers:
            spaces = {modality: self.spaces_of(modality) for modality in self.modalities}
            require_routers(self.last, spaces, self.dims)
        if self.hubs is not None:
            require_hubs(self.hubs, self.modalities, self.dim, self.title)

    def __str__(self) -> str:
        names = (name for name, at in self.presets.items() if dict(at) == dict(self.factors))
        preset = "".join(f" (preset {name})" for name in list(names)[:1])
        factors = as_text(self.factors) + preset
        routed = "; routers of " + ", ".join(self.last.routers) if self.last.routers else ""
        more = self.role_dim - self.dim
        hubs = "" if self.hubs is None else f"; {self.hubs}, in {more} columns more"
        size = f"{self.dim} dimensions"
        return f"{self.title}: {size}, weights of the experts: {factors}{routed}{hubs}"

    @classmethod
    def of(
        cls,
        *bonds: Bond,
        at: str | Factors | None = None,
        base: FusedSpace | None = None,
        **options: Any,
    ) -> FusedSpace:
        """Return the space of one bond, or of combinations or direct sums with several experts.

        Args:
            *bonds: Trained, or planned.
            at: A preset's name, or factors. None: the first preset that fits the experts.
            base: The fused space that the bonds have as their unified space; None if it is native.
            **options: Fields of the stage: name, normalise, fill, tuned_rows, presets.

        Raises:
            FreeBindError: The bonds, the factors or the base do not fit.
        """
        if isinstance(at, str):
            stage = make_stage(bonds, **options).at(at)
        else:
            stage = make_stage(bonds, at, **options)
        return replace(base.plain, stages=(*base.stages, stage)) if base else cls((stage,))

    @property
    def last(self) -> Stage:
        """The last stage; factors, presets and experts of the space are those of this stage."""
        return self.stages[-1]

    @property
    def base(self) -> FusedSpace | None:
        """The space of all stages but the last; None if there is only one."""
        return replace(self, stages=self.stages[:-1], hubs=None) if self.stages[1:] else None

    @property
    def plain(self) -> FusedSpace:
        """The space without hub correction."""
        return self if self.hubs is None else replace(self, hubs=None)

    def with_last(self, stage: Stage) -> FusedSpace:
        """Return the space with another last stage; hub correction stays if rows stay."""
        own = self.last
        same = self.hubs and replace(stage, name=own.name, presets=own.presets) == own
        kept = self.hubs if same else None
        return replace(self, stages=(*self.stages[:-1], stage), hubs=kept)

    def at(self, preset: str | Factors) -> FusedSpace:
        """Return the space at a preset's factors, or at factors for all weighted modalities.

        Raises:
            FreeBindError: There is no such preset for these experts, or factors do not fit.
        """
        if isinstance(preset, str):
            return self.with_last(self.last.at(preset))
        return self.with_last(replace(self.last, factors=preset))

    def with_factors(self, **factors: float) -> FusedSpace:
        """Return the space at other factors of the last stage; other modalities keep theirs.

        Args:
            **factors: Modality to the weight of the expert part, 0 to 1.

        Raises:
            FreeBindError: No expert has a modality, or a factor is outside 0 to 1.
        """
        return self.at({**self.factors, **factors})

    def choosing(self, factors: Factors) -> FusedSpace:
        """Return the space at chosen factors, which are its preset ``chosen`` from now on.

        Args:
            factors: Modality to the weight of the expert part, for all weighted modalities.

        Raises:
            FreeBindError: They do not fit the experts, or are outside 0 to 1.
        """
        return self.with_last(self.last.choosing(factors))

    def with_experts(self, experts: str | Iterable[str]) -> FusedSpace:
        """Return the space of some of the last stage's experts, uncut.

        Raises:
            FreeBindError: One of them is no expert of these bonds, or none is left.
        """
        wanted = [experts] if isinstance(experts, str) else list(experts)
        return self.with_last(self.last.with_experts(wanted))

    def named(self, name: str) -> FusedSpace:
        """Return the space under a name."""
        return self.with_last(replace(self.last, name=name))

    name = property(lambda self: self.last.name, doc="Name of the last stage, or .")
    title = property(lambda self: self.last.title, doc="The name, or ``UNIFIED+EXPERT+...``.")
    unified = property(lambda self: self.last.unified, doc="Name of the last unified space.")
    experts = property(lambda self: self.last.experts, doc="Names of the last stage's experts.")
    factors = property(lambda self: self.last.factors, doc="Modality to the experts' weight.")
    presets = property(lambda self: self.last.fitting_presets(), doc="Name to fitting factors.")
    shared = property(lambda self: self.last.shared, doc="Modalities that some expert has.")
    weighted = property(lambda self: self.last.weighted, doc="Modalities that have a factor.")
    modalities = property(lambda self: self.last.modalities, doc="Modalities of the space.")
    dim = property(lambda self: self.last.dim, doc="Dimension of the fused rows.")

    @property
    def role_dim(self) -> int:
        """Dimension of rows in a role: with hub correction a few more than plain rows have."""
        return self.dim if self.hubs is None else self.hubs.dim(self.dim)

    @property
    def dims(self) -> dict[str, int]:
        """Native space to its dimension, the unified one first."""
        first = self.stages[0]
        dims = {first.unified: first.bonds[0].dim("unified")}
        for stage in self.stages:
            dims |= {bond.expert: bond.dim("expert") for bond in stage.bonds}
            dims |= dict.fromkeys(stage.tuned_rows.values(), stage.dim)
        return dims

    @property
    def spaces(self) -> tuple[str, ...]:
        """Names of all native spaces, the unified one first."""
        return tuple(self.dims)

    def spaces_of(self, modality: str) -> tuple[str, ...]:
        """Return the names of the native spaces that a modality is fused from.

        An item must have a row in the first of them; experts may lack it.
        """
        first = self.stages[0].bonds[0]
        names = [first.unified] if modality in first.spec.unified_modalities else []
        for stage in self.stages:
            if modality in stage.tuned_rows:
                names = [stage.tuned_rows[modality]]
            names += [bond.expert for bond in stage.bonds if modality in bond.shared]
        return tuple(dict.fromkeys(names))

    def modalities_of(self, space: str) -> tuple[str, ...]:
        """Return the modalities that are taken from a native space."""
        return tuple(m for m in self.modalities if space in self.spaces_of(m))

    def parts(
        self, modality: str, rows: Mapping[str, Any], precision: Precision = "float32"
    ) -> Parts:
        """Return the parts of the last stage for some items of one modality.

        Args:
            modality: Name of the modality.
            rows: Space to ``[n, d]`` embeddings of any norm, NumPy, JAX or torch, of the same items
                for the spaces in ``spaces_of(modality)``. Experts that lack the items may be left
                out: in a weighted sum the others alone count, in a direct sum the mixture fills
                their part in.
            precision: Precision of the projectors' matrix products.

        Returns:
            Both parts; they do not depend on the last stage's factors.

        Raises:
            FreeBindError: The modality is unknown, or the rows are not of these spaces and shapes.
        """
        if modality not in self.modalities:
            raise unknown("modality", modality, self.modalities)
        dims = {space: self.dims[space] for space in self.spaces_of(modality)}
        native = native_rows(modality, rows, dims)
        # Tuned rows replace what earlier stages fuse, so that their native rows are not needed.
        start = max((i for i, s in enumerate(self.stages) if modality in s.tuned_rows), default=0)
        fused = native.get(self.stages[0].unified, np.empty(0))
        for stage in (s for s in self.stages[start:-1] if modality in s.modalities):
            fused = stage.mix(modality, stage.parts(Items(modality, fused, native, precision)))
        return self.last.parts(Items(modality, fused, native, precision))

    def mix(self, modality: str, parts: Parts) -> Float32[np.ndarray, "n d"]:
        """Return the fused rows ``[n, d]`` from ``parts``, at the last stage's factors."""
        return self.last.mix(modality, parts)

    def fuse(
        self,
        modality: str,
        rows: Mapping[str, Any],
        precision: Precision = "float32",
        *,
        role: Role | None = None,
    ) -> Float32[np.ndarray, "n d"]:
        """Return fused rows for some items of one modality; see ``parts``.

        Args:
            modality: Name of the modality.
            rows: See ``parts``.
            precision: See ``parts``.
            role: "query" or "item": rows ``[n, role_dim]`` to ask with, or to be found, whose
                cosines are the hub-corrected scores. None: plain rows ``[n, dim]``. Without hub
                correction all three are the same.

        Raises:
            FreeBindError: See ``parts``; or there is no such role.
        """
        plain = self.mix(modality, self.parts(modality, rows, precision))
        return self.in_role(role, modality, plain)

    def in_role(
        self, role: Role | None, modality: str, rows: Float32[np.ndarray, "n d"]
    ) -> Float32[np.ndarray, "n e"]:
        """Return plain rows of the space as rows in a role; see ``fuse``."""
        if role not in (None, *get_args(Role)):
            raise unknown("role", str(role), get_args(Role), self.title)
        return rows if role is None or self.hubs is None else self.hubs.rows(role, modality, rows)


def _hub() -> Any:
    """Return a module of a layer above, which only these two methods need, when they run."""
    return import_module("fb_jax.interop.hub")
