"""What is kept of a user."""

from datetime import UTC, datetime

import pytest

from sync_pipelines.engine.errors import ConfigurationError, redact
from sync_pipelines.engine.ledger.credentials import StoredUser
from sync_pipelines.sources.keep.user import Account, Export, Place, Secrets, User, notion_id, user_from

ID = "0123456789abcdef0123456789abcdef"
DASHED = "01234567-89ab-cdef-0123-456789abcdef"


@pytest.mark.parametrize("text", [ID, DASHED, DASHED.upper(), f"https://www.notion.so/Page-{ID}", f"{ID}?v={'f' * 32}"])
def test_an_id_is_found_in_what_notion_shows(text: str) -> None:
    assert notion_id(text) == DASHED


def test_what_holds_no_id_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="holds no id of Notion"):
        notion_id(f"https://www.notion.so/Page?v={ID}")


def stored(config: object) -> StoredUser:
    now = datetime.now(UTC)
    return StoredUser(
        sync="notes", name="ann", config=config, secrets=b"", has_state=False, created_at=now, updated_at=now
    )


@pytest.mark.parametrize("source", [Export(paths=("/a", "/b/*.zip"), complete=True), Account(email="a@b.c")])
@pytest.mark.parametrize("target", [Place(database=DASHED), Place(parent_page=DASHED)])
def test_a_user_is_the_same_after_the_ledger(source: Export | Account, target: Place) -> None:
    user = User(sync="notes", name="ann", source=source, target=target)
    found = user_from(stored(user.config()))
    assert (found.source, found.target) == (source, target)


@pytest.mark.parametrize("config", [{}, {"source": None, "target": {}}, {"source": {"takeout": ["/a"]}, "target": {}}])
def test_what_is_of_another_form_is_said_with_the_user(config: object) -> None:
    with pytest.raises(ConfigurationError, match=r"user 'ann' is of another form|Either a database"):
        user_from(stored(config))


def test_secrets_leave_in_no_text() -> None:
    secrets = Secrets(notion_token="ntn_token_of_ann", master_token="aas_et/master")
    assert "ntn" not in repr(secrets)
    assert "aas" not in repr(secrets)
    assert redact("ntn_token_of_ann and aas_et/master") == "*** and ***"
    changed = secrets.with_new(notion_token=None, master_token="aas_et/newer")
    assert changed == Secrets(notion_token="ntn_token_of_ann", master_token="aas_et/newer")
