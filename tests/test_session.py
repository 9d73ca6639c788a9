"""Sessions: where they lead, which one a model uses, and what they never show."""

from __future__ import annotations

import contextvars
import itertools
import socket
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from requests import PreparedRequest
from requests.auth import AuthBase

from conftest import Backend, Wire
from faults import Exchange, FaultyServer, says
from kinto_orm import (
    Account,
    BadReply,
    BearerAuth,
    Bucket,
    Collection,
    ConfigurationError,
    Forbidden,
    InvalidData,
    NotFound,
    Record,
    Session,
    Template,
    Unauthorized,
    Unsupported,
)
from kinto_orm.server import EmbeddedServer, open_memory, serve
from kinto_orm.wire.driving import run
from kinto_orm.wire.places import require

_numbers = itertools.count()

# Kinto's root page, as little of it as there may be.
ROOT: dict[str, Any] = {"project_version": "1", "settings": {}, "capabilities": {}}


class Todo(Record, collection="todos"):
    title: str = ""


class Note(Record):
    text: str = ""


def home(record: Record) -> str:
    """The bucket and the collection in which a record lives."""
    parts = record.uri.split("/")
    return f"{parts[2]}/{parts[4]}"


# Scope


def test_scope_is_the_default_place(session: Session) -> None:
    """A model without a collection of its own lives in the session's."""
    with session.scoped(collection="notes"):
        assert home(Note()) == f"{session.bucket}/notes"
        assert home(Todo()) == f"{session.bucket}/todos"


def test_classes_come_before_the_session(session: Session) -> None:
    """What a class says of its place counts more than the session's scope."""

    class Placed(Record, bucket="other", collection="placed"):
        text: str = ""

    with session.scoped(collection="notes"):
        assert home(Placed()) == "other/placed"


def test_scoped_shares_the_connection(wire: Wire) -> None:
    """Another scope is the same user on the same server, and asks nothing anew."""
    scoped = wire.session.scoped(collection="notes")
    assert (scoped.bucket, scoped.collection) == (wire.session.bucket, "notes")
    scoped.server_info()
    wire.session.server_info()
    assert wire.methods == ["GET"]


def test_scoped_to_another_bucket_leaves_the_collection_behind(session: Session) -> None:
    """A collection belongs to its bucket."""
    one = session.scoped(collection="notes")
    assert one.scoped(bucket="other").collection is None
    assert one.scoped(bucket="other", collection="x").collection == "x"
    assert one.scoped(bucket=one.bucket).collection == "notes"
    assert one.scoped(collection="more").bucket == one.bucket


def test_leaving_a_scope_closes_nothing(session: Session) -> None:
    """The session that was opened closes the connection, nobody else."""
    with session.scoped(collection="todos"):
        Record(a=1).save()
    session.scoped(collection="todos").close()
    assert Todo.find().count() == 1


def test_a_record_without_a_collection() -> None:
    """Neither class nor session name one: the error says how to."""
    with (
        Session("memory://tests"),
        pytest.raises(ConfigurationError, match="collection=") as raised,
    ):
        Note().save()
    assert "Note" in str(raised.value)


NOT_IDS = ["a b", "ü", "a/b", "-a", "a.b", "..", "", 5, b"a", "a\n"]


@pytest.mark.parametrize("id", NOT_IDS)
def test_ids_of_the_scope_are_checked(id: Any) -> None:
    """A bucket or a collection that the server would refuse is refused where it is given."""
    with Session("memory://tests", bucket="b", collection="c") as session:
        for act in (
            lambda: Session("memory://tests", bucket=id),
            lambda: session.scoped(bucket=id, collection="c"),
            lambda: session.scoped(bucket=id),
        ):
            with pytest.raises(InvalidData, match="cannot be the id of a bucket"):
                act()
        for act in (
            lambda: Session("memory://tests", collection=id),
            lambda: session.scoped(collection=id),
        ):
            with pytest.raises(InvalidData, match="cannot be the id of a collection"):
                act()


# Which session


def used(record: Record) -> str:
    """The bucket that a record would be saved in."""
    return record.uri.split("/")[2]


@pytest.fixture
def three(backend: Backend) -> Iterator[tuple[Session, Session, Session]]:
    """Three sessions that differ in their bucket."""
    one = backend.session(bucket="one")
    with one:
        yield one, one.scoped(bucket="two"), one.scoped(bucket="three")


