"""What each operation sends, to the letter: recorded from a real Kinto, replayed without one.

`make record` runs the operations on an embedded Kinto over a loopback socket and writes
cassettes/*.yaml. The tests play them back: a request that is not on the cassette, one that is
not made any more, or another order is a failure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import vcr
from vcr.cassette import Cassette
from vcr.errors import CannotOverwriteExistingCassetteException
from vcr.request import Request

from bridge import BridgedSession
from kinto_orm import Bucket, Collection, Conflict, Everyone, Group, Record, Session, col
from kinto_orm.server import LoopbackServer, open_memory, serve

CASSETTES = Path(__file__).parent.parent / "cassettes"
HOST = "http://kinto.test"
USER, PASSWORD = "alice", "s3cret"

# What a request or a reply means. The rest differs from machine to machine, or is a secret.
REQUEST_HEADERS = {"content-type", "if-match", "if-none-match"}
REPLY_HEADERS = {"content-type", "etag", "next-page", "retry-after", "total-objects"}


class Todo(Record, collection="todos"):
    title: str
    done: bool = False
    tags: list[str] = []


# The operations; each runs in the bucket "work" with the collections todos and notes.


def create() -> None:
    todo = Todo(id="report", title="Write the report", tags=["work"]).save()
    assert not todo.is_new


def create_with_permissions() -> None:
    todo = Todo(id="report", title="Write", permissions={"read": [Everyone]}).save()
    assert todo.permissions.read == {Everyone}


def clean_save() -> None:
    Todo(id="report", title="Write the report").save().save()
    Todo.get("report").save()


def save_changed() -> None:
    todo = Todo(id="report", title="Write the report").save()
    todo.tags.append("urgent")
    todo.done = True
    todo.save()
    assert todo.diff() == {}


def save_removed() -> None:
    record = Collection(id="notes").records.new(id="note", colour="red", size=1).save()
    del record["colour"]
    record["size"] = 2
    record.save()


def save_forced() -> None:
    Todo(id="report", title="Write the report").save(force=True).save(force=True)


def delete() -> None:
    tombstone = Todo(id="report", title="Write the report").save().delete()
    assert tombstone.id == "report"
    assert Todo.get_or_none("report") is None
    Todo(id="report", title="Again").delete(force=True, missing_ok=True)


def refresh() -> None:
    todo = Todo(id="report", title="Write the report").save()
    todo.refresh()
    other = Todo.get("report")
    other.title = "Read the report"
    other.save()
    assert todo.refresh().title == "Read the report"


def permissions() -> None:
    todo = Todo(id="report", title="Write the report").save()
    todo.permissions.grant("read", Everyone).save()
    todo.permissions.revoke("read", Everyone).grant("write", "account:bob").save()
    todo.permissions.delete()
    [listed] = Todo.find()
    assert listed.permissions.grant("read", Everyone).save().read == {Everyone}


def conflict() -> None:
    todo = Todo(id="report", title="Write the report").save()
    other = Todo.get("report")
    other.done = True
    other.save()
    todo.title = "Read the report"
    with pytest.raises(Conflict) as raised:
        todo.save()
    assert raised.value.merge().save().done is True


def get_or_create() -> None:
    assert Todo.get_or_create("report", title="Write the report")[1] is True
    assert Todo.get_or_create("report", title="Write it again")[1] is False


def pages() -> None:
    for number in range(5):
        Todo(id=f"todo-{number}", title=f"Todo {number}").save()
    assert [todo.id for todo in Todo.find().page_size(2)] == [f"todo-{n}" for n in range(5)]
    assert len(Todo.find().page_size(2).limit(3).all()) == 3


def find() -> None:
    Todo(id="report", title="Write the report", tags=["work"]).save()
    query = Todo.find(Todo.done == False, col(Todo.tags).has("work"))
    assert query.order_by(col(Todo.title).desc()).first() is not None
    assert query.only(Todo.title).one().title == "Write the report"
    assert query.exists()


def count() -> None:
    Todo(id="report", title="Write the report").save()
    assert Todo.find().count() == 1
    assert Todo.find(Todo.title == "Read the report").count() == 0


def delete_all() -> None:
    Todo(id="report", title="Write the report").save()
    Todo(id="letter", title="Write the letter").save()
    assert Todo.find(Todo.done == False).delete() == 2


def structure() -> None:
    bucket = Bucket(id="blog", title="Blog").save()
    writers = bucket.groups.new(id="writers", members=["account:bob"]).save()
    articles = bucket.collections.new(id="articles").save()
    articles.permissions.grant("record:create", writers.principal).save()
    articles.records.new(id="hello", title="Hello").save()
    assert [group.id for group in bucket.groups.find()] == ["writers"]
    articles["sort"] = "-date"
    articles.save()
    bucket.delete()


def default_bucket(session: Session) -> None:
    with session.scoped(bucket="default"):
        Todo(id="report", title="Write the report").save()
        assert Todo.find().count() == 1
        assert Group(id="friends").save().principal.endswith("/groups/friends")


def sync_parents(session: Session) -> None:
    with session.scoped(bucket="fresh") as fresh:
        fresh.sync_schema(Todo)
        fresh.sync_schema(Todo)
        Todo(id="report", title="Write the report").save()


OPERATIONS: dict[str, Callable[..., None]] = {
    operation.__name__: operation
    for operation in (
        create, create_with_permissions, clean_save, save_changed, save_removed, save_forced,
        delete, refresh, permissions, conflict, get_or_create, pages, find, count, delete_all,
        structure, default_bucket, sync_parents,
    )
}  # fmt: skip


# The recorder


def _meaningful_request(request: Request) -> Request:
    request.uri = HOST + request.uri.split(urlsplit(request.uri).netloc, 1)[1]
    kept = {n.lower(): v for n, v in request.headers.items() if n.lower() in REQUEST_HEADERS}
    request.headers = {name: _text(value) for name, value in kept.items()}
    return request


def _meaningful_reply(address: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def clean(reply: dict[str, Any]) -> dict[str, Any]:
        reply["headers"] = {
            name.title(): [_text(each).replace(address, HOST) for each in values]
            for name, values in reply["headers"].items()
            if name.lower() in REPLY_HEADERS
        }
        body = reply["body"]["string"].decode().replace(address, HOST)
        reply["body"]["string"] = body.encode()
        return reply

    return clean


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


def _same_conditions(one: Request, other: Request) -> None:
    assert dict(one.headers) == dict(other.headers)


def _same_json(one: Request, other: Request) -> None:
    assert json.loads(one.body or "null") == json.loads(other.body or "null")


def _recorder(mode: str, address: str) -> vcr.VCR:
    recorder = vcr.VCR(
        cassette_library_dir=str(CASSETTES),
        record_mode=vcr.mode(mode),
        match_on=["method", "path", "query", "json", "conditions"],
        before_record_request=_meaningful_request,
        before_record_response=_meaningful_reply(address),
    )
    recorder.register_matcher("conditions", _same_conditions)
    recorder.register_matcher("json", _same_json)
    return recorder


class Order:
    """Credentials that note the order in which requests are made."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, request: Any) -> Any:
        request.prepare_auth((USER, PASSWORD))
        self.made.append(f"{request.method} {request.path_url}")
        return request


