"""``freebind data``: a data set of the paper as a split of a bank root. No JAX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional

from fb_jax import files
from fb_jax.banks import split_in
from fb_jax.datasets import Choice, describe, read_content, split_name, write_content


def data(
    name: Annotated[str, Positional],
    root: Path,
    out: Path,
    split: str | None = None,
    choice: OmitArgPrefixes[Choice] = Choice(),  # noqa: B008  (frozen)
) -> None:
    """Make a split of a data set of the paper, from its official list and media.

    The data sets are audiocaps, clotho, vggss, flickrnet, coco, flickr30k, esc50, audioset and
    imagenet; docs/datasets.md says where each comes from.

    Args:
        name: Name of the data set.
        root: Folder with the official list and the media.
        out: Bank root; created if it is missing.
        split: Name of the split. By default that of the data set, with -SUBSET after it if another
            subset than the paper's is asked for.
        choice: What is taken of it.
    """
    usual = split_name(name, choice.subset)
    target = split_in(out, usual if split is None else split)
    files.require_writable(out)
    content = read_content(name, root, choice)
    write_content(target, content)
    print("\n".join(describe(target, content)))
