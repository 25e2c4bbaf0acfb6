"""Options for the weights of the experts."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated

from tyro.conf import arg

from fb_jax.errors import notice_once
from fb_jax.fusion import FusedSpace


@dataclass(frozen=True)
class ExpertFactors:
    """Weights of the expert, 0 to 1: sigma after a combination, lambda after a displacement."""

    audio: Annotated[float | None, arg(name="sigma-audio", aliases=["--lambda-audio"])] = None
    """Weight of the expert for audio; by default the preset's."""

    image: Annotated[float | None, arg(name="sigma-image", aliases=["--lambda-image"])] = None
    """Weight of the expert for images; by default the preset's."""

    text: Annotated[float | None, arg(name="sigma-text", aliases=["--lambda-text"])] = None
    """Weight of the expert for text; by default the preset's."""

    others: Annotated[
        dict[str, float], arg(name="sigma", aliases=["--lambda"], metavar="MODALITY NUMBER ...")
    ] = field(default_factory=dict)
    """Weights of the expert for any modalities, such as --sigma depth 0.3 video 0.2."""

    def chosen(self) -> dict[str, float]:
        """Return the factors that were set."""
        named = {"audio": self.audio, "image": self.image, "text": self.text}
        return self.others | {m: factor for m, factor in named.items() if factor is not None}

    def at(self, space: FusedSpace, preset: str | None = None) -> FusedSpace:
        """Return a space at a preset and these factors; a notice if that ends a hub correction."""
        found = (space if preset is None else space.at(preset)).with_factors(**self.chosen())
        if space.hubs is not None and found.hubs is None:
            notice_once(f"{space.title}: no hub correction at other factors than the chosen ones")
        return found

    @classmethod
    def option(cls, modality: str, symbol: str = "sigma") -> str:
        """Return the option that sets the factor of a modality."""
        named = {known.name for known in fields(cls)} - {"others"}
        return f"--{symbol}-{modality}" if modality in named else f"--{symbol} {modality}"
