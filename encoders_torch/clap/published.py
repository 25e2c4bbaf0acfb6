"""The checkpoints that LAION published for the two CLAP spaces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from encoders_torch.downloads import Download

HUB = "lukewys/laion_clap"
LICENCE = "CC0-1.0 (LAION-AI/CLAP)"


@dataclass(frozen=True)
class Published:
    """A checkpoint of LAION-AI/CLAP that FreeBind uses (Sec. 4.1 and the released code).

    Attributes:
        space: Name of its space.
        file: Its name in ``lukewys/laion_clap`` on the hub.
        audio_tower: LAION's name of the audio tower.
        fused: Whether audio longer than 10 s goes in as a whole and three parts.
        renamed: Its name in FreeBind's list of files, if it has another one there.
    """

    space: str
    file: str
    audio_tower: str
    fused: bool
    renamed: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names under which people have the file."""
        return (self.file, self.renamed) if self.renamed else (self.file,)

    def find(self, weights: Path | str | None) -> Path:
        """Return the checkpoint: from the hub's cache or the network if ``weights`` is None.

        Args:
            weights: The file, or a folder that has it under one of its names.

        Raises:
            FreeBindError: There is no such file, or it cannot be downloaded.
        """
        return Download(
            space=self.space,
            what=f"{' or '.join(self.names)} of the project LAION-AI/CLAP",
            licence=LICENCE,
            get=self._download,
            by_hand=f"download {self.file} from {HUB} on huggingface.co to any folder, "
            f"then give --weights FOLDER/{self.file}",
        ).file(self._in_folder(weights))

    def _in_folder(self, weights: Path | str | None) -> Path | str | None:
        if weights is None or not (folder := Path(weights)).is_dir():
            return weights
        here = [folder / name for name in self.names if (folder / name).is_file()]
        return here[0] if here else folder / self.file

    def _download(self) -> str:
        from huggingface_hub import hf_hub_download  # not needed with a local file

        return hf_hub_download(HUB, self.file)


GENERAL = Published(
    "clap_general",
    "630k-fusion-best.pt",
    "HTSAT-tiny",
    fused=True,
    renamed="laion_clap_fullset_fusion.pt",
)
MUSIC = Published(
    "clap_music", "music_speech_audioset_epoch_15_esc_89.98.pt", "HTSAT-base", fused=False
)
