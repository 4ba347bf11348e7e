"""PostgreSQL's URLs in every usual spelling."""

from __future__ import annotations

from urllib.parse import quote

import pytest
import sqlalchemy as sa
from psycopg2.extensions import parse_dsn

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.urls import normalise_url, with_parameters


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+psycopg", "POSTGRESQL"]
)
def test_every_scheme_means_the_same(scheme: str) -> None:
    found = normalise_url(f" {scheme}://u:p@h:5433/db ")
    assert found.libpq == "postgresql://u:p@h:5433/db"
    assert found.sqlalchemy == "postgresql+psycopg2://u:p@h:5433/db"
    assert normalise_url(found) is found


def test_prismas_schema_is_honoured_and_its_own_parameters_are_dropped() -> None:
    found = normalise_url("postgresql://u:p@h/db?schema=my%20app&connection_limit=5&pgbouncer=true&sslmode=require")
    assert found.schema == "my app"
    assert found.libpq == "postgresql://u:p@h/db?sslmode=require"
    assert normalise_url("postgresql://h/db?schema=").schema is None


def test_options_of_libpq_pass_through() -> None:
    query = (
        "sslmode=verify-full&sslrootcert=/ca%20dir/root.crt&connect_timeout=3&"
        "options=-c%20search_path%3Da%2Cb%20-c%20x%3D1%2B1"
    )
    found = normalise_url(f"postgres://u@h/db?{query}")
    for parsed in (parse_dsn(found.libpq), dict(sa.make_url(found.sqlalchemy).query)):
        assert parsed["sslmode"] == "verify-full"
        assert parsed["sslrootcert"] == "/ca dir/root.crt"
        assert parsed["connect_timeout"] == "3"
        assert parsed["options"] == "-c search_path=a,b -c x=1+1"


@pytest.mark.parametrize(
    "password", ["simple", "p@ss", "a/b?c", "per%cent", "p@s/s@w", "sp ace", "ü:ñ", "%41", "#hash"]
)
@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize("query", ["", "?sslmode=require", "?application_name=me%40home"])
def test_a_password_arrives_whole_and_is_never_shown(password: str, encoded: bool, query: str) -> None:
    if not encoded and "%" in password:
        return  # cannot be told from an escape
    found = normalise_url(f"postgres://me:{quote(password, safe='') if encoded else password}@host:1/db{query}")
    assert parse_dsn(found.libpq)["password"] == password
    assert sa.make_url(found.sqlalchemy).password == password
    assert parse_dsn(found.libpq)["host"] == "host"
    assert password not in repr(found)
    assert found.safe == "host:1/db"
    assert found.scrub(f"x {password} y {quote(password, safe='')} z") == "x *** y *** z"


def test_several_hosts_and_a_socket_are_kept() -> None:
    found = normalise_url("postgresql://u:p@h1:1,h2:2/db?target_session_attrs=read-write")
    assert parse_dsn(found.libpq)["host"] == "h1,h2"
    assert sa.make_url(found.sqlalchemy).query["host"] == ("h1:1", "h2:2")
    socket = normalise_url("postgresql:///db?host=/var/run/postgresql")
    assert parse_dsn(socket.libpq)["host"] == "/var/run/postgresql"
    assert normalise_url("postgresql://[::1]:5/db").libpq == "postgresql://[::1]:5/db"


@pytest.mark.parametrize(
    ("place", "host", "port"),
    [
        ("%2Fvar%2Frun%2Fpg", "/var/run/pg", None),
        ("u:p@%2Fvar%2Frun%2Fpg:5433", "/var/run/pg", "5433"),
        ("[fe80::1%25eth0]:5433", "fe80::1%eth0", "5433"),
        ("%2Fa:1,%2Fb:2", "/a,/b", "1,2"),
        ("u@:5433", "/parameter", "5433"),
        ("%2Fignored", "/parameter", None),
    ],
)
def test_an_escaped_host_reaches_each_client_decoded(place: str, host: str, port: str | None) -> None:
    found = normalise_url(f"postgresql://{place}/db" + ("?host=/parameter" if host == "/parameter" else ""))
    url = sa.make_url(found.sqlalchemy)
    given = url.get_dialect()().create_connect_args(url)[1]
    for parsed in (parse_dsn(found.libpq), given):
        assert parsed["host"] == host
        assert str(parsed.get("port")) == str(port)
    for again in map(normalise_url, (found.libpq, found.sqlalchemy)):
        assert (again.libpq, again.sqlalchemy) == (found.libpq, found.sqlalchemy)


@pytest.mark.parametrize(
    "url", ["postgres://u:p@ss/w@h:1/db?schema=x&sslmode=require", "postgresql://u@h1:1,h2:2/db?a=b", "postgres:///db"]
)
def test_what_is_made_for_a_client_is_read_back_as_the_same(url: str) -> None:
    found = normalise_url(url)
    for spelling in (found.libpq, found.sqlalchemy):
        again = normalise_url(spelling)
        assert (again.libpq, again.sqlalchemy, again.password) == (found.libpq, found.sqlalchemy, found.password)


def test_a_password_in_the_query_is_known_too() -> None:
    found = normalise_url("postgresql://u@h/db?password=s3cret")
    assert found.scrub("it was s3cret") == "it was ***"
    assert "s3cret" not in found.safe


def test_a_plus_in_a_parameter_is_a_plus_as_libpq_reads_it() -> None:
    found = normalise_url("postgresql://u@h/db?password=a+b&sslrootcert=/etc/c++/ca.pem&application_name=x%20y")
    assert found.password == "a+b"
    for parsed in (parse_dsn(found.libpq), dict(sa.make_url(found.sqlalchemy).query)):
        assert parsed["password"] == "a+b"
        assert parsed["sslrootcert"] == "/etc/c++/ca.pem"
        assert parsed["application_name"] == "x y"
    assert parse_dsn(with_parameters("postgresql://h/db?password=a+b", sslmode="require"))["password"] == "a+b"
    assert normalise_url("postgresql://h/db?schema=my+app").schema == "my+app"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mysql://u:sesame@h/db",
        "host=h password=sesame",
        "postgresql:u:sesame@h",
        "postgresql://u@h:sesame/db",
        "postgresql://u:p@h1:1,h2:sesame/db",
    ],
)
def test_anything_else_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ConfigurationError, match="Write postgresql://") as caught:
        normalise_url(text)
    assert "sesame" not in str(caught.value)


def test_defaults_do_not_replace_what_the_url_says() -> None:
    assert with_parameters("postgresql://h/db?a=1", a="2", b="x y") == "postgresql://h/db?a=1&b=x%20y"