def test_order_in_which_a_session_is_found(backend: Backend, wire: Wire) -> None:
    """The call's, else the one it came from, else the current one, else the class's."""

    class Bound(Record, collection="todos"):
        title: str = ""

    came_from = wire.session
    other = came_from.scoped(bucket=backend.new_id())
    Bucket(id=other.bucket).save()
    Collection(id="todos").save(session=other)
    bound = came_from.scoped(bucket=backend.new_id())
    Bound.bind(bound)
    found = Bound(id="x").save()
    with other:
        assert used(Bound()) == other.bucket
        assert used(found) == came_from.bucket
        found.refresh()
        assert Bound(id="y").save(session=came_from).uri.split("/")[2] == came_from.bucket
    assert contextvars.Context().run(lambda: used(Bound())) == bound.bucket
    Bound.bind(None)
    with pytest.raises(ConfigurationError):
        contextvars.Context().run(lambda: Bound().uri)


def test_current_sessions_nest(three: tuple[Session, Session, Session]) -> None:
    """`with` inside `with`: the innermost counts; leaving it brings the outer one back."""
    one, two, three_ = three
    with two:
        assert used(Todo()) == "two"
        with three_, one:
            assert used(Todo()) == "one"
        assert used(Todo()) == "two"
    assert used(Todo()) == "one"


def test_sessions_may_be_left_in_any_order(three: tuple[Session, Session, Session]) -> None:
    """The first entered may be the first left, as fixtures and generators do; others stay."""
    first, second = ExitStack(), ExitStack()
    first.enter_context(three[1])
    second.enter_context(three[2])
    first.close()
    assert used(Todo()) == "three"
    second.close()
    assert used(Todo()) == "one"


def test_a_session_may_be_left_in_another_context(three: tuple[Session, Session, Session]) -> None:
    """As a generator's clean-up does that the garbage collector runs; no other session leaves."""
    stack = ExitStack()
    contextvars.Context().run(stack.enter_context, three[1])
    stack.close()
    assert used(Todo()) == "one"


def test_an_error_brings_the_outer_session_back(three: tuple[Session, Session, Session]) -> None:
    """However a block ends."""
    with pytest.raises(ZeroDivisionError), three[1]:
        1 / 0
    assert used(Todo()) == "one"


def test_no_session_at_all() -> None:
    """The error names every way to give one."""

    def act() -> None:
        Todo(title="x").save()

    with pytest.raises(ConfigurationError, match=r"session=.*with Session.*bind") as raised:
        contextvars.Context().run(act)
    assert "Todo" in str(raised.value)


def test_other_threads_have_no_current_session(session: Session) -> None:
    """The current session belongs to the context; a thread is given one."""
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(ConfigurationError):
            pool.submit(Todo.find().all).result()
        assert pool.submit(Todo.find(session=session).all).result() == []
        copied = contextvars.copy_context()
        assert pool.submit(copied.run, Todo.find().all).result() == []


def test_verbs_of_models_on_the_session(session: Session) -> None:
    """A service that passes the session around needs no current one."""

    def serve_request() -> None:
        one, two = Todo(id="a", title="1"), Todo(id="b", title="2")
        session.save(one, two)
        assert session.get(Todo, "a").title == "1"
        assert session.find(Todo, Todo.title == "2").one().id == "b"
        theirs = session.get(Todo, "a")
        theirs.title = "3"
        theirs.save()
        session.refresh(one, two)
        assert one.title == "3"
        session.delete(one, two)
        assert session.find(Todo).count() == 0

    contextvars.Context().run(serve_request)


# The server


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[EmbeddedServer, str]]:
    """A server that knows accounts only, with the account alice."""
    settings = {"multiauth.policies": "account", "account_create_principals": "system.Everyone"}
    body = b'{"data": {"password": "s3cret"}}'
    with open_memory(settings=settings) as kinto, serve(kinto) as served:
        answer = requests.put(
            f"{served.url}/accounts/alice",
            data=body,
            headers={"Content-Type": "application/json"},
            timeout=10,
        )
        assert answer.status_code == 201
        with Session(served.url, auth="alice:s3cret", bucket="b"):
            Bucket(id="b").save().collections.new(id="todos").save()
        yield kinto, served.url


