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

from sync_pipelines.components.schema import QUOTES, READ_AS
from sync_pipelines.envelope import NO_DOCUMENT, no_document, schema, wrong_type
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
    if not trees:
        yield f"{_short(path)}:1: {NO_DOCUMENT}"
    for tree in trees:
        yield from _of_document(tree)


def _of_document(tree: Any) -> Iterator[str]:
    if (wrong := no_document(tree.value)) is not None:
        yield f"{_where(tree, [])}: {wrong}"
        return
    outer = list(_of_envelope(tree))
    yield from outer
    attributes = tree.value.get("attributes", None if outer else {})
    kind = _kind(tree.value.get("type"))
    # of another package's only the envelope is known; a misspelt `attributes` says nothing of what they lack
    if kind is not None and isinstance(attributes, dict | None) and (attributes is not None or not outer):
        yield from _of_attributes(tree, kind, attributes or {})


def _of_envelope(tree: Any) -> Iterator[str]:
    yield from _of_schema(tree, schema(), tree.value, [])
    named = tree.value.get("type")
    if isinstance(named, str) and (wrong := wrong_type(named)) is not None:
        yield _line(_where(tree, ["type"]), ["type"], wrong)


def _of_attributes(tree: Any, kind: Any, attributes: dict[str, Any]) -> Iterator[str]:
    found = list(_of_schema(tree, kind.get_model_cls().model_json_schema(), attributes, ["attributes"]))
    found = found or [_line(_where(tree, ["attributes", *path]), path, QUOTES) for path in _truths(attributes, [])]
    yield from found
    if not found and (refused := _refused(kind, attributes)):
        field = _FIELD.match(refused)
        yield f"{_where(tree, ['attributes', *(field[0].split('.') if field else ())])}: {refused}"


def _of_schema(tree: Any, expected: dict[str, Any], value: Any, below: list[str]) -> Iterator[str]:
    from jsonschema import Draft202012Validator

    for error in Draft202012Validator(expected).iter_errors(value):
        for field, sentence in _told(error):
            yield _line(_where(tree, [*below, *field]), field, sentence)


def _truths(value: Any, place: list[Any]) -> Iterator[list[Any]]:
    """Where true or false is the name of something: no schema of JSON sees that."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in inner:
        if isinstance(name, bool):
            yield [*place, name]
        yield from _truths(item, [*place, name])


_FIELD = re.compile(r"[\w.]+(?=: )")
"""The field that a sentence of our own rules begins with."""


def _where(tree: Any, path: list[Any]) -> str:
    """File and line of a field, or of the nearest around it that stands there."""
    positions = tree.source_position_tree
    position = positions.lookup_closest_and_path(path, None)[0] if path else positions.position
    return f"{_short(position.filename)}:{position.start.line}"


def _told(error: Any) -> Iterator[tuple[list[str | int], str]]:
    """Field and sentence of an error of jsonschema's; of several unknown fields, one each."""
    place = list(error.absolute_path)
    if error.validator != "additionalProperties":
        yield place, _worded(error.message) + (f"; {QUOTES}" if _is_truth_for_text(error) else "")
        return
    known = error.schema["properties"]
    for name in (name for name in error.instance if name not in known):
        near = get_close_matches(str(name), known, n=1)
        offered = f"did you mean {near[0]!r}?" if near else _there(known)
        yield [*place, name], f"{_TRUTH if isinstance(name, bool) else 'there is no such field'}; {offered}"


_TRUTH = f"{READ_AS}, and no field is named so"


def _is_truth_for_text(error: Any) -> bool:
    """Whether true or false stands where texts are expected, alone or in a list."""
    given = error.instance if isinstance(error.instance, list) else [error.instance]
    return "string" in str(error.validator_value) and any(isinstance(item, bool) for item in given)


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
        _ = kind.resolve_from_dict(attributes).spec  # made when it is first asked for
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
        found = [_item(item) for item in error.errors()]
        hint = [QUOTES] if any(_became_a_truth(item) for item in error.errors()) else []
        return "; ".join(found + hint)
    return _of_resolution(str(error)) or one_line(str(error))


def _item(item: Any) -> str:
    return _line("", item["loc"], _bare(item["msg"])).removeprefix(": ")


def _became_a_truth(item: Any) -> bool:
    return item["type"] == "string_type" and isinstance(item["input"], bool)


_PLACE = re.compile(r"^(?P<file>\S+?):(?P<line>\d+) - (?:attributes\.?)?(?P<field>\S*)")
_ITEM = re.compile(r"^(?:(?P<field>\S+)\n)?  (?P<message>\S.*?) \[type=", re.M)


def _of_resolution(text: str) -> str | None:
    """Dagster's resolving of a block: place, snippet, traceback, and pydantic's words as text."""
    items = _ITEM.findall(text)
    place = _PLACE.match(text)
    where, field = (f"{_short(place['file'])}:{place['line']}", place["field"]) if place else ("", "")
    if not items:
        return _line(where, [field], _last_words(text)) if place else None
    found = [_line("", filter(None, (field, name)), _bare(message)).removeprefix(": ") for name, message in items]
    return f"{where}: {'; '.join(found)}" if where and "<string>" not in where else "; ".join(found)


def _last_words(text: str) -> str:
    """What a template's evaluation ends with, below the snippet and the traceback."""
    return re.sub(r"^[\w.]*(?:Error|Exception): ", "", text.strip().splitlines()[-1].strip()).rstrip(".")


def _bare(message: str) -> str:
    return re.sub(r"^(Value error|Assertion failed), ", "", message)


def one_line(text: str) -> str:
    """A text of several lines as one, without a full stop."""
    return " ".join(text.split()).rstrip(".")


def _short(path: Path | str) -> str:
    """The path as it stands in the repository."""
    path = Path(path)
    return str(path.relative_to(PACKAGE.parent)) if path.is_relative_to(PACKAGE.parent) else str(path)
