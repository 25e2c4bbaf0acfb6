"""Where the numbers of projectors stand in the authors' files [C], as data.

    FreeBind   Head2.mlps.{0,1}, Head2.mlps.{3,4}             seven folders, one for each member
    C-MCR      Head_A.net1.{0,1}, Head_A.net2.{0,1}; Head_B   one file: clap_clip.pt
               Head_A.net.{0,1}; Head_B                       one file: ulip_clip.pt
    Ex-MCR     Head1; Head2.mlp1.net1.{0,1}, .net2.{0,1};     one file: ex_clap.pt, ex_ulip.pt
               Head2.mlp2.net1.{0,1}, .net2.{0,1}

Of two numbers in braces, the first is a Linear with a bias, the second a BatchNorm. Head1 is a
Linear. The heads of C-MCR's two files stand in opposite order: A is CLAP's in the one and CLIP's in
the other. Those of ulip_clip.pt are half an MLP: they end after the ReLU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fb_jax.projector.mixture import Subset

Mlp = Mapping[str, tuple[str, str]]
"""End of an MLP, ``in`` or ``out``, to the keys of its Linear and its BatchNorm."""

FOLDERS: Mapping[Subset, str] = {
    ("text",): "T",
    ("image",): "V",
    ("audio",): "A",
    ("text", "image"): "TV",
    ("text", "audio"): "AT",
    ("image", "audio"): "AV",
    ("text", "image", "audio"): "mix",
}
"""FreeBind's member to its folder; ``mix`` was trained on all three starts."""


@dataclass(frozen=True)
class Layout:
    """The layout of a family of projectors.

    Attributes:
        mlps: Module in our variables to its MLP; the name "" is the variables themselves.
        gap: Key of the Linear before the first MLP, for the route ``GAP``; "" if there is none.
        folders: Member to its folder; empty if the one member is a file.
    """

    mlps: Mapping[str, Mlp]
    gap: str = ""
    folders: Mapping[Subset, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the members' state dicts: their folders, or "" for the one file."""
        return tuple(self.folders.values()) or ("",)


def _mlp(name: str) -> Mlp:
    nets = {"in": f"{name}.net1", "out": f"{name}.net2"}
    return {end: (f"{net}.0", f"{net}.1") for end, net in nets.items()}


FREEBIND = Layout(
    {"": {"in": ("Head2.mlps.0", "Head2.mlps.1"), "out": ("Head2.mlps.3", "Head2.mlps.4")}},
    folders=FOLDERS,
)
CMCR = Layout({"expert": _mlp("Head_A"), "unified": _mlp("Head_B")})
CMCR_HALF = Layout(
    {
        "unified": {"in": ("Head_A.net.0", "Head_A.net.1")},
        "expert": {"in": ("Head_B.net.0", "Head_B.net.1")},
    }
)
EXMCR = Layout({"first": _mlp("Head2.mlp1"), "second": _mlp("Head2.mlp2")}, gap="Head1")
