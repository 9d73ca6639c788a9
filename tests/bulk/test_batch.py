"""Several calls in one request: outcomes, order, failures, and what PostgreSQL takes back."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pydantic import field_validator
from requests import PreparedRequest
from requests.auth import HTTPBasicAuth

from both import AnySession, Place, do, either, either_wire, entered
from conftest import Wire
from faults import HTML, Exchange, FaultyServer, answer_lost, hangs_up, says
from kinto_orm import (
    BadReply,
    BatchError,
    Bucket,
    Collection,
    ConfigurationError,
    Conflict,
    ConnectFailed,
    Everyone,
    Forbidden,
    Group,
    InvalidData,
    KintoError,
    NotFound,
    Record,
    Retry,
    ServerError,
    Session,
    Tombstone,
    TransportError,
    Unauthorized,
    Unsupported,
)
from kinto_orm.server import EmbeddedServer, open_memory, serve, serve_process

# On both sessions.
session = either
wire = either_wire


class Todo(Record, collection="todos"):
    title: str
    n: int = 0
    tags: list[str] = []


def todos(count: int, prefix: str = "t") -> list[Todo]:
    return [Todo(id=f"{prefix}{n:03}", title=f"Todo {n}", n=n) for n in range(count)]


async def saved(*titles: str) -> list[Todo]:
    return [await do(Todo(title=title).save) for title in titles]


def through(proxy: FaultyServer, session: Session, **options: Any) -> Session:
    """A session of the same user and scope that goes through the proxy."""
    return Session(proxy.url, auth="alice:s3cret", bucket=session.bucket, **options)


def statuses(batch: Any) -> list[str]:
    return [each.status for each in batch.outcomes]


# What it does


async def test_any_mix_goes_in_one_request(wire: Wire) -> None:
    """Saves, deletes, gets and refreshes share one request; each has its outcome, in order."""
    changed, gone, stale = await saved("changed", "gone", "stale")
    fresh = Todo(title="fresh")
    changed.n = 5
    await do((await do(Todo.get, stale.id)).save, force=True)
    await do(wire.session.server_info)
    wire.clear()
    async with entered(wire.session.batch()) as batch:
        batch.save(fresh, changed)
        batch.delete(gone)
        found = batch.get(Todo, changed.id)
        batch.refresh(stale)
    assert [(r.method, r.path_url) for r in wire.requests] == [("POST", "/v1/batch")]
    assert statuses(batch) == ["created", "updated", "deleted", "fetched", "fetched"]
    assert [each.act for each in batch.outcomes] == ["save", "save", "delete", "get", "refresh"]
    assert found.result == changed
    assert isinstance(batch.outcomes[2].result, Tombstone)
    assert {each.id for each in await do(Todo.find())} == {fresh.id, changed.id, stale.id}
    assert len(batch) == 0


async def test_objects_are_updated_in_place(session: AnySession) -> None:
    """A saved object is as if it had been saved alone, and can be changed and saved again."""
    todo = Todo(title="x", tags=["a"], permissions={"read": [Everyone]})
    tags = todo.tags
    other = Todo(title="y")
    async with entered(session.batch()) as batch:
        batch.save(todo, other)
    assert todo.last_modified == (await do(Todo.get, todo.id)).last_modified
    assert not todo.is_new
    assert todo.diff() == {}
    assert Everyone in todo.permissions.read
    assert todo.tags is tags
    tags.append("b")
    other.n = 1
    async with entered(session.batch()) as batch:
        batch.save(todo, other)
    assert (await do(Todo.get, todo.id)).tags == ["a", "b"]


async def test_refresh_in_a_batch(session: AnySession) -> None:
    """Unchanged objects refresh too, and unsaved changes are kept on demand."""
    one, two = await saved("one", "two")
    theirs = await do(Todo.get, two.id)
    theirs.title = "theirs"
    await do(theirs.save)
    two.n = 7
    async with entered(session.batch()) as batch:
        batch.refresh(one)
        batch.refresh(two, keep_changes=True)
    assert (two.title, two.n) == ("theirs", 7)
    await do(two.save)


async def test_chunks_have_the_size_that_the_server_allows(wire: Wire) -> None:
    """60 objects go in three requests of at most 25, in the order of the queue."""
    many = todos(60)
    async with entered(wire.session.batch()) as batch:
        batch.save(*many)
    assert [r.path_url for r in wire.requests if r.method == "POST"] == ["/v1/batch"] * 3
    stamps = [each.last_modified or 0 for each in many]
    assert stamps == sorted(set(stamps))
    assert await do(Todo.find().count) == 60


def test_a_server_with_small_batches() -> None:
    """batch_max_requests is read from the server."""
    wire = Wire()
    with (
        open_memory(settings={"kinto.batch_max_requests": "3"}) as embedded,
        serve(embedded) as http,
        Session(http.url, auth=wire) as session,
    ):
        Todo(title="makes the collection").save(session=session)
        with session.batch() as batch:
            batch.save(*todos(7))
        assert wire.methods.count("POST") == 2  # 3, 3, and one alone
        assert Todo.find(session=session).count() == 8


async def test_large_objects_are_spread_over_requests(wire: Wire) -> None:
    """A request stays under a megabyte, unless one object alone is larger."""
    large = [Todo(title="x" * 400_000) for _ in range(4)]
    async with entered(wire.session.batch()) as batch:
        batch.save(*large)
    sizes = [len(r.body or b"") for r in wire.requests if r.method != "GET"]
    assert max(sizes) < 1_000_000
    assert len(sizes) == 2


async def test_one_object_several_times(session: AnySession) -> None:
    """Operations on one object are done one after the other, each as it was then."""
    todo = Todo(title="x")
    async with entered(session.batch()) as batch:
        batch.save(todo)
        batch.refresh(todo)
        batch.save(todo)
        batch.delete(todo)
        batch.save(todo, force=True)
    assert statuses(batch) == ["created", "fetched", "unchanged", "deleted", "created"]
    assert (await do(Todo.get, todo.id)).last_modified == todo.last_modified


async def test_unchanged_objects_send_nothing(wire: Wire) -> None:
    """A batch of unchanged objects, or of nothing, sends nothing."""
    one, two = await saved("one", "two")
    await do(wire.session.server_info)
    wire.clear()
    async with entered(wire.session.batch()) as batch:
        batch.save(one, two)
    async with entered(wire.session.batch()):
        pass
    assert wire.requests == []
    assert statuses(batch) == ["unchanged", "unchanged"]
    assert batch.outcomes[0].result is one


async def test_force_says_whether_it_created(session: AnySession) -> None:
    """save(force=True) tells a new object from one that it overwrote."""
    await do(Todo(id="there", title="old").save)
    async with entered(session.batch()) as batch:
        batch.save(Todo(id="there", title="new"), Todo(id="not-there", title="new"), force=True)
    assert statuses(batch) == ["updated", "created"]
    assert (await do(Todo.get, "there")).title == "new"


async def test_an_exception_in_the_block_sends_nothing(wire: Wire) -> None:
    """When the block fails, the queue is dropped."""
    batch = wire.session.batch()
    async with entered(pytest.raises(ZeroDivisionError)), entered(batch):
        batch.save(Todo(title="x"), Todo(title=str(1 / 0)))
    batch.save(Todo(title="x"))
    async with entered(pytest.raises(ZeroDivisionError)), entered(batch):
        1 / 0
    assert wire.requests == []
    assert statuses(batch) == ["queued"]


async def test_run_can_be_called_by_hand(session: AnySession) -> None:
    """run() sends what is queued until then and gives its outcomes."""
    batch = session.batch()
    batch.save(*todos(2))
    assert [each.status for each in await do(batch.run)] == ["created", "created"]
    assert await do(batch.run) == []
    batch.get(Todo, "t001")
    assert [each.result.n for each in await do(batch.run)] == [1]


async def test_paths_that_contain_batch(place: Place) -> None:
    """A bucket `batches` with a collection `batch` works, though the server refuses such paths."""
    async with entered(place.session(bucket="batches")) as session:
        await do(Bucket.get_or_create, "batches")
        await do(Collection.get_or_create, "batch")

        class Job(Record, collection="batch"):
            n: int = 0

        jobs = [Job(id=f"batch{n}-{place.new_id()}") for n in range(3)]
        async with entered(session.batch()) as batch:
            batch.save(*jobs)
        jobs[0].n = 1
        async with entered(session.batch()) as batch:
            batch.save(jobs[0])
            batch.delete(jobs[1])
            found = batch.get(Job, jobs[2].id)
        assert statuses(batch) == ["updated", "deleted", "fetched"]
        assert found.result == jobs[2]


async def test_the_personal_bucket_is_made_on_the_first_write(place: Place) -> None:
    """A batch on a new user's personal bucket makes the bucket and the collection."""
    async with entered(place.session(auth=(place.new_id("user"), "s3cret"))) as session:
        async with entered(session.batch()) as batch:
            batch.save(*todos(3))
        assert statuses(batch) == ["created"] * 3
        assert await do(Todo.find().count) == 3


