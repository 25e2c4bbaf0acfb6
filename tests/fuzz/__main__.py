"""Fuzz every reader, guided by coverage: ``make fuzz SECONDS=600``.

python -m fuzz --seconds 600           every target in turn, in a process each
python -m fuzz --seconds 600 space     these alone
"""

from __future__ import annotations

import argparse
import logging
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["fb_jax", "yaml", "safetensors", "numpy.lib"]):
    import fuzz


def main() -> None:
    """Run the targets and print what was tried; exit with 1 if anything but our error came."""
    parser = argparse.ArgumentParser()
    parser.add_argument("targets", nargs="*", default=list(fuzz.TARGETS))
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        _fuzz(fuzz.TARGETS[asked.targets[0]], asked.seconds)
        return
    share = max(1, asked.seconds // len(asked.targets))
    sys.exit(max([_run(name, share) for name in asked.targets]))


def _run(name: str, seconds: int) -> int:
    """Fuzz one target in a process of its own; print a line."""
    command = [sys.executable, "-m", "fuzz", "--one", "--seconds", str(seconds), name]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    tried = re.search(r"number_of_executed_units: *(\d+)", done.stderr)
    print(f"{name:<20} {tried[1] if tried else '?':>9} inputs, exit {done.returncode}", flush=True)
    if done.returncode:
        print(done.stderr[-4000:])
    return min(done.returncode, 1) if done.returncode >= 0 else 1


def _fuzz(target: fuzz.Target, seconds: int) -> None:
    logging.getLogger("freebind").addHandler(logging.NullHandler())
    with tempfile.TemporaryDirectory() as folder:
        home, corpus = Path(folder) / "home", Path(folder) / "corpus"
        corpus.mkdir()
        fuzz.make_home(home)
        for number, seed in enumerate(fuzz.seeds(target, home)):
            (corpus / str(number)).write_bytes(seed)
        limits = [f"-max_total_time={seconds}", "-timeout=30", "-rss_limit_mb=3000"]
        options = ["-print_final_stats=1", f"-artifact_prefix={tempfile.gettempdir()}/fuzz-"]
        atheris.Setup(
            [sys.argv[0], *limits, *options, "-max_len=20000", str(corpus)],
            lambda content: fuzz.attempt(target, home, content) and None,
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
