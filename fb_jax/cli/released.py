"""``freebind released``: the authors' checkpoints in and out. Reading ``.pt`` files needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional
from tyro.extras import SubcommandApp

from fb_jax.cli.space import Licences
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace
from fb_jax.fusion.released import FAMILIES, families_to_released, products_from_released

released = SubcommandApp()
NO_TORCH = FreeBindError(
    "the authors' files are torch's, and torch is not installed",
    fix="pip install 'freebind-jax[encoders]'",
)


@released.command(name="import")
def import_(
    folder: Annotated[Path, Positional],
    out: Path,
    licence: Licences = {},  # noqa: B006  (tyro reads the default; nothing changes it)
) -> None:
    """Make fused spaces from the authors' checkpoints, one for each product that they give.

    Args:
        folder: Holds IB_PP_G_Proj, InternVL_IB_Proj and so on, as released.
        out: Folder for the spaces: OUT/imagebind_pp and so on.
        licence: Licences of the encoders' weights, for the model cards.
    """
    try:
        from encoders_torch.released import read_families
    except ModuleNotFoundError as error:
        raise NO_TORCH from error
    spaces = products_from_released(read_families(folder, FAMILIES), licence)
    for name, space in spaces.items():
        space.save(out / name)
        print(f"{out / name}: {space.dim} dimensions, from {', '.join(space.spaces)}")


@released.command(name="export")
def export(space: Annotated[Path, Positional], out: Path) -> None:
    """Write a fused space as checkpoints in the authors' layout.

    Args:
        space: Fused space that freebind export-space wrote.
        out: Folder for the families.
    """
    try:
        from encoders_torch.released import write_families
    except ModuleNotFoundError as error:
        raise NO_TORCH from error
    families = families_to_released(FusedSpace.load(space))
    write_families(out, families)
    print(f"{out}: {', '.join(families)}")
