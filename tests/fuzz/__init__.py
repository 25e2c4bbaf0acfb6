"""What a damaged or hostile file does to every reader: nothing but a FreeBindError.

A target is a sound file and the code that reads it. ``python -m fuzz`` runs them under atheris,
which follows the branches that an input reaches; tests/files/test_fuzz.py mutates them at random.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import safetensors.numpy
import torch
from made import random_product

from fb_jax import files
from fb_jax.banks import (
    Bank,
    Split,
    Synthetic,
    open_banks,
    open_split,
    remove_items,
    verify_split,
    write_synthetic,
)
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace
from fb_jax.importing import import_bank, import_pairs, list_items, open_matrix
from fb_jax.run.metrics import read_figures
from fb_jax.run.parsing import parse_config
from fb_jax.run.provenance import read_provenance
from fb_jax.run.recipe import read_product
from fb_jax.training import load_bond, read_log

IDENTITY = {"seed": 0, "banks": ["a"]}
LINE = '{"step": 1, "losses": {"T": 1.5}, "rows_per_second": 9.5}\n'
MOST_CHARACTERS = 10_000
BANK, PAIRS = "test/embeddings/clap_general/text", "test/pairs/audio-text"


class Target(NamedTuple):
    """A reader.

    Attributes:
        file: The file that is mutated, in the home of all targets.
        read: Reads it, given its path.
    """

    file: str
    read: Callable[[Path], object]


def _verify_bank(path: Path) -> None:
    Bank.open(path.parent).verify()


def _pairs(path: Path) -> object:
    return open_split(path.parents[2], "test").read_pairs("audio", "text")


def _imported(path: Path, **options: object) -> None:
    split = Split(path.parent / "imported" / "test")
    shutil.rmtree(split.path.parent, ignore_errors=True)
    matrix = path if path.suffix in (".npy", ".safetensors") else path.with_name("matrix.npy")
    import_bank(split, "house", "text", matrix, **options)  # type: ignore[arg-type]


def _matrix(path: Path) -> None:
    open_matrix(path)[:]


def _pairs_of(path: Path) -> None:
    import_pairs(Split(path.parent / "test"), "audio", "text", path)


def _config(path: Path) -> None:
    with suppress(SystemExit):  # how a command says what an option expects
        parse_config(["--config", str(path), "--data", "banks"])


TARGETS = {
    "manifest": Target(f"{BANK}/manifest.json", _verify_bank),
    "shard": Target(f"{BANK}/emb_00000.npy", _verify_bank),
    "items": Target("test/items/text.jsonl", lambda p: verify_split(Split(p.parents[1]))),
    "removed rows": Target(
        "test/items/image.removed.json",
        lambda p: open_banks(p.parents[2], "test", spaces=["imagebind"]),
    ),
    "pairs": Target(f"{PAIRS}.npy", _pairs),
    "record of pairs": Target(f"{PAIRS}.json", _pairs),
    "matrix.npy": Target("matrix.npy", _imported),
    "matrix.safetensors": Target("matrix.safetensors", open_matrix),
    **{
        name: Target(name, _matrix)
        for name in ("m.npz", "packed.npz", "m.pt", "m.parquet", "m.arrow")
    },
    "captions": Target("captions.txt", lambda p: _imported(p, items=p)),
    "item list": Target("items.jsonl", lambda p: _imported(p, items=p)),
    "items.csv": Target("items.csv", lambda p: _imported(p, items=p)),
    "items.parquet": Target("m.parquet", lambda p: list(list_items(p) or ())),
    "pairs.jsonl": Target("pairs.jsonl", _pairs_of),
    "csv": Target("pairs.csv", _pairs_of),
    "space": Target("space/space.json", lambda p: FusedSpace.load(p.parent)),
    "weights": Target("space/weights.safetensors", lambda p: FusedSpace.load(p.parent)),
    "card": Target("space/README.md", lambda p: FusedSpace.load(p.parent)),
    "claim": Target("claim/claim.json", lambda p: files.claim(p, IDENTITY, "pairs")),
    "bond": Target("bond/bond.json", lambda p: load_bond(p.parent)),
    "log": Target("metrics.jsonl", lambda p: list(read_log(p))),
    "provenance": Target("provenance.json", lambda p: read_provenance(p, p.with_name("run.json"))),
    "figures": Target("metrics.json", lambda p: read_figures(p, random_product())),
    "product": Target("mine.yaml", lambda p: read_product(str(p))),
    "config": Target("config.yaml", _config),
}


def make_home(home: Path) -> None:
    """Write a sound file for every target."""
    write_synthetic(home, Synthetic(pool=8, evaluation={"test": 8}, shard_rows=5))
    remove_items(Split(home / "test"), "image", ["synthetic-test-image-3"])
    np.save(home / "matrix.npy", np.eye(4, dtype=np.float32))
    matrix = {"x": np.eye(4, dtype=np.float32)}
    (home / "matrix.safetensors").write_bytes(safetensors.numpy.save(matrix))
    np.savez(home / "m.npz", np.eye(4))
    np.savez_compressed(home / "packed.npz", np.eye(4))
    torch.save({"x": torch.eye(4)}, home / "m.pt")
    table = pa.table({"id": ["a", "b"], "text": ["x", None], "v": [[1.0, 2.0], [3.0, 4.0]]})
    pyarrow.parquet.write_table(table, home / "m.parquet")
    pyarrow.feather.write_feather(table, str(home / "m.arrow"))
    (home / "items.csv").write_text('id,text\na,x\nb,\nc,"y\nz"\nd,v\n')
    (home / "pairs.jsonl").write_text('{"a": 0, "b": [1, 2]}\n{"a": 1, "b": 0}\n')
    (home / "captions.txt").write_text("a cat\na dog\nFüße\nrain\n", encoding="utf-8")
    (home / "items.jsonl").write_text(
        "".join(f'{{"id": "{i}", "x": [1.5, null]}}\n' for i in "abcd")
    )
    (home / "pairs.csv").write_text("0,1\n1,0\n2,2\n")
    product = random_product()
    product.save(home / "space", metrics={"test": {"versatile": {"audio-text": {"R@1": 1.0}}}})
    files.claim(home / "claim" / "claim.json", IDENTITY, "pairs")
    bond = {"format": "freebind-bond", "form": product.last.bonds[0].spec.to_json(), "steps": 3}
    files.write_json(home / "bond" / "bond.json", bond)
    (home / "metrics.jsonl").write_text(LINE * 3)
    banks = {"pool": {"imagebind/text": "0" * 64}}
    files.write_json(home / "provenance.json", {"data": "banks", "banks": banks, "dim": None})
    figures = {"versatile": {"audio-text": {"R@1": 37.4}}}
    files.write_json(home / "metrics.json", {"retrieval": {"test": figures}})
    (home / "mine.yaml").write_text(
        "unified: imagebind\nbond: combination\nexperts: [clap_general]\n"
        "factors: {audio: 0.5, text: 0.1}\ndim: 192\n"
    )
    (home / "config.yaml").write_text(
        "store: &s pairs\nout: *s\ntraining: {batch: 10, epochs: 2, learning_rate: 1.0e-3}\n"
    )


def seeds(target: Target, home: Path) -> list[bytes]:
    """Return contents to start from: the sound file, and JSON without its digest of itself."""
    content = (home / target.file).read_bytes()
    if not target.file.endswith(".json"):
        return [content]
    plain = files.read_json(home / target.file)
    return [content, files.canonical_json(plain)]


def attempt(target: Target, home: Path, content: bytes) -> bool:
    """Put a content in the place of a target's file and read it.

    Returns:
        Whether it was read; False if it was refused with our error, of bounded length.
    """
    path = home / target.file
    path.write_bytes(content)
    try:
        target.read(path)
    except FreeBindError as error:
        if len(str(error)) > MOST_CHARACTERS:
            raise AssertionError("a message without bound") from error
        return False
    return True
