"""ImageNet 2012, validation: 50,000 pictures in 1000 classes.

Classes are in the order of the sorted WordNet ids, as in every framework. The development kit
numbers them 1 to 1000 in another order; ``meta.mat`` says which WordNet id a number means.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fb_jax import files
from fb_jax.datasets.dataset import DataSet, Entry, Listing
from fb_jax.datasets.lists import first_in, list_in, read_rows
from fb_jax.datasets.open_clip import OPEN_CLIP
from fb_jax.errors import FreeBindError

WORDNET = re.compile(r"n\d{8}")
PICTURES = 50000
FIRST = "n01751748"
"""WordNet id of the first picture, a sea snake: number 490 of the kit, and 65 after sorting."""

KAGGLE = ("LOC_val_solution.csv", "ILSVRC/LOC_val_solution.csv")
TRUTH = "data/ILSVRC2012_validation_ground_truth.txt"
META = "data/meta.mat"
KITS = ("ILSVRC2012_devkit_t12/", "")
FOLDERS = ("val", "ILSVRC2012_img_val", "ILSVRC/Data/CLS-LOC/val", "")


def read(root: Path, subset: str) -> Listing:
    """Read the labels from Kaggle's list, from the development kit, or from WordNet folders.

    Pictures are in the order of their numbers, whichever list is there.

    Raises:
        FreeBindError: None is there, or the labels have another numbering.
    """
    if path := first_in(root, *KAGGLE):
        labels, words = _kaggle(path)
    elif path := first_in(root, *(kit + TRUTH for kit in KITS)):
        labels, words = _kit(path)
    else:
        path, labels, words = _folders(root)
    names = {picture: (f"{label}/{picture}", picture) for picture, label in labels.items()}
    entries = [Entry(p, {"image": names[p]}, labels=(labels[p],)) for p in sorted(labels)]
    return Listing(path, entries, {wordnet: words[wordnet] for wordnet in sorted(words)})


def _kaggle(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return picture to WordNet id, and WordNet id to its first word."""
    mapping = list_in(path.parent, "LOC_synset_mapping.txt")
    lines = (line.partition(" ") for line in files.read_lines(mapping))
    words = {wordnet: _first_word(rest) for wordnet, _, rest in lines}
    rows = read_rows(path, "ImageId", "PredictionString")
    labels = {row["ImageId"]: row["PredictionString"].partition(" ")[0] for row in rows}
    if strange := sorted(set(labels.values()) - set(words)):
        raise FreeBindError(
            "a label is no class", where=path, expected=f"ids of {mapping.name}", got=strange[0]
        )
    return labels, words


def _kit(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the same from the development kit: line i is the number of picture i."""
    meta = list_in(path.parents[1], META)
    synsets = _read_meta(meta)
    numbers = [line.strip() for line in files.read_lines(path) if line.strip()]
    wordnets = [synsets.get(number, ("", ""))[0] for number in numbers]
    whole = len(numbers) == PICTURES
    if "" in wordnets or (whole and wordnets[0] != FIRST):
        raise FreeBindError(
            "these labels have another numbering",
            where=path,
            expected=f"numbers of the development kit, 1 to {len(synsets)}; 490 for the first "
            "picture, a sea snake",
            got=numbers[wordnets.index("") if "" in wordnets else 0],
            fix="take the file of ILSVRC2012_devkit_t12.tar.gz; numbers of sorted WordNet ids "
            "would give nearly every picture a wrong class",
        )
    pictures = (f"ILSVRC2012_val_{number:08d}" for number in range(1, len(numbers) + 1))
    return dict(zip(pictures, wordnets, strict=True)), dict(synsets.values())


def _read_meta(path: Path) -> dict[str, tuple[str, str]]:
    """Return the number of each class, not of inner nodes, to its WordNet id and first word."""
    from scipy.io import loadmat

    with files.explained("meta.mat cannot be read", path), files.open_regular(path) as file:
        synsets: Mapping[str, Any] = loadmat(file, squeeze_me=True)["synsets"]
        columns = (synsets[n] for n in ("ILSVRC2012_ID", "WNID", "words", "num_children"))
        rows = list(zip(*(column.tolist() for column in columns), strict=True))
    return {str(n): (str(wn), _first_word(str(w))) for n, wn, w, children in rows if not children}


def _folders(root: Path) -> tuple[Path, dict[str, str], dict[str, str]]:
    """Return the folder that holds WordNet folders, and the same of these, which have no words."""
    for name in FOLDERS:
        found = sorted(p for p in (root / name).glob("n*") if WORDNET.fullmatch(p.name))
        if found:
            pictures = ((p.stem, folder.name) for folder in found for p in folder.glob("*_val_*"))
            return root / name, dict(pictures), {folder.name: "" for folder in found}
    raise FreeBindError(
        "there are no labels of ImageNet here",
        where=root.absolute(),
        expected=f"{KAGGLE[0]} with LOC_synset_mapping.txt, {TRUTH} with {META}, or folders of "
        "WordNet ids such as val/n01440764",
        fix="docs/datasets.md says where they come from",
    )


def _first_word(words: str) -> str:
    return words.partition(",")[0].strip()


IMAGENET = DataSet(
    title="ImageNet 2012, validation",
    read=read,
    subsets={"val": PICTURES},
    folders={"image": FOLDERS},
    paper={"image": PICTURES},
    source="https://image-net.org",
    licence="non-commercial research and education (unconfirmed)",
    templates=("clip",),
    class_names=OPEN_CLIP,
)
