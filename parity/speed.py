"""Times an export and laion_clap's call on a list of files, on one checkpoint.

The audio tower has the published size, with random weights. Only recordings are timed.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import tyro

from benchmarks.export import SIDES, Side, Sizes, compare
from encoders_torch.encoder import FrozenEncoder
from encoders_torch.sources import Source
from parity.clap import write_checkpoint
from parity.hub import use_local_hub
from parity.torchvision_ops import declare_torchvision_ops


def file_list(theirs: Any) -> Side:
    """Return laion_clap's side of the comparison: one batch after another."""

    def run(_ours: FrozenEncoder, _modality: str, source: Source, sizes: Sizes, out: Path) -> None:
        assert source.folder is not None
        paths = [str(source.folder / item["path"]) for item in source.items]
        size = sizes.settings.batch
        embed = theirs.get_audio_embedding_from_filelist
        rows = [embed(paths[first : first + size]) for first in range(0, len(paths), size)]
        np.save(out / "rows.npy", np.concatenate(rows).astype(np.float16))

    return run


def main() -> None:
    """Print the table of ``benchmarks/export.py`` with one more side."""
    sizes = tyro.cli(Sizes)
    ops = declare_torchvision_ops()
    with tempfile.TemporaryDirectory() as folder:
        roberta = use_local_hub(Path(folder) / "hub")
        copytree(roberta, Path(folder) / "roberta-base")
        from encoders_torch.clap import ClapGeneral
        from encoders_torch.clap.laion import LaionClapGeneral

        path = Path(folder) / "general.pt"
        write_checkpoint(LaionClapGeneral.published, path)
        sides = {**SIDES, "laion_clap, file list": file_list(LaionClapGeneral(path).model)}
        compare(ClapGeneral(path), replace(sizes, only=("audio",)), sides)
    del ops


if __name__ == "__main__":
    main()
