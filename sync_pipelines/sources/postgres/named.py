"""Keys that people name: each in the spelling that the table has, or a sentence that says which is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.keys import NamedKey, example
from sync_pipelines.engine.sensitive import mask_of
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.sources.postgres.errors import InvalidKeyError

_KEYS_A_STATEMENT = 1000

Ask = Callable[[Sequence[str]], dict[str, NamedKey]]


def spelled(spec: TableSpec, keys: Sequence[str], ask: Ask) -> dict[str, NamedKey]:
    """Ask for keys, some at a time; a key that is no value of its column's type is looked for by halves.

    Raises:
        ConfigurationError: naming that key.
    """
    found: dict[str, NamedKey] = {}
    for start in range(0, len(keys), _KEYS_A_STATEMENT):
        found |= _asked(spec, keys[start : start + _KEYS_A_STATEMENT], ask)
    return found


def _asked(spec: TableSpec, keys: Sequence[str], ask: Ask) -> dict[str, NamedKey]:
    try:
        return ask(keys)
    except InvalidKeyError as error:
        if len(keys) == 1:
            raise _refused(spec, keys[0], error) from None
    half = len(keys) // 2
    return _asked(spec, keys[:half], ask) | _asked(spec, keys[half:], ask)


def _refused(spec: TableSpec, key: str, error: InvalidKeyError) -> ConfigurationError:
    mask = mask_of(spec)
    why = "" if mask.hides_keys else f" ({error.message.rstrip('.')})"
    return ConfigurationError(
        f"no key of this table: the values of {', '.join(spec.key)} have other types{why}.",
        sync=spec.sync,
        table=spec.name,
        key=mask.key(key),
        remedy=example(spec.key),
    )
