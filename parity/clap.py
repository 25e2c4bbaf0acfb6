"""Compares the rows of ``clap_general`` and ``clap_music`` with laion_clap's: parity/README.md.

Checkpoints have the published models' audio towers and a shallower RoBERTa, with random weights,
in LAION's layout. Both backends load the same file and read the same recordings.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import torch

from parity.hub import use_local_hub
from parity.recordings import CAPTIONS, RECORDINGS, Recording
from parity.torchvision_ops import declare_torchvision_ops

WITHIN = 1e-6
APART = 1e-4
"""Rows of different items must differ by more than this; otherwise agreement means nothing."""


def main() -> None:
    """Print a line for every item; exit with status 1 if any differs."""
    torch.set_num_threads(2)
    ops = declare_torchvision_ops()
    with tempfile.TemporaryDirectory() as folder:
        roberta = use_local_hub(Path(folder) / "hub")
        copytree(roberta, Path(folder) / "roberta-base")
        passed = [ok for space in ("general", "music") for ok in compare(space, Path(folder))]
        passed += compare_exports(Path(folder))
    del ops
    print(f"{sum(passed)} passed, {len(passed) - sum(passed)} failed")
    sys.exit(not all(passed))


def compare(space: str, folder: Path) -> list[bool]:
    """Compare the backends of a space on all items; return for each whether they agree."""
    from encoders_torch.clap import encoder, laion

    path = folder / f"{space}.pt"
    theirs_class = getattr(laion, f"LaionClap{space.title()}")
    write_checkpoint(theirs_class.published, path)
    ours, theirs = getattr(encoder, f"Clap{space.title()}")(path), theirs_class(path)
    antialias(False)
    recordings = [recording.write(folder, seed) for seed, recording in enumerate(RECORDINGS)]
    audio = [show(space, *both(ours, theirs, "audio", recordings), [r.name for r in RECORDINGS])]
    text = [show(space, *both(ours, theirs, "text", CAPTIONS), [c[:28] for c in CAPTIONS])]
    if ours.published.fused:
        show_antialias(theirs, [r for r in RECORDINGS if r.long], folder)
    return [ok for group in (*audio, *text) for ok in group]


def compare_exports(folder: Path) -> list[bool]:
    """Compare the banks that both backends export from the same media."""
    from encoders_torch.export import export
    from encoders_torch.export_config import ExportConfig
    from encoders_torch.exporting.target import ExportSettings
    from fb_jax.banks import open_banks

    media, captions = folder / "media", folder / "captions.txt"
    media.mkdir()
    for seed, recording in enumerate(RECORDINGS[:4]):
        recording.write(media, seed)
    captions.write_text("\n".join(CAPTIONS))
    rows = {}
    ours = {"encoder": ("encoders_torch.clap:ClapMusic",)}  # its name needs our installed package
    for choice in (ours, {"backend": ("laion_clap",)}):
        out = folder / "_".join(choice)
        export(
            ExportConfig(
                space=("clap_music",),
                out=out,
                **choice,
                weights=(str(folder / "music.pt"),),
                audio=media,
                text=captions,
                device="cpu",
                settings=ExportSettings(dtype="float32", batch=3),
            )
        )
        banks = open_banks(out, spaces=["clap_music"])
        rows[out] = {m: banks["clap_music", m][:] for m in ("audio", "text")}
    names = {"audio": [r.name for r in RECORDINGS[:4]], "text": [c[:28] for c in CAPTIONS]}
    mine, theirs = rows.values()
    return [ok for m in names for ok in show("export", mine[m], theirs[m], names[m])]


def write_checkpoint(published: Any, path: Path) -> None:
    """Save a random model as LAION's training does, with everything that such a file contains."""
    import laion_clap

    torch.manual_seed(0)
    model = laion_clap.CLAP_Module(published.fused, "cpu", amodel=published.audio_tower).model
    state = {f"module.{name}": away_from_start(name, v) for name, v in model.state_dict().items()}
    state["module.text_branch.embeddings.position_ids"] = torch.arange(514)[None]
    scores = {"name": "random", "epoch": 1, "best": {"mAP@10": np.float64(0.5)}}
    torch.save(scores | {"state_dict": state, "optimizer": {"state": {}}}, path)


def away_from_start(name: str, value: torch.Tensor) -> torch.Tensor:
    """Change a weight from its initial value, so that every weight affects the rows."""
    if name == "audio_branch.bn0.running_mean":
        return torch.full_like(value, -30)
    if name == "audio_branch.bn0.running_var":
        return torch.full_like(value, 400)
    constant = "extractor" in name or name.endswith("attn_mask") or not value.is_floating_point()
    if constant or not value.dim():
        return value
    noise = torch.rand_like(value) if "running_var" in name else torch.randn_like(value)
    return value + (0.3 if value.dim() == 1 else 0.02) * noise


def both(ours: Any, theirs: Any, modality: str, items: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return our rows of all items in one batch, and laion_clap's one by one."""
    mine = ours.rows(modality, [ours.read(modality, item) for item in items])
    other = [theirs.rows(modality, [theirs.read(modality, item)]) for item in items]
    return mine, np.concatenate(other)


def show(space: str, ours: np.ndarray, theirs: np.ndarray, names: list[str]) -> list[bool]:
    """Print each row's largest difference; return whether it agrees and differs from the others."""
    off = np.abs(ours - theirs).max(axis=1)
    apart = np.abs(theirs[:, None] - theirs[None]).max(axis=2) + np.eye(len(theirs))
    ok = (off <= WITHIN) & (apart.min(axis=1) > APART)
    for name, wide, near, fine in zip(names, off, apart.min(axis=1), ok, strict=True):
        print(f"{space:8} {name:30} {wide:.1e}  (next item {near:.0e}) {'' if fine else 'FAILED'}")
    return ok.tolist()


def antialias(on: bool) -> None:
    """Set whether laion_clap smooths when it shrinks spectrograms of long audio.

    It uses torchvision's default: no smoothing when the models were trained, smoothing since 0.17.
    """
    import torchvision

    resize = torchvision.transforms.transforms.Resize
    torchvision.transforms.Resize = partial(resize, antialias=on)


def show_antialias(theirs: Any, recordings: list[Recording], folder: Path) -> None:
    """Print how far smoothing moves laion_clap's rows; this decides nothing."""
    paths = [folder / f"{recording.name}.wav" for recording in recordings]
    rows = {}
    for on in (False, True):
        antialias(on)
        rows[on] = theirs.rows("audio", paths)
    off = np.abs(rows[True] - rows[False]).max()
    print(f"long audio is compared with antialias off; on, laion_clap's own rows move by {off:.0e}")


if __name__ == "__main__":
    main()
