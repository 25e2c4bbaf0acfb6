"""Names of the files that FreeBind's released spaces need, as its README and its code name them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from encoders_torch.clap.published import GENERAL, HUB, MUSIC
from encoders_torch.imagebind.weights import URL
from encoders_torch.released import FILE
from fb_jax.projector.layouts import FOLDERS

FILES: dict[str, tuple[str, ...]] = {
    "imagebind": ("imagebind_huge.pth",),
    "clap_general": GENERAL.names,
    "clap_music": MUSIC.names,
    "internvl": ("InternVL-14B-224px",),
    "imagebind_tuned": ("DrvtFT_audio_with_head.pt", "InternVL_IB_audio_with_head.pt"),
}
"""Encoder to the names that its file or folder may have; the first that is there is taken."""

RELEASED = "https://huggingface.co/Viglong/Molecule"
"""Where FreeBind's README says that its own weights are."""

PUBLISHED_AT = {
    "imagebind": URL,
    "clap_general": f"https://huggingface.co/{HUB}",
    "clap_music": f"https://huggingface.co/{HUB}",
    "internvl": "https://huggingface.co/OpenGVLab/InternVL-14B-224px",
    "imagebind_tuned": RELEASED,
}
"""Encoder to where its owners publish it."""


@dataclass(frozen=True)
class Product:
    """What a product needs.

    Attributes:
        families: The authors' folders of projectors.
        encoders: Native spaces.
    """

    families: tuple[str, ...]
    encoders: tuple[str, ...]

    @property
    def has_code(self) -> bool:
        """Whether the folder of an encoder contains code that runs."""
        return "internvl" in self.encoders

    def lacking(self, weights: Path) -> list[str]:
        """Return what is missing in a folder, and where it is published."""
        encoders = [space for space in self.encoders if find(weights, space) is None]
        files = [f"{' or '.join(FILES[s])} ({s}): {PUBLISHED_AT[s]}" for s in encoders]
        for family in self.families:
            members = [m for m in _MEMBERS if not (weights / family / m / FILE).is_file()]
            if members:
                files.append(f"{family}, {FILE} in {', '.join(members)}: {RELEASED}")
        return files


_MEMBERS = tuple(FOLDERS.values())
CLAPS = ("clap_general", "clap_music")
PRODUCTS = {
    "imagebind_pp": Product(("IB_PP_G_Proj", "IB_PP_M_Proj"), ("imagebind", *CLAPS)),
    "internvl_ib_tuned_pp": Product(
        ("InternVL_IB_Proj", "InternVL_IB_FTPP_G_Proj", "InternVL_IB_FTPP_M_Proj"),
        ("imagebind", "imagebind_tuned", "internvl", *CLAPS),
    ),
}


def find(weights: Path, space: str) -> Path | None:
    """Return the file or folder of an encoder, if it is in a folder."""
    return next((weights / n for n in FILES[space] if (weights / n).exists()), None)