def test_server_info_is_asked_once(wire: Wire) -> None:
    """What the server says of itself is read with the first question and kept."""
    info = wire.session.server_info()
    assert wire.session.server_info() is info
    assert wire.methods == ["GET"]
    assert info.version
    assert {"default_bucket", "history"} <= info.capabilities.keys()
    assert info.settings["batch_max_requests"] == 25
    assert info.user is not None
    assert str(info.user["id"]).startswith("basicauth:")


def test_anonymous_has_no_user(backend: Backend, loopback: Any) -> None:
    """Nobody is logged in: `user` is None."""
    with Session(loopback.url) as session:
        assert session.server_info().user is None


def test_missing_capability(backend: Backend) -> None:
    """What the server lacks is named, before anything is tried."""
    with backend.session() as session, pytest.raises(Unsupported, match=r"'flying'.*plugin"):
        run(session, require(session, "flying", "cannot fly"))


def test_a_wrong_password_is_not_believed_for_ever(guarded: tuple[EmbeddedServer, str]) -> None:
    """Who logs in before the account exists is recognised as soon as it does."""
    url, user = guarded[1], f"late{next(_numbers)}"
    with Session(url, auth=(user, "s3cret"), collection="c") as session:
        assert session.server_info().user is None
        with pytest.raises(Unauthorized):
            Record(a=1).save()
        with Session(url) as anyone:
            Account(id=user, password="s3cret").save(session=anyone)
        Record(a=1).save()
        assert session.server_info().user["id"] == f"account:{user}"  # type: ignore[index]
        assert Record.find().count() == 1


