"""A dry run: what is written is checked, reported and not sent."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from itertools import count
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from both import AnySession, Place, do, either, entered, told_kind
from faults import FaultyServer, hangs_up, says
from kinto_orm import (
    Account,
    AsyncSession,
    BatchError,
    Bucket,
    Collection,
    ConfigurationError,
    Conflict,
    Everyone,
    Group,
    KintoError,
    Record,
    RequestEvent,
    Retry,
    Session,
    Template,
    Unsupported,
    col,
)
from kinto_orm.server import open_memory, serve
from kinto_orm.server.named import open_named
from kinto_orm.wire.messages import Request
from kinto_orm.wire.pretence import target_of

session = either

IDS = ["a", "b", "c", "d"]
READS = {"GET", "HEAD", "OPTIONS"}
_numbers = count(1)


class Todo(Record, collection="todos"):
    title: str = ""
    n: int = 0
    tags: list[str] = []


class Seen(list[RequestEvent]):
    """What a dry run tells."""

    def unsent(self) -> list[tuple[str, str, int | None]]:
        return [(e.method, e.path.rsplit("/", 1)[-1], e.status) for e in self if not e.sent]


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
async def dry(place: Place, session: AnySession, seen: Seen) -> Any:
    """A dry run beside the current session, in its bucket."""
    options = {"bucket": session.bucket, "dry_run": True, "on_request": seen.append}
    async with entered(place.session(**options)) as opened:
        yield opened


# A program, by hand


async def test_a_program_goes_on_as_if_it_had_written(
    session: AnySession, dry: AnySession, seen: Seen
) -> None:
    """Saved, changed, saved again, read, deleted: each finds what the one before it did."""
    todo = await do(Todo(id="x", title="a").save, session=dry)
    todo.title = "b"
    await do(todo.save)
    found = await do(Todo.get, "x", session=dry)
    assert (found.title, found.last_modified, todo.diff()) == ("b", todo.last_modified, {})
    await do(todo.refresh)
    await do(todo.delete)
    assert await do(Todo.get_or_none, "x", session=dry) is None
    assert seen.unsent() == [("PUT", "x", 201), ("PATCH", "x", 200), ("DELETE", "x", 200)]
    assert await do(Todo.get_or_none, "x", session=session) is None


async def test_what_would_be_a_conflict_is_one(session: AnySession, dry: AnySession) -> None:
    """Preconditions are held against what the server has."""
    theirs = await do(Todo(id="x", title="a").save, session=session)
    mine = await do(Todo.get, "x", session=dry)
    theirs.title = "b"
    await do(theirs.save)
    mine.title = "c"
    with pytest.raises(Conflict) as caught:
        await do(mine.save)
    assert caught.value.remote.title == "b"
    with pytest.raises(Conflict):
        await do(Todo(id="x").save, session=dry)
    await do(theirs.delete)
    with pytest.raises(Conflict):
        await do(mine.save)
    assert await do(Todo.get_or_none, "x", session=session) is None


async def test_each_write_is_a_line_of_the_log(
    dry: AnySession, caplog: pytest.LogCaptureFixture
) -> None:
    """What would be sent, what for, and what would come of it."""
    with caplog.at_level(logging.INFO, "kinto_orm"):
        await do(Todo(id="x").save, session=dry)
    path = f"/buckets/{dry.bucket}/collections/todos/records/x"
    assert f"dry run: would send PUT {path} to save Todo 'x': 201" in caplog.messages


async def test_each_write_of_a_batch_is_told(dry: AnySession, seen: Seen) -> None:
    """The batch itself is not."""
    async with entered(dry.batch()) as batch:
        batch.save(Todo(id="x"), Todo(id="y"))
    assert seen.unsent() == [("PUT", "x", 201), ("PUT", "y", 201)]
    assert seen[-1].doing.startswith("save Todo 'y'")


async def test_a_schema_that_is_not_there_yet(place: Place, dry: AnySession, seen: Seen) -> None:
    """It is planned and pretended, and what is saved next finds it."""
    other = dry.scoped(bucket=place.new_id())
    plan = await do(other.sync_schema, Todo)
    assert "new bucket and collection" in str(plan)
    todo = await do(Todo(id="x").save, session=other)
    assert await do(Todo.find(session=other).all) == []
    assert await do(other.sync_schema, Todo) == plan or not await do(other.sync_schema, Todo)
    assert todo.uri.startswith(f"/buckets/{other.bucket}/")
    assert [each[0] for each in seen.unsent()] == ["PUT", "PUT", "PUT"]


async def test_the_personal_bucket_is_not_made(place: Place, seen: Seen) -> None:
    """Kinto makes it at a `GET`, so that this is not sent either."""
    own = place.new_id("user")
    opened = place.session(auth=(own, "s3cret"), dry_run=True, on_request=seen.append)
    async with entered(opened) as personal:
        todo = await do(Todo(id="x").save)
        await do(personal.kv.set, "a/b", 1)
        await do(personal.request, "GET", "/buckets/default/collections/other/records")
        bucket = todo.uri.split("/")[2]
        assert await do(Todo.get, "x") == todo
    assert not any(e.sent and "/buckets/default" in e.path for e in seen)
    async with entered(place.session(auth=(own, "s3cret"))) as personal:
        with pytest.raises(KintoError):
            await do(Bucket.get, bucket)


async def test_all_that_a_query_finds_is_deleted_once(session: AnySession, dry: AnySession) -> None:
    """It ends, and counts right, though the server goes on having them."""
    for id in IDS:
        await do(Todo(id=id, n=len(id)).save, session=session)
    await do(Todo.find(session=dry).first)
    await do((await do(Todo.get, "a", session=dry)).delete)
    assert await do(Todo.find(Todo.n == 1, session=dry).delete) == 3
    assert await do(Todo.find(session=dry).delete) == 0
    assert await do(Todo.find(session=dry).all) == []
    assert await do(Todo.find(session=session).count) == 4


async def test_a_list_shows_what_was_pretended_of_its_objects(
    session: AnySession, dry: AnySession
) -> None:
    """So that what is found is saved without a conflict that nobody made."""
    for id in IDS[:2]:
        await do(Todo(id=id).save, session=session)
    for _ in range(2):
        for todo in await do(Todo.find(session=dry).all):
            todo.n += 1
            await do(todo.save)
    assert [each.n for each in await do(Todo.find(session=dry).all)] == [2, 2]


async def test_what_nobody_can_tell_is_refused(dry: AnySession, seen: Seen) -> None:
    """An answer is not made up; and nothing is sent."""
    for method, path in [("POST", "/__flush__"), ("PUT", "/buckets/b/x/y"), ("PUT", "/buckets")]:
        with pytest.raises(Unsupported, match="Nothing was sent"):
            await do(dry.request, method, path)
    for headers in ({"X-HTTP-Method-Override": "DELETE"}, {"x-http-method": "PUT"}):
        with pytest.raises(Unsupported, match="Nothing was sent"):
            await do(dry.request, "GET", f"/buckets/{dry.bucket}", headers=headers)
    assert not seen


async def test_what_was_pretended_holds_nowhere_else(session: AnySession, dry: AnySession) -> None:
    """The real session does not take the object for stored: a save creates it."""
    todo = await do(Todo(id="x", n=3).save, session=dry)
    await do(todo.save, session=session)
    assert (await do(Todo.get, "x", session=session)).n == 3
    known = await do(Todo.get, "x", session=dry)
    known.n = 4
    await do(known.save)
    with pytest.raises(Conflict):
        await do(known.save, session=session)


def test_where_it_cannot_be_done() -> None:
    """kvp.io's protocol does not show what a write would do."""
    for kind in (Session, AsyncSession):
        with pytest.raises(ConfigurationError, match="Kinto only"):
            kind("kvp+http://127.0.0.1:1", dry_run=True)
    with pytest.raises(ConfigurationError, match="True or False"):
        Session("memory://", dry_run="yes")  # type: ignore[arg-type]


