"""Where Delta tables are: a folder or an object store, and what its client is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from sync_pipelines.engine.errors import ConfigurationError

_SCHEMES = {"s3", "s3a", "az", "abfs", "abfss", "adl", "azure", "gs", "gcs", "file", "r2"}
_CODED = re.compile("%[0-9A-Fa-f]{2}")


@dataclass(frozen=True, kw_only=True)
class DeltaSettings:
    """The root below which tables stand. `repr` shows no secret.

    Args:
        uri: a folder, or `s3://bucket/prefix` and its like.
        options: storage options as delta-rs takes them (`AWS_…`, `AZURE_…`, `GOOGLE_…`).
    """

    uri: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        scheme = urlsplit(self.uri).scheme
        if len(scheme) > 1 and scheme not in _SCHEMES:
            raise ConfigurationError(
                f"DELTA_URI: {scheme}:// is no store that delta-rs knows.",
                remedy="Name a folder, or a URL of s3://, az://, abfss:// or gs://.",
            )

        if self.is_folder and _CODED.search(self._folder):
            raise ConfigurationError(
                f"DELTA_URI: delta-rs takes the % in {self._folder!r} for the code of another character.",
                remedy="Name a folder without one.",
            )

    @property
    def is_folder(self) -> bool:
        """Whether the root is a folder of this machine."""
        scheme = urlsplit(self.uri).scheme
        return len(scheme) <= 1 or scheme == "file"

    @property
    def _folder(self) -> str:
        """The root as a path; that of a URL (`file:///srv/my%20lake`) is written as URLs have it.

        Raises:
            ConfigurationError: the URL names another machine.
        """
        found = urlsplit(self.uri)
        if found.scheme != "file":
            return self.uri
        if found.netloc not in ("", "localhost"):
            raise ConfigurationError(
                f"DELTA_URI: {self.uri!r} names a folder of the machine {found.netloc!r}.",
                remedy=f"Write file:///{found.netloc}{found.path} for a folder of this one.",
            )
        return unquote(found.path)

    @property
    def root(self) -> str:
        """The place below which tables stand."""
        return str(Path(self._folder).expanduser().resolve()) if self.is_folder else self.uri.rstrip("/")

    def table(self, name: str) -> str:
        """A table's place; a name may have levels (`voice/submissions`).

        Raises:
            ConfigurationError: the name leads to no place below the root.
        """
        levels = name.split("/")
        if {"", ".", ".."} & set(levels):
            raise ConfigurationError(
                f"the Delta table {name!r}: a name stands below DELTA_URI, and no level of it is empty, . or .."
                " by itself.",
                remedy="Name it like shop/orders.",
            )
        return str(Path(self.root, *levels)) if self.is_folder else f"{self.root}/{quote(name)}"
