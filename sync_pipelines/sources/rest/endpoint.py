"""An endpoint as a document of YAML describes it: what is asked, and which keys the answers have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sync_pipelines.engine.keys import as_postgres
from sync_pipelines.sources.rest.contract import is_storable
from sync_pipelines.targets.rowsets.batch import RowsOf, parts_of

if TYPE_CHECKING:
    from sync_pipelines.sources.rest.calls import Call
    from sync_pipelines.sources.rest.paging import Pagination


@dataclass(frozen=True, kw_only=True)
class FetchSettings:
    """What holds for a run that begins now.

    Args:
        interval: after which a record is due again. rate_limit: requests a second. max_concurrent: under way at once.
        retry_attempts: tries of one request. patience: for how long an API that answers nobody is asked again.
        budget: requests a day (UTC), None for any number. sample: records that a deep check fetches anew.
    """

    interval: timedelta = timedelta(hours=12)
    rate_limit: float = 10.0
    max_concurrent: int = 5
    retry_attempts: int = 3
    patience: timedelta = timedelta(minutes=1)
    budget: int | None = None
    sample: int = 20


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where documents are.

    Args:
        path: below the API's address; `{name}` is a part of the key, or of `values`.
        key: the names of the key's parts; of a list, dotted paths into an item.
        params: of the query; a value may hold `{name}`, too. values: gives the further names of path and params.
        pagination: of a list endpoint; None for one that gives one document for each key.
        rows_of: payload and key → rows by table. signature: changes when that function does.
    """

    path: str
    key: tuple[str, ...]
    rows_of: RowsOf
    signature: str
    params: Mapping[str, str] = field(default_factory=dict)
    values: Callable[[], Mapping[str, str]] = dict
    pagination: Pagination | None = None

    def call(self, key: str) -> Call:
        """The request of one document."""
        from sync_pipelines.sources.rest.calls import Call, path_of

        values = {**self.values(), **dict(zip(self.key, parts_of(key, len(self.key)), strict=True))}
        params = {name: text.format_map(values) for name, text in self.params.items()}
        return Call(key=key, path=path_of(self.path, **values), params=params)

    def listed(self) -> tuple[str, dict[str, str]]:
        """Path and query of a list."""
        from sync_pipelines.sources.rest.calls import path_of

        values = self.values()
        return path_of(self.path, **values), {name: text.format_map(values) for name, text in self.params.items()}

    def key_of(self, item: Any) -> str:
        """The key of an item of a list.

        Raises:
            ValueError: it has none; the sentence names the path.
        """
        parts = [_text_at(item, path) for path in self.key]
        return parts[0] if len(parts) == 1 else as_postgres(parts)


def at(payload: Any, path: str) -> Any:
    """What stands at a dotted path (`rates.usd`, `items.0.id`); None where nothing does."""
    found = payload
    for part in path.split(".") if path else ():
        if isinstance(found, Mapping):
            found = found.get(part)
        elif isinstance(found, list) and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        else:
            return None
    return found


def _text_at(item: Any, path: str) -> str:
    found = at(item, path)
    if found is None or isinstance(found, bool | dict | list) or found == "":
        raise ValueError(f"{path}: an item without a key")
    # 7.0 is the number 7: an API that writes both speaks of one record
    text = str(int(found) if isinstance(found, float) and found.is_integer() else found)
    if not is_storable(text):
        raise ValueError(f"{path}: an item whose key holds a NUL character or half a surrogate pair")
    return text
