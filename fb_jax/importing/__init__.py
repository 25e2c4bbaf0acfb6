"""Importing: embeddings, item lists and pairs from files of other programs into a bank root."""

from fb_jax.importing.appending import append_to_bank
from fb_jax.importing.bank import import_bank
from fb_jax.importing.lists import ItemColumns, list_items
from fb_jax.importing.pairs import import_pairs
from fb_jax.importing.preview import describe_import
from fb_jax.importing.readers import of_modality, open_matrix, open_source, open_sources
from fb_jax.importing.source import Choice, Columns, Source

__all__ = [
    "Choice",
    "Columns",
    "ItemColumns",
    "Source",
    "append_to_bank",
    "describe_import",
    "import_bank",
    "import_pairs",
    "list_items",
    "of_modality",
    "open_matrix",
    "open_source",
    "open_sources",
]