def test_all_pages_of_a_query_are_deleted() -> None:
    """The server deletes page by page; a dry run counts the same."""
    with (
        open_memory(settings={"kinto.paginate_by": "2"}) as server,
        serve(server) as listening,
        Session(listening.url, auth="a:b", bucket="pages") as real,
        Session(listening.url, auth="a:b", bucket="pages", dry_run=True) as dry,
    ):
        real.sync_schema(Todo)
        real.save_all([Todo(n=n) for n in range(7)])
        assert Todo.find(Todo.n > 0, session=dry).delete() == 6
        assert [each.n for each in Todo.find(session=dry)] == [0]
        assert Todo.find(Todo.n > 0, session=real).delete() == 6


def test_accounts_are_pretended() -> None:
    """Without their passwords; the second one of a name is a conflict."""
    settings = {
        "kinto.includes": "kinto.plugins.accounts",
        "kinto.account_create_principals": "system.Everyone",
    }
    with (
        open_memory(settings=settings) as server,
        serve(server) as listening,
        Session(listening.url, dry_run=True) as dry,
    ):
        made = Account(id="ada", password="s3cret").save(session=dry)
        assert "s3cret" not in repr(dry.connection.pretence.find(target_of("/accounts/ada")))
        assert made.last_modified
        with pytest.raises(Conflict):
            Account(id="ada", password="other").save(session=dry)


