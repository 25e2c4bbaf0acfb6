"""Banks: the embeddings of a corpus, on disk or in memory, and what rows mean. No JAX."""

from fb_jax.banks.arrays import MemoryArray, to_numpy
from fb_jax.banks.bank import Bank, BankAbout, Encoder, bank_writer
from fb_jax.banks.bankset import BankSet, open_bank, open_banks
from fb_jax.banks.changes import append_items, remove_items
from fb_jax.banks.directions import find_bad_rows, unit_rows
from fb_jax.banks.filling import fill_rows
from fb_jax.banks.growing import bank_grower, first_row_of_shard, new_rows, settle
from fb_jax.banks.history import since
from fb_jax.banks.items import ItemList, write_items
from fb_jax.banks.names import nfc, require_name
from fb_jax.banks.roots import open_split, require_root, split_in, splits
from fb_jax.banks.row_by_row import ShardWriter
from fb_jax.banks.rows import Concatenated, Progress, Rows, no_progress
from fb_jax.banks.shards import ShardedArray
from fb_jax.banks.split import POOL, Split
from fb_jax.banks.synthetic import Synthetic, write_synthetic
from fb_jax.banks.verify import describe_bank, describe_items, verify_split
from fb_jax.banks.writers import PartWriter

__all__ = [
    "POOL",
    "Bank",
    "BankAbout",
    "BankSet",
    "Concatenated",
    "Encoder",
    "ItemList",
    "MemoryArray",
    "PartWriter",
    "Progress",
    "Rows",
    "ShardWriter",
    "ShardedArray",
    "Split",
    "Synthetic",
    "append_items",
    "bank_grower",
    "bank_writer",
    "describe_bank",
    "describe_items",
    "fill_rows",
    "find_bad_rows",
    "first_row_of_shard",
    "new_rows",
    "nfc",
    "no_progress",
    "open_bank",
    "open_banks",
    "open_split",
    "remove_items",
    "require_name",
    "require_root",
    "settle",
    "since",
    "split_in",
    "splits",
    "to_numpy",
    "unit_rows",
    "verify_split",
    "write_items",
    "write_synthetic",
]
