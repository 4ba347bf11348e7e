"""Connections come from the environment when a run starts; what is wrong is one sentence with the variable."""

from __future__ import annotations

import pytest

from sync_pipelines.engine.errors import ConfigurationError, NotConfiguredError
from sync_pipelines.resources import environment
from sync_pipelines.resources.chroma import ChromaResource
from sync_pipelines.resources.delta import DeltaResource
from sync_pipelines.resources.postgres import LedgerResource


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHROMA_URL", "CHROMA_PATH", "CHROMA_TOKEN", "CHROMA_HEADERS", "CHROMA_TENANT", "CHROMA_DATABASE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"KNOWLEDGE_DATABASE_URL": "postgres://k", "DATABASE_URL": "postgres://d"}, "postgres://k"),
        ({"KNOWLEDGE_DATABASE_URL": " ", "DATABASE_URL": "postgres://d"}, "postgres://d"),
        ({"POSTGRES_HOST": "h"}, "postgresql://postgres@h:5432/postgres"),
        (
            {
                "POSTGRES_HOST": "h",
                "POSTGRES_PORT": "5433",
                "POSTGRES_DB": "a/b",
                "POSTGRES_USER": "u@x",
                "POSTGRES_PASSWORD": "p:w@/",
                "POSTGRES_SCHEMA": "s",
            },
            "postgresql://u%40x:p%3Aw%40%2F@h:5433/a%2Fb?schema=s",
        ),
        ({"POSTGRES_HOST": "h", "DATABASE_URL": "postgres://d"}, "postgres://d"),
        ({"POSTGRES_HOST": "::1"}, "postgresql://postgres@[::1]:5432/postgres"),
        ({"POSTGRES_HOST": "[::1]"}, "postgresql://postgres@[::1]:5432/postgres"),
        (
            {"POSTGRES_HOST": "/var/run/postgresql", "POSTGRES_PORT": "5433", "POSTGRES_SCHEMA": "s"},
            "postgresql://postgres@:5433/postgres?host=/var/run/postgresql&schema=s",
        ),
    ],
)
def test_a_connections_url_is_its_own_then_the_common_one_then_the_parts(given, found):
    assert environment.database_url("knowledge", environment=given) == found


def test_no_database_at_all_names_the_variables():
    with pytest.raises(ConfigurationError, match="KNOWLEDGE_DATABASE_URL and DATABASE_URL are not set"):
        environment.database_url("knowledge", environment={})


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"DATABASE_URL": "mysql://u:sesame@h/app"}, "DATABASE_URL is not a PostgreSQL URL"),
        ({"KNOWLEDGE_DATABASE_URL": "u:sesame@h"}, "KNOWLEDGE_DATABASE_URL is not a PostgreSQL URL"),
        ({"DATABASE_URL": "postgresql://u@h:sesame/app"}, "DATABASE_URL: its host and port cannot be read"),
        ({"POSTGRES_HOST": "/run", "POSTGRES_PORT": "sesame"}, "POSTGRES_HOST and POSTGRES_PORT: its host and port"),
        ({"POSTGRES_HOST": "h", "POSTGRES_PORT": "sesame"}, "POSTGRES_HOST and POSTGRES_PORT: its host and port"),
    ],
)
def test_a_wrong_url_names_its_variable_and_is_not_repeated(given, name):
    with pytest.raises(ConfigurationError, match=f"^{name}.*Write postgresql://") as caught:
        environment.database_url("knowledge", environment=given)
    assert "sesame" not in str(caught.value)


def test_a_wrong_url_of_the_ledger_names_its_variable():
    with pytest.raises(ConfigurationError, match=r"^SYNC_DATABASE_URL is not"):
        environment.ledger_url({"SYNC_DATABASE_URL": "nonsense", "DATABASE_URL": "postgres://d"})


def test_one_variable_that_is_missing_is_not_set_and_two_are_not():
    with pytest.raises(ConfigurationError, match="DATABASE_URL is not set"):
        environment.ledger_url({})


