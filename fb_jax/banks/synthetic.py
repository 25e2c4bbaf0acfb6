"""Banks of made-up embeddings, to try things on. They show plumbing, not what FreeBind can do.

Items are points of a low-dimensional latent space, each space sees them through its own random
map, and each (space, modality) adds noise of its own. As in the paper, the unified space is good
at image-text and poor at audio, and the expert is good at its own two modalities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np

from fb_jax import files
from fb_jax.banks.bank import BankAbout, Encoder, bank_writer
from fb_jax.banks.directions import unit_rows
from fb_jax.banks.items import write_items
from fb_jax.banks.split import Split

MODALITIES = ("text", "image", "audio")
NOISE: dict[str, dict[str, float]] = {
    "imagebind": {"text": 0.4, "image": 0.4, "audio": 1.4},
    "clap_general": {"text": 0.5, "audio": 0.5},
    "internvl": {"text": 0.25, "image": 0.25},
}


@dataclass(frozen=True)
class Synthetic:
    """What to make.

    Attributes:
        pool: Items of each modality in the pool, or of all alike; unpaired.
        evaluation: Split name to items; item i of every modality is the same thing.
        latent: Dimensions of what an item is.
        dims: Space to dimension.
        noise: Space to modality to noise, as a multiple of the signal.
        seed: Of everything random.
        dtype: How the banks are stored.
        shard_rows: Rows of a shard.
    """

    pool: int | Mapping[str, int] = 2000
    evaluation: Mapping[str, int] = field(default_factory=lambda: {"val": 200, "test": 400})
    latent: int = 12
    dims: Mapping[str, int] = field(
        default_factory=lambda: {"imagebind": 64, "clap_general": 48, "internvl": 56}
    )
    noise: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: NOISE)
    seed: int = 0
    dtype: str = "float16"
    shard_rows: int = 1024


def write_synthetic(root: Path | str, what: Synthetic | None = None) -> None:
    """Write a bank root of synthetic embeddings; the same settings give the same bytes.

    Args:
        root: Bank root to write.
        what: Settings; None takes the defaults.
    """
    root, what = Path(root), what or Synthetic()
    maps = {
        space: _rng(what.seed, f"map {space}").normal(size=(what.latent, dim))
        for space, dim in what.dims.items()
    }
    pool = what.pool if isinstance(what.pool, Mapping) else dict.fromkeys(MODALITIES, what.pool)
    for modality, count in pool.items():
        latents = _rng(what.seed, f"pool {modality}").normal(size=(count, what.latent))
        _write_modality(Split(root / "pool"), modality, latents, maps, what)
    for name, count in what.evaluation.items():
        split = Split(root / name)
        latents = _rng(what.seed, name).normal(size=(count, what.latent))
        for modality in pool:
            _write_modality(split, modality, latents, maps, what)
        _write_diagonal_pairs(split, list(pool), count)


def _rng(seed: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng([seed, *purpose.encode()])


def _write_modality(
    split: Split,
    modality: str,
    latents: np.ndarray,
    maps: Mapping[str, np.ndarray],
    what: Synthetic,
) -> None:
    items = ({"id": f"synthetic-{split.name}-{modality}-{i}"} for i in range(len(latents)))
    made_from = files.sha256_of_json(asdict(what))
    with split.writing():
        digest = write_items(split.items_path(modality), items).digest
    for space, matrix in maps.items():
        if modality not in what.noise[space]:
            continue
        rng = _rng(what.seed, f"noise {split.name} {space} {modality}")
        seen = latents + what.noise[space][modality] * rng.normal(size=latents.shape)
        encoder = Encoder(f"synthetic, seed {what.seed}, no model", "none", "Apache-2.0")
        with bank_writer(
            split.bank_path(space, modality),
            BankAbout(space, modality, encoder, digest, made_from=made_from),
            dim=matrix.shape[1],
            count=len(latents),
            dtype=what.dtype,
            shard_rows=what.shard_rows,
        ) as writer:
            writer.append(unit_rows(seen @ matrix)[writer.rows_done :])


def _write_diagonal_pairs(split: Split, modalities: list[str], count: int) -> None:
    table = np.repeat(np.arange(count)[:, None], 2, axis=1)
    with split.writing():
        for left, right in combinations(modalities, 2):
            split.write_pairs(left, right, table)
