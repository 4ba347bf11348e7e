"""`sync-pipelines users`, as an operator uses it; the sync `diary` has users."""

import json
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from typer.testing import CliRunner

import sync_pipelines.definitions
from sync_pipelines.cli import app
from sync_pipelines.engine.vault import Vault
from sync_pipelines.sources.keep.user import notion_id
from sync_pipelines.targets.notion.records import Database, Records
from sync_pipelines_tests.sources.keep.exports import a_note, as_zip
from sync_pipelines_tests.users.diary import Desk, loaded

ID = "0123456789abcdef0123456789abcdef"
DASHED = "01234567-89ab-cdef-0123-456789abcdef"
KEY = Fernet.generate_key().decode()
TOKEN, MASTER = "ntn_the_token_of_ann", "aas_et/the-master-token"


_VARIABLES = ("NOTION_TOKEN", "KEEP_MASTER_TOKEN", "NOTION_BASE_URL", "KEEP_API_URL", "KEEP_AUTH_URL")


@pytest.fixture(autouse=True)
def desk(monkeypatch: pytest.MonkeyPatch, house_url: str) -> Desk:
    """A ledger without users and one document, that of the diary; no instance of Dagster."""
    monkeypatch.setenv("SYNC_ENCRYPTION_KEYS", KEY)
    monkeypatch.setenv("DATABASE_URL", house_url)
    for name in (*_VARIABLES, "SYNC_DATABASE_URL", "SYNC_SCHEMA", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    found = loaded()
    monkeypatch.setattr(sync_pipelines.definitions, "load", lambda *_: found)
    return Desk(url=house_url, instance=None)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return as_zip(tmp_path / "takeout.zip", {"Takeout/Keep/a.json": a_note()})


def run(*words: str, typed: str = "", code: int = 0) -> str:
    """What a command says, on both outputs."""
    result = CliRunner().invoke(app, ["users", *words], input=typed)
    assert result.exit_code == code, (result.exit_code, result.output, result.exception)
    assert TOKEN not in result.output
    assert MASTER not in result.output
    return result.output


def add_ann(export: Path, *words: str) -> str:
    return run("add", "ann", "--takeout", str(export), "--database", ID, *words, typed=f"{TOKEN}\n")


def sealed(desk: Desk, name: str = "ann", keys: str = KEY) -> dict[str, str | None]:
    with desk.resources.ledger.ledger() as ledger:
        return Vault(keys).open(ledger.user("diary", name).secrets, what="x")


def test_a_user_is_added_from_an_export(desk: Desk, export: Path) -> None:
    assert "user ann is added" in add_ann(export, "--complete")
    (found,) = json.loads(run("list", "--json"))["users"]
    assert found["source"] == {"takeout": [str(export)], "complete": True}
    assert (found["target"], found["sync"], found["user"]) == ({"database": DASHED}, "diary", "ann")
    assert f"export {export} (complete)" in run("list")
    assert sealed(desk) == {"notion_token": TOKEN, "master_token": None}


def test_a_user_is_added_while_dagsters_storage_is_away_and_a_line_without_a_trace_says_so(
    export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text("storage: {sqlite: {base_dir: /dev/null/no}}")
    add_ann(export)
    (line,) = [item for item in caplog.records if "Dagster was not told of the users of diary" in item.message]
    assert "Error" in line.message
    assert "Traceback" not in caplog.text
    assert "ann" in run("list")


def test_a_shell_makes_several_paths_of_a_pattern(export: Path, tmp_path: Path) -> None:
    second = as_zip(tmp_path / "takeout-2.zip", {})
    run("add", "ann", "--takeout", str(export), str(second), "--database", ID, typed=f"{TOKEN}\n")
    assert json.loads(run("list", "--json"))["users"][0]["source"]["takeout"] == [str(export), str(second)]
    assert "Paths of an export follow --takeout" in run("set", "ann", str(second), code=2).replace("│", " ")


def test_nothing_that_the_database_holds_shows_a_token(desk: Desk, export: Path) -> None:
    add_ann(export)
    rows = desk.execute("SELECT t::text FROM sync.sync_credentials t")
    assert rows
    assert TOKEN not in str(rows)


def test_a_user_is_added_from_an_account_with_tokens_of_files(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"\ufeff{TOKEN}\r\n", encoding="utf-8")  # as Windows' editor writes it
    (tmp_path / "master").write_text(f"{MASTER}\n")
    files = ("--token-file", str(tmp_path / "token"), "--master-token-file", str(tmp_path / "master"))
    link = f"https://www.notion.so/team/My-notes-{ID}?v=ffffffffffffffffffffffffffffffff"
    run("add", "bob", "--account", "bob@example.com", "--parent-page", link, *files)
    (found,) = json.loads(run("list", "--json"))["users"]
    assert (found["source"], found["target"]) == ({"account": "bob@example.com"}, {"parent_page": DASHED})
    assert sealed(desk, "bob") == {"notion_token": TOKEN, "master_token": MASTER}


def test_tokens_are_taken_from_the_environment(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTION_TOKEN", TOKEN)
    monkeypatch.setenv("KEEP_MASTER_TOKEN", MASTER)
    run("add", "bob", "--account", "bob@example.com", "--database", ID)
    assert sealed(desk, "bob") == {"notion_token": TOKEN, "master_token": MASTER}


def test_no_option_takes_a_token(export: Path) -> None:
    for command in ("add", "rotate"):
        text = run(command, "--help")
        assert "--token-file" in text
        assert "--token " not in text


def test_the_instance_knows_the_users_as_partitions(
    desk: Desk, export: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from dagster import DagsterInstance

    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    add_ann(export)
    with DagsterInstance.get() as instance:
        assert instance.get_dynamic_partitions("diary_users") == ["ann"]
    run("remove", "ann", "--yes")
    with DagsterInstance.get() as instance:
        assert instance.get_dynamic_partitions("diary_users") == []


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("ann", "--database", ID), 2, "--takeout PATH"),
        (("ann", "--takeout", "{export}"), 2, "--database ID"),
        (("ann", "--takeout", "{export}", "--account", "a@b", "--database", ID), 2, "not both"),
        (("ann", "--takeout", "{export}", "--database", ID, "--parent-page", ID), 2, "not both"),
        (("ann", "--account", "a@b", "--complete", "--database", ID), 2, "an account is always complete"),
        (("ann", "--takeout", "/nowhere", "--database", ID), 3, "There is no file or folder '/nowhere'"),
        (("ann", "--takeout", "{export.parent}", "--database", ID), 3, "archives in a folder are not opened"),
        (("ann", "--takeout", "{export}", "--database", "mine"), 3, "holds no id of Notion"),
        (("Ann", "--takeout", "{export}", "--database", ID), 3, "'Ann' is no name of a user"),
        (("ann\n", "--takeout", "{export}", "--database", ID), 3, "'ann\\n' is no name of a user"),
        (("a...b", "--takeout", "{export}", "--database", ID), 3, "'a...b' is no name of a user"),
        (("ann", "--account", "bob", "--database", ID), 3, "is no e-mail address"),
        (("ann", "--takeout", "{export}", "--database", ID, "--sync", "no"), 3, "no sync 'no' with users"),
        (("ann", "--takeout", "{export}", "--database", ID, "--token-file", "/nowhere"), 3, "cannot be read"),
        (("ann", "--takeout", "{export}", "--database", ID, "--token-file", "{export}.env"), 3, "more than a token"),
    ],
)
def test_what_is_wrong_with_an_addition_is_said(
    desk: Desk, export: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    export.with_name(f"{export.name}.env").write_text(f"{TOKEN}\n{MASTER}\n")
    given = [word.format(export=export) for word in words]
    assert says in " ".join(run("add", *given, typed=f"{TOKEN}\n{MASTER}\n", code=code).replace("│", " ").split())
    assert json.loads(run("list", "--json")) == {"users": []}


def test_without_a_key_nobody_is_asked_for_a_token(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYNC_ENCRYPTION_KEYS")
    text = run("add", "ann", "--takeout", str(export), "--database", ID, code=3)
    assert "SYNC_ENCRYPTION_KEYS is not set" in text
    assert "Token of" not in text
    assert "Make one with" in text
    monkeypatch.setenv("SYNC_ENCRYPTION_KEYS", KEY)
    add_ann(export)
    monkeypatch.delenv("SYNC_ENCRYPTION_KEYS")
    for words in (("add", "bob", "--takeout", str(export), "--parent-page", ID), ("rotate",)):
        text = run(*words, code=3)
        assert "Give it the keys that users' secrets were written with" in text
        assert "Make one with" not in text


def test_a_name_is_taken_once(export: Path) -> None:
    add_ann(export)
    text = run("add", "ann", "--takeout", str(export), "--database", ID, typed=f"{TOKEN}\n", code=3)
    assert "there is a user 'ann' already. Change them with `users set ann`" in text


def test_a_database_has_one_user(export: Path) -> None:
    add_ann(export)
    given = ("--takeout", str(export), "--database", ID)
    assert "is that of user 'ann'" in run("add", "bob", *given, typed=f"{TOKEN}\n", code=3)
    run("add", "bob", "--takeout", str(export), "--parent-page", ID, typed=f"{TOKEN}\n")
    assert "is that of user 'ann'" in run("set", "bob", "--database", ID, code=3)
    run("set", "ann", "--database", ID)


def test_a_database_that_the_sync_has_made_for_a_user_is_no_others(desk: Desk, export: Path) -> None:
    made, below = ("0f" * 16, "0e" * 16), "0d" * 16
    run("add", "ann", "--takeout", str(export), "--parent-page", below, typed=f"{TOKEN}\n")
    with desk.resources.ledger.ledger() as ledger:
        Records(ledger, ("diary", "entries:ann")).keep_database(
            Database(database=notion_id(made[0]), source=notion_id(made[1]), made=True, parent=notion_id(below))
        )
    run("add", "bob", "--takeout", str(export), "--parent-page", ID, typed=f"{TOKEN}\n")
    for name in made:
        given = ("--takeout", str(export), "--database", name)
        assert "is that of user 'ann'" in run("add", "cid", *given, typed=f"{TOKEN}\n", code=3)
        assert "is that of user 'ann'" in run("set", "bob", "--database", name, code=3)
    with desk.resources.ledger.ledger() as ledger:  # as an older version took it
        taken = {**ledger.user("diary", "bob").config, "target": {"database": notion_id(made[0])}}
        ledger.change_user("diary", "bob", config=taken)
    assert "Notion: diary: database" in run("test", "bob", code=3)
    run("set", "ann", "--parent-page", ID)
    run("set", "bob", "--database", made[0])


def test_a_move_to_an_account_that_is_refused_leaves_the_token_as_it_was(desk: Desk, export: Path) -> None:
    add_ann(export)
    (other := export.with_name("master")).write_text(MASTER)
    given = ("--account", "bob@example.com", "--parent-page", ID)
    run("add", "bob", *given, typed=f"{TOKEN}\naas_et/first\n")
    move = ("set", "bob", "--account", "b@example.com", "--database", ID, "--master-token-file", str(other))
    assert "is that of user 'ann'" in run(*move, code=3)
    assert sealed(desk, "bob")["master_token"] == "aas_et/first"
    run(*move[:4], *move[6:])
    assert sealed(desk, "bob")["master_token"] == MASTER
    run("set", "bob", "--account", "b@example.com")
    assert "Master token" in run("set", "bob", "--account", "other@example.com", typed="aas_et/other\n")
    assert sealed(desk, "bob")["master_token"] == "aas_et/other"


def test_paths_complete_and_place_are_changed(export: Path, tmp_path: Path) -> None:
    add_ann(export)
    run("set", "ann", "--complete")
    assert json.loads(run("list", "--json"))["users"][0]["source"]["complete"] is True
    other = as_zip(tmp_path / "other.zip", {})
    run("set", "ann", "--takeout", str(other), "--parent-page", ID)
    found = json.loads(run("list", "--json"))["users"][0]
    assert found["source"] == {"takeout": [str(other)], "complete": False}
    assert found["target"] == {"parent_page": DASHED}
    run("set", "ann", code=2)
    assert "there is no user 'bob'. There are: ann" in run("set", "bob", "--complete", code=3).replace("diary: ", "")


@pytest.mark.parametrize("how", ["first", "file", "environment", "typed"])
def test_moving_to_an_account_takes_the_master_token(
    desk: Desk, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    add_ann(export)
    monkeypatch.setenv("NOTION_TOKEN", "ntn_of_somebody_else")
    (tmp_path / "master").write_text(MASTER)
    file = ("--master-token-file", str(tmp_path / "master"))
    if how == "first":
        run("rotate", "ann", *file)
    if how == "environment":
        monkeypatch.setenv("KEEP_MASTER_TOKEN", MASTER)
    moved = ("set", "ann", "--account", "ann@example.com", *(file if how == "file" else ()))
    run(*moved, typed=f"{MASTER}\n" if how == "typed" else "")
    assert sealed(desk) == {"notion_token": TOKEN, "master_token": MASTER}
    assert "which is always complete" in run("set", "ann", "--complete", code=3)


def test_another_source_makes_what_was_known_of_the_account_void(desk: Desk, export: Path) -> None:
    add_ann(export)
    with desk.resources.ledger.ledger() as ledger:
        ledger.keep_user_state("diary", "ann", b"known", was=None)
        run("set", "ann", "--parent-page", ID)
        assert ledger.user_state("diary", "ann") is not None
        run("set", "ann", "--complete")
        assert ledger.user_state("diary", "ann") is None


def test_a_new_token_is_typed_and_an_empty_one_is_none(desk: Desk, export: Path) -> None:
    add_ann(export)
    run("rotate", "ann", typed="ntn_another_token\n")
    assert sealed(desk) == {"notion_token": "ntn_another_token", "master_token": None}
    assert "No new token was given" in run("rotate", "ann", typed="\n", code=2)


def test_all_secrets_are_sealed_with_a_new_key(desk: Desk, export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_ann(export)
    new = Fernet.generate_key().decode()
    monkeypatch.setenv("SYNC_ENCRYPTION_KEYS", new)
    assert "user 'ann': no key of SYNC_ENCRYPTION_KEYS opens" in run("rotate", code=3)
    monkeypatch.setenv("SYNC_ENCRYPTION_KEYS", f"{new},{KEY}")
    assert "The secrets of 1 users are sealed with the first key." in run("rotate")
    assert sealed(desk, keys=new) == {"notion_token": TOKEN, "master_token": None}


def test_an_older_key_that_stands_first_seals_until_the_new_one_does(
    desk: Desk, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_ann(export)
    new = Fernet.generate_key().decode()
    for first, keys in ((KEY, f"{KEY},{new}"), (new, f"{new},{KEY}"), (KEY, f"{KEY},{new}")):
        monkeypatch.setenv("SYNC_ENCRYPTION_KEYS", keys)
        run("rotate")
        assert sealed(desk, keys=first)["notion_token"] == TOKEN
    monkeypatch.setenv("SYNC_ENCRYPTION_KEYS", new)  # the old one is removed, and was never rotated away from
    said = run("test", "ann", code=3)
    assert "user 'ann': no key of SYNC_ENCRYPTION_KEYS opens" in said
    assert "behind the newest one" in " ".join(said.split())


def test_a_user_is_removed_after_a_question(export: Path) -> None:
    add_ann(export)
    run("remove", "ann", typed="n\n", code=1)
    assert json.loads(run("list", "--json"))["users"]
    assert "pages in Notion stay" in run("remove", "ann", typed="y\n")
    assert "No user." in run("list")
    run("remove", "ann", "--yes", code=3)


def test_keep_and_notion_are_asked_who_a_user_is(
    export: Path, notion_workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTION_BASE_URL", notion_workspace.url)
    page = ("--parent-page", notion_workspace.page)
    run("add", "ann", "--takeout", str(export), *page, typed=f"{notion_workspace.token}\n")
    text = run("test", "ann")
    assert f"Keep: export {export}: 1 part" in text
    assert "Notion: connection " in text
    notion_workspace.revoke(notion_workspace.token)
    export.unlink()
    answers = json.loads(run("test", "ann", "--json", code=3))["answers"]
    assert [(item["system"], item["good"]) for item in answers] == [("Keep", False), ("Notion", False)]
    assert "There is no file or folder" in answers[0]["answer"]
