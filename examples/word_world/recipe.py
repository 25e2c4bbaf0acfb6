"""Every setting of the word world: sizes, voices, and the training of each encoder.

They and the target ranges in ``targets.json`` were fixed before any bond was trained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Domain = Literal["general", "music"]
"""Kind of audio; each of the two audio-text experts is trained on one."""

MIN_LETTERS, MAX_LETTERS = 3, 12


@dataclass(frozen=True)
class Voices:
    """The voices and the background of a domain.

    Attributes:
        accents: Accents of espeak-ng, by its names.
        variants: Variants of espeak-ng, by its names; a voice is an accent and a variant.
        background: Kind of background sound.
        snr_db: Lowest and highest ratio of voice to background, in dB.
    """

    accents: tuple[str, ...]
    variants: tuple[str, ...]
    background: Literal["noise", "chords"]
    snr_db: tuple[float, float]


DOMAINS: dict[Domain, Voices] = {
    "general": Voices(
        ("en", "en-us", "en-gb-x-rp"),
        ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "klatt"),
        "noise",
        (6.0, 20.0),
    ),
    "music": Voices(
        ("en-gb-scotland", "en-029", "en-gb-x-gbclan"),
        ("f1", "f2", "f3", "f4", "f5", "klatt2", "klatt4", "steph", "linda"),
        "chords",
        (3.0, 14.0),
    ),
}


@dataclass(frozen=True)
class Fit:
    """One training of two towers on pairs, from a range of the training words.

    Attributes:
        modalities: The two modalities of a pair.
        words: First and last (excluded) of the training words.
        steps: Number of steps.
        frozen: Modality whose tower is not trained.
        domains: Domains of the audio, in turn.
    """

    modalities: tuple[str, str]
    words: tuple[int, int]
    steps: int
    frozen: str | None = None
    domains: tuple[Domain, ...] = ()


@dataclass(frozen=True)
class SpaceRecipe:
    """One space: the encoder whose part it plays, its sizes, and its trainings in order."""

    plays: str
    dim: int
    width: int
    fits: tuple[Fit, ...]

    @property
    def modalities(self) -> tuple[str, ...]:
        """All modalities of the space, sorted."""
        return tuple(sorted({m for fit in self.fits for m in fit.modalities}))


@dataclass(frozen=True)
class SpacesRecipe:
    """The spaces of a world.

    Attributes:
        batch: Pairs in a step of an encoder's training.
        spaces: Name to recipe.
    """

    batch: int
    spaces: dict[str, SpaceRecipe]


@dataclass(frozen=True)
class Recipe(SpacesRecipe):
    """A whole world; see also ``SpacesRecipe``.

    Attributes:
        train_words: Number of words that encoders are trained on.
        pool_words: Number of words that the pools are drawn from.
        pool_items: Items drawn from them for each modality, independently.
        gallery: Words of the validation split, and of the test split.
        image_noise: Standard deviation of the pixel noise, as a share of full scale.
    """

    train_words: int
    pool_words: int
    pool_items: int
    gallery: int
    image_noise: float

    @property
    def words(self) -> int:
        """Number of words of all splits, which share none."""
        return self.train_words + self.pool_words + 2 * self.gallery


BOTH: tuple[Domain, ...] = ("general", "music")

FULL = Recipe(
    train_words=16_000,
    pool_words=14_000,
    pool_items=6_000,
    gallery=1_000,
    image_noise=0.06,
    batch=256,
    spaces={
        "imagebind": SpaceRecipe(
            "ImageBind (audio, image, text; trained on image-text and audio-image pairs)",
            dim=192,
            width=96,
            fits=(
                Fit(("image", "text"), (0, 7_300), 475),
                Fit(("audio", "image"), (0, 7_500), 320, frozen="image", domains=BOTH),
            ),
        ),
        "internvl": SpaceRecipe(
            "InternVL-C (image, text)",
            dim=128,
            width=96,
            fits=(Fit(("image", "text"), (0, 16_000), 500),),
        ),
        "clap_general": SpaceRecipe(
            "LAION-CLAP general (audio, text)",
            dim=128,
            width=96,
            fits=(Fit(("audio", "text"), (4_000, 12_000), 200, domains=("general",)),),
        ),
        "clap_music": SpaceRecipe(
            "LAION-CLAP music (audio, text)",
            dim=128,
            width=96,
            fits=(Fit(("audio", "text"), (8_000, 16_000), 200, domains=("music",)),),
        ),
    },
)


def _tiny(space: SpaceRecipe) -> SpaceRecipe:
    fits = tuple(replace(fit, words=(0, 256), steps=8) for fit in space.fits)
    return replace(space, dim=32, width=16, fits=fits)


TINY = Recipe(
    train_words=256,
    pool_words=256,
    pool_items=128,
    gallery=64,
    image_noise=0.15,
    batch=64,
    spaces={name: _tiny(space) for name, space in FULL.spaces.items()},
)
RECIPES = {"full": FULL, "tiny": TINY}

PRODUCTS = (
    *("imagebind_pp", "internvl_ib", "internvl_ib_pp"),  # Table 2
    *("only_parallel", "only_sequential"),  # Table 6
    "imagebind_sum",
)
"""Products to make, in this order."""

TUNED_PRODUCTS = ("internvl_ib_tuned", "internvl_ib_tuned_pp")
"""Products to make when the audio encoder is tuned (``tuning.py``)."""
