from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made import random_bond, routed

from fb_jax.banks import (
    BankAbout,
    BankSet,
    Encoder,
    Split,
    bank_writer,
    open_banks,
    unit_rows,
    write_items,
)
from fb_jax.fusion import DirectSum, FusedSpace, by_spaces, sources, with_basis, write_fused
from fb_jax.projector import BondKind

DIMS = {"u": 16, "e": 12, "f": 8}
COUNTS = {"test": {"text": 40, "image": 23, "audio": 31}, "val": {"text": 7, "audio": 5}}
MISSING = {("test", "e", "audio"): [0, 30], ("test", "u", "audio"): [4], ("test", "u", "text"): [5]}
LICENCES = {"u": "CC-BY-NC-SA-4.0", "e": "CC0-1.0", "f": "unknown"}
CONTENT = {"text": "caption", "image": "path", "audio": "path"}


def random_space(
    kind: BondKind,
    experts: Sequence[str] = ("e",),
    own: tuple[str, ...] = ("text", "image", "audio"),
) -> FusedSpace:
    """A space of u, with its own modalities, and experts for audio and text; never trained."""
    shared = ("text", "audio")
    bonds = [
        random_bond(kind, ("u", DIMS["u"]), (name, DIMS[name]), shared, seed, own)
        for seed, name in enumerate(experts)
    ]
    return FusedSpace.of(*bonds)


@pytest.fixture(scope="session")
def spaces() -> dict[str, FusedSpace]:
    """A space of every kind; direct sums, ``both`` and routed spaces have two experts."""
    both, direct = (random_space(kind, ("e", "f")) for kind in ("combination", "direct_sum"))
    basis = np.linalg.qr(np.random.default_rng(3).normal(size=(36, 20)))[0].astype(np.float32)
    bare = both.with_last(replace(both.last, unit_experts=False))
    return {
        "combination": random_space("combination"),
        "both": both,
        "displacement": random_space("displacement"),
        "direct_sum": direct,
        "routed sum": routed(direct, "small", "text", "audio"),
        "routed cut": routed(with_basis(direct, basis), "omnibind", "audio"),
        "routed both": routed(both, "small", "audio"),
        "routed, bare": routed(bare, "omnibind", "audio"),
        "cmcr": random_space("cmcr", own=("text", "image")),
        "exmcr": random_space("exmcr", ("e", "f"), ("text", "image")),
    }


def write_bank(split: Split, space: str, modality: str, count: int) -> None:
    rng = np.random.default_rng([*map(ord, split.name + space + modality)])
    missing = np.array(MISSING.get((split.name, space, modality), []), np.int64)
    rows = unit_rows(rng.normal(size=(count, DIMS[space])))
    rows[missing] = 0
    content = CONTENT[modality]
    items = write_items(
        split.items_path(modality),
        [{"id": f"{modality}/{i} 'ü", content: f"{content} {i}"} for i in range(count)],
    )
    encoder = Encoder(f"encoder {space}", "0" * 64, LICENCES[space])
    about = BankAbout(space, modality, encoder, items.digest, missing)
    form = {"dim": DIMS[space], "count": count, "dtype": "float32"}
    with bank_writer(split.bank_path(space, modality), about, **form) as writer:
        writer.append(rows)


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory, spaces: dict[str, FusedSpace]) -> Path:
    """A bank root with gaps: spaces u, e and f, and u+e fused. Read only."""
    root = tmp_path_factory.mktemp("house")
    for split, counts in COUNTS.items():
        for modality, count in counts.items():
            for space in ("u",) if modality == "image" else DIMS:
                write_bank(Split(root / split), space, modality, count)
        banks = open_banks(root, split, spaces=["u", "e"])
        write_fused(spaces["combination"], banks, root, "u+e", dtype="float32")
    return root


@pytest.fixture(scope="session")
def banks_of(house: Path) -> Callable[..., BankSet]:
    """Open all native spaces of a fused space over a split."""
    return lambda space, split="test": open_banks(house, split, spaces=space.spaces)


@pytest.fixture(scope="session")
def fused_items() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Fuse the items of a modality: their rows, and the fused rows."""

    def fused_items(space: FusedSpace, banks: BankSet, modality: str):
        direct = isinstance(space.last, DirectSum)
        groups = [banks] if direct else by_spaces(space, banks, modality)
        rows = np.concatenate([group.rows[modality] for group in groups])
        order = np.argsort(rows)
        fused = [space.fuse(modality, sources(space, group, modality)) for group in groups]
        return rows[order], np.concatenate(fused)[order]

    return fused_items