async def test_several_classes_and_places(place: Place, session: AnySession) -> None:
    """Objects of several classes and buckets go in one batch; untyped records too."""
    other = await do(Bucket(id=place.new_id()).save)
    pages = await do(other.collections.new(id="pages").save)
    page = pages.records.new(title="Home")
    todo = Todo(title="x")
    async with entered(session.batch()) as batch:
        batch.save(page, todo)
    assert (await do(pages.records.get, page.id))["title"] == "Home"
    assert await do(Todo.get, todo.id) == todo


# What goes alone


async def test_structure_goes_alone_and_in_order(wire: Wire) -> None:
    """Buckets, collections and groups have requests of their own, between the batches."""
    bucket = Bucket(id=f"{wire.session.bucket}-new")
    collection = Collection(id="pages", bucket=bucket)
    group = Group(id="writers", bucket=bucket, members=["account:bob"])
    pages = [collection.records.new(id=f"p{n}", title="x") for n in range(2)]
    async with entered(wire.session.batch()) as batch:
        batch.save(bucket, collection, *pages, group)
        batch.delete(group)
    sent = [(r.method, str(r.path_url).rsplit("/", 1)[-1]) for r in wire.requests]
    assert [each for each in sent if each[0] != "GET"] == [
        ("PUT", bucket.id),
        ("PUT", "pages"),
        ("POST", "batch"),
        ("PUT", "writers"),
        ("DELETE", "writers"),
    ]
    assert statuses(batch) == ["created"] * 5 + ["deleted"]


