"""A connection to Notion: notion_client below one rate and one way of trying again.

The client's own retries are off: they give up above 60 s, and send again what may have been done.
"""

from __future__ import annotations

import ipaddress
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from sync_pipelines.engine.errors import LONGEST_WAIT, TransientError
from sync_pipelines.engine.limiter import Limiter, local_rate
from sync_pipelines.engine.rates import RateKeeper
from sync_pipelines.targets.notion.errors import (
    DoubtfulError,
    HiddenCommentsError,
    RateLimitedError,
    RefusedError,
    RestrictedError,
    StartRefusedError,
    classify,
)
from sync_pipelines.targets.notion.objects import require_object
from sync_pipelines.targets.notion.settings import NotionSettings

if TYPE_CHECKING:
    import httpx
    from notion_client import Client

T = TypeVar("T")
Given = dict[str, Any]

_PAGE_SIZE = 100
_LET_READ_COMMENTS = "Give the connection the capability to read comments, in Notion's settings of connections."

_LOG = logging.getLogger(__name__)
_QUIET = logging.getLogger(f"{__name__}.sdk")
"""notion_client's own: it quotes requests, and what it says of errors is said by ours."""
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


class Notion:
    """One connection, for the threads of one process. Making one connects to nothing.

    Args:
        rate: keeps the rate for all who use the connection; None: for this process alone.
        where: sync and table, for errors.
    """

    def __init__(self, settings: NotionSettings, *, rate: RateKeeper | None = None, where: Mapping[str, Any]) -> None:
        self.settings, self.where = settings, dict(where)
        self.requests = self.writes = 0
        self._limiter = Limiter(rate or local_rate(settings.connection), rate=settings.rate_limit)
        self._never = threading.Event()
        self._client: Client | None = None
        self._clock: datetime | None = None
        self._sent, self._took = 0.0, timedelta()
        self._us: str | None = None
        self.can_start = True
        self.reads_comments = False  # it is not known yet that it may
        self.fence: Callable[[], object] = lambda: None

    @property
    def now(self) -> datetime:
        """Notion's clock, as its last answer told it: a page's times are by that."""
        return self._clock or datetime.now(UTC)

    @property
    def asked_at(self) -> datetime:
        """When the last answer was asked for, by Notion's clock or a little before: it tells of no later edit."""
        return self.now - self._took

    @property
    def us(self) -> str:
        """The id by which Notion knows the connection: who makes and edits what we do."""
        if self._us is None:
            self._us = self.ask("ask who the connection is", lambda client: client.users.me())["id"]
        return self._us

    def close(self) -> None:
        """Close every connection; it connects again where it is used again."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def ask(self, doing: str, call: Callable[[Client], Any], *, once: bool = False) -> Any:
        """Send a request in its slot of time, and again while that may help.

        Args:
            doing: what for, for the sentence of an error.
            once: what was perhaps done is not asked for again.

        Raises:
            DoubtfulError: with `once`: no answer came. TransientError: none came after all tries.
            RecordError, RunError, ConfigurationError: as `errors` says.
        """

        def action() -> tuple[Any, DoubtfulError | None]:
            try:
                return self._send(doing, call), None
            except DoubtfulError as error:
                if once:
                    return None, error
                raise

        answer, doubt = self.settings.retry.call(action)
        if doubt is not None:
            raise doubt
        return answer

    def _send(self, doing: str, call: Callable[[Client], Any]) -> Any:
        if self._client is None:
            self._client = self._connect()
        self._require_soon(doing)
        self._limiter.wait(self._never)
        self.requests += 1
        try:
            return require_object(call(self._client), doing, host=self.settings.host, **self.where)
        except Exception as error:
            settings = self.settings
            found = classify(error, doing, host=settings.host, user=settings.user, **self.where)
            if isinstance(found, RateLimitedError):
                self._ease(found)
            raise found from error

    def _require_soon(self, doing: str) -> None:
        """Insist on that a request may be sent before who asks loses patience: a rest may take a quarter of an hour."""
        patience = self.settings.patience
        if patience is not None and (rest := self._limiter.rest()) > patience:
            told = f"the connection is to rest for {rest:.0f} s more, since Notion was asked too often"
            raise TransientError(f"{self.settings.host}: could not {doing}: {told}.", retry_after=rest, **self.where)

    def _ease(self, error: TransientError) -> None:
        slowed = self._limiter.slow_down()
        if slowed is not None:
            _LOG.info("Notion is asked no more than %.3g times a second", self.settings.rate_limit / slowed)
        rest = error.retry_after
        if rest and rest <= LONGEST_WAIT:
            self._limiter.pause(rest)
            _LOG.info("Notion asks for a rest of %g s", rest)

    def _connect(self) -> Client:
        import httpx
        from notion_client import Client

        # no proxy leads to this machine, whatever the environment says
        local = _is_loopback(self.settings.base_url)
        transport = httpx.Client(
            trust_env=not local, event_hooks={"request": [self._send_off], "response": [self._see]}
        )
        return Client(
            client=transport,
            auth=self.settings.token,
            base_url=self.settings.base_url.rstrip("/"),
            timeout_ms=int(self.settings.timeout * 1000),
            retry=False,
            logger=_QUIET,
            log_level=logging.CRITICAL,
        )

    def _send_off(self, request: httpx.Request) -> None:
        self._sent = time.monotonic()

    def _see(self, response: httpx.Response) -> None:
        self._took = timedelta(seconds=time.monotonic() - self._sent)
        try:
            self._clock = parsedate_to_datetime(response.headers["date"]).astimezone(UTC)
        except (KeyError, ValueError):
            self._clock = None

    # Reading

    def query(self, source: str, **asked: Any) -> Given:
        """A page of a listing; `asked`: filter, sorts, start_cursor."""
        return self.ask(
            "list the pages of the database",
            lambda client: client.data_sources.query(source, page_size=_PAGE_SIZE, **asked),
        )

    def page(self, page_id: str) -> Given:
        """A page's properties."""
        return self.ask("read a page", lambda client: client.pages.retrieve(page_id))

    def children(self, parent: str) -> Iterator[Given]:
        """The blocks directly below a page or block, in order."""
        cursor: dict[str, str] = {}
        while True:
            asked = {"page_size": _PAGE_SIZE, **cursor}
            found = self.ask(
                "read the blocks of a page",
                lambda client, asked=asked: client.blocks.children.list(parent, **asked),
            )
            yield from found["results"]
            if not found["has_more"]:
                return
            cursor = {"start_cursor": found["next_cursor"]}

    def has_comments(self, block: str) -> bool:
        """Whether people have an open discussion of a page or block.

        Raises:
            HiddenCommentsError: the connection may not read comments.
        """
        try:
            found = self.ask("look for comments", lambda client: client.comments.list(block_id=block))
        except RestrictedError as error:
            message = "Whether people discuss a page or block cannot be told: the connection may not read comments."
            raise HiddenCommentsError(message, remedy=_LET_READ_COMMENTS, **self.where) from error
        self.reads_comments = True
        return bool(found["results"])

    # Writing

    def before_write(self) -> None:
        """Called before each request that writes: who has lost the right to write learns it then."""
        self.fence()
        self.writes += 1

    def create_page(self, source: str, properties: Mapping[str, Any], children: list[Given]) -> Given:
        """Make a page.

        Raises:
            DoubtfulError: it may be there.
        """
        self.before_write()
        parent = {"type": "data_source_id", "data_source_id": source}
        return self.ask(
            "make a page",
            lambda client: client.pages.create(parent=parent, properties=dict(properties), children=children),
            once=True,
        )

    def update_page(self, page_id: str, **changes: Any) -> Given:
        """Set properties, or take a page into the trash and back."""
        self.before_write()
        return self.ask("change a page", lambda client: client.pages.update(page_id, **changes))

    def append(self, parent: str, children: list[Given], *, after: str | None = None, first: bool = False) -> Given:
        """Make blocks below a page or block: at the end, behind one of its blocks, or before all.

        Raises:
            DoubtfulError: they may be there.
            StartRefusedError: Notion takes no blocks before all others, or not these.
        """
        self.before_write()
        place: Given = {"after": after} if after else {}
        if first:
            place = {"position": {"type": "start"}}
        try:
            return self.ask(
                "add blocks to a page",
                lambda client: client.blocks.children.append(parent, children=children, **place),
                once=True,
            )
        except RefusedError as error:
            if not first:
                raise
            self.can_start = False
            raise StartRefusedError(error.message, **self.where) from error

    def update_block(self, block_id: str, kind: str, content: Mapping[str, Any]) -> Given:
        """Write a block's own content anew."""
        self.before_write()
        return self.ask("change a block", lambda client: client.blocks.update(block_id, **{kind: dict(content)}))

    def delete_block(self, block_id: str) -> None:
        """Remove a block, with what is below it."""
        self.before_write()
        self.ask("remove a block", lambda client: client.blocks.delete(block_id))

    def upload(self, name: str, mime: str, content: bytes) -> str:
        """Upload a file's bytes; the id by which a block takes it within an hour."""

        def begin(client: Client) -> Any:
            return client.file_uploads.create(mode="single_part", filename=name, content_type=mime)

        upload = self.ask("begin the upload of a file", begin)["id"]
        try:
            self.ask(
                "upload a file",
                lambda client: client.file_uploads.send(upload, file=(name, content, mime)),
            )
        except RefusedError:  # Notion takes the bytes once: also those of a try whose answer was lost
            if not self._is_uploaded(upload):
                raise
        return upload

    def _is_uploaded(self, upload: str) -> bool:
        told = self.ask("look whether a file was uploaded", lambda client: client.file_uploads.retrieve(upload))
        return told.get("status") == "uploaded"


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
