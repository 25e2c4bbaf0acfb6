"""``python -m encoders_torch.tune``: continue an audio encoder on audio-image pairs (the dagger).

A displacement costs the unified space some audio-image [P], since no audio takes part in it but by
way of soft retrieval. So the audio trunk and its own copy of the displacement mixture are tuned
together [C] on pairs of recordings and images, against the product's image embeddings in a fused
bank; text and images, and the mixture that they go through, stay as they are [P].

Objective, learning rate and batch are open in paper and code [O]. The default is among the best on
the word world's validation (docs/word_world.md), where InfoNCE gave less.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from encoders_torch.encoder import FrozenEncoder
from encoders_torch.export import Device, device_of
from encoders_torch.imagebind import ImageBind
from encoders_torch.imagebind.tuned import AudioTrunk
from encoders_torch.mixture import Displacement, read_displacement
from encoders_torch.tuned import Tuned
from encoders_torch.tuning import Pairs, TuneRuntime, TuneSettings, Tuning, open_pairs
from fb_jax.banks import files
from fb_jax.console import ConsoleReporter, run_command
from fb_jax.errors import FreeBindError


@dataclass(frozen=True)
class TuneConfig:
    """Tune ImageBind's audio encoder into the space of a displacement, such as internvl_ib."""

    space: Path
    """Folder of the fused space: runs/internvl_ib/space."""

    root: Path
    """Bank root with a split of audio-image pairs, and its images in that space (freebind fuse)."""

    audio: Path
    """What the export got as --audio: the folder of the recordings, or their list."""

    out: Path
    """Folder for the tuned encoder: --weights of the export of imagebind_tuned."""

    split: str = "tune"
    """The split."""

    weights: Path | None = None
    """imagebind_huge.pth. Default: torch's cache."""

    name: str | None = None
    """Name of the fused bank. Default: that of the space."""

    device: Device = "auto"
    """What to compute on."""

    settings: tyro.conf.OmitArgPrefixes[TuneSettings] = field(default_factory=TuneSettings)
    runtime: tyro.conf.OmitArgPrefixes[TuneRuntime] = field(default_factory=TuneRuntime)


def main() -> None:
    """Run the command."""
    prog = "python -m encoders_torch.tune"
    run_command(lambda: tune(tyro.cli(TuneConfig, args=sys.argv[1:], prog=prog)))


def tune(config: TuneConfig) -> None:
    """Tune as the options say.

    Raises:
        FreeBindError: Something is missing or does not fit, told before any work; or see
            ``Tuning.run``.
    """
    space = read_displacement(config.space)
    audio = config.audio if config.audio.is_dir() else config.audio.parent
    pairs = open_pairs(config.root, config.split, config.name or space.name, audio)
    encoder = ImageBind(config.weights, "cpu")
    require_fit(space, pairs, "imagebind", encoder.dim)
    tuned = Tuned(AudioTrunk(encoder.towers), space.mixture)
    tuning = Tuning(
        tuned,
        encoder,
        pairs,
        config.settings,
        config.out,
        origin(space, encoder),
        device_of(config.device),
    )
    print(f"{len(pairs)} pairs, {tuning.steps} steps of {config.settings.batch}", flush=True)
    files.require_space({config.out: checkpoint_bytes(tuned)})
    with ConsoleReporter().task("tuning", tuning.steps) as advance:
        tuning.run(config.runtime, advance)
    if tuning.unreadable:
        print(f"{len(tuning.unreadable)} recordings could not be read and were passed over")
    print(f"{config.out}: rows of it are those of imagebind_tuned, in the space of {space.name}")
    print(
        "export them:  python -m encoders_torch.export --space imagebind_tuned "
        f"--weights {config.out} --audio AUDIO --split SPLIT --out BANK_ROOT"
    )


def origin(space: Displacement, encoder: FrozenEncoder) -> dict[str, object]:
    """Return what a tuned encoder is made from, as JSON."""
    return {
        "space": {"name": space.name, "sha256": space.sha256, "digest": space.digest},
        "encoder": {"name": encoder.name, "sha256": encoder.weights_sha256},
        "licence": encoder.licence,
    }


def checkpoint_bytes(tuned: Tuned) -> int:
    """Return what a tuning writes at the most: two checkpoints, each weights and two moments."""
    return 2 * 3 * 4 * sum(parameter.numel() for parameter in tuned.parameters())


def require_fit(space: Displacement, pairs: Pairs, unified: str, dim: int) -> None:
    """Raise a FreeBindError unless the encoder, the mixture and the fused bank go together.

    Args:
        space: The product.
        pairs: With its fused images.
        unified: Name of the encoder's space.
        dim: Of the encoder.
    """
    mixture = space.mixture
    found = (unified, dim, pairs.images.shape[1])
    if found != (wanted := (space.unified, mixture.dim_in, mixture.dim)):
        raise FreeBindError(
            "encoder, fused space and fused bank do not go together",
            expected="{}, {} dimensions, into {} dimensions".format(*wanted),
            got="{}, {} dimensions, into {} dimensions".format(*found),
        )
    if "audio" in space.shared:
        raise FreeBindError("the expert has audio of its own", where=space.expert)
    if pairs.images.encoder.weights_sha256 != space.digest:
        raise FreeBindError(
            "the fused bank holds rows of another space",
            where=pairs.images.folder,
            expected=f"rows of {space.name}, {space.digest}",
            got=pairs.images.encoder.weights_sha256,
            fix="write them again with this space: freebind fuse --space",
        )
    if not len(pairs):
        raise FreeBindError("no pair has a fused image", where=pairs.images.folder)


if __name__ == "__main__":
    main()