async def test_json_patches_go_alone(wire: Wire) -> None:
    """Removing a field and changing permissions need a JSON-Patch, which a batch would spoil."""
    record = Record(title="x", old=1)
    plain, shared = Todo(title="plain"), await do(Todo(title="shared").save)
    await do(wire.session.scoped(collection="todos").save, record)
    del record["old"]
    (await do(shared.refresh)).permissions.grant("read", Everyone)
    await do(wire.session.server_info)
    wire.clear()
    async with entered(wire.session.batch()) as batch:
        batch.save(plain, record, shared)
    assert sorted(wire.methods) == ["PATCH", "PATCH", "PUT"]
    assert statuses(batch) == ["created", "updated", "updated"]
    assert "old" not in await do(record.refresh)
    assert Everyone in (await do(Todo.get, shared.id)).permissions.read


# Failures


async def test_a_failure_does_not_stop_the_others(session: AnySession) -> None:
    """Each failure is named; what succeeded stays succeeded."""
    mine, gone, good = await saved("mine", "gone", "good")
    theirs = await do(Todo.get, mine.id)
    theirs.n = 1
    await do(theirs.save)
    await do((await do(Todo.get, gone.id)).delete)
    mine.n, good.n = 2, 3
    batch = session.batch()
    batch.save(mine)
    batch.get(Todo, gone.id)
    batch.save(good, Todo(title="new"))
    with pytest.raises(BatchError, match=r"2 of 4 operations failed.*no transaction") as caught:
        await do(batch.run)
    conflict, missing = caught.value.exceptions
    assert isinstance(conflict, Conflict)
    assert (conflict.base.n, conflict.local.n, conflict.remote.n) == (0, 2, 1)
    assert isinstance(missing, NotFound)
    assert gone.id in str(missing)
    assert statuses(batch) == ["failed", "failed", "updated", "created"]
    assert [each.error for each in batch.outcomes] == [conflict, missing, None, None]
    assert (await do(Todo.get, good.id)).n == 3
    assert (await do(conflict.merge(prefer="local").save)).n == 2


