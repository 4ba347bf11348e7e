"""Where Delta tables are: a folder or an object store, and what its client is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from sync_pipelines.engine.errors import ConfigurationError

_SCHEMES = {"s3", "s3a", "az", "abfs", "abfss", "adl", "azure", "gs", "gcs", "file", "r2"}


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

    @property
    def is_folder(self) -> bool:
        """Whether the root is a folder of this machine."""
        return len(urlsplit(self.uri).scheme) <= 1 or self.uri.startswith("file://")

    def table(self, name: str) -> str:
        """A table's place; a name may have levels (`voice/submissions`)."""
        if self.is_folder:
            root = Path(self.uri.removeprefix("file://")).expanduser().resolve()
            return str(root.joinpath(*name.split("/")))
        return f"{self.uri.rstrip('/')}/{quote(name)}"
