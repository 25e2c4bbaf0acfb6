"""``freebind push``: a fused space to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from fb_jax.cli.device import on_device
from fb_jax.cli.export import Licences
from fb_jax.fusion import FusedSpace
from fb_jax.fusion.licences import warn_of_licences
from fb_jax.interop.hub import push_folder


@on_device
def push(
    space: Annotated[Path, Positional],
    repo_id: Annotated[str, Positional],
    licence: Licences = {},  # noqa: B006  (tyro reads the default; nothing changes it)
    public: bool = False,
    revision: str | None = None,
    message: str = "",
) -> None:
    """Upload the folder of a fused space to the Hugging Face hub.

    Log in with hf auth login first. The licence of every native space must be known.

    Args:
        space: Folder that freebind export-space wrote. ONNX files and a LICENSE in it go along.
        repo_id: OWNER/NAME on the hub. A repository that is not there is created.
        licence: Licences that the folder does not record; they are written into it.
        public: Create a public repository; by default a new one is private.
        revision: Branch; it is created if it is not there.
        message: Message of the commit.
    """
    if licence:
        FusedSpace.load(space).save(space, licences=licence)
    fused = FusedSpace.load(space)
    warn_of_licences(fused.spaces, fused.licences)
    address = push_folder(space, repo_id, private=not public, revision=revision, message=message)
    print(f"{address}: {space}")
    print(f"read it: FusedSpace.from_pretrained('{repo_id}')")
