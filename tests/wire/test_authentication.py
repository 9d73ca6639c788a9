"""Credentials: every form in which they may be given, and the refusal of all others."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from bridge import both_drivers
from faults import FaultyServer, says
from kinto_orm import BearerAuth, ConfigurationError, Session
from kinto_orm.wire.authentication import authenticator, constant_headers

driver = both_drivers(__name__)

ROOT = says(200, {"project_version": "1", "settings": {}, "capabilities": {}})
NOWHERE = "http://127.0.0.1:1/v1"


def sent(**options: Any) -> dict[str, str]:
    """The headers of a request of a session."""
    with FaultyServer(ROOT) as server, Session(server.url, retry=None, **options) as session:
        session.server_info()
        return server.received[0].headers


TOKENS = [
    ("Bearer abc", "Bearer abc"),
    ("Bearer abc:def", "Bearer abc:def"),
    ("bearer abc:def", "bearer abc:def"),
    ("BEARER  abc", "BEARER abc"),
    ("Bearer+OIDC a.b-c", "Bearer+OIDC a.b-c"),
    (BearerAuth("abc"), "Bearer abc"),
    (BearerAuth("abc", type="Bearer+OIDC"), "Bearer+OIDC abc"),
    (BearerAuth(SecretStr("abc")), "Bearer abc"),
]


@pytest.mark.parametrize(("auth", "header"), TOKENS)
def test_a_token(auth: Any, header: str) -> None:
    """A text that begins with the scheme is a token, whatever is in it, and never a password."""
    assert sent(auth=auth)["Authorization"] == header


def test_a_token_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """KINTO_ORM_AUTH takes what auth takes."""
    monkeypatch.setenv("KINTO_ORM_AUTH", "Bearer abc:def")
    with FaultyServer(ROOT) as server:
        monkeypatch.setenv("KINTO_ORM_SERVER", server.url)
        with Session() as session:
            session.server_info()
        assert server.received[0].headers["Authorization"] == "Bearer abc:def"


@given(
    st.from_regex(r"(?i:bearer)(\+[a-z]{1,8})?", fullmatch=True),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1),
)
def test_every_token_is_sent_as_it_is(scheme: str, token: str) -> None:
    """Colons, equals signs and dots in it change nothing."""
    header = f"{scheme} {token}"
    assert constant_headers(authenticator(header)) == {"Authorization": header}


PASSWORDS = [
    ("Bearer:pw", "Basic QmVhcmVyOnB3"),
    ("bearerless one:pw", "Basic YmVhcmVybGVzcyBvbmU6cHc="),
    (("bob", SecretStr("s3cret")), "Basic Ym9iOnMzY3JldA=="),
    (("bob", b"s3cret"), "Basic Ym9iOnMzY3JldA=="),
]


@pytest.mark.parametrize(("auth", "header"), PASSWORDS)
def test_a_password(auth: Any, header: str) -> None:
    """A user may have a name that begins as a scheme does; a secret is sent, not its mask."""
    assert sent(auth=auth)["Authorization"] == header


NOT_AUTH = [
    "",
    "s3cret",
    "Bearer",
    "Bearer ",
    "Bearer s3cret s3cret",
    (),
    ("s3cret",),
    ("s3cret", None),
    ("bob", 5),
    ("s3cret:x", "y"),
    b"bob:s3cret",
    0,
    False,
    BearerAuth,
    {"user": "s3cret"},
]


@pytest.mark.parametrize("auth", NOT_AUTH)
@pytest.mark.parametrize("url", [NOWHERE, "memory://", "kvp+http://127.0.0.1:1"])
def test_what_is_no_authentication(url: str, auth: Any) -> None:
    """It is refused when the session is made, with what to write and without what was given."""
    with pytest.raises(ConfigurationError, match=r"[aA]uth") as raised:
        Session(url, auth=auth)
    assert "s3cret" not in "".join(traceback.format_exception_only(raised.value))


@pytest.mark.parametrize("token", [None, "", "  ", 5, b"abc", "Bearer abc", "a b"])
def test_what_is_no_token(token: Any) -> None:
    """An empty variable of the environment is no token."""
    with pytest.raises(ConfigurationError, match="by itself"):
        BearerAuth(token)


@pytest.mark.parametrize("type", [None, "", "Bearer ", "a b", 5, "a:"])
def test_what_is_no_type_of_a_token(type: Any) -> None:
    """It is one word."""
    with pytest.raises(ConfigurationError, match=r"Bearer\+OIDC"):
        BearerAuth("abc", type=type)


def test_tokens_of_two_types_differ() -> None:
    """The type belongs to the token; its case does not matter, as in HTTP."""
    assert BearerAuth("a", type="bearer") == BearerAuth("a")
    assert BearerAuth("a", type="Bearer+OIDC") != BearerAuth("a")
    assert repr(BearerAuth("a", type="Bearer+OIDC")) == (
        "BearerAuth(**********, type='Bearer+OIDC')"
    )


NOT_HEADERS = [5, "X-Team", [("X-Team", "blue")], {"X-Team": 5}, {"X-Team": None}, {5: "blue"},
               {"X Team": "blue"}, {"X-Team:": "blue"}, {"": "blue"}, {"X\n": "b"}]  # fmt: skip


@pytest.mark.parametrize("headers", NOT_HEADERS)
def test_what_are_no_headers(headers: Any) -> None:
    """They are refused when the session is made."""
    with pytest.raises(ConfigurationError, match="header"):
        Session(NOWHERE, headers=headers)


def test_headers_may_be_written_in_any_case() -> None:
    """A header that the session sends itself is replaced, not sent twice."""
    headers = sent(headers={"user-agent": "mine", "accept": "application/json; q=1"}, auth="a:b")
    assert headers["User-Agent"] == "mine"
    assert headers["Accept"] == "application/json; q=1"
    headers = sent(headers={"authorization": "Bearer x"}, auth="a:b")
    assert headers["Authorization"] == "Basic YTpi"
