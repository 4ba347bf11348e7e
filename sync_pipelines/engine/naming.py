"""Which records somebody means who names them by keys, or by what was shown of their keys (`engine.sensitive`)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sync_pipelines.engine import keys as spelling
from sync_pipelines.engine.errors import ConfigurationError, UnknownRecordError
from sync_pipelines.engine.keys import NamedKey
from sync_pipelines.engine.model import KEY, Listing
from sync_pipelines.engine.sensitive import is_masked, mask_of

if TYPE_CHECKING:
    from sync_pipelines.engine.run import Binding
    from sync_pipelines.engine.spec import TableSpec

_log = logging.getLogger(__name__)
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Records:
    """Whom somebody means: the keys as the stores have them, and those (as they are shown) that nobody has."""

    keys: tuple[str, ...]
    unknown: tuple[str, ...]


def real_keys(binding: Binding, given: Iterable[str]) -> tuple[str, ...]:
    """The keys of these records, each once; one that nobody holds names nothing, and a line of the log says so.

    Raises:
        ConfigurationError: a key that cannot be one of this table.
    """
    found = records(binding, given)
    if found.unknown:
        _log.warning("no record has the key %s", ", ".join(found.unknown))
    return found.keys


def known_keys(binding: Binding, given: Iterable[str]) -> tuple[str, ...]:
    """The keys of these records, each once.

    Raises:
        ConfigurationError: a key that cannot be one of this table.
        UnknownRecordError: neither source nor target nor quarantine has a record of this key.
    """
    found = records(binding, given)
    if found.unknown:
        raise unknown_records(binding.spec, found.unknown)
    return found.keys


def unknown_records(spec: TableSpec, shown: Sequence[str]) -> UnknownRecordError:
    """The error that says of keys (as they are shown) that nobody has them."""
    sample = ", ".join(repr(key) for key in shown[:_SHOWN]) + (", …" if len(shown) > _SHOWN else "")
    what = f"key {sample}" if len(shown) == 1 else f"{len(shown)} keys: {sample}"
    return UnknownRecordError(
        f"no such record in source or target ({what}).",
        sync=spec.sync,
        table=spec.name,
        remedy="Correct it, or leave it out.",
    )


def records(binding: Binding, given: Iterable[str]) -> Records:
    """Look for these records: masked keys in the ledger, the source and the target, others where they would be.

    A key that the quarantine or the target has letter by letter is one, whatever the table's key is by now.

    Raises:
        ConfigurationError: a key that cannot be one of this table.
    """
    given, mask = list(dict.fromkeys(given)), mask_of(binding.spec)
    hidden = [key for key in given if mask.hides_keys and is_masked(key)]
    found = _unmasked(binding, hidden)
    plain = [key for key in given if key not in hidden]
    stored = _held_as_given(binding, plain)
    found |= {key: key for key in stored}
    open_ones = [key for key in plain if key not in stored]
    normal = {key: normal_key(binding.spec, key) for key in open_ones}
    found |= _of_the_stores(binding, normal)
    return Records(
        keys=tuple(dict.fromkeys(found[key] for key in given if key in found)),
        unknown=tuple(mask.key(key) for key in given if key not in found),
    )


def normal_key(spec: TableSpec, key: str) -> str:
    """The key in the spelling of the stores, as far as its form goes; no store is asked.

    Raises:
        ConfigurationError: it has not the form of this table's keys.
    """
    mask = mask_of(spec)
    try:
        return key if mask.hides_keys and is_masked(key) else spelling.normal(key, spec.key)
    except ValueError as error:
        raise ConfigurationError(
            f"no key of this table: {error}.",
            sync=spec.sync,
            table=spec.name,
            key=mask.key(key),
            remedy=spelling.example(spec.key),
        ) from None


def named_among(
    ask: Callable[[Sequence[str]], Mapping[str, NamedKey]], keys: Sequence[str]
) -> tuple[dict[str, NamedKey], dict[str, str]]:
    """These keys as the table spells them; and why others of them are none, which are found by halves.

    Args:
        ask: a source's `named`.
    """
    try:
        return dict(ask(keys)), {}
    except ConfigurationError as error:
        if len(keys) == 1:
            return {}, {keys[0]: error.message}
    half = len(keys) // 2
    (some, bad), (others, worse) = named_among(ask, keys[:half]), named_among(ask, keys[half:])
    return some | others, bad | worse


def spelled_among(ask: Callable[[Sequence[str]], Mapping[str, NamedKey]], keys: Sequence[str]) -> dict[str, str]:
    """Each of these keys as the table spells it: a UUID that was told in capitals is another text; one that is no key
    of the table, as it is."""
    named, _ = named_among(ask, list(dict.fromkeys(keys))) if keys else ({}, {})
    return {key: named[key].key if key in named else key for key in keys}


def _unmasked(binding: Binding, wanted: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for known in _known(binding) if wanted else ():
        found |= mask_of(binding.spec).real(wanted, known)
        if len(found) == len(wanted):
            break
    return found


def _held_as_given(binding: Binding, keys: Sequence[str]) -> set[str]:
    if not keys:
        return set()
    # what is no text at all (broken UTF-8, a NUL) would be an error of either client
    texts = [key for key in keys if spelling.is_text(key)]
    return binding.ledger.quarantined_among(*binding.place, texts) | set(binding.target.existing(texts))


def _of_the_stores(binding: Binding, normal: dict[str, str]) -> dict[str, str]:
    """Those of these keys (as given → in form) that source or target has, as given → as it is stored."""
    if not normal:
        return {}
    named = binding.source.named(list(dict.fromkeys(normal.values())))
    only_target = set(binding.target.existing([item.key for item in named.values() if not item.found]))
    spelled = {key: named[form] for key, form in normal.items()}
    return {key: item.key for key, item in spelled.items() if item.found or item.key in only_target}


def _known(binding: Binding) -> Iterator[Sequence[str]]:
    """Every key that there is, in batches; the likely places first."""
    ledger, place = binding.ledger, binding.place
    yield [record.key for record in ledger.list_quarantine(*place, limit=None)]
    for batch in ledger.named_differences(*place):
        yield [item.key for item in batch]
    with binding.source.at_snapshot() as snapshot:
        yield from _listed(snapshot)
    yield from _listed(binding.target)


def _listed(side: Listing) -> Iterator[Sequence[str]]:
    for batch in side.fingerprints():
        yield batch.column(KEY).to_pylist()
