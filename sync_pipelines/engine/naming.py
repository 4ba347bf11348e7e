"""Which records somebody means who names them by what was shown of their keys (`engine.sensitive`)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from sync_pipelines.engine.model import KEY, Listing
from sync_pipelines.engine.sensitive import is_masked, mask_of

if TYPE_CHECKING:
    from sync_pipelines.engine.run import Binding

_log = logging.getLogger(__name__)


def real_keys(binding: Binding, given: Iterable[str]) -> tuple[str, ...]:
    """The keys of these records, each once; a masked one is looked for in the ledger, the source and the target.

    One that nobody holds names nothing, as any other key does; a line of the log says so.
    """
    given = list(dict.fromkeys(given))
    mask = mask_of(binding.spec)
    wanted = {key for key in given if mask.hides_keys and is_masked(key)}
    found: dict[str, str] = {}
    for known in _known(binding) if wanted else ():
        found |= mask.real(wanted, known)
        if len(found) == len(wanted):
            break
    if lost := sorted(wanted - set(found)):
        _log.warning("no record has the key %s", ", ".join(lost))
    return tuple(dict.fromkeys(found.get(key, key) for key in given if key not in lost))


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
