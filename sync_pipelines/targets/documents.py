"""Rows to documents: the text that is searched, and the fields that a search can filter by. No client here."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property, lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.errors import ConfigurationError, SyncError
from sync_pipelines.engine.model import CHANGED_AT, FINGERPRINT, KEY, Rejection
from sync_pipelines.targets.chroma.names import check_field_name
from sync_pipelines.targets.chroma.values import ValueRefused, canonical, check_text
from sync_pipelines.targets.document_values import metadata_value

LANGUAGES_FIELD = "languages"

DOCUMENTS_SCHEMA = pa.schema(
    [
        pa.field(KEY, pa.string(), nullable=False),
        pa.field(FINGERPRINT, pa.string(), nullable=False),
        pa.field(CHANGED_AT, pa.timestamp("us", tz="UTC")),
        pa.field("document", pa.large_string()),
        pa.field("metadata", pa.string()),
    ]
)
"""What a target for documents takes; `metadata` is a JSON object of name → bool, int, float, str or list."""

_FIRST_LANGUAGES = ("en", "id", "ar")
_LANGUAGE = re.compile(r"[a-z]{2,3}([-_][A-Za-z0-9]{2,8})?")


@dataclass(frozen=True)
class Document:
    """A row as it is searched; `metadata` adds to the columns that the YAML names, and wins over them."""

    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


def human_texts(value: Any) -> Iterator[str]:
    """Every text in a column's value, exactly as it stands there, in a stable order.

    A text is itself. Of a localized object (its names are language codes) en, id, ar come first, then the
    others by name; of any other object and of a list every text in document order, at any depth. Null,
    numbers and booleans inside have no text; blank texts are left out.
    """
    if isinstance(value, str):
        if value.strip():
            yield value
    elif isinstance(value, Mapping):
        for name in _in_order(value):
            yield from human_texts(value[name])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from human_texts(item)


def _in_order(value: Mapping[str, Any]) -> Iterable[str]:
    if not is_localized(value):
        return value
    rank = {name: place for place, name in enumerate(_FIRST_LANGUAGES)}
    return sorted(value, key=lambda name: (rank.get(name, len(rank)), name))


def is_localized(value: Any) -> bool:
    """Whether an object maps language codes (`en`, `id`, `ar`, `pt-BR`) to something."""
    return isinstance(value, Mapping) and bool(value) and all(map(_is_language, value))


@lru_cache(maxsize=4096)
def _is_language(name: Any) -> bool:
    """The same few names come with every record."""
    return _LANGUAGE.fullmatch(str(name)) is not None


def column_texts(value: Any) -> Iterator[str]:
    """The texts of a whole column: `human_texts`, and for a number, date or boolean how it is written."""
    if value is None or isinstance(value, str | Mapping | list | tuple):
        yield from human_texts(value)
    elif isinstance(value, bool):
        yield "true" if value else "false"
    else:
        yield value.isoformat() if hasattr(value, "isoformat") else str(value)


def languages_of(values: Iterable[Any]) -> list[str]:
    """The language codes under which any of these localized values has text, by name."""
    found = set()
    for value in values:
        if is_localized(value):
            found |= {name for name, texts in value.items() if any(human_texts(texts))}
    return sorted(found)


@dataclass(frozen=True, kw_only=True)
class DocumentMapper:
    """Source batches to documents, as a table's YAML says.

    Args:
        text: the columns whose text is searched, in this order; or `package.module:function`, a pure function
            of a row (column → value) that gives a `Document` or its text.
        metadata: the columns that become metadata fields of the same name.
        languages: localized columns whose languages become the metadata field `languages`.
        separator: what stands between two texts.
        place: sync and table, for errors.

    Raises:
        ConfigurationError: a name that metadata cannot have, no text at all, or no such function.
    """

    text: Sequence[str] | str
    metadata: Sequence[str] = ()
    languages: Sequence[str] = ()
    separator: str = "\n\n"
    place: str = ""

    def __post_init__(self) -> None:
        if not self.text:
            raise ConfigurationError(f"{self.place}: text: no column is named.".lstrip(": "))
        if isinstance(self.text, str) and not re.fullmatch(r"[\w.]+:\w+", self.text):
            raise ConfigurationError(
                f"{self.place}: text: {self.text!r} is no function.".lstrip(": "),
                remedy="Write package.module:function, or a list of columns.",
            )
        for name in self.metadata:
            check_field_name(name, place=f"{self.place}: metadata".removeprefix(": "))
        if self.languages and LANGUAGES_FIELD in self.metadata:
            raise ConfigurationError(
                f"{self.place}: languages: a column {LANGUAGES_FIELD} in `metadata` excludes this field.".lstrip(": ")
            )

    def check(self) -> None:
        """Look for the function, if `text` names one.

        Raises:
            ConfigurationError: there is none; the nearest of its module is offered.
        """
        if isinstance(self.text, str):
            _ = self._function

    @cached_property
    def signature(self) -> str:
        """A text that changes when the mapping does, the code of its function's module included.

        Comments and formatting do not count. A change makes every record's fingerprint differ, so that it
        is mapped again; text that stays the same is not embedded again.
        """
        shape = [list(self.text) if not isinstance(self.text, str) else self.text, list(self.metadata)]
        shape += [list(self.languages), self.separator]
        if isinstance(self.text, str):
            shape.append(_code_hash(self.text.partition(":")[0]))
        return json.dumps(shape, ensure_ascii=True)

    def map(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Rejection]]:
        """The batch's rows as documents (`DOCUMENTS_SCHEMA`), and the rows that are no documents.

        A row fails alone: one that the source could not read (stage `read`), or whose values have no place
        in metadata or break the function (stage `map`).
        """
        from sync_pipelines.engine.rows import rows

        self._check_columns(batch.schema.names)
        found: list[dict[str, Any]] = []
        rejected: list[Rejection] = []
        for row in rows(batch):
            if row.problem is not None:
                rejected.append(Rejection(key=row.key, reason=row.problem, stage="read"))
                continue
            try:
                document = self.document(row.values)
            except SyncError:
                raise  # the configuration's fault, not the row's
            except ValueRefused as error:
                rejected.append(Rejection(key=row.key, reason=str(error), stage="map"))
            except Exception as error:  # a user's function may raise anything, for one row
                reason = f"{self.text}: {type(error).__name__}: {error}"
                rejected.append(Rejection(key=row.key, reason=reason, stage="map"))
            else:
                found.append(_row(row, document))
        return pa.RecordBatch.from_pylist(found, schema=DOCUMENTS_SCHEMA), rejected

    def _check_columns(self, names: Iterable[str]) -> None:
        text = () if isinstance(self.text, str) else self.text
        lacking = sorted({*text, *self.metadata, *self.languages} - set(names))
        if lacking:
            raise ConfigurationError(f"{self.place}: the source has no column {', '.join(lacking)}.".lstrip(": "))

    def document(self, values: Mapping[str, Any]) -> Document:
        """One row as a document; its metadata are values that JSON and Chroma hold.

        Raises:
            ValueRefused: for text or a value that cannot be stored as it is.
        """
        made = self._make(values)
        check_text(made.text, what="the text")
        fields: dict[str, Any] = {name: values.get(name) for name in self.metadata}
        if self.languages:
            fields[LANGUAGES_FIELD] = languages_of(values.get(name) for name in self.languages)
        for name in made.metadata:
            check_field_name(name, place=f"{self.place}: {self.text}")
        stored = {name: metadata_value(name, value) for name, value in {**fields, **made.metadata}.items()}
        return Document(made.text, {name: value for name, value in stored.items() if value is not None})

    def _make(self, values: Mapping[str, Any]) -> Document:
        if isinstance(self.text, str):
            made = self._function(dict(values))
            return made if isinstance(made, Document) else Document(made or "")
        texts = (text for name in self.text for text in column_texts(values[name]))
        return Document(self.separator.join(texts))

    @cached_property
    def _function(self) -> Callable[[dict[str, Any]], Document | str | None]:
        module, _, name = str(self.text).partition(":")
        try:
            loaded = import_module(module)
        except Exception as error:  # a module of the user's own may raise anything
            raise self._no_function(f"{type(error).__name__}: {error}") from None
        found = getattr(loaded, name, None)
        if not callable(found):
            near = get_close_matches(name, [known for known, there in vars(loaded).items() if callable(there)], n=1)
            hint = f"Did you mean {module}:{near[0]}?" if near else "Write package.module:function."
            raise self._no_function(f"{module} has no function {name!r}", hint)
        return found

    def _no_function(self, why: str, remedy: str | None = None) -> ConfigurationError:
        return ConfigurationError(f"{self.place}: text: {self.text}: {why}.".lstrip(": "), remedy=remedy)


def _row(row: Any, document: Document) -> dict[str, Any]:
    return {
        KEY: row.key,
        FINGERPRINT: row.fingerprint,
        CHANGED_AT: row.changed_at,
        "document": document.text,
        "metadata": canonical(document.metadata),
    }


def _code_hash(module: str) -> str:
    """A hash of a module's code as Python reads it; empty where there is no source."""
    try:
        spec = find_spec(module)
    except ImportError:
        return ""
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return ""
    tree = ast.dump(ast.parse(Path(spec.origin).read_bytes()))
    return hashlib.sha256(tree.encode()).hexdigest()[:16]