async def test_except_star_takes_failures_by_class(session: AnySession) -> None:
    """A BatchError is an ExceptionGroup and a KintoError; except* splits it."""
    await do(Todo(id="there", title="x").save)
    caught = []
    try:
        async with entered(session.batch()) as batch:
            batch.save(Todo(id="there", title="y"), Todo(id="new", title="z"))
            batch.get(Todo, "missing")
    except* Conflict as group:
        caught.append(group)
    except* NotFound as group:
        caught.append(group)
    assert [len(each.exceptions) for each in caught] == [1, 1]
    assert all(isinstance(each, BatchError) for each in caught)
    assert all(isinstance(each, KintoError) for each in caught)


async def test_what_is_refused_before_sending(session: AnySession) -> None:
    """What the library refuses itself fails alone, and the rest is sent."""
    good = Todo(title="good")
    partial = await do((await do(Todo(id="partial", title="x").save)).find().only(Todo.title).one)
    batch = session.batch()
    batch.save(Todo(title="bad\0"), good, Todo(id="no id", title="x"), partial)
    batch.delete(Todo(title="never saved"))
    with pytest.raises(BatchError) as caught:
        await do(batch.run)
    kinds = [InvalidData, InvalidData, ConfigurationError, ConfigurationError]
    assert await do([each.status for each in batch.outcomes].count, "failed") == 4
    for error, kind in zip(caught.value.exceptions, kinds, strict=True):
        assert isinstance(error, kind)
    assert await do(Todo.get, good.id) == good


async def test_deletes(session: AnySession) -> None:
    """missing_ok and force mean in a batch what they mean alone."""
    gone, changed = await saved("gone", "changed")
    await do((await do(Todo.get, gone.id)).delete)
    await do((await do(Todo.get, changed.id)).save, force=True)
    async with entered(pytest.raises(BatchError)) as caught, entered(session.batch()) as batch:
        batch.delete(gone, changed)
    assert all(isinstance(each, Conflict) for each in caught.value.exceptions)
    async with entered(session.batch()) as batch:
        batch.delete(gone, missing_ok=True)
        batch.delete(changed, force=True)
    assert statuses(batch) == ["deleted", "deleted"]
    assert await do(Todo.find().all) == []


async def test_what_the_user_may_not_do(place: Place, session: AnySession) -> None:
    """A refusal for lack of permission names the object, and others are done."""
    shared = await do(Todo(title="shared", permissions={"write": [Everyone]}).save)
    secret = await do(Todo(title="secret").save)
    async with entered(place.session(auth=("bob", "s3cret"), bucket=session.bucket)) as theirs:
        copy = await do(theirs.get, Todo, shared.id)
        copy.n = 1
        batch = theirs.batch()
        batch.get(Todo, secret.id)
        batch.save(copy)
        with pytest.raises(BatchError) as caught:
            await do(batch.run)
    (error,) = caught.value.exceptions
    assert isinstance(error, Forbidden)
    assert secret.id in str(error)
    assert statuses(batch) == ["failed", "updated"]


def test_a_read_only_server() -> None:
    """Each write is Unsupported; a read is done, and finds nothing here."""
    with (
        open_memory(settings={"readonly": "true"}) as embedded,
        serve(embedded) as http,
        Session(http.url, auth=embedded.auth, bucket="b") as session,
    ):
        assert session.server_info().settings["readonly"] is True
        batch = session.batch()
        batch.save(*todos(2))
        batch.get(Todo, "t000")
        with pytest.raises(BatchError) as caught:
            batch.run()
    assert [type(each) for each in caught.value.exceptions] == [Unsupported] * 2 + [Forbidden]


def test_a_key_value_server_has_no_batches() -> None:
    """On a kvp.io server a batch is Unsupported, and nothing is sent."""
    with Session("kvp+http://127.0.0.1:9") as session:
        batch = session.batch()
        batch.save(Todo(title="x"))
        with pytest.raises(Unsupported, match=r"kvp\.io"):
            batch.run()


def test_wrong_credentials(loopback: Any, blocking: Session) -> None:
    """Without a user each operation is Unauthorized."""
    with Session(loopback.url, bucket=blocking.bucket) as nobody, nobody.batch() as batch:
        batch.save(*todos(2))
        with pytest.raises(BatchError) as caught:
            batch.run()
    assert all(isinstance(each, Unauthorized) for each in caught.value.exceptions)


# A bad line


