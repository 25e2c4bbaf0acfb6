"""``python -m encoders_torch.tune``: tune an audio encoder on audio-image pairs (the dagger).

A displacement costs the unified space some audio-image retrieval [P]: in its training, audio only
takes part through soft retrieval. So the audio trunk and its own copy of the displacement mixture
are tuned together [C] on recordings paired with images, towards the product's image embeddings in a
fused bank. Text, images and their mixture stay as they are [P].

Objective, learning rate and batch size are open in paper and code [O]. The default is among the
best on the word world's validation split (docs/word_world.md), where InfoNCE was worse.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, arg

from encoders_torch.command import PathOption, TextOption, device_of, run
from encoders_torch.encoder import FrozenEncoder
from encoders_torch.imagebind import ImageBind
from encoders_torch.tuning.displacement import Displacement, read_displacement
from encoders_torch.tuning.loop import Tuning
from encoders_torch.tuning.model import TunedModel
from encoders_torch.tuning.pairs import Pairs, open_pairs
from encoders_torch.tuning.settings import TuneRuntime, TuneSettings
from fb_jax import files
from fb_jax.console import ConsoleReporter
from fb_jax.errors import FreeBindError

EXAMPLE = """--space runs/internvl_ib/space --weights imagebind_huge.pth \\
    --root PAIRS --split tune --audio av/sounds --out tuned"""


@dataclass(frozen=True)
class TuneConfig:
    """Tune ImageBind's audio encoder into the space of internvl_ib.

    The same command continues a run that was stopped.

    Attributes:
        space: Folder of the fused space, such as runs/internvl_ib/space.
        root: Bank root with audio-image pairs and the images' fused rows (see freebind fuse).
        audio: Folder or list of the recordings, as the export got it.
        out: Folder for the tuned encoder.
        split: Split of the pairs.
        weights: imagebind_huge.pth. Downloaded if not given.
        name: Name of the fused bank. The space's name if not given.
        device: Where to compute.
    """

    space: Path
    root: Path
    audio: Path
    out: Path
    split: str = "tune"
    weights: PathOption = None
    name: TextOption = None
    device: Annotated[str, arg(metavar="DEVICE")] = "auto"
    settings: Annotated[OmitArgPrefixes[TuneSettings], arg(name="training")] = field(
        default_factory=TuneSettings
    )
    runtime: OmitArgPrefixes[TuneRuntime] = field(default_factory=TuneRuntime)


def main() -> None:
    """Run the command."""
    run(TuneConfig, tune, "python -m encoders_torch.tune", EXAMPLE)


def tune(config: TuneConfig) -> None:
    """Tune with these options.

    Raises:
        FreeBindError: Something is missing or does not fit, which is checked before any training;
            or see ``Tuning.run``.
    """
    space = read_displacement(config.space)
    audio = config.audio if config.audio.is_dir() else config.audio.parent
    pairs = open_pairs(config.root, config.split, config.name or space.name, audio)
    encoder = ImageBind(config.weights, "cpu")
    require_fit(space, pairs, "imagebind", encoder.dim)
    model = TunedModel(encoder.tower("audio"), space.mixture)
    about, device = origin(space, encoder), device_of(config.device)
    tuning = Tuning(model, encoder, pairs, config.settings, config.out, about, device)
    print(f"{len(pairs)} pairs, {tuning.steps} steps of {config.settings.batch}", flush=True)
    weights = 4 * sum(parameter.numel() for parameter in model.parameters())
    files.require_space({config.out: 2 * 3 * weights})  # two checkpoints, each with two moments
    with ConsoleReporter().task("tuning", tuning.steps) as advance:
        tuning.run(config.runtime, advance)
    if tuning.unreadable:
        print(f"{len(tuning.unreadable)} recordings could not be read and were skipped")
    print(f"{config.out}: audio encoder of the space imagebind_tuned, tuned into {space.name}")
    print(
        "To export its rows:\n  python -m encoders_torch.export --space imagebind_tuned "
        f"--weights {config.out} --audio AUDIO --split SPLIT --out BANK_ROOT"
    )


def origin(space: Displacement, encoder: FrozenEncoder) -> dict[str, object]:
    """Return the space and the encoder that a tuning starts from, as JSON."""
    return {
        "space": {"name": space.name, "sha256": space.sha256, "digest": space.digest},
        "encoder": {"name": encoder.name, "sha256": encoder.weights_sha256},
        "licence": encoder.licence,
    }


def require_fit(space: Displacement, pairs: Pairs, unified: str, dim: int) -> None:
    """Raise a FreeBindError unless the encoder, the fused space and the fused bank fit together.

    Args:
        space: The fused space.
        pairs: With the images' fused rows.
        unified: Name of the encoder's space.
        dim: Dimensions of the encoder's rows.
    """
    mixture = space.mixture
    got = (unified, dim, pairs.images.shape[1])
    if got != (expected := (space.unified, mixture.dim_in, mixture.dim)):
        shown = "{}, {} dimensions, into {} dimensions"
        raise FreeBindError(
            "encoder, fused space and fused bank do not fit together",
            expected=shown.format(*expected),
            got=shown.format(*got),
        )
    if "audio" in space.shared:
        raise FreeBindError("the expert has an audio encoder already", where=space.expert)
    if pairs.images.encoder.weights_sha256 != space.digest:
        raise FreeBindError(
            "the fused bank holds rows of another space",
            where=pairs.images.folder,
            expected=f"rows of {space.name}, {space.digest}",
            got=pairs.images.encoder.weights_sha256,
            fix="write them again with this space: freebind fuse --space --plain",
        )
    if not len(pairs):
        raise FreeBindError("no pair has a fused image", where=pairs.images.folder)


if __name__ == "__main__":
    main()
