"""Put the banks of a world where ``train.py`` finds them without ``--data``: in the package.

python -m examples.word_world.ship --world build/word_world/seed-0
"""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import tyro

from examples.word_world.recipe import DOMAINS, RECIPES
from examples.word_world.targets import TARGETS
from fb_jax.banks import files, open_split, splits, verify_split
from fb_jax.console import run_command
from fb_jax.errors import FreeBindError
from fb_jax.run import default

MOST_BYTES = 25_000_000
PACKAGES = ("pillow", "scipy", "soundfile", "soxr")
DEBIAN = (
    *("wamerican", "libespeak-ng1", "espeak-ng-data"),
    *("fonts-dejavu-core", "fonts-dejavu-extra", "fonts-liberation", "fonts-freefont-ttf"),
)
LICENCES = {
    "wamerican (words)": "public domain and permissive: /usr/share/doc/wamerican/copyright",
    "espeak-ng (voices)": "GPL-3.0-or-later; what it says is not covered",
    "DejaVu fonts": "Bitstream Vera licence, changes in the public domain",
    "Liberation fonts": "GPL-2.0 with font exception, as in Debian 12",
    "GNU FreeFont": "GPL-3.0-or-later with font exception",
    "encoders and embeddings": "Apache-2.0, as this repository",
}


@dataclass(frozen=True)
class ShipConfig:
    """Replace the banks that come with the package."""

    world: Path
    """Folder of a finished world, as build/word_world/seed-0."""

    out: Path = default.HOME
    """The package's folder of the word world."""


def main() -> None:
    """Run the command."""
    run_command(lambda: ship(tyro.cli(ShipConfig)))


def ship(config: ShipConfig) -> None:
    """Copy the banks, and write what they were made from to ``about.json``.

    Raises:
        FreeBindError: The world is unfinished, or too large to ship.
    """
    metrics, source = files.read_json(config.world / "metrics.json"), config.world / "banks"
    if (size := files.folder_bytes(source)) > MOST_BYTES:
        raise FreeBindError("too large to ship", where=source, expected=MOST_BYTES, got=size)
    for name in splits(source):
        verify_split(open_split(source, name))
    made = files.read_json(config.world / "world.json")
    shutil.rmtree(config.out / "banks", ignore_errors=True)
    shutil.copytree(source, config.out / "banks", ignore=shutil.ignore_patterns(".lock"))
    about = {
        "what": "embeddings of words written, drawn and spoken, by small encoders",
        "made_by": f"python -m examples.word_world --seed {made['seed']}",
        "seed": made["seed"],
        "versions": metrics["versions"] | {name: version(name) for name in PACKAGES},
        "debian": _debian_versions(),
        "licences": LICENCES,
        "targets": files.read_json(TARGETS),
        "scores": metrics["spaces"],
        "recipe": dataclasses.asdict(RECIPES[made["recipe"]]),
        "voices": {name: dataclasses.asdict(voices) for name, voices in DOMAINS.items()},
    }
    files.write_json(config.out / "about.json", about)
    print(f"{files.gigabytes(size)} in {config.out / 'banks'}")


def _debian_versions() -> dict[str, str]:
    """Return the versions of the packages that media are made with, from dpkg."""
    command = ["dpkg-query", "--show", "--showformat", "${Package} ${Version}\\n", *DEBIAN]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(line.split() for line in listed.splitlines())


if __name__ == "__main__":
    main()
