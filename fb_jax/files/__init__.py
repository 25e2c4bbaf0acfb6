"""Files: written whole or not at all, one reader for each format, claimed by one process."""

from fb_jax.files.claims import claim, differences, require_claim
from fb_jax.files.digests import (
    canonical_json,
    json_types,
    sha256_of,
    sha256_of_bytes,
    sha256_of_json,
)
from fb_jax.files.disk import (
    folder_bytes,
    free_bytes,
    gigabytes,
    nearest_existing,
    require_space,
    require_writable,
)
from fb_jax.files.locks import locked
from fb_jax.files.reading import read_json, read_npy
from fb_jax.files.writing import write_atomic, write_json, write_npy

__all__ = [
    "canonical_json",
    "claim",
    "differences",
    "folder_bytes",
    "free_bytes",
    "gigabytes",
    "json_types",
    "locked",
    "nearest_existing",
    "read_json",
    "read_npy",
    "require_claim",
    "require_space",
    "require_writable",
    "sha256_of",
    "sha256_of_bytes",
    "sha256_of_json",
    "write_atomic",
    "write_json",
    "write_npy",
]