def test_a_token_that_was_renewed_is_recognised() -> None:
    """Nothing is kept of an answer that recognised nobody: neither the user nor the plugins."""
    token = {"value": "old"}

    def renewable(request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {token['value']}"
        return request

    def root(exchange: Exchange) -> None:
        known = exchange.received.headers["Authorization"] == "Bearer new"
        page = {**ROOT, **({"user": {"id": "u", "bucket": "b"}} if known else {})}
        says(200, page | {"capabilities": {"history": {}} if known else {}})(exchange)

    with FaultyServer(root) as server, Session(server.url, auth=renewable) as session:
        for act in (
            session.resolve_bucket,
            lambda: run(session, require(session, "history", "look")),
        ):
            with pytest.raises((Unauthorized, Unsupported)):
                act()
        token["value"] = "new"
        assert session.resolve_bucket() == "b"
        run(session, require(session, "history", "look"))
        asked = len(server.received)
        session.server_info()
        assert len(server.received) == asked


def test_the_anonymous_are_asked_about_once() -> None:
    """Without credentials there is nobody to recognise."""
    with FaultyServer(says(200, ROOT)) as server, Session(server.url) as session:
        for _ in range(3):
            session.server_info()
        assert len(server.received) == 1


def test_a_plugin_that_was_enabled_later_is_found() -> None:
    """Before it is said that the server lacks something, it is asked once more."""
    later = {**ROOT, "user": {"id": "u", "bucket": "b"}, "capabilities": {"history": {}}}
    with (
        FaultyServer(says(200, {**ROOT, "user": {"id": "u"}}), says(200, later)) as server,
        Session(server.url, auth="a:b") as session,
    ):
        assert session.server_info().capabilities == {}
        run(session, require(session, "history", "look"))
        assert session.resolve_bucket() == "b"


NO_ROOTS: list[Any] = [
    {},
    [],
    None,
    5,
    "Kinto",
    b"",
    b"<html>",
    b'{"project_version": ',
    {"ok": True},
    {"user": None},
    {"data": {}},
    {**ROOT, "settings": []},
    {**ROOT, "capabilities": "none"},
    {**ROOT, "user": "bob"},
    {**ROOT, "user": [1]},
    {**ROOT, "project_version": 5},
]


@pytest.mark.parametrize("body", NO_ROOTS)
def test_what_is_no_root_page(body: Any) -> None:
    """It is a BadReply, wherever the page is needed, and forgotten."""
    good = {**ROOT, "user": {"id": "u", "bucket": "b"}}
    with (
        FaultyServer(*[says(200, body)] * 4, says(200, good)) as server,
        Session(server.url, auth="a:b", retry=None) as session,
    ):
        for act in (
            session.server_info,
            session.resolve_bucket,
            session.account,
            lambda: run(session, require(session, "history", "look")),
        ):
            with pytest.raises(BadReply, match="cannot read the root page"):
                act()
        assert session.resolve_bucket() == "b"


json_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def answering() -> Iterator[FaultyServer]:
    """A server whose only answer is changed by the test."""
    with FaultyServer(says(200, ROOT)) as server:
        yield server


@given(
    st.dictionaries(st.sampled_from([*ROOT, "user", "http_api_version", "url"]), json_values)
    | json_values
)
def test_whatever_is_said_on_the_root_page(answering: FaultyServer, page: Any) -> None:
    """It is what the server says of itself or a BadReply, and no other error."""
    answering.answers[0] = says(200, page)
    with Session(answering.url, auth="a:b", retry=None) as session:
        try:
            info = session.server_info()
        except BadReply:
            return
        assert isinstance(info.settings, dict)
        assert isinstance(info.capabilities, dict)
        try:
            session.resolve_bucket()
        except (Unauthorized, Unsupported):
            return


def test_null_on_the_root_page_is_nothing(answering: FaultyServer) -> None:
    """Settings that are null are no settings: batches have the size that is usual."""
    nulls = dict.fromkeys(["settings", "user", "project_version"])
    answering.answers[0] = says(200, {**nulls, "http_api_version": "1"})
    with Session(answering.url, bucket="b", collection="c", retry=None) as session:
        info = session.server_info()
        assert (info.version, info.settings, info.capabilities, info.user) == ("", {}, {}, None)
        answering.answers[0] = says(500, {})
        answering.received.clear()
        session.save_all(Record(a=n) for n in range(30))
        batch = answering.received[0].json
        assert len(batch["requests"]) == 25


# The default bucket


def test_default_bucket_is_resolved_once(backend: Backend) -> None:
    """The real id is asked for once and used in every path."""
    wire = Wire(backend.new_id("user"))
    with backend.session(auth=wire) as session:
        real = str(session.server_info().user["bucket"])  # type: ignore[index]
        todo = Todo(title="x").save()
        assert todo.uri == f"/buckets/{real}/collections/todos/records/{todo.id}"
        assert Todo.find().all() == [todo]
        Todo.get(todo.id).delete()
    assert session.bucket == "default"
    paths = [request.path_url for request in wire.requests]
    assert paths.count("/v1/") == 1
    assert all(
        "default" not in path or path.endswith("/default/collections/todos") for path in paths
    )


def test_default_bucket_and_collection_are_made_when_needed(backend: Backend) -> None:
    """The personal bucket needs no preparation: the first save makes it and its collection."""
    wire = Wire(backend.new_id("user"))
    with backend.session(auth=wire):
        assert Todo.find().all() == []
        Todo(id="x").save()
        wire.clear()
        Todo(id="y").save()
        assert wire.methods == ["PUT"]


def test_default_bucket_of_nobody(loopback: Any) -> None:
    """Without a user there is none: the error says to check auth or to name a bucket."""
    with Session(loopback.url), pytest.raises(Unauthorized, match="bucket="):
        Todo.find().all()


def test_default_bucket_on_a_server_without_personal_buckets() -> None:
    """The plugin may be off."""
    root = {"project_version": "1", "user": {"id": "basicauth:x"}}
    with (
        FaultyServer(says(200, root)) as server,
        Session(server.url, auth="a:b"),
        pytest.raises(Unsupported, match="default_bucket"),
    ):
        Todo.find().all()


def test_a_missing_collection_is_explained(session: Session) -> None:
    """It is not made; the error says what to save first."""
    with session.scoped(collection="nowhere"):
        for act in (Record(a=1).save, lambda: Record.get("x"), Record.find().all):
            with pytest.raises(NotFound, match=r"'nowhere'.*sync_schema.*Collection") as raised:
                act()
            assert raised.value.resource == "collection"
    assert [each.id for each in Collection.find()] == ["todos"]


def test_a_missing_bucket_is_explained(session: Session, backend: Backend) -> None:
    """The server does not tell it from a forbidden one, and the message says so."""
    with session.scoped(bucket=backend.new_id("gone"), collection="c") as gone:
        for act in (lambda: Record.get("x"), Record.find().all, Collection(id="c").save):
            with pytest.raises(Forbidden, match=r"save Bucket\(id="):
                act()
        with pytest.raises(Forbidden):
            Bucket.get(gone.bucket)
        with pytest.raises(NotFound, match=gone.bucket):
            Record(a=1).save()


# Credentials


def test_wrong_password(guarded: tuple[EmbeddedServer, str]) -> None:
    """Refused with an Unauthorized that names the act and never the password."""
    with Session(guarded[1], auth="alice:wr0ng", bucket="b", retry=None) as session:
        assert session.server_info().user is None
        with pytest.raises(Unauthorized, match="auth") as raised:
            Todo(id="x").save()
    assert (raised.value.status, raised.value.errno) == (401, 104)
    assert "save Todo 'x'" in str(raised.value)
    assert "wr0ng" not in "".join(traceback.format_exception(raised.value))


def test_credentials_in_the_url(guarded: tuple[EmbeddedServer, str]) -> None:
    """They are taken out of the URL and used; nothing shows them."""
    url = guarded[1].replace("://", "://alice:s3cret@")
    with Session(url) as session:
        assert session.server_info().user["id"] == "account:alice"  # type: ignore[index]
        assert session.server_url == guarded[1]
        assert "s3cret" not in repr(session)
        Todo(id="x").save()


def test_credentials_in_the_url_may_be_quoted() -> None:
    """A password with characters that a URL cannot carry is written with %."""
    with FaultyServer(says(200, {"user": {"id": "x"}})) as server:
        with Session(server.url.replace("://", "://al%40ice:p%2Fw@")) as session:
            session.server_info()
        assert server.received[0].headers["Authorization"] == "Basic YWxAaWNlOnAvdw=="


def test_auth_given_counts_more_than_the_urls() -> None:
    """The argument wins."""
    with FaultyServer(says(200, ROOT)) as server:
        with Session(server.url.replace("://", "://a:b@"), auth=BearerAuth("t")) as session:
            session.server_info()
        assert server.received[0].headers["Authorization"] == "Bearer t"


SECRET_URLS = [
    "http://user:s3cret@host/v1",
    "http://user:s3cret@host",
    "ftp://user:s3cret@host/v1",
    "user:s3cret@host/v1",
    "https:/user:s3cret@host/v1",
    "http://user:s3cret/more@host/v1",
    "http://user:s3cret@[::1/v1",
    "kvp+http://user:s3cret@host",
]


@pytest.mark.parametrize("url", SECRET_URLS)
def test_no_url_shows_its_secret(url: str) -> None:
    """Neither the session nor the refusal of a bad URL shows a password, however it is misspelt."""
    try:
        session = Session(url)
    except ConfigurationError as error:
        shown = "".join(traceback.format_exception(error))
    else:
        with session:
            shown = repr(session) + session.server_url
    assert "s3cret" not in shown


def test_repr_shows_server_and_scope() -> None:
    """And nothing else."""
    session = Session("http://127.0.0.1/v1", auth="bob:s3cret", bucket="b", collection="c")
    assert repr(session) == "<Session http://127.0.0.1/v1 bucket='b', collection='c'>"
    assert repr(session.scoped(bucket="d")) == "<Session http://127.0.0.1/v1 bucket='d'>"


# Opening and closing


BAD_URLS = [
    "kinto.example/v1",
    "ftp://kinto.example/v1",
    "http://kinto.example",
    "http://kinto.example/api",
    "http:///v1",
    "http://[::1/v1",
    "http://host:port/v1",
    "local://",
    "local://relative/path",
    "http://",
    " http://host/v1",
    "http://host/v1\n",
    "http://ho st/v1",
    "memory://name\n",
    b"http://host/v1",
    5,
    Path("/tmp"),
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_bad_urls(url: Any) -> None:
    """A URL that cannot be a Kinto's is refused when the session is made."""
    with pytest.raises(ConfigurationError):
        Session(url)


def test_a_slash_at_the_end_is_nothing(loopback: Any) -> None:
    """`/v1/` is `/v1`, which Kinto itself would redirect."""
    with Session(loopback.url + "/", auth="a:b") as session:
        assert session.server_info().user


def test_server_of_the_environment(monkeypatch: pytest.MonkeyPatch, loopback: Any) -> None:
    """KINTO_ORM_SERVER and KINTO_ORM_AUTH serve when no URL is given."""
    monkeypatch.setenv("KINTO_ORM_SERVER", loopback.url)
    monkeypatch.setenv("KINTO_ORM_AUTH", "bob:pw")
    with Session() as session:
        assert session.server_url == loopback.url
        assert session.server_info().user
    with Session(auth="eve:pw") as other:
        assert other.server_info().user != session.server_info().user


def test_auth_of_the_environment_goes_to_its_server_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server given in the program gets no credentials that were meant for another one."""
    monkeypatch.setenv("KINTO_ORM_SERVER", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("KINTO_ORM_AUTH", "bob:pw")
    with FaultyServer(says(200, ROOT)) as server, Session(server.url) as session:
        session.server_info()
        assert "Authorization" not in server.received[0].headers


def test_empty_variables_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set to nothing is not set."""
    monkeypatch.setenv("KINTO_ORM_SERVER", "memory://tests")
    monkeypatch.setenv("KINTO_ORM_AUTH", "")
    with Session() as session:
        assert session.server_info().user
    monkeypatch.setenv("KINTO_ORM_SERVER", "")
    with pytest.raises(ConfigurationError):
        Session()


def test_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names both ways to give one."""
    monkeypatch.delenv("KINTO_ORM_SERVER", raising=False)
    with pytest.raises(ConfigurationError, match=r'Session\("https.*KINTO_ORM_SERVER'):
        Session()


def test_a_closed_session_is_refused() -> None:
    """After its `with` block, and after close(), it says that it is closed."""
    with Session("memory://tests", bucket="b") as session:
        todo = Todo()
    for act in (lambda: todo.save(session=session), session.server_info, session.__enter__):
        with pytest.raises(ConfigurationError, match="is closed"):
            act()
    session.close()


def test_a_closed_session_has_no_open_sockets() -> None:
    """Not even while the session itself is kept; those of several threads are closed, too."""
    ends: list[socket.socket] = []
    together = threading.Barrier(3)

    def answer(exchange: Exchange) -> None:
        ends.append(exchange.connection.dup())
        together.wait(10)
        says(200, {"data": {"id": "x", "last_modified": 1}})(exchange)

    with FaultyServer(answer) as server:
        session = Session(server.url, auth="alice:s3cret", bucket="b", collection="c")
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda _: Record.get("x", session=session), range(3)))
        session.close()
        assert len(ends) == 3
        for end in ends:
            end.settimeout(10)
            with end:
                assert end.recv(1) == b""


def test_scopes_of_a_closed_session_are_closed() -> None:
    """They share its connection."""
    session = Session("memory://tests", bucket="b")
    scoped = session.scoped(bucket="c")
    session.close()
    with pytest.raises(ConfigurationError, match="is closed"):
        scoped.server_info()


def test_the_outermost_with_closes() -> None:
    """The same session may be entered within itself."""
    with Session("memory://tests") as session:
        with session:
            pass
        assert Bucket.find().count() >= 0
    with pytest.raises(ConfigurationError, match="is closed"):
        Bucket.find(session=session).count()


def test_a_scope_that_outlives_its_session_closes_last() -> None:
    """However blocks are nested, at the end nothing stays open and the current one is restored."""
    session = Session("memory://tests", bucket="b")
    with session, session.scoped(bucket="c"), session:
        assert used(Todo()) == "b"
    with pytest.raises(ConfigurationError, match="is closed"):
        session.server_info()


def test_private_memory_is_private() -> None:
    """Two sessions on memory:// share nothing; those of one name share all."""
    with Session("memory://", collection="c") as one, Session("memory://", collection="c") as two:
        Record(id="x").save(session=one)
        assert Record.find(session=two).count() == 0
    with (
        Session("memory://shared", collection="c"),
        Session("memory://shared", collection="c") as b,
    ):
        Record(id="x").save()
        assert Record.get("x", session=b).id == "x"
    with Session("memory://shared", collection="c"):
        assert Record.find().count() == 0


def test_embedded_servers_have_a_user(backend: Backend) -> None:
    """When no auth is given there is one all the same; another can be given."""
    with backend.session() as own, backend.session(auth="bob:pw") as bob:
        assert own.server_info().user
        assert bob.server_info().user
        assert own.server_info().user != bob.server_info().user


def test_a_kvp_server_keeps_no_models() -> None:
    """A kvp.io server has no collections: models say so before anything is sent."""
    with Session("kvp+http://127.0.0.1:1", auth="key:", collection="c") as session:
        assert session.dialect == "kvp"
        for act in (Record().save, Record.find().all, lambda: Record.get("x")):
            with pytest.raises(Unsupported, match=r"kvp\.io"):
                act()


def test_what_cannot_be_a_header_is_not_shown() -> None:
    """A token that was read from a file with its line break is refused, and kept secret."""

    class Own(AuthBase):
        def __call__(self, request: PreparedRequest) -> PreparedRequest:
            request.headers["Authorization"] = "s3cr3t\n"
            return request

    for options in (
        {"auth": BearerAuth("s3cr3t\n")},
        {"auth": Own()},
        {"headers": {"X-Token": "s3cr3t\r\n"}},
        {"headers": {"X-Token": "s3cr3t\u20ac"}},
    ):
        with pytest.raises(ConfigurationError, match=r"strip\(\)") as raised:
            Session("http://127.0.0.1:1/v1", retry=None, **options).server_info()  # type: ignore[arg-type]
        assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://host/v1?token=PW",
        "http://host/v1#PW",
        "memory://user:PW@name",
        "local://user:PW@/directory",
    ],
)
def test_urls_with_what_may_be_a_secret(url: str) -> None:
    """They are refused, and not repeated."""
    with pytest.raises(ConfigurationError) as raised:
        Session(url)
    assert "PW" not in str(raised.value)


