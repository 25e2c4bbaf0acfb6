"""Readers of the evaluation data sets: from official lists and media to item lists and labels."""

from fb_jax.datasets.content import Choice, Content, read_content
from fb_jax.datasets.dataset import DataSet, Entry, Listing
from fb_jax.datasets.describe import describe
from fb_jax.datasets.registry import DATASETS, named, split_name
from fb_jax.datasets.split import ABOUT, MISSING, About, about_of, about_path, write_content

__all__ = [
    "ABOUT",
    "DATASETS",
    "MISSING",
    "About",
    "Choice",
    "Content",
    "DataSet",
    "Entry",
    "Listing",
    "about_of",
    "about_path",
    "describe",
    "named",
    "read_content",
    "split_name",
    "write_content",
]
