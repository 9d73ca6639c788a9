"""The protocol as data: paths, preconditions, bodies, replies, and what they mean."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeding import feed
from kinto_orm.errors import BadReply, Conflict, Forbidden, InvalidData, NotFound, ResponseError
from kinto_orm.wire.flows import ask
from kinto_orm.wire.messages import (
    Reply,
    Request,
    if_match,
    if_none_match,
    query_string,
    segment,
    timestamp,
)
from kinto_orm.wire.parents import Parents
from kinto_orm.wire.refusals import error_for

ALLOWED = st.from_regex(r"\A[a-zA-Z0-9][a-zA-Z0-9_-]*\Z")
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def reply(status: int, body: Any = None, **headers: str) -> Reply:
    """A reply with a JSON body."""
    return Reply(status, headers, json.dumps(body).encode())


# Paths and queries


@given(id=ALLOWED)
def test_allowed_ids_are_kept_as_they_are(id: str) -> None:
    """An id by Kinto's rule is its own path segment."""
    assert segment(id, "record") == id


@given(id=st.text())
def test_an_id_is_kept_or_refused_never_rewritten(id: str) -> None:
    """Whatever is given: the same id comes out, or InvalidData names it."""
    try:
        kept = segment(id, "record")
    except InvalidData as error:
        shown = str(error)
    else:
        assert unquote(kept) == id
        return
    assert repr(id) in shown
    assert "Nothing was sent" in shown


@pytest.mark.parametrize("id", ["bob", "bob@example.com", "a+b.c", "a-b_c"])
def test_accounts_may_be_addresses(id: str) -> None:
    """Their rule allows + . and @ as well; they are quoted in the path."""
    assert unquote(segment(id, "account")) == id
    assert "@" not in segment(id, "account")


@pytest.mark.parametrize("id", ["x\n", "", " ", "a/../b", "%2F", "é", "٣", None, 5, b"x"])
def test_odd_ids_are_refused(id: Any) -> None:
    """A line break at the end, digits of other scripts, and what is no text at all."""
    with pytest.raises(InvalidData, match="cannot be the id of a bucket"):
        segment(id, "bucket")


@given(params=st.lists(st.tuples(texts, texts)))
def test_query_strings_keep_every_character(params: list[tuple[str, str]]) -> None:
    """What is read from the query is what was given, in order."""
    query = query_string(params)
    assert parse_qsl(query, keep_blank_values=True) == params
    assert query.isascii()
    assert not set(query) & set(" +#?\n")


# Preconditions and timestamps


def test_preconditions() -> None:
    """ETags are quoted; a creation has no timestamp to name."""
    assert if_match(5) == {"If-Match": '"5"'}
    assert if_none_match() == {"If-None-Match": "*"}
    assert if_none_match(5) == {"If-None-Match": '"5"'}


@pytest.mark.parametrize("stamp", [0, -1])
def test_zero_is_no_precondition(stamp: int) -> None:
    """The server would take "0" for no condition at all: refused."""
    with pytest.raises(InvalidData):
        if_match(stamp)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [({"ETag": '"15"'}, 15), ({"ETag": 'W/"15"'}, 15), ({}, None), ({"ETag": '"x"'}, None)],
)
def test_timestamp_of_a_reply(headers: dict[str, str], expected: int | None) -> None:
    """Milliseconds from the ETag; None where there is none."""
    assert timestamp(headers) == expected


# Requests and replies


def test_request() -> None:
    """Data: method, target, body; sending twice does no harm unless it says so."""
    request = Request("GET", "/buckets", "a=1")
    assert request.target == "/buckets?a=1"
    assert Request("GET", "/buckets").target == "/buckets"
    assert repr(request) == "<GET /buckets?a=1>"
    assert request.repeatable
    assert not request.alone


def test_repr_of_a_request_shows_no_data() -> None:
    """Neither body nor headers, which may hold what is nobody's business."""
    request = Request("PUT", "/x", body=b"s3cret", headers={"Authorization": "s3cret"})
    assert "s3cret" not in repr(request)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"5", b"null", b'"x"', b"{", b"\xff"])
def test_a_body_that_is_no_object(body: bytes) -> None:
    """BadReply shows status, type and beginning of what came, and asks the question that helps."""
    with pytest.raises(BadReply, match=r"200, text/html.*proxy"):
        Reply(200, {"Content-Type": "text/html"}, body).json


# Asking


def answered(reply: Reply, *more: Reply, method: str = "GET", parents: Any = None) -> Reply:
    """What a flow that asks makes of an answer, and of those to its further requests."""
    found, _ = feed(ask(Request(method, "/x"), "get Todo 'x'", parents), reply, *more)
    return found


