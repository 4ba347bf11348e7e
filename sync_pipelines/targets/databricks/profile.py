"""A login from the profile [DEFAULT] of `~/.databrickscfg`.

The SDK leaves that file unread where it is given a host, and a sync is configured by naming one.
"""

from __future__ import annotations

from collections.abc import Callable
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sync_pipelines.engine.secrets import know

if TYPE_CHECKING:
    from databricks.sdk.core import Config

_PROFILE = "DEFAULT"


class ProfileLogin:
    """A strategy of databricks-sdk that logs in as another configuration does."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def auth_type(self) -> str:
        """Its name in the SDK's words."""
        return str(self._config.auth_type or "profile")

    def __call__(self, _: Any) -> Callable[[], dict[str, str]]:
        """What gives the headers of a request."""
        return self._config.authenticate


def login_of(host: str) -> ProfileLogin | None:
    """The profile's login, if it is one for this workspace: a token of another one does not go there.

    Args:
        host: the workspace's address.
    """
    from databricks.sdk.core import Config

    try:
        config = Config(host=host, profile=_PROFILE)
        # the file that it has read, which a variable may name
        file = ConfigParser(interpolation=None)
        file.read(Path(config.config_file or "~/.databrickscfg").expanduser())
    except (ValueError, OSError, ConfigParserError):  # no file, no such profile, nothing in it that logs in
        return None
    if _bare(file.defaults().get("host", "")) != _bare(host):
        return None
    for secret in filter(None, (config.token, config.client_secret)):
        know(secret)
    return ProfileLogin(config)


def _bare(host: str) -> str:
    return host.strip().lower().removeprefix("https://").rstrip("/")
