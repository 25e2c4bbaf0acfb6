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
    """

    space: str
    file: str
    audio_tower: str
    fused: bool

    def find(self, weights: Path | str | None) -> Path:
        """Return ``weights``, or the published file from the hub's cache or the network.

        Raises:
            FreeBindError: There is no such file, or it cannot be downloaded.
        """
        return Download(
            space=self.space,
            what=f"{self.file} of the project LAION-AI/CLAP",
            licence=LICENCE,
            get=self._download,
            by_hand=f"download {self.file} from {HUB} on huggingface.co to any folder, "
            f"then give --weights FOLDER/{self.file}",
        ).file(weights)

    def _download(self) -> str:
        from huggingface_hub import hf_hub_download  # not needed with a local file

        return hf_hub_download(HUB, self.file)


GENERAL = Published("clap_general", "630k-fusion-best.pt", "HTSAT-tiny", fused=True)
MUSIC = Published(
    "clap_music", "music_speech_audioset_epoch_15_esc_89.98.pt", "HTSAT-base", fused=False
)
