"""Copy the banks of a world into the package, where they are the default data of a run.

python -m examples.word_world.ship --world build/word_world/seed-0
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tyro

from examples.word_world.targets import TARGETS, Scores
from fb_jax import files
from fb_jax.banks import open_split, splits, verify_split
from fb_jax.errors import FreeBindError
from fb_jax.process import run_command
from fb_jax.run import default

PACKAGES = ("freebind-jax", "jax", "torch", "numpy", "pillow", "scipy", "soundfile", "soxr")
DEBIAN = (
    *("libespeak-ng1", "espeak-ng-data"),
    *("fonts-dejavu-core", "fonts-dejavu-extra", "fonts-liberation", "fonts-freefont-ttf"),
)
LICENCES = {
    "espeak-ng (voices)": "GPL-3.0-or-later; does not cover the speech that it makes",
    "DejaVu fonts": "Bitstream Vera licence, changes in the public domain",
    "Liberation fonts": "GPL-2.0 with font exception, as in Debian 12",
    "GNU FreeFont": "GPL-3.0-or-later with font exception",
    "encoders and embeddings": "Apache-2.0, like this repository",
}


@dataclass(frozen=True)
class Shipment:
    """A world that comes with the package.

    Attributes:
        name: Its name in the package and in ``examples``.
        what: What its banks hold.
        targets: File with the targets of its spaces.
        most_bytes: Most bytes of its banks.
        debian: Debian packages that it was made with.
        licences: Ingredient to licence.
    """

    name: str
    what: str
    targets: Path
    most_bytes: int
    debian: tuple[str, ...] = DEBIAN
    licences: Mapping[str, str] = field(default_factory=lambda: LICENCES)


WORDS = Shipment(
    default.DEFAULT,
    "embeddings of words written, drawn and spoken, by small encoders",
    TARGETS,
    25_000_000,
    ("wamerican", *DEBIAN),
    {
        "wamerican (words)": "public domain and permissive: /usr/share/doc/wamerican/copyright",
        **LICENCES,
    },
)


def main(shipment: Shipment = WORDS) -> None:
    """Run the command."""
    name = shipment.name

    def command(world: Path, out: Path | None = None) -> None:
        """Replace the banks that come with the package.

        Args:
            world: Folder of a finished world, such as build/WORLD/seed-0.
            out: Folder of the world; by default the one in the package.
        """
        ship(world, out or default.home(name), shipment)

    run_command(lambda: tyro.cli(command, prog=f"python -m examples.{name}.ship"))


def ship(folder: Path, out: Path, shipment: Shipment = WORDS) -> None:
    """Copy the banks, and record their origin in ``about.json``.

    Raises:
        FreeBindError: The world is unfinished, too large, or not of the full recipe.
    """
    world, source = files.read_json(folder / "world.json"), folder / "banks"
    about = _about(shipment, world, files.read_json(folder / "scores.json"))
    size = files.folder_bytes(source)
    if size > shipment.most_bytes or world["name"] != "full":
        raise FreeBindError(
            "this world cannot be shipped",
            where=folder,
            expected=f"the full recipe, at most {files.gigabytes(shipment.most_bytes)}",
            got=f"{world['name']}, {files.gigabytes(size)}",
        )
    for name in splits(source):
        verify_split(open_split(source, name))
    copy = out / "banks.partial"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns(".*"))
    shutil.rmtree(out / "banks", ignore_errors=True)
    copy.rename(out / "banks")
    files.write_json(out / "about.json", about)
    print(f"{files.gigabytes(size)} in {out / 'banks'}")


def _about(shipment: Shipment, world: dict[str, Any], scores: Scores) -> dict[str, Any]:
    return {
        "what": shipment.what,
        "made_by": f"python -m examples.{shipment.name} --seed {world['seed']}",
        "seed": world["seed"],
        "versions": {name: version(name) for name in PACKAGES},
        "debian": _debian_versions(shipment.debian),
        "licences": dict(shipment.licences),
        "targets": files.read_json(shipment.targets),
        "scores": scores,
        "recipe": world["recipe"],
        "voices": world["voices"],
    }


def _debian_versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of Debian packages, from dpkg."""
    command = ["dpkg-query", "--show", "--showformat", "${Package} ${Version}\\n", *packages]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(line.split() for line in listed.splitlines())


if __name__ == "__main__":
    main()
