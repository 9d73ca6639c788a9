"""Asking, answered by hand: missing parents, refusals, and what a server says of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from feeding import (
    after_loss,
    asked,
    body,
    busy,
    fails,
    feed,
    forbids,
    gateway,
    is_missing,
    is_there,
    no_answer,
    no_connection,
    nowhere,
    object_of,
    refuses,
    root,
    says,
    shows,
)
from kinto_orm import Session
from kinto_orm.errors import (
    BadReply,
    Conflict,
    Forbidden,
    KintoError,
    NotFound,
    ResponseError,
    ServerError,
    Timeout,
    TransportError,
    Unauthorized,
    Unsupported,
    again,
)
from kinto_orm.wire.flows import Flow, ask
from kinto_orm.wire.messages import Reply, Request
from kinto_orm.wire.parents import Parents
from kinto_orm.wire.places import Place, bucket_id, fetch_info, info_of, place_at, require

HERE = "/buckets/b/collections/todos/records"
PUT = Request("PUT", f"{HERE}/x", body=b"{}")
MINE = Parents("3e2d", "todos", True, personal=True)
OURS = Parents("b", "kv", True)
READ = Parents("b", "todos", False, "Todo")
FOUND = shows(object_of("x"))


def asking(
    request: Request = PUT, parents: Parents | None = None, doing: str = "save Todo 'x'"
) -> Flow[Reply]:
    return ask(request, doing, parents)


# Missing parents


@pytest.mark.parametrize("refusal", [is_missing("collection"), is_missing("bucket"), forbids()])
def test_the_personal_bucket_is_made(refusal: Reply) -> None:
    """By a GET that makes it and the collection; then the request is sent once more."""
    reply, steps = feed(asking(parents=MINE), refusal, says(200, {}), FOUND)
    assert reply.object["data"]["id"] == "x"
    assert reply.doing == "save Todo 'x'"
    making = "GET /buckets/default/collections/todos"
    assert asked(steps) == [f"PUT {HERE}/x", making, f"PUT {HERE}/x"]
    assert steps[1].alone


def test_a_collection_is_made() -> None:
    """By a PUT that overwrites nothing; whoever was first, it is there."""
    for made in (says(201, {}), says(200, {}), is_there(object_of("kv"))):
        _, steps = feed(asking(parents=OURS), is_missing("collection"), made, FOUND)
        assert asked(steps)[1] == "PUT /buckets/b/collections/kv"
        assert steps[1].headers == {"If-None-Match": "*"}
        assert steps[1].alone


def test_a_bucket_alone_is_made_if_it_is_personal() -> None:
    """Another one is made by its owner only."""
    personal = Parents("3e2d", None, True, personal=True)
    _, steps = feed(asking(parents=personal), forbids(), says(200, {}), FOUND)
    assert asked(steps)[1] == "GET /buckets/default"
    fails(asking(parents=Parents("b", None, True)), Forbidden, forbids())


def test_it_is_sent_once_more_and_no_oftener() -> None:
    """What is refused again is refused."""
    missing = is_missing("collection")
    error, steps = fails(asking(parents=OURS), NotFound, missing, says(201, {}), missing)
    assert len(steps) == 3
    assert "cannot save Todo 'x'" in str(error)


@pytest.mark.parametrize("refusal", [forbids(), says(401, {}), is_missing("bucket")])
def test_what_may_not_be_made(refusal: Reply) -> None:
    """The first refusal is told: it says what is missing, and who may make it."""
    error, steps = fails(asking(parents=OURS), NotFound, is_missing("collection"), refusal)
    assert len(steps) == 2
    assert error.errno == 111


@pytest.mark.parametrize(
    ("refusal", "cls"),
    [
        (busy(503), ServerError),
        (says(500, {}), ServerError),
        (busy(409), Conflict),
        (refuses(415, 104), ResponseError),
    ],
)
def test_what_cannot_be_made(refusal: Reply, cls: type[ResponseError]) -> None:
    """Its own refusal is told: that nothing was there was only the reason to make it."""
    error, steps = fails(asking(parents=OURS), cls, is_missing("collection"), refusal)
    assert len(steps) == 2
    assert error.status == refusal.status


@pytest.mark.parametrize(
    ("refusal", "cls"),
    [(is_missing(), NotFound), (is_there(object_of("x")), Conflict), (says(401, {}), Unauthorized)],
)
def test_what_no_parent_helps_against(refusal: Reply, cls: type[KintoError]) -> None:
    """The object itself is missing, is there, or nobody is logged in: nothing is made."""
    assert len(fails(asking(parents=OURS), cls, refusal)[1]) == 1


def test_nothing_is_made_for_a_read() -> None:
    """The remedy is told instead, and names the model."""
    error, steps = fails(asking(parents=READ), NotFound, is_missing("collection"))
    assert len(steps) == 1
    assert "session.sync_schema(Todo)" in str(error)
    assert "collection 'todos' of bucket 'b' does not exist" in str(error)


def test_no_parents_no_remedy() -> None:
    """Who names none is told what the server said, and no more."""
    error, _ = fails(asking(), NotFound, is_missing("collection"))
    assert str(error).endswith("The server said 404: no.")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_no_answer_on_the_way(place: int) -> None:
    """Whichever of the three requests: it has the act, and knows what was lost."""
    answers: list[Any] = [is_missing("collection"), says(201, {}), FOUND]
    error, _ = fails(asking(parents=OURS), Timeout, *answers[:place], no_answer())
    assert str(error).startswith("cannot save Todo 'x': the server did not answer")
    assert error.lost
    error, _ = fails(asking(parents=OURS), TransportError, *answers[:place], no_connection())
    assert not error.lost


def test_a_loss_before_the_parents_were_made() -> None:
    """What was refused because its collection is missing was not done, whatever came before."""
    answers = after_loss(is_missing("collection")), says(201, {}), shows(object_of("x"), status=201)
    assert not feed(asking(parents=OURS), *answers)[0].lost


# HEAD


def test_a_head_is_explained_by_a_get() -> None:
    """Its own answer has no body that says why; the GET asks for no more than one object."""
    request = Request("HEAD", HERE, "done=true")
    error, steps = fails(
        asking(request, READ, "count Todo"),
        NotFound,
        Reply(404, {}, b""),
        is_missing("collection"),
    )
    assert asked(steps) == [f"HEAD {HERE}?done=true", f"GET {HERE}?done=true&_limit=1"]
    assert "cannot count Todo" in str(error)
    assert "sync_schema(Todo)" in str(error)


def test_a_head_of_what_is_there_by_now() -> None:
    """The GET is answered: the HEAD is asked once more."""
    counted = Reply(200, {"Total-Objects": "3"}, b"")
    flow = asking(Request("HEAD", HERE), READ)
    reply, steps = feed(flow, Reply(404, {}, b""), says(200, {"data": []}), counted)
    assert reply.total == 3
    assert asked(steps) == [f"HEAD {HERE}", f"GET {HERE}?_limit=1", f"HEAD {HERE}"]


def test_a_head_makes_parents() -> None:
    """Where they may be made."""
    counted = Reply(200, {"Total-Objects": "0"}, b"")
    flow = asking(Request("HEAD", HERE), OURS)
    answers = Reply(404, {}, b""), is_missing("collection"), says(201, {}), counted
    reply, steps = feed(flow, *answers)
    assert reply.total == 0
    assert len(steps) == 4


def test_a_head_without_an_answer() -> None:
    """That of the GET counts as its own."""
    flow = asking(Request("HEAD", HERE), READ)
    fails(flow, Timeout, Reply(403, {}, b""), no_answer())
    assert len(fails(asking(Request("HEAD", HERE)), ServerError, Reply(500, {}, b""))[1]) == 1


# Refusals


@pytest.mark.parametrize(
    ("reply", "lost"),
    [
        (busy(503), False),
        (busy(429), False),
        (gateway(503), True),
        (gateway(502), True),
        (gateway(504), True),
        (says(500, {"errno": 999}), True),
        (is_there(object_of("x")), False),
        (after_loss(is_there(object_of("x"))), True),
        (after_loss(busy(503)), True),
        (after_loss(is_missing()), True),
    ],
)
def test_what_a_refusal_knows_of_losses(reply: Reply, lost: bool) -> None:
    """Its own, and those of the sendings before it."""
    error, _ = fails(asking(), KintoError, reply)
    assert error.lost is lost
    assert "cannot save Todo 'x'" in str(error)


@pytest.mark.parametrize("status", [404, 409, 412])
def test_what_only_kinto_can_say(status: int) -> None:
    """Of a page of a gateway nothing is believed, and nothing is made."""
    error, steps = fails(asking(parents=OURS), BadReply, gateway(status))
    assert len(steps) == 1
    assert "cannot save Todo 'x'" in str(error)


def test_a_path_that_the_server_does_not_know() -> None:
    """It says nothing of the object."""
    error, _ = fails(asking(), Unsupported, refuses(404, 999))
    assert "does not know this path" in str(error)


@pytest.mark.parametrize("error", [no_answer(), BadReply("cut off"), again(no_connection(), "no")])
def test_errors_of_the_wire_keep_their_kind(error: TransportError) -> None:
    """The act is put before; class, cause and what was lost stay."""
    raised, _ = fails(asking(), TransportError, error)
    assert type(raised) is type(error)
    assert str(raised) == f"cannot save Todo 'x': {error}"
    assert raised.__cause__ is error
    assert raised.lost is error.lost


def test_a_server_error_that_is_raised_at_the_step() -> None:
    """As a batch does for those that it did not send."""
    error, _ = fails(asking(), ServerError, ServerError("busy", status=503))
    assert str(error) == "cannot save Todo 'x': busy"
    assert error.status == 503


def test_an_interrupt() -> None:
    """It is not one of the errors of the wire."""
    interrupt = KeyboardInterrupt()
    assert fails(asking(), KeyboardInterrupt, interrupt)[0] is interrupt


# Where something is

USER = {"id": "basicauth:1", "bucket": "3e2d", "principals": []}


def anonymous() -> Reply:
    return root()


def test_a_named_bucket_needs_no_question() -> None:
    """The path is the place; what must exist for it is known."""
    scope = nowhere()
    place, steps = feed(place_at(scope, HERE, "Todo"))
    assert not steps
    assert place == Place(scope, HERE, Parents("b", "todos", False, "Todo"))
    assert feed(place_at(scope, "/buckets"))[0].parents is None


def test_the_personal_bucket_is_asked_for_once() -> None:
    """All places of the connection know it then."""
    scope = nowhere("default", auth="a:b")
    path = "/buckets/default/collections/todos/records"
    place, steps = feed(place_at(scope, path), root(user=USER))
    assert asked(steps) == ["GET /"]
    assert steps[0].alone
    assert place.path == "/buckets/3e2d/collections/todos/records"
    assert place.parents == Parents("3e2d", "todos", True, personal=True)
    again_, steps = feed(place_at(scope.scoped(collection="x"), path))
    assert (again_.path, steps) == (place.path, [])
    by_id, steps = feed(place_at(scope, place.path.replace("todos", "other")))
    assert by_id.parents is not None
    assert by_id.parents.personal
    assert not steps


def test_a_place_that_could_not_be_found() -> None:
    """It is asked for again: nothing of the failure is kept."""
    scope = nowhere("default", auth="a:b")
    path = "/buckets/default/collections/todos/records"
    fails(place_at(scope, path), Timeout, no_answer())
    fails(place_at(scope, path), Unauthorized, anonymous())
    fails(place_at(scope, path), KeyboardInterrupt, KeyboardInterrupt())
    assert feed(place_at(scope, path), root(user=USER))[0].path.startswith("/buckets/3e2d/")


def test_nobody_has_no_personal_bucket() -> None:
    """The server recognises nobody."""
    error, _ = fails(bucket_id(nowhere("default")), Unauthorized, anonymous())
    assert error.status == 401
    assert "check the session's auth" in str(error)


def test_a_server_without_personal_buckets() -> None:
    """It says who asks, and no bucket."""
    flow = bucket_id(nowhere("default", auth="a:b"))
    error, _ = fails(flow, Unsupported, root(user={"id": "a"}))
    assert "default_bucket is off" in str(error)


def test_the_plugin_may_be_enabled_later() -> None:
    """Who was told that there is no personal bucket may ask again."""
    scope = nowhere("default", auth="a:b")
    fails(bucket_id(scope), Unsupported, root(user={"id": "a"}))
    assert feed(bucket_id(scope), root(user=USER))[0] == "3e2d"
    assert feed(bucket_id(scope))[0] == "3e2d"
    assert feed(bucket_id(scope, "blog"))[0] == "blog"


# What a server says of itself


def test_a_server_is_asked_once() -> None:
    """Unless it recognised nobody although there are credentials."""
    scope = nowhere(auth="a:b")
    feed(info_of(scope), anonymous())
    info, steps = feed(info_of(scope), root(7, user=USER))
    assert (info.settings["batch_max_requests"], len(steps)) == (7, 1)
    assert feed(info_of(scope))[1] == []
    assert len(feed(fetch_info(scope), root(8, user=USER))[1]) == 1
    assert feed(info_of(scope))[0].settings["batch_max_requests"] == 8


def test_the_anonymous_are_told_once() -> None:
    """There is nobody to be recognised."""
    scope = nowhere()
    feed(info_of(scope), anonymous())
    assert feed(info_of(scope))[1] == []


@pytest.mark.parametrize(
    "answer",
    [
        says(200, {"hello": "world"}),
        says(200, []),
        root(user={"bucket": "3e2d"}),
        root(user={"id": "a", "bucket": 5}),
        Reply(200, {}, b"<html>"),
        Reply(200, {}, b""),
    ],
)
def test_what_is_no_kinto_server(answer: Reply) -> None:
    """It is a BadReply, and is not kept."""
    scope = nowhere()
    error, _ = fails(info_of(scope), BadReply, answer)
    assert "read the root page of http://127.0.0.1:9/v1" in str(error)
    assert feed(info_of(scope), root())[1]


def test_what_a_server_needs() -> None:
    """Known capabilities are not asked for; what was missing is asked for anew."""
    scope = nowhere()
    error, _ = fails(require(scope, "history", "read the history"), Unsupported, root())
    assert "read the history: the server http://127.0.0.1:9/v1 lacks the capability" in str(error)
    assert len(feed(require(scope, "history", "x"), root(25, "history"))[1]) == 1
    assert feed(require(scope, "history", "x"))[1] == []


def test_a_kvp_server_has_no_capabilities() -> None:
    """Nothing is asked."""
    scope = Session("kvp+http://127.0.0.1:9", auth="key:")
    error, steps = fails(require(scope, "history", "read the history"), Unsupported)
    assert not steps
    assert "read the history: a kvp.io server" in str(error)


@pytest.mark.parametrize("make", [lambda: forbids(), lambda: is_missing("bucket")])
def test_what_is_made_has_no_body_of_the_callers(make: Callable[[], Reply]) -> None:
    """A parent is made empty."""
    _, steps = feed(asking(parents=OURS), is_missing("collection"), says(201, {}), FOUND)
    assert body(steps[1]) is None
    _, steps = feed(asking(parents=MINE), make(), says(200, {}), FOUND)
    assert body(steps[1]) is None
