"""The protocol as data: paths, preconditions, bodies, replies and calls."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinto_orm.errors import BadReply, Conflict, Forbidden, InvalidData, NotFound, ResponseError
from kinto_orm.protocol import (
    Call,
    Parents,
    Reply,
    Request,
    error_for,
    if_match,
    if_none_match,
    query_string,
    segment,
    timestamp,
)

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


# Calls


def call(**options: Any) -> Call[Any]:
    """A call that gives its reply's data."""
    return Call(Request("GET", "/x"), lambda reply: reply.json["data"], "get Todo 'x'", **options)


def test_call_receives_what_is_no_refusal() -> None:
    """2xx and 304 are answers."""
    assert call().complete(reply(200, {"data": 1})) == 1
    assert call().complete(reply(201, {"data": 1})) == 1
    not_modified = Call(Request("GET", "/x"), lambda reply: reply.status)
    assert not_modified.complete(Reply(304, {}, b"")) == 304


@pytest.mark.parametrize("status", [301, 307, 400, 404, 412, 500, 599])
def test_call_raises_what_a_refusal_means(status: int) -> None:
    """With the act in the message, unless the call takes refusals itself."""
    refusal = reply(status, {"errno": 1, "message": "no"})
    with pytest.raises(ResponseError, match=r"cannot get Todo 'x'.*no") as raised:
        call().complete(refusal)
    assert raised.value.status == status
    assert call(refused=lambda error, reply: error.status).complete(refusal) == status


def test_call_names_the_act_in_a_bad_reply() -> None:
    """Whether it fails in `receive` or in `refused`."""
    with pytest.raises(BadReply, match="cannot get Todo 'x'"):
        call().complete(Reply(200, {}, b"<html>"))


def test_then_passes_results_on() -> None:
    """The same request; its result, refused or not, goes through the step."""
    twice = call(refused=lambda error, reply: 5).then(lambda value: value * 2)
    assert twice.complete(reply(200, {"data": 4})) == 8
    missing = reply(404, {"errno": 110})
    assert twice.complete(missing) == 10
    with pytest.raises(NotFound):
        call().then(lambda value: value * 2).complete(missing)


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
    error = call(parents=PARENTS).error(reply(status, body))
    assert PARENTS.missing(error) is missing
    assert remedy in str(error)
    assert ("sync_schema(Article)" in str(error)) is missing


KINTO_FORBIDS = {"errno": 121, "message": "This user cannot access this resource."}


@pytest.mark.parametrize(("method", "verb"), [("GET", "read"), ("PATCH", "write")])
def test_what_was_loaded_needs_no_bucket(method: str, verb: str) -> None:
    """It is there: who may not write it is told so, and not to make a bucket."""
    made = call(parents=PARENTS.explaining(loaded=True))
    made.request.method = method
    said = str(made.error(reply(403, KINTO_FORBIDS)))
    assert f"you lack the permission '{verb}'" in said
    assert "first" not in said
    assert "does not exist" not in said.partition("The server said")[2]


@pytest.mark.parametrize("loaded", [True, False])
def test_a_plugins_reason_stands_alone(loaded: bool) -> None:
    """Advice about buckets and permissions would be wrong."""
    body = {"errno": 121, "message": "Last editor cannot review"}
    said = str(call(parents=PARENTS.explaining(loaded=loaded)).error(reply(403, body)))
    assert said.endswith("Last editor cannot review.")


@pytest.mark.parametrize("details", [None, [], [{"name": "title"}], {"id": "x"}, "text"])
def test_details_are_an_object(details: Any) -> None:
    """Kinto sends a list for invalid data; it is kept under `errors`."""
    error = error_for(reply(400, {"details": details}), Request("GET", "/"), "act")
    assert isinstance(error.details, dict)
    if details:
        assert details in (error.details, error.details.get("errors"), "text")


@pytest.mark.parametrize(("status", "cls"), [(400, InvalidData), (403, Forbidden)])
def test_an_error_without_a_body(status: int, cls: type[Exception]) -> None:
    """The status alone decides."""
    assert type(error_for(Reply(status, {}, b""), Request("GET", "/"), "act")) is cls


@pytest.mark.parametrize(("status", "cls"), [(404, NotFound), (409, Conflict), (412, Conflict)])
def test_what_is_believed_of_kinto_only(status: int, cls: type[Exception]) -> None:
    """That something is missing or in conflict; the answer to a HEAD has no body to show it."""
    errno = {404: 111, 409: 122, 412: 114}[status]
    assert type(error_for(reply(status, {"errno": errno}), Request("PUT", "/"), "act")) is cls
    assert type(error_for(Reply(status, {}, b""), Request("HEAD", "/"), "act")) is cls
    for body in (b"", b"<h1>no</h1>", b"[]", b'{"errno": "111"}', b'{"errno": true}'):
        with pytest.raises(BadReply, match="proxy"):
            error_for(Reply(status, {}, body), Request("PUT", "/"), "act")
