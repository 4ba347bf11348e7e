"""What seals users' secrets."""

import pytest
from cryptography.fernet import Fernet

from sync_pipelines.engine.errors import ConfigurationError, redact
from sync_pipelines.engine.vault import Vault

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
SECRETS = {"notion_token": "ntn_hunter2", "half": "\ud83d"}


def test_what_was_sealed_is_opened_again_and_says_nothing_meanwhile() -> None:
    token = Vault(NEW).seal(SECRETS)
    assert b"hunter2" not in token
    assert Vault(NEW).open(token, what="x") == SECRETS


def test_the_first_key_seals_and_every_key_opens() -> None:
    token = Vault(OLD).seal(SECRETS)
    both = Vault(f" {NEW} ,, {OLD}")
    assert both.open(token, what="x") == SECRETS
    assert Vault(NEW).open(both.seal(SECRETS), what="x") == SECRETS
    assert Vault(NEW).open(both.rotate(token, what="x"), what="x") == SECRETS


def test_what_no_key_opens_is_named_and_the_remedy_with_it() -> None:
    token = Vault(OLD).seal(SECRETS)
    for ask in (Vault(NEW).open, Vault(NEW).rotate):
        with pytest.raises(ConfigurationError, match="the secrets of ann: no key of SYNC_ENCRYPTION_KEYS opens"):
            ask(token, what="the secrets of ann")


@pytest.mark.parametrize("keys", [None, "not-a-key"])
def test_who_opens_what_was_sealed_is_told_to_give_the_keys_back_and_to_make_none(keys: str | None) -> None:
    token = Vault(OLD).seal(SECRETS)
    for ask in (Vault(keys).open, Vault(keys).rotate):
        with pytest.raises(
            ConfigurationError, match="Give it the keys that users' secrets were written with"
        ) as caught:
            ask(token, what="the secrets of ann")
        assert "Make one" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="Make one with"):
        Vault(keys).seal(SECRETS)


def test_a_token_that_was_tampered_with_is_not_opened() -> None:
    token = Vault(NEW).seal(SECRETS)
    with pytest.raises(ConfigurationError):
        Vault(NEW).open(token[:-4] + b"AAAA", what="x")


@pytest.mark.parametrize("keys", [None, "", " , "])
def test_without_keys_nothing_is_sealed_and_none_is_made_up(keys: str | None) -> None:
    with pytest.raises(ConfigurationError, match="SYNC_ENCRYPTION_KEYS is not set"):
        Vault(keys).seal(SECRETS)


def test_a_wrong_key_is_named_by_its_place_and_never_quoted() -> None:
    with pytest.raises(ConfigurationError, match="its key number 2 of 3 is no Fernet key") as caught:
        Vault(f"{NEW},not-a-key-at-all,{OLD}").check()
    assert "not-a-key" not in str(caught.value)


@pytest.mark.parametrize("between", [" ", ";", "\n"])
def test_keys_that_no_comma_parts_are_no_key(between: str) -> None:
    with pytest.raises(ConfigurationError, match="its key number 1 of 1 is no Fernet key") as caught:
        Vault(f"{NEW}{between}{OLD}").check()
    assert "parted by commas" in str(caught.value)


def test_the_variable_of_the_keys_is_a_secret_before_anybody_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNC_ENCRYPTION_KEYS", f"{NEW}, {OLD}")
    assert redact(f"{OLD} and {NEW}") == "*** and ***"


@pytest.mark.parametrize("token", ["ntn_50123abcdefgh", "aas_et/AKppINabcdef_g=", "ya29.a0AfB_byabcdef"])
def test_tokens_of_google_and_notion_are_known_by_their_form(token: str) -> None:
    assert redact(f"with {token}, it said") == "with ***, it said"


def test_keys_leave_in_no_text() -> None:
    vault = Vault(NEW)
    assert NEW not in repr(vault)
    assert redact(f"the key {NEW} of {OLD}") == f"the key *** of {OLD}"
