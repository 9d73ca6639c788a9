"""Answers that no Kinto gives are a BadReply, without what they show."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from bridge import both_drivers
from faults import Answer, FaultyServer, says
from kinto_orm import BadReply, Conflict, Record, Session

driver = both_drivers(__name__)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROOT = says(200, {"capabilities": {"permissions_endpoint": {}}, "user": {"id": "x"}})


class Todo(Record, collection="todos"):
    title: str
    due: datetime | None = None


def get(session: Session) -> object:
    return Todo.get("x", session=session)


def find(session: Session) -> object:
    return Todo.find(session=session).all()


def save(session: Session) -> object:
    return Todo(title="x").save(session=session)


@pytest.fixture
def ask() -> Callable[..., str]:
    """Do something with a server that gives these answers; the traceback of its BadReply."""

    def ask(act: Callable[[Session], object], *answers: Answer) -> str:
        with (
            FaultyServer(*answers) as server,
            Session(server.url, auth=("alice", "s3cret"), bucket="b", retry=None) as session,
            pytest.raises(BadReply) as raised,
        ):
            act(session)
        return "".join(traceback.format_exception(raised.value))

    return ask


@pytest.mark.parametrize("act", [get, find, save])
def test_a_body_that_is_nested_too_deeply(act: Callable, ask: Callable[..., str]) -> None:
    """Python's parser gives up with a RecursionError."""
    ask(act, says(200, b"[" * 50_000))


@pytest.mark.parametrize("act", [get, find, save])
def test_a_page_that_shows_the_request(act: Callable, ask: Callable[..., str]) -> None:
    """A gateway may show the credentials; no traceback does."""
    token = "YWxpY2U6czNjcmV0"
    page = f"<html>{'-' * 100} Authorization: Basic {token}</html>".encode()
    assert token not in ask(act, says(200, page, Content_Type="text/html"))


@pytest.mark.parametrize("data", [None, {}, [None], ["x"], [{}], [{"uri": 1}]])
def test_a_list_of_permissions_of_another_shape(data: object, ask: Callable[..., str]) -> None:
    """Not a KeyError, nor Pydantic's error."""
    ask(lambda session: list(session.permissions()), ROOT, says(200, {"data": data}))


@pytest.mark.parametrize("url", ["::::", "http://x.test/", "/v1/?_limit=5"])
def test_a_next_page_that_is_none(url: str, ask: Callable[..., str]) -> None:
    """Else the same page would come again and again, or the rest would be missing."""
    ask(find, says(200, {"data": [{"id": "a", "last_modified": 1, "title": "x"}]}, Next_Page=url))


@pytest.mark.parametrize(
    "user", [{}, {"id": None}, {"id": ""}, {"id": "x", "principals": "y"}, {"id": "x", "bucket": 1}]
)
def test_an_account_of_another_shape(user: object, ask: Callable[..., str]) -> None:
    """Not an account called "None"."""
    ask(lambda session: session.account(), says(200, {"capabilities": {}, "user": user}))


TARGETS = [{}, {"data": None}, {"data": {"id": "other", "last_modified": 5}}, {"data": {"id": "x"}}]


@pytest.mark.parametrize("target", TARGETS)
def test_a_history_that_does_not_show_the_object(target: object, ask: Callable[..., str]) -> None:
    """Neither a KeyError nor somebody else's data."""
    entry = {
        "id": "e",
        "last_modified": 9,
        "date": "2026-01-01T00:00:00Z",
        "action": "update",
        "uri": "/buckets/b/collections/todos/records/x",
        "user_id": "alice",
        "resource_name": "record",
        "target": target,
    }
    ask(
        lambda session: Todo.get("x", session=session).at(5),
        says(200, {"data": {"id": "x", "last_modified": 9, "title": "new"}}),
        says(200, {"capabilities": {"history": {}}, "user": {"id": "x"}}),
        says(200, {"data": [entry]}),
    )


def test_permissions_that_never_end(ask: Callable[..., str]) -> None:
    """The same page again is no next one."""
    entry = {"uri": "/", "resource_name": "root", "permissions": []}
    ask(
        lambda session: list(session.permissions()),
        ROOT,
        says(200, {"data": [entry]}, Next_Page="http://x.test/v1/permissions?_token=1"),
    )


@pytest.mark.parametrize("total", ["", "x", "-1", "1.5", "9" * 5000])
def test_a_count_that_is_none(total: str, ask: Callable[..., str]) -> None:
    """A header that gives no number, or one that no server has."""
    ask(lambda session: Todo.find(session=session).count(), says(200, {}, Total_Objects=total))


def test_a_next_page_that_is_no_url(ask: Callable[..., str]) -> None:
    """Not Python's ValueError."""
    data = [{"id": "a", "last_modified": 1, "title": "x"}]
    ask(find, says(200, {"data": data}, Next_Page="http://["))


