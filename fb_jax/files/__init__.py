"""Files: written whole or not at all, one reader for each format, claimed by one process."""

from fb_jax.files.claims import claim, differences, require_claim, require_unclaimed
from fb_jax.files.delimited import DELIMITERS, read_cells, require_column_names
from fb_jax.files.digests import (
    canonical_json,
    json_types,
    sha256_of,
    sha256_of_bytes,
    sha256_of_json,
    sha256_of_stream,
)
from fb_jax.files.disk import (
    folder_bytes,
    free_bytes,
    gigabytes,
    nearest_existing,
    require_file_to_write,
    require_no_file,
    require_path,
    require_space,
    require_writable,
)
from fb_jax.files.folders import write_folder
from fb_jax.files.locks import Taken, has_locks, locked, locked_number, remove_partial
from fb_jax.files.npy_files import open_npy, read_npy, read_npy_header
from fb_jax.files.reading import (
    convert,
    explained,
    parse_json,
    read_bytes,
    read_json,
    read_jsonl,
    read_lines,
    read_versioned,
)
from fb_jax.files.recorded import read_recorded, record_of, recorded, write_recorded
from fb_jax.files.regular import State, open_regular, special, state_of
from fb_jax.files.remembered import remembered_sha256
from fb_jax.files.writing import (
    PARTIAL,
    not_written,
    sync_folder,
    write_atomic,
    write_json,
    write_npy,
)
from fb_jax.files.yaml_files import read_yaml

__all__ = [
    "DELIMITERS",
    "PARTIAL",
    "State",
    "Taken",
    "canonical_json",
    "claim",
    "convert",
    "differences",
    "explained",
    "folder_bytes",
    "free_bytes",
    "gigabytes",
    "has_locks",
    "json_types",
    "locked",
    "locked_number",
    "nearest_existing",
    "not_written",
    "open_npy",
    "open_regular",
    "parse_json",
    "read_bytes",
    "read_cells",
    "read_json",
    "read_jsonl",
    "read_lines",
    "read_npy",
    "read_npy_header",
    "read_recorded",
    "read_versioned",
    "read_yaml",
    "record_of",
    "recorded",
    "remembered_sha256",
    "remove_partial",
    "require_claim",
    "require_column_names",
    "require_file_to_write",
    "require_no_file",
    "require_path",
    "require_space",
    "require_unclaimed",
    "require_writable",
    "sha256_of",
    "sha256_of_bytes",
    "sha256_of_json",
    "sha256_of_stream",
    "special",
    "state_of",
    "sync_folder",
    "write_atomic",
    "write_folder",
    "write_json",
    "write_npy",
    "write_recorded",
]