def _recorded(cassette: Cassette) -> list[str]:
    return [f"{request.method} {request.uri.removeprefix(HOST)}" for request in cassette.requests]


@contextmanager
def session_on(
    url: str, auth: Any = (USER, PASSWORD), kind: type[Session] = Session
) -> Iterator[Session]:
    """A session in the bucket of all operations."""
    with kind(url, auth=auth, bucket="work", retry=None) as session:
        yield session


@pytest.fixture(scope="module")
def kinto(request: pytest.FixtureRequest) -> Iterator[LoopbackServer | None]:
    """The real Kinto when recording; None when replaying."""
    if not request.config.getoption("--record"):
        yield None
        return
    # The ids of users and of their buckets derive from this.
    settings = {"userid_hmac_secret": "cassettes"}
    with open_memory(settings=settings) as server, serve(server) as served:
        yield served


@pytest.fixture(params=[Session, BridgedSession], ids=["requests", "aiohttp"])
def cassette(kinto: LoopbackServer | None, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Runs an operation: on the real Kinto, or on its cassette.

    There is one cassette for both ways, since both send the same.
    """
    name = request.node.callspec.params["name"]
    order = Order()
    if kinto is None:
        # Nothing listens there.
        recorder, url = _recorder("none", HOST), "http://127.0.0.1:9/v1"
    else:
        recorder, url = _recorder("all", kinto.url.removesuffix("/v1")), kinto.url
        CASSETTES.joinpath(f"{name}.yaml").unlink(missing_ok=True)
        _prepare(url)
    with (
        recorder.use_cassette(f"{name}.yaml") as played,
        session_on(url, order, request.param) as session,
    ):
        yield session
        assert order.made == _recorded(played)
        if kinto is None:
            assert played.all_played


def _prepare(url: str) -> None:
    requests.post(f"{url}/__flush__", timeout=10).raise_for_status()
    with session_on(url):
        work = Bucket(id="work").save()
        work.collections.new(id="todos").save()
        work.collections.new(id="notes").save()


# The tests


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_sends_what_is_on_its_cassette(name: str, cassette: Session) -> None:
    """Method, path, query, body and preconditions of each request, in order, and no others."""
    operation = OPERATIONS[name]
    if operation.__code__.co_argcount:
        operation(cassette)
    else:
        operation()


def test_no_orphans() -> None:
    """Each cassette has its operation, each operation its cassette."""
    assert {path.stem for path in CASSETTES.iterdir()} == OPERATIONS.keys()


@pytest.mark.parametrize("secret", ["authorization", PASSWORD, "YWxpY2U6czNjcmV0", "password",
                                    "127.0.0.1", "user-agent"])  # fmt: skip
def test_no_credentials_on_cassettes(secret: str) -> None:
    """Neither the header, nor the password in any form, nor what differs between machines."""
    for path in CASSETTES.iterdir():
        assert secret.lower() not in path.read_text().lower(), path.name


def test_a_request_that_was_not_recorded_is_refused() -> None:
    """Replaying never reaches for the network."""
    recorder = _recorder("none", HOST)
    with (
        recorder.use_cassette("create.yaml"),
        session_on("http://127.0.0.1:9/v1"),
        pytest.raises(CannotOverwriteExistingCassetteException),
    ):
        Todo(id="report", title="Another title", tags=["work"]).save()