def test_a_batch_that_the_server_cannot_handle_is_sent_one_by_one(
    blocking_wire: Wire, proxy: FaultyServer
) -> None:
    """One item can spoil a whole batch: the others are done nevertheless."""
    proxy.answers.extend([says(500, {"errno": 999, "message": "boom"})])
    with through(proxy, blocking_wire.session, retry=Retry(1)) as session:
        session.connection.info = blocking_wire.session.server_info()
        with session.batch() as batch:
            batch.save(*todos(4))
    assert proxy.methods == ["POST", "PUT", "PUT", "PUT", "PUT"]
    assert statuses(batch) == ["created"] * 4


def test_a_lost_answer(blocking_wire: Wire, proxy: FaultyServer) -> None:
    """Sent again, a batch recognises its own creations; of changes and deletions it cannot tell."""
    there = [Todo(title=title).save() for title in ("changed", "gone")]
    with through(proxy, blocking_wire.session) as session:
        changed, gone = (Todo.get(each.id, session=session) for each in there)
        changed.n = 1
        new = Todo(title="new")
        session.server_info()
        proxy.received.clear()
        proxy.answers.append(answer_lost)
        batch = session.batch()
        batch.save(new, changed)
        batch.delete(gone)
        with pytest.raises(BatchError) as caught:
            batch.run()
    assert proxy.methods == ["POST", "POST"]
    assert statuses(batch) == ["created", "failed", "failed"]
    assert [getattr(each, "unconfirmed", None) for each in caught.value.exceptions] == [True] * 2
    changed = caught.value.exceptions[0].merge()  # type: ignore[attr-defined]
    assert {each.id: each for each in Todo.find()} == {new.id: new, changed.id: changed}


@pytest.mark.parametrize(
    "answer", [HTML, says(200, {}), says(200, {"responses": []})], ids=["html", "none", "few"]
)
def test_an_answer_that_is_none(blocking_wire: Wire, proxy: FaultyServer, answer: Any) -> None:
    """An answer that no Kinto gives is a BadReply of each operation."""
    proxy.answers.append(answer)
    with through(proxy, blocking_wire.session) as session:
        session.connection.info = blocking_wire.session.server_info()
        with pytest.raises(BatchError) as caught, session.batch() as batch:
            batch.save(*todos(3))
    assert [type(each) for each in caught.value.exceptions] == [BadReply] * 3
    assert "save Todo 't002'" in str(caught.value.exceptions[2])


def test_a_server_that_stays_busy(blocking_wire: Wire, proxy: FaultyServer) -> None:
    """When the server is down for all, not every object waits for its own attempts."""
    proxy.answers.extend([says(503, {"errno": 201, "message": "later"}, Retry_After="0")] * 50)
    with through(proxy, blocking_wire.session, retry=Retry(1)) as session:
        session.connection.info = blocking_wire.session.server_info()
        with pytest.raises(BatchError) as caught, session.batch() as batch:
            batch.save(*todos(20))
    assert len(proxy.received) == 6
    assert {(type(each), each.status) for each in caught.value.exceptions} == {(ServerError, 503)}
    assert "save Todo 't019'" in str(caught.value.exceptions[19])
    proxy.answers.clear()


def test_no_connection(blocking_wire: Wire, proxy: FaultyServer) -> None:
    """Without any answer, each operation fails with the reason."""
    proxy.answers.extend([hangs_up] * 4)
    with through(proxy, blocking_wire.session, retry=Retry(1)) as session:
        session.connection.info = blocking_wire.session.server_info()
        with pytest.raises(BatchError) as caught, session.batch() as batch:
            batch.save(*todos(3))
    assert all(isinstance(each, TransportError) for each in caught.value.exceptions)
    proxy.answers.clear()
    blocking_wire.session.save(*todos(3))


class Killer(HTTPBasicAuth):
    """Credentials that kill the server before a request."""

    def __init__(self, server: Any, before: int) -> None:
        super().__init__(*server.auth)
        self.left = before
        self.server = server

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        self.left -= 1
        if self.left == 0:
            self.server.kill()
        return super().__call__(request)


