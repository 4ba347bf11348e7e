"""What must not leave this process: the secrets that it holds, by their values, and what looks like one.

A pattern knows only the spellings that somebody thought of ("Incorrect API Key provided: …"). The values are
known: they stand in the environment, and whoever gets one from elsewhere says so (`know`). Every text that leaves
(errors, the ledger's reasons, log lines, the chains of errors that Dagster stores) passes `redact`.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

HIDDEN = "***"

LEAST = 6
"""Shorter values are left alone: `app` or `1234` in the place of a password would make every text unreadable."""

_WORDS = frozenset({"password", "postgres", "postgresql", "secret", "chroma", "dagster", "localhost", "changeme"})
"""Passwords that are no secret; to hide these words would make messages unreadable and guard nothing."""

# userinfo of a URL, and key=value forms that libpq, HTTP clients and providers print
_PATTERNS = (
    # the look-behind keeps it linear: a long text without a blank is tried once, not from each of its letters
    re.compile(r"(?P<keep>(?<![a-z0-9+.-])[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s/]+(?=@)", re.I),
    # engine/urls.py takes an unescaped slash in PostgreSQL's passwords; in another URL it begins the path
    re.compile(r"(?P<keep>(?<![a-z0-9+.-])postgres(?:ql)?(?:\+[a-z0-9_]+)?://[^\s:/]*:)[^\s]+(?=@)", re.I),
    re.compile(
        r"(?P<keep>\b(?:password|passwd|pwd|token|api[\s_-]?key|secret|x-chroma-token|authorization)\b"
        r"(?:\s+(?:provided|given|received|supplied|used|was|is))?[\"']?\s*[=:]\s*[\"']?(?:bearer\s+|basic\s+)?)"
        r"[^\s\"'&,;]+",
        re.I,
    ),
    re.compile(r"(?P<keep>[?&](?:key|sig|signature|auth|access_token|code)=)[^\s\"'&,;]+", re.I),
    # tokens that say what they are: OpenAI, GitHub, Slack, AWS, Google (keys, access and master tokens), Notion
    re.compile(
        r"(?P<keep>\b)(?:sk-|gh[pousr]_|xox[abeprs]-|AKIA|AIza|ya29\.|(?:aas|oauth2rt)_[a-z0-9]+/|ntn_)[A-Za-z0-9_.=-]{8,}"
    ),
)

_SECRET_NAME = re.compile(
    r"PASSWORD|PASSWD|SECRET|API_?KEY|ENCRYPTION_KEYS|AUTHORIZATION|(?:^|_)(?:TOKEN|KEY|PASS|CREDENTIALS?|HEADERS)$",
    re.I,
)
_SECRET_PARAMETER = re.compile(r"pass|pwd|token|secret|key|sig|auth|code|credential", re.I)
_TOKEN_URLS = re.compile(r"(?:^|_)(?:ALERT|WEBHOOK|HEARTBEAT)(?:_|$)", re.I)
"""Variables whose URLs hold a token anywhere: in the path (Slack), the host (pagerduty://) or the query; also where
the value is no URL, since a scheme is easily forgotten."""

_PROPER = re.compile(r"[a-z][a-z0-9+.-]*://", re.I)
_SLIPS = re.compile(r"^(?:[a-z][a-z0-9+.-]*(?::|//))?/*", re.I)
"""What stands for a scheme in `https:/host`, `https//host`, `//host`."""

_told: set[str] = set()
_variables: set[str] = set()


def know(*values: str | None) -> None:
    """Hide these values from now on; they come from somewhere else than the environment."""
    _told.update(value for value in values if value)


def know_url(url: str) -> None:
    """Hide the password of a URL that was given in another way than by the environment."""
    know(*secrets_in("", url))


def know_variables(config: Mapping[str, object]) -> None:
    """Hide what the variables hold that a provider's config names (`api_key_env_var: MY_KEY`)."""
    _variables.update(str(name) for field, name in config.items() if field.endswith("_env_var") and name)


def redact(text: str) -> str:
    """`text` with every password, token and key that stands in it replaced by `***`."""
    for pattern in _PATTERNS:
        text = pattern.sub(lambda match: match.group("keep") + HIDDEN, text)
    return hide_known(text)


def hide_known(text: str) -> str:
    """`text` without the values that this process holds; what only looks like a secret stays."""
    found = _matcher(tuple(_environment()), frozenset(_told))
    return text if found is None else found.sub(HIDDEN, text)


def _environment() -> Iterator[tuple[str, str]]:
    # Read each time (40 µs): `.env`, a test, or Dagster's own reading may change it.
    for name, value in os.environ.items():
        if "://" in value or name in _variables or _is_secret(name) or _is_receivers(name):
            yield name, value


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return bool(_SECRET_NAME.search(name))


@lru_cache(maxsize=1024)
def _is_receivers(name: str) -> bool:
    return bool(_TOKEN_URLS.search(name))


@lru_cache(maxsize=8)
def _matcher(variables: tuple[tuple[str, str], ...], told: frozenset[str]) -> re.Pattern[str] | None:
    found = {secret for name, value in variables for secret in secrets_in(name, value)} | told
    kept = {text.strip() for text in found}
    spelled = {form for text in kept if _is_worth_hiding(text) for form in _spellings(text)}
    longest_first = sorted(spelled, key=lambda form: (-len(form), form))
    return re.compile("|".join(map(_pattern, longest_first)), re.I) if spelled else None


def _is_worth_hiding(text: str) -> bool:
    if len(text) < LEAST or text.lower() in _WORDS:
        return False
    return not (text.startswith("/") and os.path.exists(text))  # the path of a file that holds the secret


def _pattern(form: str) -> str:
    # a password that is a word must not be cut out of longer ones
    return rf"(?<![a-z0-9]){form}(?![a-z0-9])" if form.isalpha() else re.escape(form)


_ANY_TEXT = "surrogatepass"
"""A variable may hold bytes that are no UTF-8, and JSON half a pair: Python's surrogates, of which UTF-8 has none."""


def _spellings(text: str) -> Iterator[str]:
    """The ways in which clients print a value: as it is, escaped for URLs, JSON and Python, and decoded."""
    for form in (text, unquote(text)):
        yield form
        yield quote(form, safe="", errors=_ANY_TEXT)
        yield quote(form, errors=_ANY_TEXT)
        yield quote_plus(form, errors=_ANY_TEXT)
        yield json.dumps(form)[1:-1]
        yield json.dumps(form, ensure_ascii=False)[1:-1]
        yield repr(form)[1:-1]


def secrets_in(name: str, value: str) -> Iterator[str]:
    """The secrets in a variable's value.

    Args:
        name: tells whether the whole value is one, or a list of URLs with tokens in them.
    """
    if name in _variables or (_is_secret(name) and "://" not in value):
        yield value
        yield from _parts(value)
        yield from (part for part in re.split(r"[\s,]+", value) if name.upper().endswith("_KEYS"))
    for url in re.findall(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s]+", value):
        yield from _in_url(url.strip(","), tokens=_is_receivers(name))
    if _is_receivers(name):
        yield from _in_no_url(value)


def _in_no_url(value: str) -> Iterator[str]:
    """Of a receiver's variable, what is no URL (`hooks.example.com/TOKEN`, `https:/…`), whole and by its pieces.

    A word of letters alone is left: variables of other programs bear such names, too (`ALERT_CHANNEL=knowledge`).
    """
    for text in re.split(r"[\s,]+", value):
        if not _PROPER.match(text) and (not text.isalpha() or _looks_random(text)):
            yield text
            yield from _in_url(f"https://{_SLIPS.sub('', text)}", tokens=True)


def _parts(value: str) -> Iterator[str]:
    """The values of a JSON object of headers, each without its scheme (`Bearer`)."""
    try:
        fields = json.loads(value)
    except ValueError:
        fields = None
    texts = [str(text) for text in fields.values()] if isinstance(fields, dict) else [value]
    for text in texts:
        yield text
        scheme, _, rest = text.partition(" ")
        if scheme.lower() in ("bearer", "basic", "token"):
            yield rest


def _in_url(url: str, *, tokens: bool) -> Iterator[str]:
    scheme, _, rest = url.partition("://")
    # engine/urls.py takes @, / and ? unescaped in PostgreSQL's passwords; elsewhere they end the login
    place = _before_query(rest) if scheme.lower().startswith("postgres") else re.split(r"[/?#]", rest, maxsplit=1)[0]
    userinfo, at, _ = place.rpartition("@")
    if at:
        yield from _login(userinfo)
    query = rest.partition("?")[2]
    yield from (text for name, text in parse_qsl(query) if _SECRET_PARAMETER.search(name))
    if tokens:
        yield from _tokens(url)


def _before_query(rest: str) -> str:
    """What follows a ? is a query if a = comes before the next @."""
    ends = (mark.start() for mark in re.finditer(r"\?(?=[^@]*(?:=|$))", rest))
    return rest[: next(ends, len(rest))]


def _login(userinfo: str) -> Iterator[str]:
    user, colon, password = userinfo.partition(":")
    yield password if colon else user  # https://token@host
    if colon:
        pair = f"{unquote(user)}:{unquote(password)}"
        yield base64.b64encode(pair.encode(errors=_ANY_TEXT)).decode()  # Authorization: Basic


def _tokens(url: str) -> Iterator[str]:
    """The whole of a receiver's URL, and each piece of it that looks like a token."""
    place, _, rest = url.partition("://")[2].partition("/")
    if rest:
        yield url
    host = _hostname(url)
    pieces: Iterable[str] = [rest, *re.split(r"[/?&=:@;,]+", f"{place}/{rest}")]
    yield from (piece for piece in pieces if piece.lower() != host and _looks_random(piece))


def _looks_random(text: str) -> bool:
    mixed = any(map(str.isdigit, text)) and any(map(str.isalpha, text))
    return len(text) >= 20 or (len(text) >= 8 and mixed)


def _hostname(url: str) -> str:
    """The host, where it surely is one: in `slack://token/…` it is not."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return host if "." in host or host == "localhost" else ""
