"""The nine data sets in their official layouts, each with a few small files that can be read."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import scipy.io
import soundfile
from PIL import Image

RATE = 8000
CLIPS = ("-BC_1234567", "Yabcdefghij", "0123456789_")


def wav(*paths: Path) -> None:
    """Write recordings that differ in loudness."""
    for number, path in enumerate(paths, 1):
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.sin(np.arange(800)) * number / 8, RATE)


def picture(*paths: Path) -> None:
    """Write pictures that differ in colour."""
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 40 * number, np.uint8)).save(path, "JPEG")


def rows(path: Path, *lines: Sequence[object]) -> None:
    """Write a list of cells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(lines)


def audiocaps(root: Path) -> None:
    """Captions of a clip are not adjacent; files have three of the usual names."""
    header = ("audiocap_id", "youtube_id", "start_time", "caption")
    spoken = [f"{word} number {k}, loud" for k in range(2) for word in ("Rain", "Wind", "Dogs")]
    lines = [(n, CLIPS[n % 3], 30, caption) for n, caption in enumerate(spoken)]
    rows(root / "dataset/test.csv", header, *lines)
    wav(*(root / "audio" / name for name in (f"{CLIPS[0]}.wav", f"Y{CLIPS[1]}.wav")))
    wav(root / f"audio/{CLIPS[2]}_30.flac")


def clotho(root: Path) -> None:
    """Names hold commas, dots and accents."""
    names = ("Rain, heavy (1).wav", "a.b.c.wav", "Café.wav")
    header = ("file_name", *(f"caption_{k}" for k in range(1, 6)))
    lines = [(name, *(f"{name[:3]} number {k}, loud" for k in range(5))) for name in names]
    rows(root / "clotho_captions_evaluation.csv", header, *lines)
    wav(*(root / "evaluation" / name for name in names))


def vggss(root: Path) -> None:
    """Boxes are there, and not needed."""
    clips = [f"{clip}_000030" for clip in CLIPS]
    marked = [{"file": clip, "class": "dog", "bbox": [[0, 0, 1, 1]]} for clip in clips]
    (root / "metadata").mkdir(parents=True)
    (root / "metadata/vggss.json").write_text(json.dumps(marked))
    wav(*(root / f"audio/{clip}.wav" for clip in clips))
    picture(*(root / f"frames/{clip}.jpg" for clip in clips))


def flickrnet(root: Path) -> None:
    """The ids are the names of the annotations."""
    ids = ("10000130166", "10007936344", "999")
    (root / "Annotations").mkdir(parents=True)
    for name in ids:
        (root / f"Annotations/{name}.xml").write_text("<annotation/>")
    wav(*(root / f"audio/{name}.wav" for name in ids))
    picture(*(root / f"frames/{name}.jpg" for name in ids))


def karpathy(dataset: str, images: Iterable[dict[str, object]]) -> str:
    """Return a list of Karpathy's."""
    return json.dumps({"images": list(images), "dataset": dataset})


def sentences(word: str, count: int = 5) -> list[dict[str, object]]:
    """Return captions as Karpathy has them."""
    return [{"raw": f" {word}, {k}. ", "tokens": [word], "sentid": k} for k in range(count)]


def coco(root: Path) -> None:
    """One picture has six captions, and one is of another split."""
    numbers = {391895: 5, 42: 6, 7: 5, 9: 5}
    images = [
        {
            "filepath": "val2014",
            "filename": f"COCO_val2014_{number:012d}.jpg",
            "cocoid": number,
            "imgid": 0,
            "split": "train" if number == 9 else "test",
            "sentences": sentences(f"A picture of {number}", count),
        }
        for number, count in numbers.items()
    ]
    root.mkdir(parents=True)
    (root / "dataset_coco.json").write_text(karpathy("coco", images))
    picture(*(root / "val2014" / str(image["filename"]) for image in images))


def flickr30k(root: Path) -> None:
    """Three pictures with five captions each."""
    names = [f"100{k}.jpg" for k in range(3)]
    images = [{"filename": n, "split": "test", "sentences": sentences(n)} for n in names]
    root.mkdir(parents=True)
    (root / "dataset_flickr30k.json").write_text(karpathy("flickr30k", images))
    picture(*(root / "flickr30k-images" / name for name in names))


def esc50(root: Path) -> None:
    """Two of three clips are of one class."""
    header = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
    lines = [
        ("1-100032-A-0.wav", 1, 0, "dog", True, 100032, "A"),
        ("1-17295-A-29.wav", 1, 29, "drinking_sipping", False, 17295, "A"),
        ("5-9032-A-0.wav", 5, 0, "dog", True, 9032, "A"),
    ]
    rows(root / "meta/esc50.csv", header, *lines)
    wav(*(root / "audio" / line[0] for line in lines))


def audioset(root: Path) -> None:
    """One clip has two labels; no clip has the third class."""
    names = [(0, "/m/09x0r", "Speech"), (1, "/m/0k4j", "Car"), (2, "/t/dd00088", "Gush, x")]
    rows(root / "class_labels_indices.csv", ("index", "mid", "display_name"), *names)
    labels = ("/m/0k4j", "/m/09x0r,/m/0k4j", "/m/09x0r")
    lines = [f'{c}, 30.000, 40.000, "{x}"' for c, x in zip(CLIPS, labels, strict=True)]
    comments = ["# Segments csv created", "# num_ytids=3", "# YTID, start_seconds, end_seconds"]
    (root / "eval_segments.csv").write_text("\n".join([*comments, *lines]) + "\n")
    names_of_files = (CLIPS[0], f"Y{CLIPS[1]}_30000_40000", f"Y{CLIPS[2]}")
    wav(*(root / f"eval/{name}.wav" for name in names_of_files))


SYNSETS = [  # number in the kit, WordNet id, words, children
    (1, "n02119789", "kit fox, Vulpes macrotis", 0),
    (2, "n01440764", "tench, Tinca tinca", 0),
    (3, "n01751748", "sea snake", 0),
    (4, "n00001740", "entity", 3),
]


def imagenet(root: Path, truth: Sequence[int] = (3, 1, 2, 3)) -> None:
    """Numbers of the kit are not in the order of the sorted WordNet ids: 2 is the first."""
    kit = root / "ILSVRC2012_devkit_t12/data"
    kit.mkdir(parents=True, exist_ok=True)
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    synsets = np.array(SYNSETS, dtype=kinds).reshape(-1, 1)
    scipy.io.savemat(kit / "meta.mat", {"synsets": synsets})
    text = "".join(f"{number}\n" for number in truth)
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text(text)
    picture(*(root / f"val/ILSVRC2012_val_{k:08d}.JPEG" for k in range(1, len(truth) + 1)))


LAYOUTS = {
    "audiocaps": audiocaps,
    "clotho": clotho,
    "vggss": vggss,
    "flickrnet": flickrnet,
    "coco": coco,
    "flickr30k": flickr30k,
    "esc50": esc50,
    "audioset": audioset,
    "imagenet": imagenet,
}
"""Writes a data set below a folder, by its name."""