NEXT = "http://x.test/v1/buckets/b/collections/todos/records?_token=1"
SAME = says(
    200, {"data": [{"id": "a", "last_modified": 1, "title": "x"}]}, Next_Page=NEXT, ETag='"1"'
)
ENDLESS: dict[str, Callable[[Session], object]] = {
    "by id": find,
    "by id, tested here": lambda session: Todo.find(Todo.due != NOON, session=session).all(),
    "with an order": lambda session: Todo.find(session=session).order_by(Todo.title).all(),
    "position by position": lambda session: _resumed(session),
    "counted": lambda session: Todo.find(Todo.due != NOON, session=session).count(),
    "some fields": lambda session: list(Todo.find(session=session).only("title").pages()),
    "changes": lambda session: list(Todo.find(session=session).changes('[5,5,"",[],null]')),
    "first pass": lambda session: list(Todo.find(session=session).changes('[5,5,"",[],""]')),
    "start": lambda session: list(Todo.find(session=session).changes()),
    "deleted": lambda session: Todo.find(session=session).delete(),
    "deleted by id": lambda session: Todo.find(Todo.due != NOON, session=session).delete(),
}


def _resumed(session: Session) -> None:
    query = Todo.find(session=session).order_by(Todo.title)
    for page in query.pages():
        list(query.resume(page.position))


@pytest.mark.parametrize("act", ENDLESS.values(), ids=ENDLESS)
def test_the_same_page_again(act: Callable[[Session], object], ask: Callable[..., str]) -> None:
    """A proxy that heeds no query string, or a cache: nothing goes on for ever."""
    ask(act, SAME)


@pytest.mark.parametrize("turns", [2, 3, 7])
def test_pages_in_a_circle(turns: int, ask: Callable[..., str]) -> None:
    """However long it is."""

    def page(number: int) -> Answer:
        row = {"id": str(number), "last_modified": number + 1, "title": "x"}
        return says(200, {"data": [row]}, Next_Page=f"{NEXT}{number % turns}", ETag='"99"')

    pages = [page(number % turns) for number in range(40)]
    ask(lambda session: Todo.find(session=session).order_by(Todo.title).all(), *pages)
    ask(lambda session: list(Todo.find(session=session).changes('[5,5,"",[],null]')), *pages)


def test_the_last_page_again(ask: Callable[..., str]) -> None:
    """An answer from a cache is no next page, even if nothing is to follow it."""
    row = {"id": "a", "last_modified": 1, "title": "x"}
    ask(find, SAME, says(200, {"data": [row]}))


ENTRY = {"id": "e", "last_modified": 9, "record_id": "x", "target": {"data": {"last_modified": 9}}}
ODD: list[dict[str, object]] = [
    *({"record_id": each} for each in (None, 1, ["x"])),
    *({"target": each} for each in (None, 1, [], {}, {"data": None}, {"data": {}})),
    *({"target": {"data": {"last_modified": each}}} for each in (None, "9", True, 1.5)),
]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_a_history_that_does_not_say_what_was_created(
    odd: dict[str, object], ask: Callable[..., str]
) -> None:
    """Neither a KeyError nor a TypeError while changes are told."""
    ask(
        lambda session: list(Todo.find(session=session).changes('[5,5,"",[],null]')),
        says(200, {"data": [{"id": "x", "last_modified": 9, "title": "x"}]}, ETag='"99999"'),
        says(200, {"capabilities": {"history": {}}, "user": {"id": "x"}}),
        says(200, {"data": [ENTRY | odd]}),
    )


def test_a_precondition_that_was_not_sent() -> None:
    """A root key is deleted without one; a 412 all the same is a Conflict like any other."""
    refused = says(412, {"code": 412, "errno": 114, "error": "Precondition Failed"})
    with (
        FaultyServer(refused) as server,
        Session(server.url, auth=("alice", "s3cret"), bucket="b", retry=None) as session,
        pytest.raises(Conflict),
    ):
        del session.kv["a"]


@pytest.mark.parametrize(
    "page",
    [
        {"capabilities": {}, "user": {}},
        {"capabilities": {}, "user": {"id": ""}},
        {"capabilities": {}, "user": {"id": None}},
        {"capabilities": {}, "user": {"id": 5}},
        {"capabilities": {}, "user": {"id": "x", "bucket": 2}},
        {"capabilities": None, "user": {"id": "x"}},
    ],
)
def test_a_root_page_that_no_kinto_has(page: object) -> None:
    """A user without an id is no user, and every Kinto tells its plugins."""
    with (
        FaultyServer(says(200, page)) as server,
        Session(server.url, auth=("alice", "s3cret"), retry=None) as session,
        pytest.raises(BadReply),
    ):
        session.server_info()
