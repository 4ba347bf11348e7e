"""The blocks of a document that describe an API and the tables that its documents go into."""

from __future__ import annotations

import re
from string import Formatter
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from sync_pipelines.components.blocks import CONNECTION, NAME, Block
from sync_pipelines.components.fetching import listed

if TYPE_CHECKING:
    from sync_pipelines.sources.rest.paging import Pagination

_PLACE = re.compile(r"\w+")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2: a token


def _places(field: str, text: str) -> list[str]:
    """The names that stand in braces in a path or a parameter."""
    try:
        found = [name for _, name, form, conversion in Formatter().parse(text) if name is not None]
        plain = all(_PLACE.fullmatch(name) for name in found)
    except ValueError as error:
        raise ValueError(f"{field}: {text!r}: {error}") from None
    if not plain or any(part[2] or part[3] for part in Formatter().parse(text)):
        raise ValueError(f"{field}: {text!r}: write {{name}}, a name alone, for what is to be put in")
    return found


def _text(value: Any) -> str:
    """Dagster makes a number of a text that looks like one."""
    if isinstance(value, bool | dict | list) or value is None:
        raise ValueError(f"{value!r}: write a text or a number")
    return str(value)


def _not_blank(value: str | None) -> str | None:
    if value is not None and not value.strip():
        raise ValueError(f"{value!r}: write a name, or leave it out")
    return value


def _target_name(value: str | None) -> str | None:
    if value is not None and "%" in value:
        raise ValueError(f"{value!r}: the driver of PostgreSQL takes a % for the place of a value")
    return _not_blank(value)


class AuthBlock(Block):
    """How an API knows who asks; the key itself is <CONNECTION>_API_KEY."""

    kind: Literal["bearer", "header", "none"] = "bearer"
    header: str = Field(default="Authorization", description="The header that holds the key, such as x-api-key.")

    @field_validator("header")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not _HEADER.fullmatch(value):
            raise ValueError(f"{value!r} is no name of an HTTP header, such as x-api-key")
        return value

    @property
    def scheme(self) -> str | None:
        return "Bearer" if self.kind == "bearer" else None


