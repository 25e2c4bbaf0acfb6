"""The corpus: PNG and WAV files and captions, in splits that share no word.

train/words.txt  train/image/  train/general/  train/music/
    for training the encoders; the files of word i are named i-WORD
pool/text.txt  pool/image/  pool/audio/
    unpaired: the words of each modality are drawn independently
val/text.txt  val/image/  val/audio/, and the same for test/
    paired by row; the audio takes both domains in turn
val_general/text.txt  val_general/audio/  ...
    the same words in one domain
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float32
from PIL import Image
from scipy.signal import lfilter

from examples.word_world.pictures import draw, find_fonts
from examples.word_world.recipe import DOMAINS, MAX_LETTERS, MIN_LETTERS, Domain, Recipe
from examples.word_world.speech import Speaker
from fb_jax.errors import FreeBindError

DICTIONARY = Path("/usr/share/dict/american-english")
RATES = (150, 231)  # words per minute, the end excluded
PITCHES = (30, 71)


def require_packages() -> None:
    """Check that the Debian packages for the corpus are installed.

    Raises:
        FreeBindError: One is missing; the error names it.
    """
    if not DICTIONARY.exists():
        raise FreeBindError("a word list is missing", where=DICTIONARY, fix="apt install wamerican")
    require_voices_and_fonts()


def require_voices_and_fonts() -> None:
    """Check that espeak-ng and the fonts are installed.

    Raises:
        FreeBindError: One is missing; the error names it.
    """
    Speaker()
    find_fonts()


@dataclass(frozen=True)
class MediaFolder:
    """A folder of media files, made by one process.

    Attributes:
        folder: Path relative to the corpus.
        words: One for each file.
        domains: Domains of the audio, in turn; empty for images.
        seed: Seed of this folder, so that its files do not depend on other folders.
    """

    folder: str
    words: tuple[str, ...]
    domains: tuple[Domain, ...]
    seed: tuple[int, int]


def choose_words(recipe: Recipe, seed: int) -> dict[str, list[str]]:
    """Return the words of ``train``, ``pool``, ``val`` and ``test``, which share none.

    Raises:
        FreeBindError: The dictionary has too few words.
    """
    fits = re.compile(f"[a-z]{{{MIN_LETTERS},{MAX_LETTERS}}}").fullmatch
    words = sorted(word for word in DICTIONARY.read_text().split() if fits(word))
    if len(words) < recipe.words:
        raise FreeBindError(
            "too few words", where=DICTIONARY, expected=recipe.words, got=len(words)
        )
    order = np.random.default_rng(seed).permutation(len(words))
    sizes = [recipe.train_words, recipe.pool_words, recipe.gallery, recipe.gallery]
    ends = np.cumsum(sizes)
    split = [[words[i] for i in order[e - n : e]] for n, e in zip(sizes, ends, strict=True)]
    return dict(zip(("train", "pool", "val", "test"), split, strict=True))


def plan(recipe: Recipe, seed: int) -> tuple[dict[str, list[str]], list[MediaFolder]]:
    """Return the lines of every text file, and every folder of media."""
    words = choose_words(recipe, seed)
    draws = np.random.default_rng([seed, 1])
    text, image, audio = (
        draws.permutation(words["pool"])[: recipe.pool_items].tolist() for _ in range(3)
    )
    domains = tuple(DOMAINS)
    texts = {"train/words.txt": words["train"], "pool/text.txt": text}
    media: list[tuple[str, list[str], tuple[Domain, ...]]] = [
        ("train/image", words["train"], ()),
        *((f"train/{domain}", words["train"], (domain,)) for domain in domains),
        ("pool/image", image, ()),
        ("pool/audio", audio, domains),
    ]
    for split in ("val", "test"):
        texts[f"{split}/text.txt"] = words[split]
        media += [(f"{split}/image", words[split], ()), (f"{split}/audio", words[split], domains)]
        for domain in domains:
            texts[f"{split}_{domain}/text.txt"] = words[split]
            media.append((f"{split}_{domain}/audio", words[split], (domain,)))
    folders = [
        MediaFolder(path, tuple(w), d, (seed, 2 + i)) for i, (path, w, d) in enumerate(media)
    ]
    return texts, folders


def media_name(row: int, word: str) -> str:
    """Return a file's name without its suffix; names sort in the order of the rows."""
    return f"{row:05d}-{word.replace(', ', '-')}"


