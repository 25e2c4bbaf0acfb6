"""Copy the banks of a world into the package, where they are the default data of a run.

python -m examples.word_world.ship --world build/word_world/seed-0
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tyro

from examples.word_world.targets import TARGETS
from fb_jax import files
from fb_jax.banks import open_split, splits, verify_split
from fb_jax.errors import FreeBindError
from fb_jax.process import run_command
from fb_jax.run import default

MOST_BYTES = 25_000_000
PACKAGES = ("pillow", "scipy", "soundfile", "soxr")
DEBIAN = (
    *("wamerican", "libespeak-ng1", "espeak-ng-data"),
    *("fonts-dejavu-core", "fonts-dejavu-extra", "fonts-liberation", "fonts-freefont-ttf"),
)
LICENCES = {
    "wamerican (words)": "public domain and permissive: /usr/share/doc/wamerican/copyright",
    "espeak-ng (voices)": "GPL-3.0-or-later; does not cover the speech that it makes",
    "DejaVu fonts": "Bitstream Vera licence, changes in the public domain",
    "Liberation fonts": "GPL-2.0 with font exception, as in Debian 12",
    "GNU FreeFont": "GPL-3.0-or-later with font exception",
    "encoders and embeddings": "Apache-2.0, like this repository",
}


@dataclass(frozen=True)
class ShipConfig:
    """Replace the banks that come with the package."""

    world: Path
    """Folder of a finished world, such as build/word_world/seed-0."""

    out: Path = default.HOME
    """Folder of the word world in the package."""


def main() -> None:
    """Run the command."""
    run_command(lambda: ship(tyro.cli(ShipConfig)))


def ship(config: ShipConfig) -> None:
    """Copy the banks, and record their origin in ``about.json``.

    Raises:
        FreeBindError: The world is unfinished, too large, or not of the full recipe.
    """
    world, source = files.read_json(config.world / "world.json"), config.world / "banks"
    about = _about(world, files.read_json(config.world / "metrics.json"))
    size = files.folder_bytes(source)
    if size > MOST_BYTES or world["name"] != "full":
        raise FreeBindError(
            "this world cannot be shipped",
            where=config.world,
            expected=f"the full recipe, at most {files.gigabytes(MOST_BYTES)}",
            got=f"{world['name']}, {files.gigabytes(size)}",
        )
    for name in splits(source):
        verify_split(open_split(source, name))
    copy = config.out / "banks.partial"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns(".*"))
    shutil.rmtree(config.out / "banks", ignore_errors=True)
    copy.rename(config.out / "banks")
    files.write_json(config.out / "about.json", about)
    print(f"{files.gigabytes(size)} in {config.out / 'banks'}")


def _about(world: dict[str, Any], metrics: dict[str, Any]) -> dict[str, Any]:
    return {
        "what": "embeddings of words written, drawn and spoken, by small encoders",
        "made_by": f"python -m examples.word_world --seed {world['seed']}",
        "seed": world["seed"],
        "versions": metrics["versions"] | {name: version(name) for name in PACKAGES},
        "debian": _debian_versions(),
        "licences": LICENCES,
        "targets": files.read_json(TARGETS),
        "scores": metrics["spaces"],
        "recipe": world["recipe"],
        "voices": world["voices"],
    }


def _debian_versions() -> dict[str, str]:
    """Return the versions of the Debian packages, from dpkg."""
    command = ["dpkg-query", "--show", "--showformat", "${Package} ${Version}\\n", *DEBIAN]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(line.split() for line in listed.splitlines())


if __name__ == "__main__":
    main()