def test_a_server_that_is_killed_in_the_middle() -> None:
    """What the server answered before is done; each of the others has a failure."""
    with serve_process("memory://") as server:
        with Session(server.url, auth=server.auth, bucket="b") as session:
            session.sync_schema(Todo)
            info = session.server_info()
        killer = Killer(server, before=3)
        with Session(server.url, auth=killer, bucket="b", retry=Retry(1)) as session:
            session.connection.info = info
            many = todos(80)
            with pytest.raises(BatchError) as caught, session.batch() as batch:
                batch.save(*many)
    assert statuses(batch) == ["created"] * 50 + ["failed"] * 30
    assert all(isinstance(each, ConnectFailed) for each in caught.value.exceptions)
    assert [each.is_new for each in many] == [False] * 50 + [True] * 30


# PostgreSQL takes back what stood before a 409


class Witness(FaultyServer):
    """A proxy that counts the 409s that were passed on inside of batches."""

    busy = 0

    def next_answer(self) -> Any:
        return self.passed_on

    def passed_on(self, exchange: Exchange) -> None:
        status, body, headers = exchange.forward()
        if b'"status":409' in body or b'"status": 409' in body:
            self.busy += 1
        exchange.write(status, body, headers)


def test_nothing_is_lost_by_the_409s_of_postgresql(postgres: EmbeddedServer) -> None:
    """Concurrent batches meet 409s; every object is there in the end, as its outcome says.

    A 409 rolls back what stood before it in the batch, although that reported success.
    """
    with (
        serve(postgres, threads=8) as http,
        Witness(upstream=http.url) as proxy,
        Session(proxy.url, auth=postgres.auth, bucket="many409") as session,
    ):
        session.sync_schema(Todo)
        for round_ in range(10):
            write_at_once(session, f"r{round_}-")
            if proxy.busy > 3:
                break
        assert proxy.busy > 0


def write_at_once(session: Session, prefix: str) -> None:
    """Six writers, each with 25 creations and then 25 changes or deletions."""
    start = threading.Barrier(6)

    def write(number: int) -> list[Todo]:
        mine = todos(25, f"{prefix}{number}-")
        start.wait()
        with session.batch() as batch:
            batch.save(*mine)
        assert set(statuses(batch)) == {"created"}
        for each in mine[:20]:
            each.n = 100 + each.n
        with session.batch() as batch:
            batch.save(*mine[:20])
            batch.delete(*mine[20:])
        assert statuses(batch) == ["updated"] * 20 + ["deleted"] * 5
        return mine[:20]

    with ThreadPoolExecutor(6) as pool:
        written = [each for mine in pool.map(write, range(6)) for each in mine]
    stored = {each.id: each for each in Todo.find(session=session) if each.id.startswith(prefix)}
    assert stored == {each.id: each for each in written}


class Stripped(Record, collection="todos"):
    """Fails with an AttributeError on a stored null."""

    title: str = ""

    @field_validator("title", mode="before")
    @classmethod
    def _strip(cls, value: str) -> str:
        return value.strip()


async def test_a_validators_error_is_one_outcome_of_many(session: AnySession) -> None:
    """What else was sent has its outcome; the record that cannot be loaded is named."""
    await do(Record(id="bad", title=None).save, session=session.scoped(collection="todos"))
    new = Stripped(id="new")
    batch = session.batch()
    batch.save(Stripped(id="first"))
    batch.get(Stripped, "bad")
    batch.save(new)
    with pytest.raises(BatchError) as raised:
        await do(batch.run)
    assert statuses(batch) == ["created", "failed", "created"]
    assert not new.is_new
    (error,) = raised.value.exceptions
    assert isinstance(error, InvalidData)
    assert "'bad' cannot be loaded" in str(error)
    assert "AttributeError" in str(error)
    for load in (
        lambda: do(Stripped.get, "bad"),
        lambda: do(Stripped.find().all),
        lambda: do(Stripped.find().only(Stripped.title).all),
    ):
        with pytest.raises(InvalidData, match="'bad' cannot be loaded"):
            await load()


async def test_what_is_no_object_is_refused_at_once(session: AnySession) -> None:
    """Before anything is queued or sent."""
    listed: Any = [Todo(title="b")]
    for act in (session.save, session.delete, session.refresh):
        with pytest.raises(TypeError, match=r"not list .*write \*objects"):
            await do(act, Todo(id="a", title="a"), listed)
    async with (
        entered(pytest.raises(TypeError, match="not str")),
        entered(session.batch()) as batch,
    ):
        batch.save(Todo(id="a", title="a"), "x")  # type: ignore[arg-type]
    assert not batch.outcomes
    assert await do(Todo.find().count) == 0
