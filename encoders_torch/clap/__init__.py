"""LAION-CLAP: audio and text in one space (512-d), by transformers' ``ClapModel``.

``ClapGeneral`` and ``ClapMusic`` load the ``.pt`` files that LAION publishes. ``laion`` runs the
same files with LAION's own package, and ``parity/`` shows that both give the same rows.
"""

from encoders_torch.clap.encoder import (
    ClapGeneral,
    ClapGeneralCentre,
    ClapGeneralWindows,
    ClapMusic,
    ClapMusicCentre,
    ClapMusicWindows,
)

__all__ = [
    "ClapGeneral",
    "ClapGeneralCentre",
    "ClapGeneralWindows",
    "ClapMusic",
    "ClapMusicCentre",
    "ClapMusicWindows",
]
