"""Bonds and products that were never trained: random or simple numbers in the right shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fb_jax.banks import Synthetic, unit_rows, write_synthetic
from fb_jax.banks.pair_tables import pair_key
from fb_jax.banks.synthetic import NOISE
from fb_jax.fusion import FusedSpace, Hub, HubCorrection, with_basis
from fb_jax.projector import (
    Bond,
    BondKind,
    BondSpec,
    End,
    Router,
    RouterSpec,
    Variables,
    linear_members,
)
from fb_jax.projector.router import SHAPES


def random_bond(
    kind: BondKind,
    unified: tuple[str, int],
    expert: tuple[str, int],
    shared: tuple[str, ...],
    seed: int = 0,
    own: tuple[str, ...] = ("text", "image", "audio"),
    **options: Any,
) -> Bond:
    """Return a bond of two spaces, name and dimension, with random numbers: never trained.

    ``shared`` are the expert's modalities, ``own`` the unified space's.
    """
    ends = End(unified[0], own, unified[1]), End(expert[0], shared, expert[1])
    spec = BondSpec.between(kind, *ends, hidden=8, **options)
    shapes, rng = jax.eval_shape(spec.init, jax.random.key(0)), np.random.default_rng(seed)
    draw = lambda low, leaf: rng.uniform(low, 1.5, leaf.shape).astype(np.float32)  # noqa: E731
    variables = Variables(
        params=jax.tree.map(partial(draw, -1.5), shapes.params),
        batch_stats=jax.tree.map(partial(draw, 0.5), shapes.batch_stats),
    )
    return Bond(spec, variables)


def random_product() -> FusedSpace:
    """internvl_ib_pp: imagebind (64) displaced into internvl (56), then two CLAPs (48) combined."""
    base = FusedSpace.of(
        random_bond("displacement", ("imagebind", 64), ("internvl", 56), ("text", "image")),
        name="internvl_ib",
    )
    claps = [
        random_bond("combination", ("internvl_ib", 56), (name, 48), ("text", "audio"), seed)
        for seed, name in enumerate(("clap_music", "clap_general"), start=1)
    ]
    return FusedSpace.of(*claps, base=base, name="internvl_ib_pp")


def every_kind() -> dict[str, FusedSpace]:
    """Return a space of every kind of stage, several experts and several stages; never trained."""
    imagebind, claps = ("imagebind", 64), (("clap_general", 48), ("clap_music", 48))
    shared, product = ("text", "audio"), random_product()
    combination = random_bond("combination", imagebind, claps[0], shared)
    sums = [random_bond("direct_sum", imagebind, clap, shared, 1) for clap in claps]
    basis = np.linalg.qr(np.random.default_rng(3).normal(size=(160, 24)))[0].astype(np.float32)
    displaced = product.base.last.bonds
    return {
        "combination": FusedSpace.of(combination, at={"text": 0.3, "audio": 0.7}),
        "one member": FusedSpace.of(combination.only(("text",))),
        "not normalised": FusedSpace.of(combination, normalise=False),
        "displacement": FusedSpace.of(*displaced, name="internvl_ib"),
        "tuned": FusedSpace.of(*displaced, tuned_rows={"audio": "imagebind_tuned"}, name="tuned"),
        "direct sum": FusedSpace.of(*sums),
        "cut": with_basis(FusedSpace.of(*sums, fill=0.2), basis),
        "two stages": product,
        "two stages, the first not normalised": replace(
            product, stages=(replace(product.stages[0], normalise=False), product.last)
        ),
        "tuned, then combined": replace(
            product,
            stages=(replace(product.stages[0], tuned_rows={"audio": "tuned"}), product.last),
        ),
        **_every_kind_that_brings_a_modality(),
        **_every_kind_that_is_routed(combination, sums, basis),
    }


def _every_kind_that_is_routed(
    combination: Bond, sums: list[Bond], basis: np.ndarray
) -> dict[str, FusedSpace]:
    """Return spaces with weights by the item, and OmniBind's, which is not normalised inside."""
    other = random_bond("combination", ("imagebind", 64), ("clap_music", 48), ("text", "audio"), 2)
    both = FusedSpace.of(combination, other)
    bare = FusedSpace.of(combination, other, unit_experts=False, at={"text": 0.3, "audio": 0.6})
    direct = FusedSpace.of(*sums, name="direct")
    again = random_bond("combination", ("direct", 160), ("internvl", 56), ("text", "image"), 5)
    twice = FusedSpace.of(again, base=routed(direct, "small", "audio", "text"))
    return {
        "weighted, routed": routed(both, "small", "audio", "text"),
        "OmniBind's, routed": routed(bare, "omnibind", "audio"),
        "cut, routed": routed(with_basis(direct, basis), "omnibind", "text", "image"),
        "two stages, both routed": routed(twice, "small", "image"),
    }


