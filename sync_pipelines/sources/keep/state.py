"""What is known of an account, sealed in the ledger between runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sync_pipelines.engine.ledger.credentials import CredentialBook
from sync_pipelines.engine.vault import Vault

_ACCOUNT = "account"


class States(Protocol):
    """Where an account's mirror is kept."""

    def load(self) -> tuple[dict[str, Any] | None, str | None]:
        """What is kept, None where nothing is, and its mark."""
        ...

    def keep(self, document: Mapping[str, Any], *, was: str | None) -> bool:
        """Keep it in the place of what had that mark; False where somebody has kept something else meanwhile."""
        ...


@dataclass(frozen=True, kw_only=True)
class SealedStates:
    """The state of one user in `sync_credentials`.

    Args:
        account: the address of the account. What a run has kept of another one, from which the user was moved while it
            read, is taken for nothing.
    """

    book: CredentialBook
    vault: Vault
    sync: str
    user: str
    account: str

    def load(self) -> tuple[dict[str, Any] | None, str | None]:
        """What is kept, opened.

        Raises:
            ConfigurationError: no key opens it.
        """
        found = self.book.user_state(self.sync, self.user)
        if found is None:
            return None, None
        what = f"{self.sync}: what is known of the account of user {self.user!r}"
        document = self.vault.open(found.token, what=what)
        whose = document.pop(_ACCOUNT, self.account)  # earlier versions did not say it
        return (document if whose == self.account else None), found.mark

    def keep(self, document: Mapping[str, Any], *, was: str | None) -> bool:
        """Seal and keep it, unless another process has kept something since."""
        sealed = self.vault.seal({**document, _ACCOUNT: self.account})
        return self.book.keep_user_state(self.sync, self.user, sealed, was=was)