def test_the_ledger_stands_in_its_own_database_or_in_the_applications():
    both = {"SYNC_DATABASE_URL": "postgres://l", "DATABASE_URL": "postgres://d"}
    assert environment.ledger_url(both) == "postgres://l"
    assert environment.ledger_url({"DATABASE_URL": "postgres://d"}) == "postgres://d"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("s" * 64, "has 64 bytes, and PostgreSQL takes 63 at most"),
        ("ü" * 32, "has 64 bytes, and PostgreSQL takes 63 at most"),
        ("pg_mine", "is 'pg_mine', and PostgreSQL keeps names that begin with pg_ for itself"),
        ("a\udcff", "is no UTF-8"),
    ],
)
def test_a_schema_that_postgresql_would_not_take_names_its_variable(monkeypatch, text, sentence):
    with pytest.raises(ConfigurationError, match=f"^SYNC_SCHEMA {sentence}.* Write a name like sync"):
        environment.sync_schema({"SYNC_SCHEMA": text})
    with pytest.raises(ConfigurationError, match=r"^schema_name of the ledger "):
        LedgerResource(schema_name=text).sync_schema()


def test_a_schema_of_any_other_name_is_taken_and_a_blank_one_is_none():
    for text in ("s" * 63, "PG_mine", "my sync", 'a"b'):
        assert environment.sync_schema({"SYNC_SCHEMA": text}) == text
    assert environment.sync_schema({"SYNC_SCHEMA": " "}) == environment.sync_schema({}) == "sync"


@pytest.mark.parametrize("text", ["0", "-1", "ten"])
def test_a_pool_of_nonsense_names_its_variable(text):
    with pytest.raises(ConfigurationError, match="SYNC_DB_POOL_MAX"):
        environment.pool_max({"SYNC_DB_POOL_MAX": text})


def test_without_a_chroma_the_sync_is_not_configured():
    assert not ChromaResource().configured()
    with pytest.raises(NotConfiguredError, match="CHROMA_URL and CHROMA_PATH are not set"):
        ChromaResource().settings()


def test_two_chromas_are_a_mistake(monkeypatch):
    monkeypatch.setenv("CHROMA_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("CHROMA_PATH", "chroma")
    with pytest.raises(ConfigurationError, match="both set"):
        ChromaResource().settings()


def test_headers_are_a_json_object_and_are_never_shown(monkeypatch):
    monkeypatch.setenv("CHROMA_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("CHROMA_TOKEN", "CANARY")
    monkeypatch.setenv("CHROMA_HEADERS", '{"Authorization": "Bearer CANARY"}')
    settings = ChromaResource().settings()
    assert settings.headers == (("Authorization", "Bearer CANARY"),)
    assert "CANARY" not in repr(settings)
    monkeypatch.setenv("CHROMA_HEADERS", "Authorization: Bearer CANARY")
    with pytest.raises(ConfigurationError) as caught:
        ChromaResource().settings()
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"CHROMA_URL": "http://:sesame@[::1"}, "CHROMA_URL: its host cannot be read. Write http://host:8000."),
        ({"CHROMA_URL": "http://..:1"}, "CHROMA_URL: its host cannot be read. Write "),
        ({"CHROMA_URL": f"http://{'x' * 64}.example:1"}, "CHROMA_URL: its host cannot be read. Write "),
        ({"CHROMA_URL": "http://:sesame@localhost:99999"}, "CHROMA_URL: its port is no number from 1 to 65535. Write "),
        ({"CHROMA_URL": "http://localhost:sesame"}, "CHROMA_URL: its port is no number from 1 to 65535. Write http://"),
        ({"CHROMA_URL": "http://localhost:0"}, "CHROMA_URL: its port is no number from 1 to 65535. Write http://host"),
        ({"CHROMA_URL": "http://a sesame:8000"}, "CHROMA_URL: its host cannot be read. Write http://host:8000."),
        ({"CHROMA_URL": "ftp://:sesame@h"}, "CHROMA_URL is no http:// or https:// address. Write http://host:8000."),
        ({"CHROMA_URL": "sesame:8000"}, "CHROMA_URL is no http:// or https:// address. Write http://host:8000."),
        ({"CHROMA_TOKEN": "sesame\u00f6"}, "CHROMA_TOKEN has a character that no HTTP header takes: only ASCII"),
        ({"CHROMA_TOKEN": "sesame\nsesame"}, "CHROMA_TOKEN has a character that no HTTP header takes: only ASCII"),
        ({"CHROMA_TOKEN": "sesame\udcff"}, "CHROMA_TOKEN has a character that no HTTP header takes: only ASCII"),
        ({"CHROMA_HEADERS": '{"B": "c", "X sesame": "b"}'}, "CHROMA_HEADERS: the name of header 2 has a character"),
        ({"CHROMA_HEADERS": '{"": "sesame"}'}, "CHROMA_HEADERS: the name of header 1 has a character"),
        ({"CHROMA_HEADERS": '{"X-A": "sesame\u00f6"}'}, "CHROMA_HEADERS: the value of X-A has a character that no HTT"),
        ({"CHROMA_HEADERS": '{"X-A": "sesame\\ud800"}'}, "CHROMA_HEADERS: the value of X-A has a character that no HT"),
        ({"CHROMA_HEADERS": '{"X-A": " sesame"}'}, "CHROMA_HEADERS: the value of X-A has a character that no HTTP h"),
        ({"CHROMA_HEADERS": '{"X-A": {"b": "sesame"}}'}, "CHROMA_HEADERS: a value of it is neither text nor"),
    ],
)
def test_a_wrong_setting_of_chroma_is_one_sentence_with_its_variable_and_no_secret(monkeypatch, given, sentence):
    for name, text in {"CHROMA_URL": "http://127.0.0.1:8000", **given}.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(ConfigurationError) as caught:
        ChromaResource().settings()
    assert str(caught.value).startswith(sentence)
    assert "sesame" not in str(caught.value)


