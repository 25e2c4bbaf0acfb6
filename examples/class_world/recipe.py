"""Every setting of the class world. Voices and backgrounds are those of the word world.

They and the target ranges in ``targets.json`` were fixed before any bond was trained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from examples.word_world.recipe import BOTH, Fit, SpaceRecipe, SpacesRecipe
from examples.word_world.recipe import FULL as WORDS


@dataclass(frozen=True)
class Recipe(SpacesRecipe):
    """A whole world; see also ``SpacesRecipe``.

    Attributes:
        train: Number of scenes that encoders are trained on.
        pool: Number of scenes in the pool for each modality, drawn independently.
        gallery: Scenes of two classes in the validation split, and in the test split.
        per_class: Recordings of each class in ``sounds``, and pictures in ``drawings``.
        scenes: Recordings in ``scenes``; half of them name two classes.
        image_noise: Standard deviation of the pixel noise, as a share of full scale.
    """

    train: int
    pool: int
    gallery: int
    per_class: int
    scenes: int
    image_noise: float


def _space(name: str, dim: int, *fits: Fit) -> SpaceRecipe:
    return SpaceRecipe(WORDS.spaces[name].plays, dim, width=48, fits=fits)


FULL = Recipe(
    train=5_000,
    pool=1_600,
    gallery=300,
    per_class=7,
    scenes=400,
    image_noise=0.04,
    batch=128,
    spaces={
        "imagebind": _space(
            "imagebind",
            96,
            Fit(("image", "text"), (0, 4_000), 300),
            Fit(("audio", "image"), (0, 3_000), 160, frozen="image", domains=BOTH),
        ),
        "internvl": _space("internvl", 64, Fit(("image", "text"), (0, 5_000), 350)),
        "clap_general": _space(
            "clap_general", 64, Fit(("audio", "text"), (0, 3_500), 300, domains=("general",))
        ),
        "clap_music": _space(
            "clap_music", 64, Fit(("audio", "text"), (1_500, 5_000), 300, domains=("music",))
        ),
    },
)


def _tiny(space: SpaceRecipe) -> SpaceRecipe:
    fits = tuple(replace(fit, words=(0, 96), steps=4) for fit in space.fits)
    return replace(space, dim=16, width=8, fits=fits)


TINY = Recipe(
    train=96,
    pool=96,
    gallery=24,
    per_class=1,
    scenes=24,
    image_noise=0.04,
    batch=32,
    spaces={name: _tiny(space) for name, space in FULL.spaces.items()},
)
RECIPES = {"full": FULL, "tiny": TINY}

PRODUCTS = ("imagebind_pp", "internvl_ib")
"""Products to make: Table 7's bonds, each CLAP alone and both, and the displaced InternVL."""
