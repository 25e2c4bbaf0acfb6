"""Importing: embeddings, item lists and pairs from files of other programs into a bank root."""

from fb_jax.importing.bank import import_bank
from fb_jax.importing.matrices import open_matrix
from fb_jax.importing.pairs import import_pairs

__all__ = ["import_bank", "import_pairs", "open_matrix"]
