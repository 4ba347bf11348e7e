"""What a run costs, by the prices that somebody has set."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from sync_pipelines.engine.model import Counts
from sync_pipelines.engine.usage import Usage

MOST = 1_000_000_000
"""No price is higher: whatever is, is a slip."""

_HOUR, _MILLION = Decimal(3600), Decimal(1_000_000)
_PLACES = Decimal("0.000001")


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Money, in one currency whose name nobody asks for; None is not counted.

    Args:
        hour: of the machine that runs the sync. warehouse_hour: of the warehouse while statements are at work.
        million_tokens: of the embedding's provider.
    """

    hour: Decimal | None = None
    warehouse_hour: Decimal | None = None
    million_tokens: Decimal | None = None

    def cost(self, usage: Usage, counts: Counts) -> Decimal | None:
        """Of one run, to a millionth; None where no price is set."""
        parts = (
            (self.hour, _amount(usage.seconds) / _HOUR),
            (self.warehouse_hour, _amount(usage.warehouse_seconds or 0) / _HOUR),
            (self.million_tokens, Decimal(counts.embedded_tokens) / _MILLION),
        )
        known = [price * amount for price, amount in parts if price is not None]
        return sum(known, Decimal(0)).quantize(_PLACES) if known else None


def price(text: str) -> Decimal:
    """A price as somebody has written it.

    Raises:
        ValueError: it is no amount of money.
    """
    try:
        found = Decimal(text)
    except InvalidOperation:
        found = Decimal(-1)
    if not found.is_finite() or not 0 <= found <= MOST:
        raise ValueError("expected an amount of money, such as 0.35")
    return found


def _amount(seconds: float) -> Decimal:
    return Decimal(str(seconds))
