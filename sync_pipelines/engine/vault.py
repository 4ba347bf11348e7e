"""Secrets that the ledger keeps: encrypted with keys that stand in no database (SYNC_ENCRYPTION_KEYS)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sync_pipelines.engine import secrets
from sync_pipelines.engine.errors import ConfigurationError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

VARIABLE = "SYNC_ENCRYPTION_KEYS"
"""The variable that keys are given by, for sentences; a resource reads it."""

_LETTERS = 44
"""Of a key."""

_MAKE = (
    'Make one with: python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"; '
    "keep it where the ledger's backups are not."
)
_GIVE_BACK = "Give it the keys that users' secrets were written with: a new one opens none of them."


@dataclass(frozen=True)
class Vault:
    """Seals and opens what is secret; the first key seals, each of them opens (Fernet: AES-128-CBC with HMAC).

    Made, it knows what it was given and has read nothing of it: a sync without users needs no keys.

    Args:
        keys: Fernet keys, parted by commas, the newest first; None or blank where none are set. Never shown.
    """

    keys: str | None = field(repr=False)

    def __post_init__(self) -> None:
        secrets.know(*self._texts())

    def check(self, *, used: bool = False) -> None:
        """Insist that there are keys, and that each is one.

        Args:
            used: something was sealed already, so that new keys are of no use.

        Raises:
            ConfigurationError: there are none, or one of them is no Fernet key; its place is named, never its text.
        """
        self._fernet(_GIVE_BACK if used else _MAKE)

    def seal(self, document: Mapping[str, Any]) -> bytes:
        """A document of JSON as a token that says nothing without a key."""
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        return self._fernet().encrypt(zlib.compress(text.encode("utf-8", "surrogatepass")))

    def open(self, token: bytes, *, what: str) -> dict[str, Any]:
        """The document in a token.

        Args:
            what: what it is, for the sentence (`the secrets of notes' user 'ann'`).

        Raises:
            ConfigurationError: none of the keys opens it.
        """
        text = zlib.decompress(self._opened(token, what)).decode("utf-8", "surrogatepass")
        return json.loads(text)

    def rotate(self, token: bytes, *, what: str) -> bytes:
        """The same document, sealed with the first key.

        Raises:
            ConfigurationError: none of the keys opens it.
        """
        return self._fernet(_GIVE_BACK).encrypt(self._opened(token, what))

    def _opened(self, token: bytes, what: str) -> bytes:
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet(_GIVE_BACK).decrypt(token)
        except InvalidToken:
            raise ConfigurationError(
                f"{what}: no key of {VARIABLE} opens what the ledger holds of it.",
                remedy=f"Put the key that it was written with back into {VARIABLE}, behind the newest one. Where that "
                "is lost, remove and add the user: their pages stay theirs.",
            ) from None

    def _fernet(self, remedy: str = _MAKE) -> MultiFernet:
        from cryptography.fernet import Fernet, MultiFernet

        texts, made = self._texts(), []
        if not texts:
            raise ConfigurationError(f"{VARIABLE} is not set, and secrets are kept encrypted only.", remedy=remedy)
        for place, text in enumerate(texts, start=1):
            try:
                # of a longer text, such as two keys with a space between, it would take the first key in silence
                made.append(Fernet(text if len(text) == _LETTERS else ""))
            except ValueError:
                raise ConfigurationError(
                    f"{VARIABLE}: its key number {place} of {len(texts)} is no Fernet key "
                    f"(32 bytes as URL-safe base64, {_LETTERS} characters); several are parted by commas.",
                    remedy=remedy,
                ) from None
        return MultiFernet(made)

    def _texts(self) -> list[str]:
        return [text for part in (self.keys or "").split(",") if (text := part.strip())]
