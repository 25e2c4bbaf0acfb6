"""FreeBind in JAX: fuse frozen embedding spaces.

    space = fit(unified={"text": T, "image": V, "audio": A}, expert={"text": Te, "audio": Ae})

or, step by step, from banks on disk:

    banks = open_banks("BANKS", spaces=["imagebind", "clap_general"])
    pairs = build_pairs(PairSpec(banks, "imagebind", "clap_general"), "pairs")
    bond = train_bond(pairs, "combination", "bond")
    space = FusedSpace.of(bond, at="versatile")
    results = evaluate(space, open_banks("BANKS", "test", spaces=["imagebind", "clap_general"]))

Names are loaded when they are first used, so that ``fb_jax.banks`` runs without JAX.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fb_jax.banks import BankSet, open_banks, write_synthetic
    from fb_jax.errors import FreeBindError, Interrupted
    from fb_jax.evaluation import Results, evaluate, nearest
    from fb_jax.evaluation.surfaces.sweep import sweep
    from fb_jax.fusion import Embedder, FusedSpace, write_fused
    from fb_jax.importing import import_bank
    from fb_jax.projector import Bond
    from fb_jax.pseudo import PairSet, PairSpec, Retrieval, build_pairs
    from fb_jax.run import word_world
    from fb_jax.run.distil import distil
    from fb_jax.run.fit import fit
    from fb_jax.training import Distilling, Runtime, Training, load_bond, train_bond

_HOMES = {
    "banks": ("BankSet", "open_banks", "write_synthetic"),
    "errors": ("FreeBindError", "Interrupted"),
    "evaluation": ("Results", "evaluate", "nearest", "sweep"),
    "fusion": ("Embedder", "FusedSpace", "write_fused"),
    "importing": ("import_bank",),
    "projector": ("Bond",),
    "pseudo": ("PairSet", "PairSpec", "Retrieval", "build_pairs"),
    "run": ("distil", "fit", "word_world"),
    "training": ("Distilling", "Runtime", "Training", "load_bond", "train_bond"),
}

__all__ = [
    "BankSet",
    "Bond",
    "Distilling",
    "Embedder",
    "FreeBindError",
    "FusedSpace",
    "Interrupted",
    "PairSet",
    "PairSpec",
    "Results",
    "Retrieval",
    "Runtime",
    "Training",
    "build_pairs",
    "distil",
    "evaluate",
    "fit",
    "import_bank",
    "load_bond",
    "nearest",
    "open_banks",
    "sweep",
    "train_bond",
    "word_world",
    "write_fused",
    "write_synthetic",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"fb_jax.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
