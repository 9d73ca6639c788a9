"""Whatever a server answers to key values and templates, only the documented errors get out."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults import Answer, Exchange, FaultyServer
from kinto_orm import Collection, KintoError, Record, Retry, Session, Template

Act = Callable[[Session], Any]

KV: dict[str, Act] = {
    "get": lambda session: session.kv.get("k/a/0"),
    "in": lambda session: "k" in session.kv,
    "list": lambda session: list(session.kv),
    "len": lambda session: len(session.kv),
    "keys": lambda session: list(session.kv.keys("k")),
    "items": lambda session: dict(session.kv.items()),
    "get_many": lambda session: session.kv.get_many(["k", "k/a", "l"]),
    "set": lambda session: session.kv.set("k", {"a": [1]}),
    "set below": lambda session: session.kv.set("k/a/0", 1),
    "append": lambda session: session.kv.set("k/-", 1),
    "setdefault": lambda session: session.kv.setdefault("k/a", 1),
    "delete": lambda session: session.kv.delete("k"),
    "delete below": lambda session: session.kv.delete("k/a/0", missing_ok=True),
    "pop": lambda session: session.kv.pop("k", None),
    "pop below": lambda session: session.kv.pop("k/a"),
    "clear": lambda session: session.kv.clear(),
}


def held(session: Session) -> Template:
    """A template as if it were saved."""
    return Template.get("t", session=session)


def saved_again(session: Session) -> None:
    template = held(session)
    template.source = "y"
    template.save()


TEMPLATES: dict[str, Act] = {
    "Template.get": lambda session: held(session).source,
    "Template.get_or_none": lambda session: Template.get_or_none("t"),
    "Template.get_or_create": lambda session: Template.get_or_create("t", source="x"),
    "Template.find": lambda session: [each.name for each in Template.find()],
    "Template.count": lambda session: Template.find().count(),
    "Template.find delete": lambda session: Template.find().delete(),
    "Template.save": lambda session: Template(name="t", source="x").save(),
    "Template.save again": saved_again,
    "Template.refresh": lambda session: held(session).refresh(),
    "Template.delete": lambda session: held(session).delete(missing_ok=True),
    "Template.render": lambda session: Template(
        name="t", source="{% include 'u' %}{{ k.a }}{{ l }}"
    ).render(),
    "Template.variables": lambda session: Template(
        name="t", source="{% include 'u' %}"
    ).variables(),
    "Template.history": lambda session: [each.target for each in held(session).history()],
    "Template.revert": lambda session: held(session).revert(5),
}
OTHERS: dict[str, Act] = {
    "account": lambda session: session.account().principals,
    "permissions": lambda session: list(session.permissions()),
    "snapshot": lambda session: Collection(id="kv").snapshot(5),
    "history": lambda session: Record.get("k").history().all(),
    "at": lambda session: Record.get("k").at(5),
}
KVP: dict[str, Act] = {
    "Template.names": lambda session: [each.name for each in Template.find()],
    "Template.set": lambda session: Template(name="t", source="x").save(force=True),
    "Template.render given": lambda session: held(session).render({"k": 1}),
    "Template.drop": lambda session: Template(name="t", source="x").delete(force=True),
    "Template.render saved": lambda session: held(session).render(),
}

names = st.sampled_from(["a", "k", "t", "id", "last_modified", "key", "value", "name", "source"])
numbers = st.integers() | st.floats() | st.sampled_from([0, 1, 5, 2**64, 10**400, -1])
texts = st.text(max_size=5) | st.sampled_from(["k", "t", "x--a-2eb", "\0", "\ud800", "{{ x }}"])
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | texts, inner, max_size=3),
    max_leaves=6,
)
# Almost what Kinto answers, so that each part of it is wrong by itself.
objects = st.fixed_dictionaries(
    {"id": st.sampled_from(["k", "t", "l"]) | values, "last_modified": numbers | values},
    optional={
        "key": st.just("k") | values,
        "value": st.just({"a": [1]}) | values,
        "name": st.just("t") | values,
        "source": st.just("x") | values,
        "deleted": st.just(True) | values,
        "target": st.fixed_dictionaries({"data": values}) | values,
        "action": st.sampled_from(["create", "update", "delete"]),
        "uri": st.just("/buckets/b") | values,
        "user_id": texts,
        "resource_name": texts,
        "date": st.just("2026-01-01T00:00:00Z") | values,
        "permissions": st.lists(texts, max_size=2) | values,
    },
)
answers = st.fixed_dictionaries(
    {},
    optional={
        "data": objects | st.lists(objects, max_size=3) | values,
        "permissions": st.dictionaries(texts, st.lists(texts, max_size=2), max_size=2) | values,
        "errno": st.sampled_from([107, 110, 111, 114, 121, 122, 201]) | values,
        "details": st.fixed_dictionaries({"existing": objects | values}) | values,
        "message": values,
        "user": st.fixed_dictionaries({"id": values, "bucket": values}) | values,
        "settings": values,
        "capabilities": st.just({"history": {}, "permissions_endpoint": {}, "kvp": {}}) | values,
        "id": values,
        "email": values,
        "reads": values,
        "size": values,
    },
)
bodies = st.one_of(
    answers.map(lambda value: json.dumps(value).encode()),
    answers.map(lambda value: json.dumps(value).encode()),
    values.map(lambda value: json.dumps(value).encode()),
    st.lists(texts, max_size=3).map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=30),
    st.sampled_from([b"", b'{"data": ' + b"9" * 5000 + b"}"]),
)
digits = st.sampled_from(["0", "5", "-1", "1.5", "x", "", '"5"', "9" * 5000, "\u00b2"])
headers = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": st.sampled_from(["application/json", "text/html", "text/plain", ""]),
        "ETag": digits,
        "Total-Objects": digits,
        "Total-Records": digits,
        "Next-Page": st.sampled_from(
            ["http://[", "/v1/x?_token=1", "?gt_id=%22k%22", "", "\u00e4"]
        ),
        "Retry-After": digits,
        "Backoff": st.sampled_from(["x", "-1", "0"]),
    },
)
statuses = st.sampled_from([200] * 8 + [201, 204, 304, 301, 400, 401, 403, 404, 409, 412, 500, 503])
replies = st.lists(st.tuples(statuses, bodies, headers), min_size=1, max_size=4)


def answering(status: int, body: bytes, named: dict[str, str]) -> Answer:
    """An answer with header values in Latin-1."""

    def answer(exchange: Exchange) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in named.items()]
        bare = exchange.command == "HEAD" or status in (204, 304)
        exchange.wfile.write(
            "\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if bare else body)
        )
        if bare and body:
            exchange.hang_up()

    return answer


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyServer]:
    """A server that says anything."""
    with FaultyServer() as server:
        yield server


def meets(server: FaultyServer, url: str, act: Act, said: list[tuple[Any, ...]]) -> None:
    """What the act gives or raises is documented."""
    server.answers.clear()
    server.answers.extend(answering(*each) for each in said)
    retry = Retry(0, deadline=0.2)
    with (
        Session(url, auth=("a", "b"), bucket="b", collection="kv", retry=retry) as session,
        contextlib.suppress(KintoError),
    ):
        act(session)


@pytest.mark.parametrize("act", KV | TEMPLATES | OTHERS)
@given(said=replies)
def test_kinto_says_anything(server: FaultyServer, act: str, said: list[tuple[Any, ...]]) -> None:
    """Nothing but KintoError gets out."""
    meets(server, server.url, (KV | TEMPLATES | OTHERS)[act], said)


@pytest.mark.parametrize(
    "act", [act for act in KV | TEMPLATES | KVP | OTHERS if act not in ("Template.history",)]
)
@given(said=replies)
def test_kvpio_says_anything(server: FaultyServer, act: str, said: list[tuple[Any, ...]]) -> None:
    """The same over kvp.io's protocol."""
    url = "kvp+" + server.url.removesuffix("/v1")
    meets(server, url, (KV | TEMPLATES | KVP | OTHERS)[act], said)
