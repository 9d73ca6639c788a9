"""Credentials in what a server says: whatever repeats the request, nothing shows them."""

from __future__ import annotations

import base64
import html
import json
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from requests import PreparedRequest

from faults import Answer, Exchange, FaultyServer, says
from kinto_orm import (
    BearerAuth,
    KintoError,
    Record,
    Session,
    Template,
)
from kinto_orm.wire.masking import MASK, Mask

PASSWORD = "s3cret-pass"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.c2VjcmV0LXRva2Vu"
BASIC = base64.b64encode(f"bob:{PASSWORD}".encode()).decode()


class Todo(Record, collection="todos", bucket="b"):
    title: str = ""


def signed(request: PreparedRequest) -> PreparedRequest:
    """An authentication that is no class of requests'."""
    request.headers["Authorization"] = f"Bearer {TOKEN}"
    return request


AUTHS: dict[str, dict[str, Any]] = {
    "text": {"auth": f"bob:{PASSWORD}"},
    "token": {"auth": f"Bearer {TOKEN}"},
    "type": {"auth": BearerAuth(TOKEN, type="Bearer+OIDC")},
    "function": {"auth": signed},
    "header": {"headers": {"X-Api-Key": TOKEN}},
    "authorization": {"headers": {"Authorization": f"Bearer {TOKEN}"}},
}
# None of these may be shown, nor the beginnings of the last two.
SECRETS = (PASSWORD, BASIC[:8], TOKEN[:8])


def lines(exchange: Exchange) -> str:
    """The request as it arrived."""
    headers = exchange.received.headers
    return "\n".join(f"{name}: {value}" for name, value in headers.items())


def decoded(exchange: Exchange) -> str:
    """What a debugging page makes of credentials."""
    value = exchange.received.headers.get("Authorization", "")
    scheme, _, rest = value.partition(" ")
    return base64.b64decode(rest).decode() if scheme == "Basic" else rest


def tidy(exchange: Exchange) -> dict[str, str]:
    return dict(exchange.received.headers)


ECHOES: dict[str, Callable[[Exchange], bytes]] = {
    "text": lambda exchange: lines(exchange).encode(),
    "secret first": lambda exchange: (
        list(exchange.received.headers.values())[-1] + lines(exchange)
    ).encode(),
    "html": lambda exchange: f"<pre>{html.escape(lines(exchange))}</pre>".encode(),
    "table": lambda exchange: "".join(
        f"<td>{name}</td><td>{value}</td>" for name, value in tidy(exchange).items()
    ).encode(),
    "json": lambda exchange: json.dumps({"headers": tidy(exchange)}).encode(),
    "message": lambda exchange: json.dumps({"errno": 999, "message": lines(exchange)}).encode(),
    "error": lambda exchange: json.dumps({"error": str(tidy(exchange))}).encode(),
    "details": lambda exchange: json.dumps(
        {"errno": 107, "message": "no", "details": {"request": tidy(exchange)}}
    ).encode(),
    "list of details": lambda exchange: json.dumps(
        {"errno": 107, "message": "no", "details": [{"name": lines(exchange)}]}
    ).encode(),
    "decoded": lambda exchange: json.dumps(
        {"errno": 104, "message": f"who is {decoded(exchange)}?"}
    ).encode(),
    "quoted": lambda exchange: quote(lines(exchange)).encode(),
}


def echoing(status: int, make: Callable[[Exchange], bytes]) -> Answer:
    def answer(exchange: Exchange) -> None:
        body = make(exchange)
        said = lines(exchange).replace("\n", " | ")
        headers = {"Content-Type": f"text/{decoded(exchange)}", "Alert": said}
        exchange.write(status, body, headers)

    return answer


ACTS: dict[str, Callable[[Session], object]] = {
    "get": lambda session: session.get(Todo, "x"),
    "save": lambda session: Todo(id="x").save(session=session),
    "find": lambda session: session.find(Todo).all(),
    "count": lambda session: session.find(Todo).count(),
    "batch": lambda session: session.save_all([Todo(id="x"), Todo(id="y")], on_error="raise"),
    "root": lambda session: session.server_info(),
    "key": lambda session: session.kv.get("x"),
    "template": lambda session: Template.get("x", session=session),
}


