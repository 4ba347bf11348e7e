"""PostgreSQL's connection URLs in the forms that applications have them: the one place that reads them.

Source, ledger, Dagster's storage and the sandbox all come here, so that a URL which serves one serves all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.secrets import know

_URL = re.compile(r"^(?P<scheme>postgres(?:ql)?(?:\+[a-z0-9_]+)?)://(?P<rest>.*)$", re.I | re.S)

# A port that is no number would be repeated by the client's complaint, and may be a piece of a password.
_HOST = re.compile(r"^(?:\[[^\]]*\]|[^:\[\]]*)(?::\d*)?$")

_FORM = "Write postgresql://user:password@host:5432/database."

# What Prisma puts into a URL for itself; libpq refuses a URL with a parameter that it does not know.
_PRISMA_ONLY = frozenset(
    {
        "connection_limit",
        "pool_timeout",
        "pgbouncer",
        "socket_timeout",
        "statement_cache_size",
        "single_use_connections",
        "sslaccept",
        "sslidentity",
        "schema",
    }
)

Pairs = list[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class NormalisedUrl:
    """One database's address, ready for each client.

    Args:
        sqlalchemy: for `sqlalchemy.create_engine` (driver psycopg2).
        libpq: for psycopg2, ADBC and psql.
        schema: what `?schema=` said: the default schema of unqualified table names, or None.
        password: to be kept out of every text (never shown by `repr`), or None.
    """

    sqlalchemy: str = field(repr=False)
    libpq: str = field(repr=False)
    schema: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def safe(self) -> str:
        """`host:port/database`, for messages."""
        return self.libpq.partition("?")[0].partition("://")[2].rpartition("@")[2]

    def scrub(self, text: str) -> str:
        """`text` without the password, in whichever spelling it stands there."""
        spellings = {self.password, quote(self.password, safe="")} if self.password else set()
        for secret in sorted(filter(None, spellings), key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


def normalise_url(url: str | NormalisedUrl, *, name: str = "The database URL") -> NormalisedUrl:
    """Read a PostgreSQL URL in any usual spelling; one that was read already comes back as it is.

    `postgres://`, `postgresql://` and `postgresql+driver://` are the same here; Prisma's `?schema=x` becomes
    `.schema`, its other own parameters are dropped; everything else (`sslmode`, `sslrootcert`,
    `connect_timeout`, `options`, several hosts) passes through to libpq. A password may hold `@`, `/` and `?`
    as they are; a percent sign is always taken for an escape.

    Args:
        name: where it comes from (a variable), for the sentence.

    Raises:
        ConfigurationError: when it is no PostgreSQL URL; the text never holds the password.
    """
    if isinstance(url, NormalisedUrl):
        return url
    match = _URL.match(url.strip())
    if match is None:
        raise ConfigurationError(f"{name} is not a PostgreSQL URL.", remedy=_FORM)
    userinfo, hosts, database, query = _split(match["rest"])
    pairs = _pairs_of(query)
    hosts, kept = _hosts_of(hosts, [pair for pair in pairs if pair[0] not in _PRISMA_ONLY])
    if not all(_HOST.match(host) for host in hosts.split(",")):
        raise ConfigurationError(f"{name}: its host and port cannot be read.", remedy=_FORM)
    user, colon, password = userinfo.partition(":")
    know(password, dict(pairs).get("password"))
    login = _login(user, password if colon else None)
    return NormalisedUrl(
        sqlalchemy=_sqlalchemy(login, hosts, database, kept),
        libpq=f"postgresql://{login}{hosts}/{database}{_query(kept)}",
        schema=next((value for key, value in pairs if key == "schema" and value), None),
        password=unquote(password) or dict(pairs).get("password") or None,
    )


def _split(rest: str) -> tuple[str, str, str, str]:
    """User and password, hosts, database and query.

    A password that holds @, / or ? unescaped is understood too: a part of it left in the query would be
    repeated by libpq's complaint. What follows a ? is a query if a = comes before the next @.
    """
    query_at = next((m.start() for m in re.finditer(r"\?", rest) if _is_query(rest[m.end() :])), len(rest))
    place, query = rest[:query_at], rest[query_at + 1 :]
    userinfo, _, place = place.rpartition("@")
    hosts, _, database = place.partition("/")
    return userinfo, hosts, database, query


def _is_query(text: str) -> bool:
    return "@" not in text or "=" in text.partition("@")[0]


def _hosts_of(hosts: str, pairs: Pairs) -> tuple[str, Pairs]:
    """The hosts in libpq's form, and the other parameters; several `host` parameters are SQLAlchemy's form.

    An escaped host (`%2Fvar%2Frun`, a socket's folder) becomes a parameter: SQLAlchemy would not decode it.
    """
    named = [value for name, value in pairs if name == "host"]
    if not hosts and len(named) > 1:
        escaped = (quote(value, safe=":[]") for value in named)
        return ",".join(escaped), [pair for pair in pairs if pair[0] != "host"]
    if "%" in hosts and "," not in hosts:
        host, port = _host_and_port(hosts)
        # as in libpq, a parameter goes before what stands in the address
        pairs = pairs if named else [("host", unquote(host.strip("[]"))), *pairs]
        return port, pairs
    return hosts, pairs


def _host_and_port(place: str) -> tuple[str, str]:
    """`host` and `:port`, the latter empty where there is none; a colon in brackets belongs to an address."""
    at = place.rfind(":")
    return (place[:at], place[at:]) if at > place.rfind("]") else (place, "")


def _login(user: str, password: str | None) -> str:
    if not user and password is None:
        return ""
    secret = "" if password is None else ":" + quote(unquote(password), safe="")
    return f"{quote(unquote(user), safe='')}{secret}@"


def _pairs_of(query: str) -> Pairs:
    # libpq decodes %20 but takes a plus for a plus: read as a form's, `a+b` would be another password
    return parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)


def _query(pairs: Pairs) -> str:
    # by %20, not by a plus: see above
    return "?" + urlencode(pairs, quote_via=quote) if pairs else ""


def _sqlalchemy(login: str, hosts: str, database: str, pairs: Pairs) -> str:
    """SQLAlchemy takes several hosts as several `host` parameters only."""
    if "," in hosts:
        pairs = [*(("host", unquote(host)) for host in hosts.split(",")), *pairs]
        hosts = ""
    return f"postgresql+psycopg2://{login}{hosts}/{database}{_query(pairs)}"


def with_parameters(libpq: str, **defaults: str) -> str:
    """`libpq` with these parameters where it does not set them itself."""
    base, _, query = libpq.partition("?")
    pairs = _pairs_of(query)
    names = {name for name, _ in pairs}
    return base + _query([*pairs, *((name, value) for name, value in defaults.items() if name not in names)])


def with_setting(libpq: str, name: str, value: str) -> str:
    """`libpq` with a setting of the server's that holds from the first message on, beside its `options`."""
    base, _, query = libpq.partition("?")
    pairs = _pairs_of(query)
    options = [pair[1] for pair in pairs if pair[0] == "options"]
    others = [pair for pair in pairs if pair[0] != "options"]
    return base + _query([*others, ("options", " ".join([*options[-1:], f"-c {name}={value}"]))])
