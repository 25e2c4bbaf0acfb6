"""Exports of the word world: the ordinary export, with the world's settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from encoders_torch.export import export
from encoders_torch.export_config import ExportConfig
from encoders_torch.exporting.target import ExportSettings


def export_media(
    root: Path, split: str, space: str, encoder: type, weights: Path, media: Mapping[str, Path]
) -> None:
    """Export media of one split in one space; what is exported already stays as it is.

    Args:
        root: Bank root to write to.
        split: Name of the split.
        space: Name of the space.
        encoder: Class of the encoder.
        weights: The encoder's weights.
        media: Modality to a folder or a list.
    """
    export(
        ExportConfig(
            space=(space,),
            out=root,
            split=split,
            encoder=(f"{encoder.__module__}:{encoder.__name__}",),
            weights=(str(weights),),
            audio=media.get("audio"),
            image=media.get("image"),
            text=media.get("text"),
            device="cpu",
            strict=True,
            settings=ExportSettings(batch=250, workers=0),  # JAX does not allow forks
        )
    )


def text_and_folders(corpus: Path, modalities: tuple[str, ...]) -> dict[str, Path]:
    """Return modality to the caption list or the media folder of a split of the corpus."""
    return {m: corpus / ("text.txt" if m == "text" else m) for m in modalities}