class IdsBlock(Block):
    """The ids that are asked for: a column of a table, a file (one a line), or values."""

    connection: str | None = Field(default=None, description="Of the table: <CONNECTION>_DATABASE_URL.")
    table: str | None = None
    schema_name: str | None = None
    column: str | None = None
    file: str | None = Field(default=None, description="A text file, one id a line; # begins a comment.")
    values: list[Any] | None = None

    @field_validator("values")
    @classmethod
    def _some_texts(cls, value: list[Any] | None) -> list[str] | None:
        texts = None if value is None else [_text(item).strip() for item in value]
        if texts is not None and not (texts and all(texts)):
            raise ValueError(f"{value!r}: name at least one id, and no empty one")
        return texts

    @field_validator("connection", "table", "schema_name", "column", "file")
    @classmethod
    def _says_something(cls, value: str | None) -> str | None:
        return _not_blank(value)

    @model_validator(mode="after")
    def _one_place(self) -> IdsBlock:
        given = [name for name in ("table", "file", "values") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("ids: name a table, a file or values")
        if self.table is not None and (self.column is None or self.connection is None):
            raise ValueError("ids: a table needs connection and column, too")
        return self


class PaginationBlock(Block):
    """How a list is cut into pages; paths into an answer are dotted."""

    kind: Literal["none", "page", "offset", "cursor"] = "none"
    items: str = Field(default="", description="Where the records stand in an answer; empty: it is the list itself.")
    param: str | None = Field(default=None, description="The parameter of page, offset or cursor.")
    size_param: str | None = None
    size: int | None = Field(default=None, ge=1)
    first: int = 1
    next: str | None = Field(default=None, description="Where the next cursor, or the next page's address, stands.")
    more: str | None = Field(default=None, description="Where it stands whether there are more.")

    @model_validator(mode="after")
    def _fits_together(self) -> PaginationBlock:
        from sync_pipelines.engine.errors import ConfigurationError

        try:
            self.spec()
        except ConfigurationError as error:
            raise ValueError(error.message) from None
        return self

    def spec(self) -> Pagination:
        from sync_pipelines.sources.rest.paging import Pagination

        return Pagination(**self.model_dump())


class RestSourceBlock(Block):
    """An endpoint of an API."""

    connection: str = Field(description="Named API: <CONNECTION>_BASE_URL and <CONNECTION>_API_KEY.")
    base_url: str | None = Field(default=None, description="Its address where <CONNECTION>_BASE_URL is not set.")
    path: str = Field(description="Below that address. {name} is a part of the key, or one of `values`.")
    params: dict[str, Any] = Field(default={}, description="Of the query; a value may hold {name}, too.")
    key: list[str] = Field(description="What identifies a document; of a list, dotted paths into an item.")
    ids: IdsBlock | None = Field(default=None, description="The ids to ask for, one request each. Without: a list.")
    each: dict[str, Any] = Field(
        default={},
        description="Further parts of the key and their values, parted by commas: each id is asked for with each. "
        "A setting of the name (<sync>.<name>, <SYNC>_<NAME>) wins.",
    )
    values: dict[str, Any] = Field(
        default={}, description="Further names of path and params; a setting of the name wins, as of `each`."
    )
    pagination: PaginationBlock = PaginationBlock()
    auth: AuthBlock = AuthBlock()

    shapes: ClassVar[dict[str, Any]] = {"key": {"minItems": 1, "uniqueItems": True}}

    @field_validator("connection")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not NAME.match(value):
            raise ValueError(f"{value!r}: use lower-case letters, digits and _, beginning with a letter")
        return value

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        from sync_pipelines.engine.errors import ConfigurationError
        from sync_pipelines.sources.rest.settings import check_address

        try:
            return None if value is None else check_address(value, name="it")
        except ConfigurationError as error:
            raise ValueError(str(error)) from None

    @field_validator("path")
    @classmethod
    def _below_the_address(cls, value: str) -> str:
        if not value.strip("/ ") or "://" in value or value.startswith("//"):
            raise ValueError(f"{value!r}: write what stands below the API's address, such as property/{{id}}")
        return value

    @field_validator("key")
    @classmethod
    def _names(cls, value: list[str]) -> list[str]:
        if not value or not all(item.strip() for item in value) or len(set(value)) != len(value):
            raise ValueError(f"{value!r}: name what identifies a document, each part once")
        return value

    @field_validator("params", "each", "values")
    @classmethod
    def _texts(cls, value: dict[str, Any]) -> dict[str, str]:
        return {name: _text(item) for name, item in value.items()}

    @field_validator("each")
    @classmethod
    def _name_some(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not listed(text):
                raise ValueError(f"{name}: {text!r}: name at least one value; several are parted by commas")
        return value

    @model_validator(mode="after")
    def _key_is_asked_for(self) -> RestSourceBlock:
        parts = self.key if self.ids is not None else []
        known = {*parts, *self.values}
        named = dict.fromkeys(_places("path", self.path), "path")
        for param, text in self.params.items():
            named |= dict.fromkeys(_places(f"params.{param}", text), f"params.{param}")
        for name, field in named.items():
            if name not in known:
                raise ValueError(f"{field}: {{{name}}} is neither a part of the key nor one of `values`")
        if unasked := [name for name in parts if name not in named]:
            raise ValueError(f"path: {{{unasked[0]}}} is missing, so each id would be answered by one document")
        if self.ids is not None and self.pagination.kind != "none":
            raise ValueError("pagination: it belongs to a list, and `ids` ask for one document each")
        if self.ids is None and self.each:
            raise ValueError("each: it belongs to ids")
        if self.ids is not None and self.key[1:] != list(self.each):
            raise ValueError("key: its first part is the id, the others are those of `each`, in their order")
        return self

    # What every kind's source is asked

    @property
    def table(self) -> str:
        return self.path

    @property
    def schema_name(self) -> None:
        """An API has no schema."""

    @property
    def changed_at(self) -> None:
        """A change is found by comparing."""

    @property
    def capture(self) -> Literal["fetch"]:
        """Changes are found by fetching."""
        return "fetch"

    @property
    def lookback(self) -> str:
        return "0s"


class RowsBlock(Block):
    """One of the tables that the rows of a document go into."""

    name: str = Field(description="As the function names its rows.")
    table: str | None = Field(default=None, description="Its name in PostgreSQL, where it is another.")
    key: list[str] = Field(default=[], description="What tells the rows of one document apart; none for one row.")
    columns: dict[str, str] | None = Field(
        default=None,
        description="Field of a row → column. Left out: every column of the table, by its own name, but for those that "
        "a sequence numbers.",
    )
    sets: list[str] = Field(default=[], description="JSON fields whose elements have no order.")

    @field_validator("name", "table")
    @classmethod
    def _says_something(cls, value: str | None) -> str | None:
        return _target_name(value)


class RowsTargetBlock(Block):
    """Where documents go."""

    connection: str = Field(description="Named connection: <CONNECTION>_DATABASE_URL, else DATABASE_URL.")
    schema_name: str | None = Field(default=None, description="The tables' schema; the connection's if left out.")
    table: str | None = Field(default=None, description="The one table that `columns` speak of; made if need be.")
    tables: list[RowsBlock] = Field(default=[], description="The tables of `rows`, parents first.")
    books: str | None = Field(
        default=None,
        description="How the names of the tables begin that hold payloads, checks and changes; the table if left out.",
    )
    migrations: Literal["hotels"] | None = Field(
        default=None, description="The migrations of this package that make the tables; `db upgrade` runs them."
    )

    shapes: ClassVar[dict[str, Any]] = {"connection": CONNECTION}

    @field_validator("schema_name", "table", "books")
    @classmethod
    def _says_something(cls, value: str | None) -> str | None:
        return _target_name(value)

    @model_validator(mode="after")
    def _one_way(self) -> RowsTargetBlock:
        if (self.table is None) == (not self.tables):
            raise ValueError("target: name one table (with `columns`), or tables (with `rows`)")
        names = [table.name for table in self.tables]
        if len(set(names)) != len(names):
            raise ValueError("target.tables: a name stands there twice")
        return self
