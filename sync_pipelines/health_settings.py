"""Settings of the environment that are wrong, and that no table or system would show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from sync_pipelines.engine.errors import SyncError
from sync_pipelines.resources.environment import value

_WEB_ADDRESSES = ("SYNC_HEARTBEAT_URL", "SYNC_UI_URL", "DAGSTER_WEBSERVER_URL")
"""Their values are not repeated: the path of the first is a secret."""


def wrong_settings(environment: Mapping[str, str]) -> Iterator[str]:
    """One sentence for each wrong variable, with its name and without its value; nothing is sent.

    The folder of SYNC_SPOOL_DIR is made where it is not there, as the next run would do.
    """
    from sync_pipelines.alerts.delivery import unusable

    yield from unusable(environment)
    for name in _WEB_ADDRESSES:
        found = value(name, environment)
        if found is not None and not _is_web_address(found):
            yield f"{name} is no web address. Write it like https://host/path, or leave it out."
    yield from _spool(environment)


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _spool(environment: Mapping[str, str]) -> Iterator[str]:
    if (named := value("SYNC_SPOOL_DIR", environment)) is None:
        return
    from sync_pipelines.engine.spool import Spool

    try:
        Spool(Path(named)).close()
    except SyncError as error:
        yield str(error)
