"""The paper's ablations as data: the rows of Tables 5 to 9, and the spaces of Figures 3 to 6."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product as every

from fb_jax.errors import FreeBindError
from fb_jax.projector import PipelineName, Subset
from fb_jax.run.recipe import Product, read_product

FIGURES = "figures"
T, V, A = "text", "image", "audio"


@dataclass(frozen=True)
class Row:
    """A row of a table, or the space of a figure.

    Attributes:
        label: Its name in the paper.
        recipe: Product of the package, at its own factors; "" for the unified space alone.
        member: Starts of the one projector that is used instead of the mixture; () for the mixture.
        pipeline: How its bonds are trained; None: as the options say. See ``Training``.
        tuned: Product that takes its place where rows of the tuned audio encoder are.
    """

    label: str
    recipe: str = ""
    member: Subset = ()
    pipeline: PipelineName | None = None
    tuned: str = ""


UNIFIED = Row("ImageBind")
COMBINED, DISPLACED = "imagebind_internvl", "internvl_ib"
MEMBERS = {"A": (A,), "V": (V,), "T": (T,), "AT": (T, A), "VA": (V, A), "VT": (T, V)}
PIPELINES: Mapping[str, PipelineName] = {
    "C-MCR": "cmcr",
    "Ex-MCR": "exmcr",
    "FreeBind": "freebind",
}
BONDS = {"combination": COMBINED, "displacement": DISPLACED}

ROWS: Mapping[str, Sequence[Row]] = {
    "table5": (
        UNIFIED,
        Row("+Cr(InternVL)", COMBINED),
        Row("+Dr(InternVL)", DISPLACED),
    ),
    "table6": (
        Row("only sequential", "only_sequential"),
        Row("only parallel", "only_parallel"),
        Row("sequential and parallel", "internvl_ib_pp", tuned="internvl_ib_tuned_pp"),
    ),
    "table7": (
        UNIFIED,
        Row("+general", "imagebind_general"),
        Row("+music", "imagebind_music"),
        Row("both", "imagebind_pp"),
    ),
    "table8": (
        *(Row(name, DISPLACED, member) for name, member in MEMBERS.items()),
        Row("VAT", DISPLACED, (T, V, A)),
        Row("mixture", DISPLACED),
    ),
    "table9": tuple(
        Row(f"{name}, {kind}", recipe, pipeline=pipeline)
        for (kind, recipe), (name, pipeline) in every(BONDS.items(), PIPELINES.items())
    ),
    FIGURES: (
        Row("ImageBind++", "imagebind_pp"),
        Row("InternVL_IB", DISPLACED),
        Row("InternVL_IB++", "internvl_ib_pp"),
    ),
}
"""Table to its rows. The labels are the paper's; ``Roles`` says which spaces play the parts."""


@dataclass(frozen=True)
class Roles:
    """The spaces that play the parts of the paper's.

    Attributes:
        unified: Plays ImageBind.
        image_text: Plays InternVL.
        audio_text: Plays CLAP general; a second one, if there is one, plays CLAP music.
    """

    unified: str = "imagebind"
    image_text: str = "internvl"
    audio_text: tuple[str, ...] = ("clap_general", "clap_music")

    def __post_init__(self) -> None:
        if not 1 <= len(self.audio_text) <= 2:
            raise FreeBindError(
                "one or two experts of audio and text",
                where="--audio-text",
                got=" ".join(self.audio_text) or "none",
            )

    def __str__(self) -> str:
        parts = zip(("CLAP general", "CLAP music"), self.audio_text, strict=False)
        audio_text = "".join(f", {name} {part}" for part, name in parts)
        return f"{self.unified} plays ImageBind, {self.image_text} InternVL{audio_text}"

    @property
    def names(self) -> dict[str, str]:
        """Name of a space in the recipes to that of the space that plays it; "" if none does."""
        return {
            "imagebind": self.unified,
            "internvl": self.image_text,
            "clap_general": self.audio_text[0],
            "clap_music": "".join(self.audio_text[1:]),
            "imagebind_tuned": f"{self.unified}_tuned",
        }

    def require_modalities(self, here: Mapping[str, Collection[str]]) -> None:
        """Raise a FreeBindError if an expert that is here lacks a modality of its part.

        Args:
            here: Native space of the pool to its modalities.
        """
        parts = [("--image-text", V, self.image_text)]
        parts += [("--audio-text", A, name) for name in self.audio_text]
        for option, medium, name in parts:
            if name in here and not {medium, T} <= set(here[name]):
                raise FreeBindError(
                    f"{option} must have {medium} and text",
                    got=f"{name} has {', '.join(sorted(here[name]))}",
                    fix=f"name a space with {medium} and text: {option}",
                )

    def cast(self, product: Product) -> Product:
        """Return a product with these spaces; others than the paper's are in its name, too."""
        base = self.cast(product.base) if product.base else None
        named = replace(
            product,
            unified=base.name if base else self.names[product.unified],
            experts=tuple(self.names[expert] for expert in product.experts),
            tuned={modality: self.names[native] for modality, native in product.tuned.items()},
            base=base,
        )
        others = [name for name in named.natives if name not in product.natives]
        name = f"{product.name}_with_{'_'.join(others)}" if others else product.name
        return replace(named, name=name)


@dataclass(frozen=True)
class Planned:
    """A row with the spaces that play its parts.

    Attributes:
        row: The row.
        product: What is made for it; None for the unified space alone.
    """

    row: Row
    product: Product | None

    @property
    def key(self) -> tuple[str, PipelineName | None]:
        """What is made once for all rows with this key."""
        return self.product.name if self.product else "", self.row.pipeline


def plan(table: str, roles: Roles, here: Collection[str]) -> tuple[list[Planned], list[str]]:
    """Return the rows of a table that can be made; and what to say of the others, in words.

    Args:
        table: One of ``ROWS``.
        roles: The spaces that play the parts.
        here: Native spaces of the pool.
    """
    planned, notes, encoder = [], [], roles.names["imagebind_tuned"]
    for row in ROWS[table]:
        tuned = row.tuned and encoder in here
        recipe = row.tuned if tuned else row.recipe
        product = roles.cast(read_product(recipe)) if recipe else None
        natives = product.natives if product else (roles.unified,)
        if lacking := [name for name in natives if name not in here]:
            notes.append(f"without {row.label}: {_why(lacking)}")
            continue
        planned.append(Planned(row, product))
        if product and row.tuned and not tuned:
            notes.append(f"{row.label}: {product.name}, as there are no rows of {encoder}")
    return planned, notes


def _why(lacking: Sequence[str]) -> str:
    named = [name for name in lacking if name]
    return f"no {' and no '.join(named)}" if named else "no second expert of audio and text"
