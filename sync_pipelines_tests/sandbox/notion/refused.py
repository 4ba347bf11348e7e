"""What a refusal looks like to a client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from notion_client.errors import HTTPResponseError


def refused(ask: Callable[[], Any]) -> tuple[int, str, str]:
    """Status, code and message of the refusal that a request meets."""
    with pytest.raises(HTTPResponseError) as caught:
        ask()
    return caught.value.status, str(getattr(caught.value.code, "value", caught.value.code)), str(caught.value)
