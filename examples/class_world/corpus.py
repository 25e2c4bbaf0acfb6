"""The corpus: PNG and WAV files, captions and prompts.

train/image/  train/general/  train/music/   row i is the same scene in all three
train/scenes.txt  train/picture.txt  train/sound.txt
    the scenes, and a caption of each picture and of each recording
pool/image/  pool/audio/  pool/text.csv
    unpaired: the scenes of each modality are drawn independently
val/image/  val/audio/  val/text.csv, and the same for test/
    scenes of two classes that are in no other split but ``scenes``; two captions a scene
sounds/audio/  scenes/audio/  drawings/image/, each with scenes.txt and text.csv
    what is classified, and the prompts: sounds and drawings have one class an item
checks/sounds/  checks/drawings/
    the same for the targets of the spaces; they are in no bank root that ships

Every split has pictures and recordings of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from examples.class_world.classes import (
    CLASSES,
    PICTURE_PHRASES,
    PICTURE_TEMPLATES,
    SOUND_PHRASES,
    SOUND_TEMPLATES,
    caption,
    couples,
)
from examples.class_world.pictures import draw
from examples.class_world.recipe import Recipe
from examples.word_world.corpus import MediaFolder, media_name, write_corpus
from examples.word_world.recipe import BOTH, Domain, Fit

LABELLED = {
    "sounds": ("audio", SOUND_TEMPLATES),
    "scenes": ("audio", SOUND_TEMPLATES),
    "drawings": ("image", PICTURE_TEMPLATES),
}
"""Split with labels to the modality of its items and to its templates."""

CHECKS = ("checks/sounds", "checks/drawings")
PHRASES = {"sound": SOUND_PHRASES, "picture": PICTURE_PHRASES}
Lines = dict[str, list[str]]
Media = list[tuple[str, Sequence[str], tuple[Domain, ...]]]
"""Folder, scenes and domains."""


def labelled(split: str) -> tuple[str, tuple[str, ...]]:
    """Return the modality and the templates of a split with labels, or of a check."""
    return LABELLED[Path(split).name]


def plan(recipe: Recipe, seed: int) -> tuple[Lines, list[MediaFolder]]:
    """Return the lines of every text file, and every folder of media."""
    rng = np.random.default_rng([seed, 1])
    known = rng.permutation(couples()).tolist()
    galleries = {name: [known.pop() for _ in range(recipe.gallery)] for name in ("val", "test")}
    parts = [_train(recipe, known, rng), _pool(recipe, known, rng)]
    parts += [_gallery(name, scenes, rng) for name, scenes in galleries.items()]
    each = np.repeat(CLASSES, recipe.per_class).tolist()
    mixed = _draw(recipe.scenes, galleries["test"], rng)
    parts += [_labelled(name, mixed if name == "scenes" else each) for name in (*LABELLED, *CHECKS)]
    texts = {path: lines for part, _ in parts for path, lines in part.items()}
    media = [folder for _, part in parts for folder in part]
    return texts, [MediaFolder(p, tuple(s), d, (seed, 2 + i)) for i, (p, s, d) in enumerate(media)]


def _draw(count: int, pairs: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Return scenes, by turns of one class and of two."""
    ones, twos = rng.choice(CLASSES, count), rng.choice(pairs, count)
    return [str(twos[i] if i % 2 else ones[i]) for i in rng.permutation(count)]


def _phrased(scenes: Sequence[str], kinds: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Return a caption of each scene, in a random phrase of these kinds."""
    phrases = [phrase for kind in kinds for phrase in PHRASES[kind]]
    return [caption(scene, phrases[rng.integers(len(phrases))]) for scene in scenes]


def _table(ids: Sequence[str], captions: Sequence[str]) -> list[str]:
    """Return the lines of a list of captions, as the export reads it."""
    return ["id,caption", *(f"{i},{text}" for i, text in zip(ids, captions, strict=True))]


def _train(recipe: Recipe, pairs: Sequence[str], rng: np.random.Generator) -> tuple[Lines, Media]:
    scenes = _draw(recipe.train, pairs, rng)
    texts = {f"train/{kind}.txt": _phrased(scenes, [kind], rng) for kind in PHRASES}
    media: Media = [(f"train/{domain}", scenes, (domain,)) for domain in BOTH]
    return {"train/scenes.txt": scenes, **texts}, [("train/image", scenes, ()), *media]


def _pool(recipe: Recipe, pairs: Sequence[str], rng: np.random.Generator) -> tuple[Lines, Media]:
    text, image, audio = (_draw(recipe.pool, pairs, rng) for _ in range(3))
    captions = _phrased(text, list(PHRASES), rng)
    lines = _table([str(row) for row in range(len(text))], captions)
    return {"pool/text.csv": lines}, [("pool/image", image, ()), ("pool/audio", audio, BOTH)]


def _gallery(name: str, scenes: list[str], rng: np.random.Generator) -> tuple[Lines, Media]:
    captions = [_phrased(scenes, [kind], rng) for kind in PHRASES]
    ids = [f"{media_name(row, scene)}#{k}" for row, scene in enumerate(scenes) for k in range(2)]
    both = [text for pair in zip(*captions, strict=True) for text in pair]
    media: Media = [(f"{name}/image", scenes, ()), (f"{name}/audio", scenes, BOTH)]
    return {f"{name}/text.csv": _table(ids, both)}, media


def _labelled(name: str, scenes: list[str]) -> tuple[Lines, Media]:
    modality, templates = labelled(name)
    prompts = [(f"{c}#{k}", caption(c, t)) for c in CLASSES for k, t in enumerate(templates)]
    texts = {f"{name}/text.csv": _table(*zip(*prompts, strict=True))}
    media = (f"{name}/{modality}", scenes, BOTH if modality == "audio" else ())
    return {f"{name}/scenes.txt": scenes, **texts}, [media]


def make_corpus(
    root: Path, recipe: Recipe, seed: int, progress: Callable[[str, int], None], workers: int = 2
) -> None:
    """Make every folder of the corpus that is missing; see ``word_world.corpus.make_corpus``."""
    texts, folders = plan(recipe, seed)
    write_corpus(root, texts, folders, partial(draw, noise=recipe.image_noise), progress, workers)


def training_items(corpus: Path, fit: Fit, modality: str) -> list[str | Path]:
    """Return the items of a fit; item i is the same scene in every modality.

    Captions are those of recordings if the other modality is audio, else those of pictures.
    """
    read = lambda name: (corpus / "train" / name).read_text().splitlines()  # noqa: E731
    scenes, rows = read("scenes.txt"), range(*fit.words)
    if modality == "text":
        captions = read("sound.txt" if "audio" in fit.modalities else "picture.txt")
        return [captions[i] for i in rows]
    folder = lambda i: "image" if modality == "image" else fit.domains[i % len(fit.domains)]  # noqa: E731
    suffix = "png" if modality == "image" else "wav"
    return [corpus / "train" / folder(i) / f"{media_name(i, scenes[i])}.{suffix}" for i in rows]