def refused(reply: Reply, *more: Reply, method: str = "GET", parents: Any = None) -> ResponseError:
    """What it raises."""
    with pytest.raises(ResponseError) as raised:
        answered(reply, *more, method=method, parents=parents)
    return raised.value


def test_what_is_no_refusal() -> None:
    """2xx and 304 are answers."""
    assert answered(reply(200, {"data": 1})).json["data"] == 1
    assert answered(reply(201, {"data": 1})).json["data"] == 1
    assert answered(Reply(304, {}, b"")).status == 304


@pytest.mark.parametrize("status", [301, 307, 400, 404, 412, 500, 599])
def test_what_a_refusal_means(status: int) -> None:
    """The error has the act in its message."""
    errno = 110 if status == 404 else 1
    error = refused(reply(status, {"errno": errno, "message": "no"}))
    assert re.search("cannot get Todo 'x'.*no", str(error))
    assert error.status == status


def test_a_bad_reply_names_the_act() -> None:
    """Wherever it is found out."""
    with pytest.raises(BadReply, match="cannot get Todo 'x'"):
        _ = answered(Reply(200, {}, b"<html>")).json
    with pytest.raises(BadReply, match="cannot get Todo 'x'"):
        answered(Reply(404, {}, b"<html>"))


MISSING_COLLECTION = {"errno": 111, "details": {"id": "x", "resource_name": "collection"}}
PARENTS = Parents("blog", "articles", False, "Article")


@pytest.mark.parametrize(
    ("status", "body", "missing", "remedy"),
    [
        (403, {"errno": 121}, True, "bucket 'blog' does not exist, or you may not use it"),
        (404, MISSING_COLLECTION, True, "collection 'articles' of bucket 'blog' does not exist"),
        (404, {"errno": 110}, False, ""),
        (412, {"errno": 114}, False, ""),
    ],
)
def test_missing_parents(status: int, body: Any, missing: bool, remedy: str) -> None:
    """A refusal that means a missing bucket or collection says what to save first."""
    error = refused(reply(status, body), parents=PARENTS)
    assert PARENTS.missing(error) is missing
    assert remedy in str(error)
    assert ("sync_schema(Article)" in str(error)) is missing


KINTO_FORBIDS = {"errno": 121, "message": "This user cannot access this resource."}


@pytest.mark.parametrize(("method", "verb"), [("GET", "read"), ("PATCH", "write")])
def test_what_was_loaded_needs_no_bucket(method: str, verb: str) -> None:
    """It is there: who may not write it is told so, and not to make a bucket."""
    parents = PARENTS.explaining(loaded=True)
    said = str(refused(reply(403, KINTO_FORBIDS), method=method, parents=parents))
    assert f"you lack the permission '{verb}'" in said
    assert "first" not in said
    assert "does not exist" not in said.partition("The server said")[2]


@pytest.mark.parametrize("loaded", [True, False])
def test_a_plugins_reason_stands_alone(loaded: bool) -> None:
    """Advice about buckets and permissions would be wrong."""
    body = {"errno": 121, "message": "Last editor cannot review"}
    said = str(refused(reply(403, body), parents=PARENTS.explaining(loaded=loaded)))
    assert said.endswith("Last editor cannot review.")


@pytest.mark.parametrize("details", [None, [], [{"name": "title"}], {"id": "x"}, "text"])
def test_details_are_an_object(details: Any) -> None:
    """Kinto sends a list for invalid data; it is kept under `errors`."""
    error = error_for(reply(400, {"details": details}), Request("GET", "/"))
    assert isinstance(error.details, dict)
    if details:
        assert details in (error.details, error.details.get("errors"), "text")


@pytest.mark.parametrize(("status", "cls"), [(400, InvalidData), (403, Forbidden)])
def test_an_error_without_a_body(status: int, cls: type[Exception]) -> None:
    """The status alone decides."""
    assert type(error_for(Reply(status, {}, b""), Request("GET", "/"))) is cls


@pytest.mark.parametrize(("status", "cls"), [(404, NotFound), (409, Conflict), (412, Conflict)])
def test_what_is_believed_of_kinto_only(status: int, cls: type[Exception]) -> None:
    """That something is missing or in conflict; the answer to a HEAD has no body to show it."""
    errno = {404: 111, 409: 122, 412: 114}[status]
    assert type(error_for(reply(status, {"errno": errno}), Request("PUT", "/"))) is cls
    assert type(error_for(Reply(status, {}, b""), Request("HEAD", "/"))) is cls
    for body in (b"", b"<h1>no</h1>", b"[]", b'{"errno": "111"}', b'{"errno": true}'):
        with pytest.raises(BadReply, match="proxy"):
            error_for(Reply(status, {}, body), Request("PUT", "/"))
