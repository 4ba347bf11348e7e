"""What is wrong with the documents below defs/: each error in one line, with file, line and field.

`dg check yaml` (dagster 1.13) looks at the last document of each kind alone, and names no document that its schema
takes and our own rules refuse; loading stops at the first one. Here all of them are asked, by both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sync_pipelines.strays import READ

PACKAGE = Path(__file__).resolve().parent

_WORDS = (
    (re.compile(r"(.*) does not match '\^\\\\d\+.*smhd.*'$"), r"\1 is no duration: write 30s, 15m, 2h or 7d"),
    (re.compile(r"(.*) does not match '\^\\\\d\{4\}.*'$"), r"\1 is no date: write 2024-01-31"),
    (re.compile(r"(.*) does not match '.*\\\\S\+.*'$"), r"\1 is no cron expression"),
)
"""jsonschema's sentences, and what they mean."""


def problems(folder: Path = PACKAGE / "defs") -> list[str]:
    """One line for each error in a document of ours below `folder`."""
    read = [path for name in READ for path in folder.rglob(name)]
    return [line for path in sorted(read) for line in _of_file(path)]


def _of_file(path: Path) -> Iterator[str]:
    from dagster_shared.yaml_utils import parse_yamls_with_source_position
    from yaml import YAMLError

    try:
        trees = parse_yamls_with_source_position(path.read_text(encoding="utf-8"), filename=str(path))
    except (YAMLError, UnicodeDecodeError) as error:
        yield f"{_short(path)}: {one_line(str(error))}"
        return
    for tree in trees:
        yield from _of_document(tree)


def _of_document(tree: Any) -> Iterator[str]:
    from jsonschema import Draft202012Validator

    document = tree.value if isinstance(tree.value, dict) else {}
    kind = _kind(document.get("type"))
    if kind is None:  # another package's, or `dg check yaml` says it
        return
    attributes = document.get("attributes") or {}
    found = list(Draft202012Validator(kind.get_model_cls().model_json_schema()).iter_errors(attributes))
    for error in found:
        for field, sentence in _told(error):
            position = tree.source_position_tree.lookup_closest_and_path(["attributes", *field], None)[0]
            yield _line(f"{_short(position.filename)}:{position.start.line}", field, sentence)
    if not found and (refused := _refused(kind, attributes)):
        start = tree.source_position_tree.position.start
        yield f"{_short(tree.source_position_tree.position.filename)}:{start.line}: {refused}"


def _told(error: Any) -> Iterator[tuple[list[str | int], str]]:
    """Field and sentence of an error of jsonschema's; of several unknown fields, one each."""
    place = list(error.absolute_path)
    if error.validator != "additionalProperties":
        yield place, _worded(error.message)
        return
    known = error.schema["properties"]
    for name in (name for name in error.instance if name not in known):
        near = get_close_matches(name, known, n=1)
        yield [*place, name], f"there is no such field; {f'did you mean {near[0]!r}?' if near else _there(known)}"


def _there(known: Iterable[str]) -> str:
    return f"there are {', '.join(known)}"


def _kind(name: object) -> Any:
    """The component of a document's `type:`, if it is one of ours."""
    import sync_pipelines
    from sync_pipelines.components.base import SyncComponent

    package, _, kind = str(name).rpartition(".")
    found = getattr(sync_pipelines, kind, None) if package == "sync_pipelines" else None
    return found if isinstance(found, type) and issubclass(found, SyncComponent) else None


def _refused(kind: Any, attributes: dict[str, Any]) -> str | None:
    """What the rules that no schema can state say of it; a template's value is not known here."""
    if "{{" in str(attributes):
        return None
    try:
        kind.resolve_from_dict(attributes)
    except Exception as error:
        return why(error)
    return None


def _line(where: str, path: Iterable[str | int], sentence: str) -> str:
    field = ".".join(map(str, path))
    named = not field or sentence.startswith(field)
    return f"{where}: {'' if named else f'{field}: '}{sentence}"


def _worded(message: str) -> str:
    for pattern, words in _WORDS:
        if pattern.match(message):
            return pattern.sub(words, message)
    return message


def why(error: BaseException) -> str:
    """The reason below Dagster's wrapping, in one line without the libraries' own additions."""
    from pydantic import ValidationError

    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, ValidationError):
        return "; ".join(_item(item) for item in error.errors())
    return _of_resolution(str(error)) or one_line(str(error))


def _item(item: Any) -> str:
    return _line("", item["loc"], _bare(item["msg"])).removeprefix(": ")


_PLACE = re.compile(r"^(?P<file>\S+?):(?P<line>\d+) - (?:attributes\.?)?(?P<field>\S*)")
_ITEM = re.compile(r"^(?:(?P<field>\S+)\n)?  (?P<message>\S.*?) \[type=", re.M)


def _of_resolution(text: str) -> str | None:
    """Dagster's resolving of a block: place, snippet, traceback, and pydantic's words as text."""
    items = _ITEM.findall(text)
    if not items:
        return None
    place = _PLACE.match(text)
    where, field = (f"{_short(place['file'])}:{place['line']}", place["field"]) if place else ("", "")
    found = [_line("", filter(None, (field, name)), _bare(message)).removeprefix(": ") for name, message in items]
    return f"{where}: {'; '.join(found)}" if where and "<string>" not in where else "; ".join(found)


def _bare(message: str) -> str:
    return re.sub(r"^(Value error|Assertion failed), ", "", message)


def one_line(text: str) -> str:
    """A text of several lines as one, without a full stop."""
    return " ".join(text.split()).rstrip(".")


def _short(path: Path | str) -> str:
    """The path as it stands in the repository."""
    path = Path(path)
    return str(path.relative_to(PACKAGE.parent)) if path.is_relative_to(PACKAGE.parent) else str(path)