def test_a_subclass_of_session_may_be_scoped() -> None:
    """It keeps what it added; the key values are those of the other bucket."""

    class Mine(Session):
        def __init__(self, url: str, colour: str) -> None:
            super().__init__(url)
            self.colour = colour

    with Mine("memory://", "red") as session:
        session.kv["a"] = 1
        Bucket(id="other").save()
        scoped = session.scoped(bucket="other")
        assert scoped.colour == "red"
        assert "a" not in scoped.kv


def test_session_must_be_one() -> None:
    """A field of that name would be taken for the session."""
    with pytest.raises(ConfigurationError, match="no Session but a str"):
        Record.get("x", session="abc")  # type: ignore[arg-type]


@pytest.mark.parametrize("given", ["memory://", 5, Session, "http://bob:s3cret@host/v1", False])
def test_a_class_is_bound_to_a_session_only(given: Any) -> None:
    """What is no session is refused when it is bound, and shows no password."""

    class Bound(Record, collection="bound"):
        pass

    with pytest.raises(ConfigurationError, match="no Session but a") as raised:
        Bound.bind(given)
    assert "s3cret" not in str(raised.value)
    with pytest.raises(ConfigurationError, match="needs a session"):
        Bound.find().all()


# Threads


def test_threads_share_a_session(session: Session) -> None:
    """Eight threads save, find and delete through one session; nothing is lost or mixed up."""

    def work(number: int) -> int:
        mine = [Todo(title=f"{number}").save(session=session) for _ in range(5)]
        seen = Todo.find(Todo.title == f"{number}", session=session).all()
        assert {todo.id for todo in seen} == {todo.id for todo in mine}
        mine[0].delete()
        mine[1].title = "changed"
        mine[1].save()
        return len(seen)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [5] * 8
    assert Todo.find().count() == 32
    assert Todo.find(Todo.title == "changed").count() == 8


