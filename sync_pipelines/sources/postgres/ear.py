"""Listening for events: what `publish_event` notifies wakes a consumer."""

from __future__ import annotations

import logging
import selectors
from collections.abc import Iterable
from typing import Any

from sync_pipelines.engine.database import connect
from sync_pipelines.engine.pg_errors import is_database_error
from sync_pipelines.sources.postgres.connection import NormalisedUrl
from sync_pipelines.sources.postgres.events import CHANNEL

_AWAY_SECONDS = 5.0
"""So long it waits at most for a database that cannot be listened to: who polls seldom would miss that it is back."""

_log = logging.getLogger(__name__)


class Ear:
    """A connection that listens to each database; one that broke is made anew when it is next listened to.

    Nothing rests on it: a notification that is lost is made up for by the consumer's poll.

    Args:
        urls: the databases. wake: a file descriptor that ends the waiting when it can be read.
    """

    def __init__(self, urls: Iterable[NormalisedUrl], *, wake: int) -> None:
        self._connections: dict[NormalisedUrl, Any] = dict.fromkeys(urls)
        self._wake = wake

    def wait(self, seconds: float) -> None:
        """Return when something was published, `wake` can be read, or the time is over."""
        listening = [self._listen(url) for url in self._connections]
        if not all(listening):
            return  # what was published before it listened was not heard
        if None in self._connections.values():
            seconds = min(seconds, _AWAY_SECONDS)
        opened = {connection.fileno(): url for url, connection in self._connections.items() if connection}
        with selectors.DefaultSelector() as selector:  # select() itself knows no descriptor above 1,023
            for number in (*opened, self._wake):
                selector.register(number, selectors.EVENT_READ)
            ready = [key.fd for key, _ in selector.select(seconds)]
        for number in ready:
            if number in opened:
                self._hear(opened[number])

    def close(self) -> None:
        for url in self._connections:
            self._drop(url)

    def _listen(self, url: NormalisedUrl) -> bool:
        """Whether it has been listening; a database that is out of reach is polled, and tried again."""
        if self._connections[url] is not None:
            return True
        try:
            connection = connect(url.sqlalchemy, "sync-pipelines consumer")
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {CHANNEL}")
        except Exception as error:
            if not is_database_error(error):
                raise
            _log.warning("%s cannot be listened to now, so it is polled: %s", url.safe, url.scrub(str(error).strip()))
            return True
        self._connections[url] = connection
        return False

    def _hear(self, url: NormalisedUrl) -> None:
        connection = self._connections[url]
        try:
            connection.poll()
            connection.notifies.clear()
        except Exception as error:
            if not is_database_error(error):
                raise
            self._drop(url)

    def _drop(self, url: NormalisedUrl) -> None:
        connection, self._connections[url] = self._connections[url], None
        if connection is not None:
            connection.close()
