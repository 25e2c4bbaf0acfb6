"""``freebind released``: released checkpoints in and out; their ``.pt`` files need torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from fb_jax.cli.device import on_device
from fb_jax.cli.export import Licences
from fb_jax.extras import import_extra
from fb_jax.fusion import FusedSpace
from fb_jax.fusion.released import FAMILIES, families_to_released, products_from_released


@on_device
def import_(
    checkpoints: Annotated[Path, Positional],
    out: Path,
    licence: Licences = {},  # noqa: B006  (tyro reads the default; nothing changes it)
) -> None:
    """Import the checkpoints of FreeBind, C-MCR or Ex-MCR as fused spaces, one for each product.

    Args:
        checkpoints: Folder with IB_PP_G_Proj, InternVL_IB_Proj and so on, as released; or with
            clap_clip.pt, ulip_clip.pt, ex_clap.pt or ex_ulip.pt; or one of these files.
        out: Folder for the spaces: OUT/imagebind_pp and so on.
        licence: Licences of the encoders' weights, for the model cards.
    """
    import_extra("torch", "encoders")
    from encoders_torch.released import read_families

    spaces = products_from_released(read_families(checkpoints, FAMILIES), licence)
    for name, space in spaces.items():
        space.save(out / name)
        print(f"{out / name}: {space.dim} dimensions, from {', '.join(space.spaces)}")


@on_device
def export(space: Annotated[Path, Positional], out: Path) -> None:
    """Export a fused space as checkpoints in the authors' layout.

    Args:
        space: Fused space that freebind export-space wrote.
        out: Folder for the families: a folder each, or a file for C-MCR and Ex-MCR.
    """
    import_extra("torch", "encoders")
    from encoders_torch.released import write_families

    families = families_to_released(FusedSpace.load(space))
    write_families(out, families)
    print(f"{out}: {', '.join(families)}")