def routed(
    space: FusedSpace, shape: str, *modalities: str, reads: Sequence[str] = ()
) -> FusedSpace:
    """Return a space with random routers of a known shape, which read some spaces or all."""
    routers = {}
    for modality in modalities:
        names = tuple(reads) or space.spaces_of(modality)
        dims, outputs = [space.dims[n] for n in names], len(space.last.blocks_of(modality))
        spec = RouterSpec(modality, names, tuple(dims), outputs, SHAPES[shape])
        rng = np.random.default_rng(len(modality))
        vector = rng.normal(size=sum((d + 1) * e for d, e in spec.layer_shapes))
        routers[modality] = Router.from_vector(spec, np.float32(vector / 8))
    return space.with_last(replace(space.last, routers=routers))


def _every_kind_that_brings_a_modality() -> dict[str, FusedSpace]:
    """Return spaces whose unified space lacks modalities of the experts."""
    clip, own = ("clip", 56), ("text", "image")
    clap, ulip = (("clap", 48), ("text", "audio")), (("ulip", 40), ("image", "points"))
    base = FusedSpace.of(random_bond("combination", clip, *clap, own=own), name="clip_clap")
    extended = random_bond("exmcr", ("clip_clap", 56), *ulip)
    return {
        "a combination that brings audio": base,
        "cmcr": FusedSpace.of(random_bond("cmcr", clip, *clap, own=own), at={"text": 0.4}),
        "exmcr": FusedSpace.of(
            *(random_bond("exmcr", clip, *expert, own=own) for expert in (clap, ulip)),
            at={"text": 0.4, "image": 0.3},
        ),
        "a displacement of Ex-MCR's projector": FusedSpace.of(
            random_bond("displacement", clip, *clap, own=own, pipeline="exmcr")
        ),
        "two stages, the last brings points": FusedSpace.of(extended, base=base),
    }


AUDIO_TEXT = {("audio", "text"): Hub(3, 0.75)}


def with_hubs(
    space: FusedSpace, pairs: Mapping[tuple[str, str], Hub] = AUDIO_TEXT, count: int = 30
) -> FusedSpace:
    """Return a space with a hub correction whose references are random rows of the space."""
    asking = sorted({modality for pair in pairs for modality in pair})
    rows = {m: space.fuse(m, native_rows(space, m, count, seed=9)) for m in asking}
    return replace(space, hubs=HubCorrection(pairs, rows))


def corrected_scores(
    space: FusedSpace, asking: str, queries: np.ndarray, find: str, items: np.ndarray
) -> np.ndarray:
    """Return the hub-corrected scores of plain rows, in float64 and without roles."""
    queries, items = np.float64(queries), np.float64(items)
    if (hub := space.hubs.pairs.get(pair_key(asking, find))) is None:
        return queries @ items.T
    near = np.sort(np.float64(space.hubs.references[asking]) @ items.T, axis=0)[-hub.k :]
    return queries @ items.T - hub.alpha * near.mean(axis=0)


def linear_bond(kind: BondKind, *maps: np.ndarray) -> Bond:
    """Return a bond of u and e whose members are psi_i(x) = unit(x @ maps[i])."""
    members, dim_in, dim_out = np.shape(maps)
    spec = BondSpec(
        kind=kind,
        unified="u",
        expert="e",
        modalities=("text", "image", "audio"),
        shared=("text", "audio"),
        members=(("text",),) * members,
        dim_in=dim_in,
        dim_out=dim_out,
        hidden=2 * dim_in,
    )
    kernels = np.array(maps, float)
    return Bond(spec, linear_members(kernels, np.zeros((members, dim_out))))


def changed(bond: Bond, **fields: object) -> Bond:
    """Return a bond with other fields in its description."""
    return Bond(replace(bond.spec, **fields), bond.variables)


def planned(space: FusedSpace) -> FusedSpace:
    """Return a space whose bonds have no numbers yet."""
    without = lambda stage: tuple(Bond(bond.spec) for bond in stage.bonds)  # noqa: E731
    return replace(space, stages=tuple(replace(s, bonds=without(s)) for s in space.stages))


def native_rows(
    space: FusedSpace, modality: str, count: int = 4, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return random unit rows of a modality in every native space that it is fused from."""
    rng = np.random.default_rng([seed, space.modalities.index(modality)])
    spaces = space.spaces_of(modality)
    return {name: unit_rows(rng.normal(size=(count, space.dims[name]))) for name in spaces}


def write_all_spaces(root: Path, pool: dict[str, int], evaluation: dict[str, int]) -> None:
    """Write a bank root with imagebind (64), internvl (56) and two CLAPs (48)."""
    noise = NOISE | {"clap_music": NOISE["clap_general"]}
    dims = {"imagebind": 64, "internvl": 56, "clap_general": 48, "clap_music": 48}
    write_synthetic(root, Synthetic(pool=pool, evaluation=evaluation, noise=noise, dims=dims))
