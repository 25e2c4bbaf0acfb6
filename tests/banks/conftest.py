from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fb_jax.banks import BankAbout, Encoder, Split, bank_writer, write_items


@pytest.fixture
def split(tmp_path: Path) -> Split:
    return Split(tmp_path / "root" / "pool")


@pytest.fixture
def make_bank(split: Split) -> Callable[..., Path]:
    """Write a bank of float16 rows, two a shard, and its items: ``text0``, ``text1``, ..."""

    def make_bank(space, modality, rows, missing=()) -> Path:
        ids = ({"id": f"{modality}{row}"} for row in range(len(rows)))
        digest = write_items(split.items_path(modality), ids).digest
        encoder = Encoder("by hand", licence="CC0-1.0")
        about = BankAbout(space, modality, encoder, digest, np.array(missing, np.int64))
        form = {"dim": len(rows[0]), "count": len(rows), "shard_rows": 2}
        with bank_writer(split.bank_path(space, modality), about, **form) as writer:
            writer.append(np.asarray(rows, float))
        return writer.folder

    return make_bank
