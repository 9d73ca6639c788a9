"""What both sessions say with a request: the same headers, whichever library sends them."""

from __future__ import annotations

import asyncio

import pytest

from faults import FaultyServer, says
from kinto_orm import AsyncSession, Bucket, Retry, Session, Template
from kinto_orm.wire.awaiting import arun
from kinto_orm.wire.driving import run
from kinto_orm.wire.flows import ask
from kinto_orm.wire.messages import JSON_PATCH, Request, if_match, if_none_match

BODY = b'{"data":{"title":"x"}}'
PATCH = b'[{"op":"remove","path":"/data/title"}]'
LARGE = b'"' + b"x" * 2**20 + b'"'

REQUESTS = {
    "GET": Request("GET", "/x"),
    "GET if newer": Request("GET", "/x", headers=if_none_match(5)),
    "HEAD": Request("HEAD", "/x"),
    "PUT": Request("PUT", "/x", body=BODY, headers=if_none_match()),
    "PUT without a body": Request("PUT", "/x", headers=if_none_match()),
    "PATCH": Request("PATCH", "/x", body=BODY, headers=if_match(5)),
    "PATCH by JSON-Patch": Request("PATCH", "/x", body=PATCH, headers={"Content-Type": JSON_PATCH}),
    "PATCH without a body": Request("PATCH", "/x", headers=if_match(5)),
    "POST": Request("POST", "/batch", body=b'{"requests":[]}'),
    "POST without a body": Request("POST", "/x"),
    "POST in pieces": Request("POST", "/x", body=LARGE),
    "DELETE": Request("DELETE", "/x", headers=if_match(5)),
}
# Each names its library here, and nothing else differs: Host, which the HTTP library adds, is the
# same for both.
DIFFERENT = {"User-Agent"}


def sent(request: Request, *, awaits: bool) -> dict[str, str]:
    """The headers with which a request arrives, but for those that differ."""
    with FaultyServer(says(200, {})) as server:
        options = {"auth": ("bob", "s3cret"), "headers": {"X-Team": "blue"}, "retry": None}

        async def awaited() -> None:
            async with AsyncSession(server.url, **options) as session:
                await arun(session, ask(request, "try"))

        if awaits:
            asyncio.run(awaited())
        else:
            with Session(server.url, **options) as session:
                run(session, ask(request, "try"))
        (received,) = server.received
    assert received.body == (request.body or b"")
    library = "aiohttp" if awaits else "requests"
    assert library in received.headers["User-Agent"]
    names = received.headers.keys() - DIFFERENT - {"Host"}
    assert received.headers["Host"] == server.url.split("/")[2]
    return {name: received.headers[name] for name in names}


@pytest.mark.parametrize("kind", REQUESTS)
def test_both_sessions_send_the_same(kind: str) -> None:
    """Every header, and no other one: what a server answers does not depend on the session."""
    request = REQUESTS[kind]
    awaited, blocking = sent(request, awaits=True), sent(request, awaits=False)
    assert awaited == blocking
    expected = {
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",
        "Connection": "keep-alive",
        "Authorization": "Basic Ym9iOnMzY3JldA==",
        "X-Team": "blue",
    } | {name.title(): value for name, value in request.headers.items()}
    if request.body is not None:
        expected.setdefault("Content-Type", "application/json")
        expected["Content-Length"] = str(len(request.body))
    elif request.method not in ("GET", "HEAD"):
        expected["Content-Length"] = "0"
    assert blocking == expected


@pytest.mark.parametrize("awaits", [False, True])
def test_the_first_write_in_a_bucket_that_is_not_the_personal_one(
    served: str, awaits: bool
) -> None:
    """It makes the collection by a PUT without a body, which Kinto takes without a type only."""
    options = {"auth": ("first", "s3cret"), "bucket": f"first-{awaits}", "retry": Retry(0)}

    async def awaited() -> None:
        async with AsyncSession(served, **options) as session:
            await Bucket(id=session.bucket).asave()
            await session.kv.set("colour", "red")
            assert await session.kv.get("colour") == "red"
            await Template(name="page", source="x").asave()
            assert (await Template.aget("page")).source == "x"

    if awaits:
        asyncio.run(awaited())
        return
    with Session(served, **options) as session:
        Bucket(id=session.bucket).save()
        session.kv.set("colour", "red")
        assert session.kv.get("colour") == "red"
        Template(name="page", source="x").save()
        assert Template.get("page").source == "x"
