"""Compares our spaces with the similarities that FreeBind's authors print: parity/README.md.

    python -m parity.freebind --weights DIR --assets DIR

It needs the published weights of the encoders and the authors' released projectors.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy import ndarray

from encoders_torch.loading import load_encoder
from encoders_torch.released import read_families
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace
from fb_jax.fusion.released import products_from_released
from parity.checkpoints import PRODUCTS, find

COMMAND = "python -m parity.freebind"
PUBLISHED = Path(__file__).with_name("freebind.json")
ANCHOR = "imagebind_pp"
"""The demo never puts the tuned audio module into evaluation mode; this product decides alone."""

ASSETS = "https://github.com/zehanwang01/FreeBind, folder assets"
SHARPNESS = 10.0
"""Factor of the cosines before the softmax, in the authors' demo."""

MEDIA = {"audio": "recordings", "image": "pictures", "text": "texts"}
Rows = dict[str, dict[str, ndarray]]
"""Native space to modality to rows."""


@dataclass(frozen=True)
class Settings:
    """Compares our spaces with the similarities that FreeBind's authors print.

    Attributes:
        weights: Folder of the weights, as the folder checkpoints in FreeBind's README.
        assets: Folder of the recordings and pictures: assets of FreeBind's repository.
        device: Device of torch for the encoders.
        within: Largest difference that passes; the authors print four decimals.
        trust_remote_code: Allow the code in InternVL's folder to run; without it, the product
            that needs InternVL is left out.
    """

    weights: Path
    assets: Path
    device: str = "cpu"
    within: float = 0.005
    trust_remote_code: bool = False


def main() -> None:
    """Print the tables; exit with status 1 unless ImageBind++ agrees."""
    settings = tyro.cli(Settings, prog=COMMAND)
    try:
        passed = compare(settings)
    except FreeBindError as error:
        sys.exit(str(error))
    sys.exit(not passed)


def compare(settings: Settings) -> bool:
    """Print the tables of all products whose files are here; return whether ImageBind++ agrees.

    Raises:
        FreeBindError: No product's files are here, media are missing, or a file is damaged.
    """
    published = json.loads(PUBLISHED.read_text())
    items = _items(published, settings.assets)
    found = _here(settings, items)
    rows = _encode({s for name in found for s in PRODUCTS[name].encoders}, items, settings)
    agreed = {
        name: show(name, similarities(_space(name, settings.weights), rows), published, settings)
        for name in found
    }
    if ANCHOR not in agreed:
        print(f"NOT DECIDED: {ANCHOR} was not compared")
    return agreed.get(ANCHOR, False)


def _items(published: Mapping[str, Any], assets: Path) -> dict[str, list[Any]]:
    items = {m: list(published[name]) for m, name in MEDIA.items()}
    return items | {m: [assets / name for name in items[m]] for m in ("audio", "image")}


def _here(settings: Settings, items: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return the products whose files are all here; print what is missing, each file once."""
    lacking = {name: product.lacking(settings.weights) for name, product in PRODUCTS.items()}
    media = [path for m in ("audio", "image") for path in items[m] if not path.is_file()]
    _print_missing(settings.weights, dict.fromkeys(chain(*lacking.values())))
    _print_missing(settings.assets, [f"{path.name}: {ASSETS}" for path in media])
    here = []
    for name, product in PRODUCTS.items():
        if product.has_code and not settings.trust_remote_code:
            print(f"{name} is left out without --trust-remote-code: read InternVL's code first")
        elif lacking[name]:
            print(f"{name} is left out: files are missing")
        else:
            here.append(name)
    if media or not here:
        raise FreeBindError(
            "nothing can be compared",
            where=settings.assets if media else settings.weights,
            expected="the files above",
            fix="parity/README.md says how to get them",
        )
    return here


def _print_missing(folder: Path, missing: Collection[str]) -> None:
    if missing:
        print(f"Missing in {folder}{'' if folder.is_dir() else ', which is no folder'}:")
        print("\n".join(f"  {what}" for what in missing))


def _encode(spaces: set[str], items: Mapping[str, Sequence[Any]], settings: Settings) -> Rows:
    """Return the rows of all items, by one encoder after another: InternVL alone takes 28 GB."""
    rows: Rows = {}
    for space in sorted(spaces):
        print(f"{space} encodes ...", flush=True)
        options = {"trust_remote_code": True} if space == "internvl" else {}
        path = find(settings.weights, space)
        encoder = load_encoder(space, path, settings.device, **options)
        for modality in encoder.modalities:
            encoder.prepare(modality)
            reads = [encoder.read(modality, item) for item in items[modality]]
            rows.setdefault(space, {})[modality] = encoder.rows(modality, reads)
    return rows


def _space(name: str, weights: Path) -> FusedSpace:
    """Return a product of the authors' projectors."""
    families = read_families(weights, PRODUCTS[name].families)
    return products_from_released(families)[name]


def similarities(space: FusedSpace, rows: Rows) -> dict[str, dict[str, ndarray]]:
    """Return preset to pair of modalities to the table of the authors' demo."""
    return {preset: _tables(space.at(preset), rows) for preset in ("versatile", "at_expertise")}


def _tables(space: FusedSpace, rows: Rows) -> dict[str, ndarray]:
    fused = {
        modality: space.fuse(modality, {s: rows[s][modality] for s in space.spaces_of(modality)})
        for modality in MEDIA
    }
    pairs = (("audio", "image"), ("audio", "text"), ("image", "text"))
    return {f"{a} x {b}": table(fused[a], fused[b]) for a, b in pairs}


def table(left: ndarray, right: ndarray) -> ndarray:
    """Return the softmax of each row of ten times the cosines of unit rows."""
    powers = np.exp(SHARPNESS * (left.astype(np.float64) @ right.T.astype(np.float64)))
    return powers / powers.sum(axis=1, keepdims=True)


def show(
    name: str,
    ours: Mapping[str, Mapping[str, ndarray]],
    published: Mapping[str, Any],
    settings: Settings,
) -> bool:
    """Print our tables beside the authors'; return whether all numbers agree."""
    largest = 0.0
    for preset, tables in ours.items():
        for pair, mine in tables.items():
            theirs = np.array(published["matrices"][name][preset][pair])
            off = float(np.abs(mine - theirs).max())
            largest = max(largest, off)
            print(f"\n{name}, {preset}, {pair}: ours | theirs, largest difference {off:.4f}")
            for left, right in zip(mine, theirs, strict=True):
                print(f"  {_numbers(left)}  |  {_numbers(right)}")
    ok = largest <= settings.within
    verdict = ("pass" if ok else "FAIL") if name == ANCHOR else "a hint only, decides nothing"
    print(f"\n{name}: largest difference {largest:.4f}, allowed {settings.within}: {verdict}")
    return ok


def _numbers(row: ndarray) -> str:
    return " ".join(f"{number:.4f}" for number in row)


if __name__ == "__main__":
    main()