async def test_who_may_only_create_sees_the_creation(place: Place, session: AnySession) -> None:
    """Such a user cannot look whether the object is there."""
    todos = await do(Collection.get, "todos", session=session)
    todos.permissions.grant("record:create", "system.Authenticated")
    await do(todos.permissions.save)
    options = {"bucket": session.bucket, "auth": ("somebody", "s3cret"), "dry_run": True}
    async with entered(place.session(**options)) as other:
        await do(Todo(id="x").save)
        assert (await do(Todo.get, "x")).id == "x"
        hidden = Todo(id="y")
        with pytest.raises(KintoError):
            await do(hidden.save, session=other.scoped(bucket=place.new_id("hidden")))


def test_threads_may_share_one() -> None:
    """Of those who create one object at a time, one does."""
    with Session("memory://", bucket="b", dry_run=True) as dry:
        dry.sync_schema(Todo)
        found = dry.save_all((Todo(id=f"x{n % 10}") for n in range(40)), workers=4)
        assert (found.created, len(found.failed)) == (10, 30)


# Whatever is asked, nothing that writes arrives


PARTS = ["buckets", "default", "%64efault", "..", ".", "", "batch", "b", "collections", "records"]
PATHS = st.lists(st.sampled_from(PARTS), min_size=1, max_size=6).map(lambda p: "/" + "/".join(p))
VERBS = st.sampled_from(["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"])
HINTS = st.sampled_from([{}, {"X-HTTP-Method-Override": "PUT"}, {"x-method-override": "DELETE"}])
ITEMS = st.builds(lambda method, path: {"method": method, "path": path}, VERBS, PATHS)
FOUND = {"id": "b", "last_modified": 1}
ANSWERS: list[Any] = [
    says(200, {"data": FOUND, "settings": {}, "capabilities": {}, "user": {"id": "x:y"}}),
    says(200, {"data": [FOUND], "capabilities": {}, "user": {"id": "u", "bucket": "own"}}),
    says(404, {"errno": 110, "capabilities": {}}),
    says(403, {"errno": 121}),
    says(503, {"errno": 201}),
    says(307, b"", Location="/v1/buckets/default"),
    hangs_up,
]


