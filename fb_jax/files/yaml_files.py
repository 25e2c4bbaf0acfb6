"""YAML files, with bounds: a few lines of aliases can stand for more than any memory holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from fb_jax.errors import FreeBindError
from fb_jax.files.reading import explained, read_bytes

MOST_BYTES, MOST_ALIASES = 1 << 17, 16
BOOL = "tag:yaml.org,2002:bool"


class _Loader(yaml.SafeLoader):
    """Plain types only, and few aliases, none of them inside what it stands for.

    The words on and off are texts, as in YAML 1.2: some options have off as a value.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012  (as yaml has it)
        first: [known for known in resolvers if known[0] != BOOL or first not in "oO"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    aliases = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Return a node; refuse an alias beyond the bound or of an unfinished collection."""
        if not self.check_event(yaml.AliasEvent):
            return super().compose_node(parent, index)
        node: Any = super().compose_node(parent, index)
        self.aliases += 1
        if self.aliases > MOST_ALIASES or node.end_mark is None:
            raise ValueError(f"more than {MOST_ALIASES} aliases, or one inside its own anchor")
        return node


def read_yaml(path: Path, what: str) -> dict[str, Any]:
    """Read a YAML file of options by name.

    Args:
        path: The file.
        what: What it is, for messages: "a config file".

    Raises:
        FreeBindError: It is missing or no such file.
    """
    content = read_bytes(path, MOST_BYTES, what)
    with explained(f"{what} cannot be read", path):
        options = yaml.load(content.decode("utf-8-sig"), _Loader)
    if not isinstance(options, dict) or not all(isinstance(name, str) for name in options):
        raise FreeBindError(
            f"{what} must hold options by name", where=path, got=type(options).__name__
        )
    return options
