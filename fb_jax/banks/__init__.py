"""Banks: the embeddings of a corpus on disk, and what rows mean. NumPy only, no JAX."""

from fb_jax.banks.arrays import to_numpy
from fb_jax.banks.bank import Bank, Encoder, bank_writer, describe, unit_rows
from fb_jax.banks.importing import import_bank, import_pairs
from fb_jax.banks.items import ItemList, write_items
from fb_jax.banks.parts import PartWriter
from fb_jax.banks.root import POOL, BankSet, Split, open_banks, open_split, splits, verify_split
from fb_jax.banks.rows import Concatenated, Rows
from fb_jax.banks.shards import Progress, ShardedArray, ShardWriter, no_progress
from fb_jax.banks.synthetic import Synthetic, write_synthetic

__all__ = [
    "POOL",
    "Bank",
    "BankSet",
    "Concatenated",
    "Encoder",
    "ItemList",
    "PartWriter",
    "Progress",
    "Rows",
    "ShardWriter",
    "ShardedArray",
    "Split",
    "Synthetic",
    "bank_writer",
    "describe",
    "import_bank",
    "import_pairs",
    "no_progress",
    "open_banks",
    "open_split",
    "splits",
    "to_numpy",
    "unit_rows",
    "verify_split",
    "write_items",
    "write_synthetic",
]