@given(
    asked=st.tuples(VERBS, PATHS, HINTS),
    items=st.lists(ITEMS, max_size=3),
    answers=st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=4),
)
@settings(max_examples=30)
@pytest.mark.parametrize("kind", [Session, AsyncSession])
def test_no_write_arrives(kind: Any, asked: Any, items: Any, answers: Any) -> None:
    """By whatever method, path or header it is asked for, and whatever the server answers."""
    method, path, headers = asked

    async def program(url: str) -> None:
        retry = Retry(1, backoff_factor=0)
        async with entered(kind(url, auth="a:b", retry=retry, dry_run=True)) as dry:
            for each in [(method, path, headers, None), ("POST", "/batch", {}, items)]:
                with suppress(KintoError):
                    body = {"requests": each[3]} if each[3] else {"data": {}}
                    await do(dry.request, *each[:2], headers=each[2], json=body)

    with FaultyServer(*answers) as server, told_kind(awaits=kind is AsyncSession):
        asyncio.run(program(server.url))
        for received in server.received:
            assert received.method in READS
            assert "override" not in str(received.headers).lower()
            parts = [part for part in unquote(received.target).split("/") if part]
            assert parts[1:3] != ["buckets", "default"] or received.target.startswith("/v1//")
            assert not {".", ".."} & set(parts)


def test_the_transport_itself_refuses_writes() -> None:
    """Also of a flow that goes by no attempts."""
    with Session("memory://", dry_run=True) as dry:
        for method, path in [("PUT", "/buckets/b"), ("GET", "/buckets/default"), ("QUERY", "/")]:
            with pytest.raises(ConfigurationError, match="Nothing was sent"):
                dry.connection.transport.send(Request(method, path), time.monotonic() + 9)


# Programs that are generated, run for real and dry