def make_corpus(
    root: Path, recipe: Recipe, seed: int, progress: Callable[[str, int], None], workers: int = 2
) -> None:
    """Make every folder of the corpus that is missing.

    Args:
        root: Folder of the corpus.
        recipe: Sizes.
        seed: Seed of words, pictures and voices.
        progress: Called with each folder and its number of files.
        workers: Number of processes.
    """
    require_packages()
    texts, folders = plan(recipe, seed)
    write_corpus(root, texts, folders, partial(draw, noise=recipe.image_noise), progress, workers)


def write_corpus(
    root: Path,
    texts: Mapping[str, Sequence[str]],
    folders: Sequence[MediaFolder],
    picture: Callable[..., Image.Image],
    progress: Callable[[str, int], None],
    workers: int,
) -> None:
    """Write text files, and every folder of media that is missing.

    Args:
        root: Folder of the corpus.
        texts: Path to lines.
        folders: Folders of media.
        picture: Draws a word; takes the word, ``fonts`` and ``rng``.
        progress: Called with each folder and its number of files.
        workers: Number of processes.
    """
    for name, lines in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    missing = [media for media in folders if not (root / media.folder).is_dir()]
    # One process for each folder: espeak-ng's noise depends on everything it said before.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), max_tasks_per_child=1)
    with pool as executor:
        for media in executor.map(partial(_make_folder, root=root, picture=picture), missing):
            progress(media.folder, len(media.words))


def _make_folder(
    media: MediaFolder, root: Path, picture: Callable[..., Image.Image]
) -> MediaFolder:
    rng = np.random.default_rng(media.seed)
    unfinished = root / f"{media.folder}.partial"
    unfinished.mkdir(parents=True, exist_ok=True)
    if media.domains:
        speaker = Speaker()
        for row, word in enumerate(media.words):
            wave = speak(speaker, word, media.domains[row % len(media.domains)], rng)
            path = unfinished / f"{media_name(row, word)}.wav"
            soundfile.write(path, wave, speaker.sample_rate, subtype="PCM_16")
    else:
        fonts = find_fonts()
        for row, word in enumerate(media.words):
            picture(word, fonts=fonts, rng=rng).save(unfinished / f"{media_name(row, word)}.png")
    unfinished.rename(root / media.folder)
    return media


def speak(
    speaker: Speaker, word: str, domain: Domain, rng: np.random.Generator
) -> Float32[np.ndarray, " samples"]:
    """Speak a word in a random voice of a domain, over the domain's background.

    Args:
        speaker: The speaker of this process.
        word: Word to speak.
        domain: Domain of voice and background.
        rng: Chooses voice, rate, pitch and background.

    Returns:
        Samples in -1 to 1.
    """
    voices = DOMAINS[domain]
    voice = f"{rng.choice(voices.accents)}+{rng.choice(voices.variants)}"
    wave = speaker.say(word, voice, int(rng.integers(*RATES)), int(rng.integers(*PITCHES)))
    make = _noise if voices.background == "noise" else _chords
    background = make(len(wave), speaker.sample_rate, rng)
    ratio = 10 ** (-rng.uniform(*voices.snr_db) / 20)
    background *= ratio * np.sqrt(np.mean(wave**2) / np.mean(background**2))
    return (0.5 * (wave + background)).clip(-1, 1).astype(np.float32)


def _noise(samples: int, _rate: int, rng: np.random.Generator) -> np.ndarray:
    """White noise through a one-pole filter: like wind or a street."""
    return lfilter([1.0], [1.0, -rng.uniform(0, 0.95)], rng.standard_normal(samples))


def _chords(samples: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Chords of three notes with overtones; they change about twice in a word."""
    time = np.arange(samples) / rate
    wave = np.zeros(samples)
    length = int(rate * rng.uniform(0.15, 0.4))
    for start in range(0, samples, length):
        stop = start + length
        root = 110 * 2 ** (rng.integers(0, 24) / 12)
        for step in (0, rng.choice([3, 4]), 7):
            for overtone in range(1, 6):
                note = root * 2 ** (step / 12) * overtone
                wave[start:stop] += np.sin(2 * np.pi * note * time[start:stop]) / overtone
    return wave
