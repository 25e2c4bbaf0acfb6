"""Every number of the word world: how many words, which voices, how long each encoder trains.

Fixed, with the target ranges in ``targets.json``, before any bond was trained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Domain = Literal["general", "music"]
"""What audio sounds like: the domain of one of the two audio-text experts."""

MIN_LETTERS, MAX_LETTERS = 3, 12


@dataclass(frozen=True)
class Voices:
    """Who speaks, and over what.

    Attributes:
        accents: espeak-ng's names.
        variants: espeak-ng's names; a voice is an accent and a variant.
        background: Of the sound behind the voice.
        snr_db: Lowest and highest ratio of voice to background.
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
    """One training of encoders: pairs of two modalities, from a range of the training words.

    Attributes:
        modalities: The two that are brought together.
        words: First and last (excluded) of the training words.
        steps: Batches.
        frozen: Modality whose tower stays as it is.
        domains: Of the audio, in turn.
    """

    modalities: tuple[str, str]
    words: tuple[int, int]
    steps: int
    frozen: str | None = None
    domains: tuple[Domain, ...] = ()


@dataclass(frozen=True)
class SpaceRecipe:
    """One space: which encoder's part it plays, how large it is, how it is trained."""

    plays: str
    dim: int
    width: int
    fits: tuple[Fit, ...]

    @property
    def modalities(self) -> tuple[str, ...]:
        """All modalities of the space, sorted."""
        return tuple(sorted({m for fit in self.fits for m in fit.modalities}))


@dataclass(frozen=True)
class Recipe:
    """A whole world.

    Attributes:
        train_words: That encoders are trained on.
        pool_words: That unpaired pools are drawn from.
        pool_items: Drawn from them for each modality, independently of the others.
        gallery: Words of the validation split, and of the test split.
        image_noise: Standard deviation of pixel noise, of full scale.
        batch: Pairs a step, in the training of encoders.
        spaces: By name.
    """

    train_words: int
    pool_words: int
    pool_items: int
    gallery: int
    image_noise: float
    batch: int
    spaces: dict[str, SpaceRecipe]

    @property
    def words(self) -> int:
        """All words; no two splits share one."""
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
"""What ``train.py --product`` makes, in this order."""

TUNED_PRODUCTS = ("internvl_ib_tuned", "internvl_ib_tuned_pp")
"""What it makes once the audio encoder is tuned (``tuning.py``)."""

GENERAL = ("--bond", "combination", "--expert", "clap_general")
BONDS: dict[str, tuple[str, ...]] = {
    "general_raw": (*GENERAL, "--pairs.no-normalise"),
    "general_one_way": (*GENERAL, "--training.no-symmetric"),
}
"""Bond to the options of ``train.py``: what the paper leaves open."""