class Program:
    """A program over one bucket; what each of its steps gave.

    Args:
        session: Over which it goes.
        bucket: Its bucket.
    """

    def __init__(self, session: AnySession, bucket: str) -> None:
        self.session = session.scoped(bucket=bucket, collection="todos")
        self.bucket = bucket
        self.held: dict[str, Any] = {}
        self.outcomes: list[Any] = []

    async def run(self, steps: list[tuple[Any, ...]]) -> list[Any]:
        for name, *args in steps:
            try:
                given = await getattr(self, name)(*args)
            except BatchError as error:
                given = sorted(type(each).__name__ for each in error.exceptions)
            except KintoError as error:
                given = (type(error).__name__, getattr(error, "status", None))
                given += (getattr(error, "errno", None), sorted(getattr(error, "fields", ())))
            self.outcomes.append((name, args, self.plain(given)))
        return self.outcomes

    def plain(self, value: Any) -> Any:
        """A result without what is another one in each run."""
        if isinstance(value, Record | Group | Collection | Bucket):
            found = value.model_dump(exclude={"last_modified", "schema"})
            found["diff"] = value.diff()
            return json.loads(json.dumps(found).replace(self.bucket, "BUCKET"))
        if isinstance(value, dict):
            return {name: self.plain(each) for name, each in value.items()}
        return [self.plain(each) for each in value] if isinstance(value, list) else value

    # The steps

    async def create(self, id: str, n: int) -> Any:
        self.held[id] = Todo(id=id, n=n, title="new")
        return await do(self.held[id].save, session=self.session)

    async def upsert(self, id: str, n: int, existing: str) -> Any:
        todo = Todo(id=id, n=n)
        outcome = await do(todo.save, session=self.session, existing=existing)
        self.held[id] = todo
        return outcome

    async def load(self, id: str) -> Any:
        self.held[id] = await do(Todo.get, id, session=self.session)
        return self.held[id]

    async def change(self, id: str, n: int, force: bool) -> Any:
        todo = self.held.get(id)
        if todo is None:
            return None
        todo.n = n
        todo.tags.append(f"t{n}")
        return await do(todo.save, force=force)

    async def refresh(self, id: str) -> Any:
        return await do(self.held[id].refresh) if id in self.held else None

    async def delete(self, id: str, missing_ok: bool) -> Any:
        if id not in self.held:
            return None
        return (await do(self.held[id].delete, missing_ok=missing_ok)).id

    async def patch(self, id: str, n: int) -> Any:
        return await do(Todo.patch, id, n=n, session=self.session)

    async def get_or_create(self, id: str, n: int) -> Any:
        todo, created = await do(Todo.get_or_create, id, n=n, session=self.session)
        return [todo, created]

    async def grant(self, id: str, revoke: bool) -> Any:
        todo = await do(Todo.get, id, session=self.session)
        act = todo.permissions.revoke if revoke else todo.permissions.grant
        act("read", Everyone, f"/buckets/{self.bucket}/groups/g")
        await do(todo.permissions.save)
        again = await do(Todo.get, id, session=self.session)
        return sorted(each.replace(self.bucket, "B") for each in again.permissions.read)

    async def batch(self, n: int) -> Any:
        async with entered(self.session.batch()) as batch:
            for id in IDS[: n % 4 + 1]:
                batch.save(Todo(id=id, n=n))
        return None

    async def save_all(self, n: int, existing: str) -> Any:
        objects = [Todo(id=id, n=n) for id in IDS]
        return str(await do(self.session.save_all, objects, existing=existing)).splitlines()[0]

    async def sync(self, n: int) -> Any:
        plan = await do(self.session.sync, Todo, [{"id": id, "n": n} for id in IDS[:3]])
        return str(plan.summary if hasattr(plan, "summary") else plan).splitlines()[0]

    async def delete_found(self, n: int) -> Any:
        found = Todo.find(col(Todo.id).in_(IDS[: n % 4 + 1]), session=self.session)
        return await do(found.delete)

    async def found(self, n: int) -> Any:
        query = Todo.find(col(Todo.id).in_(IDS[: n % 4 + 1]), session=self.session)
        return sorted(map(repr, map(str, [each.n for each in await do(query.all)])))

    async def put_key(self, path: str, value: Any) -> Any:
        await do(self.session.kv.set, path, value)
        return await do(self.session.kv.get, path.split("/")[0])

    async def drop_key(self, path: str) -> Any:
        await do(self.session.kv.delete, path)
        return await do(self.session.kv.get, path.split("/")[0], None)

    async def template(self, text: str) -> Any:
        template = Template(name="t e", source=text)
        await do(template.save, session=self.session, existing="update")
        found = await do(Template.get, "t e", session=self.session)
        return await do(found.render, x=1)

    async def group(self, member: str) -> Any:
        group, _ = await do(Group.get_or_create, "g", session=self.session)
        group.members = [*group.members, member]
        return await do(group.save)

    async def drop_collection(self) -> Any:
        found = await do(Collection.get, "todos", session=self.session)
        return (await do(found.delete)).id

    async def make_collection(self, n: int) -> Any:
        made = Collection(id="todos", limit=n)
        return await do(made.save, session=self.session)

    async def sync_schema(self) -> Any:
        return str(await do(self.session.sync_schema, Todo)).replace(self.bucket, "B")

    async def drop_bucket(self) -> Any:
        await do((await do(Bucket.get, self.bucket, session=self.session)).delete)

    async def raw(self, method: str, path: str, headers: dict[str, str], body: Any) -> Any:
        body = json.loads(json.dumps(body).replace("BUCKET", self.bucket))
        path = f"/buckets/{self.bucket}{path}"
        reply = await do(self.session.request, method, path, headers=headers, json=body)
        return [reply.status, self.bare(reply.json)] if reply.body else reply.status

    async def raw_batch(self, requests: Any) -> Any:
        body = json.loads(json.dumps({"requests": requests}).replace("BUCKET", self.bucket))
        reply = await do(self.session.request, "POST", "/batch", json=body)
        return [[each["status"], self.bare(each["body"])] for each in reply.json["responses"]]

    def bare(self, content: Any) -> Any:
        """An answer without times, names of errors and ids that the server makes."""
        permissions = {name: sorted(who) for name, who in content.get("permissions", {}).items()}
        details = content.get("details")
        existing = details.get("existing") if isinstance(details, dict) else None
        rows = content.get("data", existing)
        for each in rows if isinstance(rows, list) else [rows or {}]:
            each.pop("last_modified", None)
            each.pop("schema", None)
            if len(each.get("id", "")) >= 8:
                each["id"] = "made"
        found = [content.get("errno"), permissions, rows]
        return json.loads(json.dumps(found).replace(self.bucket, "BUCKET"))


