"""The corpus: PNG and WAV files and captions, in splits that share no word.

train/words.txt                       encoders' training words; media of word i are i-WORD.*
train/image/  train/general/  train/music/
pool/text.txt  pool/image/  pool/audio/            unpaired: each drawn on its own
val/text.txt   val/image/   val/audio/             paired by row; audio of both domains in turn
val_general/text.txt  val_general/audio/  ...      the same words, all in one domain
"""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float32
from scipy.signal import lfilter

from examples.word_world.pictures import draw, find_fonts
from examples.word_world.recipe import DOMAINS, MAX_LETTERS, MIN_LETTERS, Domain, Recipe
from examples.word_world.speech import Speaker
from fb_jax.errors import FreeBindError

DICTIONARY = Path("/usr/share/dict/american-english")
RATES = (150, 231)  # words a minute, the end excluded
PITCHES = (30, 71)


def require_packages() -> None:
    """Check the Debian packages that the corpus is made with.

    Raises:
        FreeBindError: One is missing; says what to install.
    """
    if not DICTIONARY.exists():
        raise FreeBindError("a word list is missing", where=DICTIONARY, fix="apt install wamerican")
    Speaker()
    find_fonts()


@dataclass(frozen=True)
class Part:
    """A folder of media files, made in one go by one process.

    Attributes:
        folder: Relative to the corpus.
        words: One a file.
        domains: Of audio, in turn; empty for images.
        seed: Of the part: files do not depend on what else is made.
    """

    folder: str
    words: tuple[str, ...]
    domains: tuple[Domain, ...]
    seed: tuple[int, int]


def choose_words(recipe: Recipe, seed: int) -> dict[str, list[str]]:
    """Return the words of ``train``, of the pools, of ``val`` and of ``test``; no two share one.

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
    parts = [[words[i] for i in order[e - n : e]] for n, e in zip(sizes, ends, strict=True)]
    return dict(zip(("train", "pool", "val", "test"), parts, strict=True))


def plan(recipe: Recipe, seed: int) -> tuple[dict[str, list[str]], list[Part]]:
    """Return every text file's lines, and every folder of media."""
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
    parts = [Part(where, tuple(w), d, (seed, 2 + i)) for i, (where, w, d) in enumerate(media)]
    return texts, parts


def media_name(row: int, word: str) -> str:
    """Return a file's name without its ending: sorted names are in the order of the rows."""
    return f"{row:05d}-{word}"


def make_corpus(
    root: Path, recipe: Recipe, seed: int, done: Callable[[str, int], None], workers: int = 2
) -> None:
    """Make every folder of the corpus that is not there yet.

    Args:
        root: Where the corpus goes.
        recipe: Its sizes.
        seed: Of words, pictures and voices.
        done: Told of each folder and its number of files.
        workers: Processes.
    """
    require_packages()
    texts, parts = plan(recipe, seed)
    for name, lines in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    wanted = [part for part in parts if not (root / part.folder).is_dir()]
    # One process a part: espeak-ng's noise depends on all that was said before.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), max_tasks_per_child=1)
    with pool as executor:
        for part in executor.map(_make_part, wanted, [root] * len(wanted), [recipe] * len(wanted)):
            done(part.folder, len(part.words))


def _make_part(part: Part, root: Path, recipe: Recipe) -> Part:
    rng = np.random.default_rng(part.seed)
    partial = root / f"{part.folder}.partial"
    partial.mkdir(parents=True, exist_ok=True)
    if part.domains:
        speaker = Speaker()
        for row, word in enumerate(part.words):
            wave = speak(speaker, word, part.domains[row % len(part.domains)], rng)
            path = partial / f"{media_name(row, word)}.wav"
            soundfile.write(path, wave, speaker.sample_rate, subtype="PCM_16")
    else:
        fonts = find_fonts()
        for row, word in enumerate(part.words):
            image = draw(word, fonts, recipe.image_noise, rng)
            image.save(partial / f"{media_name(row, word)}.png")
    partial.rename(root / part.folder)
    return part


def speak(
    speaker: Speaker, word: str, domain: Domain, rng: np.random.Generator
) -> Float32[np.ndarray, " samples"]:
    """Speak a word in some voice of a domain, over the domain's background.

    Args:
        speaker: Of this process.
        word: To be spoken.
        domain: Whose voices and background.
        rng: Decides voice, rate, pitch and background.

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
    """White noise through a one-pole filter: as of wind or of a street."""
    return lfilter([1.0], [1.0, -rng.uniform(0, 0.95)], rng.standard_normal(samples))


def _chords(samples: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Three notes of falling overtones, changed twice a word or so."""
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