@pytest.mark.parametrize("given", ["memory://", 5, Session, object, False], ids=repr)
@pytest.mark.parametrize(
    "act",
    [
        lambda todo, given: todo.save(session=given),
        lambda todo, given: todo.save(session=given, force=True),
        lambda todo, given: todo.delete(session=given, force=True),
        lambda todo, given: todo.refresh(session=given),
        lambda todo, given: todo.history(session=given),
        lambda todo, given: todo.at(5, session=given),
        lambda todo, given: todo.revert(5, session=given),
        lambda todo, given: type(todo).get("x", session=given),
        lambda todo, given: type(todo).get_or_none("x", session=given),
        lambda todo, given: type(todo).find(session=given).all(),
        lambda todo, given: type(todo).find(session=given).count(),
        lambda todo, given: Bucket(id="b").history(session=given),
        lambda todo, given: Collection(id="c").snapshot(5, session=given),
        lambda todo, given: Template(name="t", source="").save(session=given),
        lambda todo, given: Template(name="t", source="").delete(session=given),
        lambda todo, given: Template(name="t", source="").refresh(session=given),
        lambda todo, given: Template.get("t", session=given),
        lambda todo, given: Account(id="a", password="pw").save(session=given),
    ],
)
def test_every_verb_takes_a_session_only(wire: Wire, act: Any, given: Any) -> None:
    """What is no session is refused with what to write, and nothing is sent."""
    todo = Record(id="x").save(session=wire.session.scoped(collection="todos"))
    wire.clear()
    for each in (todo, Record(id="new")):
        with pytest.raises(ConfigurationError, match=r"session=.* is no Session but a .*open one"):
            act(each, given)
    assert wire.methods == []