ID, N = st.sampled_from(IDS), st.integers(0, 9)
EXISTING = st.sampled_from(["fail", "update", "replace", "skip"])
KEY = st.sampled_from(["k", "k/x", "k/x/1", "k/y", "l/1", "l/2", "l"])
VALUE = st.sampled_from([1, "s", [1, 2], {"x": [1]}, {"x": {"y": 1}}, []])
BODIES: list[Any] = [
    {"data": {"n": 3}},
    {"data": {"n": None, "tags": {"x": 1, "y": None}}},
    {"data": {"id": "b", "last_modified": 1}},
    {"data": {"id": "new"}, "permissions": {"read": ["system.Everyone"]}},
    {"permissions": {"read": [], "write": ["account:a", "account:b"]}},
    {"data": {}},
    {},
]
# Kinto fails where an object is merged into something else.
DEEP = {"data": {"n": None, "deep": {"x": 1, "y": None}}}
MERGED = st.sampled_from([DEEP, BODIES[0], *BODIES[2:]])
POINTERS = ["/data/n", "/data/tags", "/data/tags/0", "/data/tags/-", "/data/new"]
GRANTS = ["/permissions/read/account:a", "/permissions/write/account:b"]
OPERATIONS = st.lists(
    st.one_of(
        st.builds(
            lambda act, path: {"op": act, "path": path, "value": 1},
            st.sampled_from(["add", "replace", "test"]),
            st.sampled_from(POINTERS),
        ),
        st.builds(
            lambda act, path: {"op": act, "path": path},
            st.sampled_from(["add", "remove"]),
            st.sampled_from(GRANTS),
        ),
        st.builds(lambda path: {"op": "remove", "path": path}, st.sampled_from(POINTERS)),
        st.builds(
            lambda act, a, b: {"op": act, "from": a, "path": b},
            st.sampled_from(["move", "copy"]),
            st.sampled_from(POINTERS[:3]),
            st.sampled_from(POINTERS),
        ),
    ),
    min_size=1,
    max_size=3,
)
MERGE = {"Content-Type": "application/merge-patch+json"}
JSON_PATCH = {"Content-Type": "application/json-patch+json"}
HEADERS = st.sampled_from(
    [{}, {"If-Match": '"1"'}, {"If-Match": "*"}, {"If-None-Match": "*"}, {"if-none-match": "*"}]
)
METHOD = st.sampled_from(["GET", "PUT", "PATCH", "DELETE"])
LIST = st.sampled_from(["/collections/todos/records", "/groups", "/collections"])
RECORDS = "/collections/todos/records"
OBJECT = st.sampled_from([f"{RECORDS}/a", f"{RECORDS}/d", "/groups/g", "/collections/todos", ""])
BODY = st.sampled_from(BODIES)
ITEM = st.builds(
    lambda method, path, headers, body: {
        "method": method,
        "path": f"/buckets/BUCKET{path}",
        "headers": headers,
        "body": body,
    },
    METHOD,
    OBJECT,
    HEADERS,
    BODY,
)
STEP = st.one_of(
    st.tuples(st.just("create"), ID, N),
    st.tuples(st.just("upsert"), ID, N, EXISTING),
    st.tuples(st.just("load"), ID),
    st.tuples(st.just("change"), ID, N, st.booleans()),
    st.tuples(st.just("refresh"), ID),
    st.tuples(st.just("delete"), ID, st.booleans()),
    st.tuples(st.just("patch"), ID, N),
    st.tuples(st.just("get_or_create"), ID, N),
    st.tuples(st.just("grant"), ID, st.booleans()),
    st.tuples(st.just("batch"), N),
    st.tuples(st.just("save_all"), N, EXISTING),
    st.tuples(st.just("sync"), N),
    st.tuples(st.just("delete_found"), N),
    st.tuples(st.just("found"), N),
    st.tuples(st.just("put_key"), KEY, VALUE),
    st.tuples(st.just("drop_key"), KEY),
    st.tuples(st.just("template"), st.sampled_from(["a {{ x }}", "b"])),
    st.tuples(st.just("group"), st.sampled_from(["account:a", "account:b"])),
    st.tuples(st.just("drop_collection")),
    st.tuples(st.just("make_collection"), N),
    st.tuples(st.just("sync_schema")),
    st.tuples(st.just("drop_bucket")),
    st.tuples(st.just("raw"), METHOD, OBJECT, HEADERS, BODY),
    st.tuples(st.just("raw"), st.just("PATCH"), OBJECT, st.just(MERGE), MERGED),
    st.tuples(st.just("raw"), st.just("PATCH"), OBJECT, st.just(JSON_PATCH), OPERATIONS),
    st.tuples(st.just("raw"), st.just("POST"), LIST, HEADERS, BODY),
    st.tuples(st.just("raw_batch"), st.lists(ITEM, max_size=4)),
)
PROGRAM = st.lists(STEP, min_size=1, max_size=12)


