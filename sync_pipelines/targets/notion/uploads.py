"""Files of a page: uploaded once, named where Notion does not take them."""

from __future__ import annotations

import logging
import mimetypes
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO

from sync_pipelines.engine.errors import RecordError
from sync_pipelines.targets.notion.blocks import FILES, Block, upload_of
from sync_pipelines.targets.notion.client import Notion
from sync_pipelines.targets.notion.editing import Goal
from sync_pipelines.targets.notion.judgement import Row
from sync_pipelines.targets.notion.mapping import not_uploaded, of_these, together
from sync_pipelines.targets.notion.text import original

OpenAttachment = Callable[[str, str], AbstractContextManager[BinaryIO]]
"""Key and name of an attachment → its bytes."""

_NAME_BYTES = 800
_ENDING = 5
"""The most letters of what counts as a name's ending: that of `Mr. Smith` is none."""
_BEFORE = "Attachment: "
_NO_BYTES = "its bytes are not there"

_log = logging.getLogger(__name__)


class Uploads:
    """Uploads the files of one page.

    Args:
        open_attachment: gives the bytes; None: there are none, and every file is named on the page alone.
    """

    def __init__(self, notion: Notion, key: str, open_attachment: OpenAttachment | None) -> None:
        self._notion, self._key, self._open = notion, key, open_attachment
        self.ids: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self._said: list[str] = []

    def make(self, goals: Iterable[Goal]) -> None:
        """Upload the files of these goals; one that is refused gets a paragraph in its place."""
        for goal in _all(goals):
            if goal.block["type"] not in FILES:
                continue
            file = upload_of(goal.block)
            if file not in self.ids and file not in self.refused:
                self._upload(file, goal.block)
            if file in self.refused:
                goal.shown = named(goal.block)
                self._said.append(not_uploaded(original(goal.block["name"]), self.refused[file]))

    def told(self, row: Row, goals: Iterable[Goal], before: str | None) -> str | None:
        """What a person should know of the files of a page.

        Args:
            before: what was said of it; of files that are named there still, it stands.
        """
        left = [original(goal.block["name"]) for goal in _all(goals) if goal.left_shown is not None]
        return together([*filter(None, [row.told]), *of_these(before, left), *self._said])

    def _upload(self, known_by: str, block: Block) -> None:
        name = block["name"]
        if self._open is None:
            self.refused[known_by] = _NO_BYTES
            return
        try:
            with self._open(self._key, original(name)) as file:
                content = file.read()
            self.ids[known_by] = self._notion.upload(_filename(block), block["mime"], content)
        except (RecordError, FileNotFoundError, KeyError) as error:
            said = error.message if isinstance(error, RecordError) else _NO_BYTES
            self.refused[known_by] = said
            _log.warning("a file was not uploaded, and is named on its page: %s", said)


def _all(goals: Iterable[Goal]) -> Iterator[Goal]:
    for goal in goals:
        yield goal
        yield from _all(goal.children)


def named(block: Block) -> Block:
    """The paragraph that stands in the place of a file."""
    return {"type": "paragraph", "text": [{"text": f"{_BEFORE}{block['name']}{_after(block['mime'])}"}]}


def name_in(text: str, mime: str) -> str:
    """The name of the file that such a paragraph names."""
    return text.removeprefix(_BEFORE).removesuffix(_after(mime))


def _after(mime: str) -> str:
    return f" ({mime}) was not uploaded"


def _filename(block: Block) -> str:
    """A name with an ending: Notion tells a file's kind by that."""
    name = "".join(letter for letter in block["name"] if letter.isprintable() and letter not in '/\\"') or "file"
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending) > _ENDING or not (ending.isascii() and ending.isalnum()):
        stem, ending = name, (mimetypes.guess_extension(block["mime"]) or ".txt").lstrip(".")
    while len(stem.encode()) > _NAME_BYTES:
        stem = stem[:-1]
    return f"{stem}.{ending}"