def everything(error: BaseException | None) -> Iterator[str]:
    """All that an error and those that it came from show."""
    seen = set[int]()
    while error is not None:
        assert id(error) not in seen, f"{error!r} came from itself"
        seen.add(id(error))
        yield "".join(traceback.format_exception(error))
        yield repr(error)
        yield repr([getattr(error, name, None) for name in ("details", "request", "args", "names")])
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("status", [200, 302, 400, 401, 404, 412, 500, 503])
def test_no_error_shows_what_a_page_repeats(status: int, echo: str, act: str) -> None:
    """Neither in a message nor in details, nor in a cause, nor in the warning of an Alert."""
    with FaultyServer(echoing(status, ECHOES[echo])) as server:
        for options in AUTHS.values():
            with (
                Session(server.url, retry=None, bucket="b", **options) as session,
                pytest.warns(DeprecationWarning, match="announces") as warned,
                pytest.raises(KintoError) as raised,
            ):
                ACTS[act](session)
            shown = "".join([*everything(raised.value), *(str(each.message) for each in warned)])
            found = [secret for secret in SECRETS if secret in shown]
            assert not found, shown


def test_an_item_of_a_batch_that_repeats_the_request() -> None:
    """What one of its items is told is hidden as well."""

    def answer(exchange: Exchange) -> None:
        item = {
            "status": 400,
            "headers": {},
            "body": {"errno": 107, "message": lines(exchange), "details": tidy(exchange)},
        }
        says(200, {"project_version": "1", "responses": [item] * 2})(exchange)

    with FaultyServer(answer) as server:
        for options in AUTHS.values():
            with Session(server.url, retry=None, **options) as session:
                summary = session.save_all([Todo(id="x"), Todo(id="y")])
            shown = "".join(text for each in summary.failed for text in everything(each.error))
            assert "400" in shown
            assert not [secret for secret in SECRETS if secret in shown]


def test_a_template_of_a_kvp_server_that_repeats_the_request() -> None:
    """An API key is a user without a password."""
    key = "my-api-key-0123"
    with (
        FaultyServer(echoing(400, ECHOES["decoded"])) as server,
        Session("kvp+" + server.url.removesuffix("/v1"), auth=f"{key}:", retry=None) as session,
        pytest.warns(DeprecationWarning, match="announces") as warned,
        pytest.raises(KintoError) as raised,
    ):
        session.kv.get("x")
    assert key not in "".join([*everything(raised.value), str(warned[0].message)])


# What is hidden, and what is not

printable = st.characters(min_codepoint=33, max_codepoint=126)
FORMS: list[Callable[[str], str]] = [
    str,
    repr,
    html.escape,
    json.dumps,
    quote,
    lambda text: quote(text, safe=""),
    lambda text: json.dumps({"x": text}),
    lambda text: f"<td>{html.escape(text)}</td>",
]


@given(
    st.text(printable, min_size=8, max_size=30),
    st.sampled_from(FORMS),
    st.sampled_from(["Basic", "Bearer", "Bearer+OIDC"]),
    st.integers(1, 60),
)
def test_every_password_and_token(
    secret: str, form: Callable[[str], str], scheme: str, cut: int
) -> None:
    """However it is quoted, and wherever it is cut off."""
    assume(secret not in "bob Authorization Bearer Basic before after")
    pair = base64.b64encode(f"bob:{secret}".encode()).decode()
    sent = pair if scheme == "Basic" else secret
    mask = Mask({"Authorization": f"{scheme} {sent}"})
    shown = mask(f"before {form(secret)} {form(sent)} {form(f'{scheme} {sent}')} after")
    assert form(secret) not in shown
    assert secret not in shown
    assert pair not in shown
    assert shown.startswith("before ")
    pieces = mask(f"Authorization: {scheme} {sent[:cut]}, {scheme} {pair[:cut]}")
    assert pieces.startswith(f"Authorization: {MASK}")
    assert sent[:8] not in pieces


def test_what_is_no_secret_is_shown() -> None:
    """Words that are alike are no credentials, and a short password is no part of a word."""
    mask = Mask({"Authorization": f"Basic {base64.b64encode(b'bob:pass').decode()}"})
    for text in (
        "Basic authentication is required, bob",
        "the password is wrong",
        "compassion",
        "Bearer tokens are not taken",
    ):
        assert mask(text) == text
    assert mask("bob:pass") == f"bob:{MASK}"


def test_data_is_not_changed() -> None:
    """A stored object may hold what is like a password: merging must see it as it is."""
    stored = {"id": "x", "last_modified": 6, "title": PASSWORD}
    refusal = {"errno": 114, "message": PASSWORD, "details": {"existing": stored}}
    with (
        FaultyServer(
            says(200, {"data": {**stored, "last_modified": 5}}), says(412, refusal)
        ) as server,
        Session(server.url, auth=f"bob:{PASSWORD}", retry=None) as session,
    ):
        todo = session.get(Todo, "x")
        assert todo.title == PASSWORD
        todo.title = "mine"
        with pytest.raises(KintoError) as raised:
            todo.save()
    assert PASSWORD not in str(raised.value)
    assert raised.value.remote.title == PASSWORD  # type: ignore[attr-defined]