async def begin(session: AnySession, bucket: str) -> None:
    """What is there before a program begins."""
    await do(Bucket(id=bucket).save, session=session)
    inside = session.scoped(bucket=bucket)
    await do(Collection(id="todos").save, session=inside)
    for id in IDS[:2]:
        await do(Todo(id=id, n=1).save, session=inside)
    await do(inside.kv.set, "k", {"x": [1, 2]})


async def state_of(session: AnySession, bucket: str) -> Any:
    """All that the server has of a bucket."""
    found = {}
    for path in ("", "/collections", "/groups", *(f"/collections/{c}/records" for c in KEPT)):
        reply = await do(session.request, "GET", f"/buckets/{bucket}{path}")
        found[path] = reply.json
    return found


KEPT = ("todos", "kv")


@pytest.fixture(params=[False, True], ids=["blocking", "awaited"])
def everything(request: pytest.FixtureRequest, memory: Any) -> Any:
    """Runs a program for real and dry, and gives both outcomes, and what was sent dry."""
    kind: Callable[..., Any] = AsyncSession if request.param else Session
    with open_named("dry-run") as server, serve(server) as listening, ExitStack() as stack:
        proxy = stack.enter_context(FaultyServer(upstream=listening.url))
        stack.enter_context(told_kind(awaits=request.param))

        async def both(steps: list[Any]) -> tuple[Any, Any]:
            auth, number = ("alice", "s3cret"), next(_numbers)
            async with (
                entered(kind("memory://dry-run", auth=auth, retry=None)) as real,
                entered(kind(proxy.url, auth=auth, retry=None, dry_run=True)) as dry,
            ):
                await begin(real, f"real{number}")
                await begin(real, f"dry{number}")
                before = await state_of(real, f"dry{number}")
                proxy.received.clear()
                found = await Program(dry, f"dry{number}").run(steps)
                assert await state_of(real, f"dry{number}") == before
                assert set(proxy.methods) <= READS
                return await Program(real, f"real{number}").run(steps), found

        yield lambda steps: asyncio.run(both(steps))


@given(steps=PROGRAM)
@settings(max_examples=15)
def test_a_dry_run_ends_as_the_real_one(everything: Any, steps: list[Any]) -> None:
    """The same results, the same errors, step by step; and nothing was sent but reads."""
    real, dry = everything(steps)
    assert dry == real