def test_settings_of_chroma_in_every_usual_form_are_taken(monkeypatch):
    for url in (
        "http://127.0.0.1:8000",
        "https://u:p@chroma.example.com/base/",
        "http://[::1]:8000",
        "https://b\u00fc.de",
    ):
        monkeypatch.setenv("CHROMA_URL", url)
        assert ChromaResource().settings().url == url
    monkeypatch.setenv("CHROMA_TOKEN", "a+b/c=")
    monkeypatch.setenv("CHROMA_HEADERS", '{"X-Chroma-Token": "a b", "X-Retries": 3}')
    assert ChromaResource().settings().headers == (("X-Chroma-Token", "a b"), ("X-Retries", "3"))


def test_a_url_that_python_gave_the_resource_is_not_blamed_on_the_variable():
    with pytest.raises(ConfigurationError, match=r"^url of the Chroma resource: its port is no number"):
        ChromaResource(url="http://localhost:abc").settings()


@pytest.mark.parametrize("text", ["AWS_REGION=x", "[1]", '{"a": {"b": 1}}', '{"a": null}'])
def test_storage_options_that_are_none_name_their_variable_and_repeat_nothing(monkeypatch, text: str):
    monkeypatch.setenv("DELTA_URI", "s3://lake")
    monkeypatch.setenv("DELTA_STORAGE_OPTIONS", text)
    with pytest.raises(ConfigurationError, match=r"^DELTA_STORAGE_OPTIONS\b.*Write it like") as told:
        DeltaResource().settings()
    assert text not in str(told.value)


def test_storage_options_are_texts_as_json_spells_them(monkeypatch):
    monkeypatch.setenv("DELTA_URI", "s3://lake")
    monkeypatch.setenv("DELTA_STORAGE_OPTIONS", '{"AWS_REGION": "eu", "AWS_ALLOW_HTTP": true, "timeout": 30}')
    assert DeltaResource().settings().options == {"AWS_REGION": "eu", "AWS_ALLOW_HTTP": "true", "timeout": "30"}


@pytest.mark.parametrize("uri", ["ftp://host/lake", "http://host"])
def test_a_place_that_delta_rs_does_not_know_names_its_variable(monkeypatch, uri: str):
    monkeypatch.setenv("DELTA_URI", uri)
    with pytest.raises(ConfigurationError, match="DELTA_URI"):
        DeltaResource().settings()
