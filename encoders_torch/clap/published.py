"""What LAION published: which file makes which space, where it is, under what licence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fb_jax.errors import FreeBindError

HUB = "lukewys/laion_clap"
LICENCE = "CC0-1.0 (LAION-AI/CLAP)"


@dataclass(frozen=True)
class Published:
    """A checkpoint of LAION-AI/CLAP that FreeBind uses (Sec. 4.1 and the released code).

    Attributes:
        space: The space that it makes.
        file: Its name in the hub's ``lukewys/laion_clap``.
        audio_tower: LAION's name of the audio tower.
        fused: Whether audio longer than 10 s goes in as the whole and three parts.
    """

    space: str
    file: str
    audio_tower: str
    fused: bool

    def find(self, weights: Path | None) -> Path:
        """Return ``weights``, or the published file out of the hub's cache or from the network.

        Raises:
            FreeBindError: There is no such file, or it cannot be fetched.
        """
        if weights is None:
            return self._download()
        if not weights.is_file():
            raise self._missing(weights, "no such file")
        return weights

    def _download(self) -> Path:
        from huggingface_hub import hf_hub_download  # not needed for a file that is there

        try:
            return Path(hf_hub_download(HUB, self.file))
        except Exception as error:  # one of a dozen, by what the network does
            raise self._missing(f"{HUB} on huggingface.co", type(error).__name__) from error

    def _missing(self, where: object, got: str) -> FreeBindError:
        return FreeBindError(
            f"the weights of {self.space} are missing",
            where=where,
            expected=f"{self.file} of the project LAION-AI/CLAP, licence {LICENCE}",
            got=got,
            fix=f"download {self.file} from {HUB} on huggingface.co to any folder, "
            f"then give --weights FOLDER/{self.file}",
        )


GENERAL = Published("clap_general", "630k-fusion-best.pt", "HTSAT-tiny", fused=True)
MUSIC = Published(
    "clap_music", "music_speech_audioset_epoch_15_esc_89.98.pt", "HTSAT-base", fused=False
)
