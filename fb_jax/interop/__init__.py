"""Interop: fused spaces and banks for other programs, one thin adaptor a file, each an extra."""

from fb_jax.interop.blocks import BlockQuery, block_contents
from fb_jax.interop.contents import Batch, Contents, row_contents
from fb_jax.interop.programs import PROGRAMS, write_export

__all__ = [
    "PROGRAMS",
    "Batch",
    "BlockQuery",
    "Contents",
    "block_contents",
    "row_contents",
    "write_export",
]
