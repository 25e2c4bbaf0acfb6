"""Rows of a product on disk: a bank root for the next stage, and rows of tuned encoders."""

from __future__ import annotations

from pathlib import Path

from fb_jax import files
from fb_jax.banks import Split, open_banks, open_split
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace, fusable, write_fused
from fb_jax.run.options import RunConfig
from fb_jax.run.recipe import Product
from fb_jax.run.reporter import Reporter
from fb_jax.run.splits import complete_splits

FLOAT16 = 2


def write_rows(space: FusedSpace, config: RunConfig, reporter: Reporter) -> Path:
    """Write a product's rows beside links to the native spaces; return that bank root."""
    root = config.home / space.name / "banks"
    splits = complete_splits(space, config.data)
    sets = {name: open_banks(config.data, name, spaces=space.spaces) for name in splits}
    split = {name: open_split(config.data, name) for name in splits}
    rows = sum(len(split[n].items(m)) for n, banks in sets.items() for m in fusable(space, banks))
    done = files.folder_bytes(root) if root.exists() else 0
    files.require_space({root: FLOAT16 * space.dim * rows - done})
    with reporter.task(f"rows of {space.name}", rows) as advance:
        for name, banks in sets.items():
            # The next stage trains on rows that know every expert.
            own = space.plain, banks, root, space.name
            write_fused(*own, missing="leave-out", progress=advance)
            _link(split[name], Split(root / name))
    return root


def _link(source: Split, target: Split) -> None:
    """Let a split have the spaces of another, by links."""
    for space in source.spaces():
        link, wanted = target.path / "embeddings" / space, source.path / "embeddings" / space
        if link.is_symlink() and link.resolve() != wanted.resolve():
            link.unlink()  # the data were elsewhere
        if not link.exists():
            link.symlink_to(wanted.resolve())


def require_tuned_rows(stage: Product, base: FusedSpace, config: RunConfig) -> None:
    """Raise a FreeBindError that explains how to tune, unless every split has the tuned rows."""
    every = complete_splits(base, config.data)
    lacking = {
        f"{split}: {native}/{modality}"
        for split in every
        for modality, native in stage.tuned.items()
        if modality not in open_split(config.data, split).spaces().get(native, [])
    }
    if not lacking:
        _require_dim(stage, base, config)
        return
    native, space = next(iter(stage.tuned.values())), config.home / stage.unified / "space"
    raise FreeBindError(
        f"the encoder of {native} is not tuned yet, or its rows are not exported",
        where=config.data,
        expected=f"the space {native} in {', '.join(every)}",
        got=f"none in {', '.join(sorted(lacking))}",
        fix=f"""
  1. a bank root PAIRS with a split tune: audio, image and an audio-image table (docs/encoders.md);
     freebind fuse --space {space} --data PAIRS --split tune --plain
  2. python -m encoders_torch.tune --space {space} --weights imagebind_huge.pth \\
         --root PAIRS --split tune --audio AUDIO --out tuned
  3. for each of {", ".join(every)}:
     python -m encoders_torch.export --space {native} --weights tuned --audio AUDIO \\
         --split SPLIT --out {config.data}
  4. the same command again""",
    )


def _require_dim(stage: Product, base: FusedSpace, config: RunConfig) -> None:
    for native in stage.tuned.values():
        dim = open_banks(config.data, config.pool, spaces=[native]).dim(native)
        if dim != base.dim:
            raise FreeBindError(
                "tuned rows are in another space",
                where=f"{config.data}: {native}",
                expected=f"{base.dim} dimensions, tuned into {base.title}",
                got=f"{dim} dimensions",
            )
