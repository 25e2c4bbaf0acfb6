"""Published weights: the user's own copy, or a download, or an error that says how to get them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from encoders_torch.explain import in_one_line
from fb_jax.errors import FreeBindError


@dataclass(frozen=True)
class Download:
    """Weights that somebody publishes.

    Attributes:
        space: The space or model that needs them.
        what: The file or folder, and who publishes it.
        licence: Of the weights.
        get: Downloads them, or finds them in a cache, and returns their path.
        by_hand: What to do where there is no network.
    """

    space: str
    what: str
    licence: str
    get: Callable[[], str | Path]
    by_hand: str

    def file(self, weights: Path | str | None) -> Path:
        """Return the user's own file, or download the published one.

        Raises:
            FreeBindError: There is no such file, or it cannot be downloaded.
        """
        if weights is None:
            return self.fetch()
        if not (path := Path(weights)).is_file():
            raise self.missing(path, "no such file")
        return path

    def fetch(self) -> Path:
        """Download the weights, or raise a FreeBindError."""
        try:
            return Path(self.get())
        except Exception as error:  # by library and network, one of many kinds
            raise self.missing(None, f"no download: {in_one_line(error)}") from error

    def missing(self, where: object, got: str) -> FreeBindError:
        """Return the error that says what to get, from where, and where to put it."""
        return FreeBindError(
            f"the weights of {self.space} are missing",
            where=where,
            expected=f"{self.what}, licence: {self.licence}",
            got=got,
            fix=self.by_hand,
        )
