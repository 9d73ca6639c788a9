"""What the twins give when they are awaited."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, assert_type

from pydantic import JsonValue

from kinto_orm import (
    Account,
    AsyncBatch,
    AsyncKeyValues,
    AsyncSession,
    Bucket,
    Collection,
    Created,
    Deleted,
    Deletion,
    HistoryEntry,
    InvalidData,
    KeysAt,
    KeyVersion,
    Outcome,
    Page,
    PermissionEntry,
    Permissions,
    Query,
    Record,
    Reply,
    RestorePlan,
    SchemaPlan,
    ServerInfo,
    Session,
    SessionMiddleware,
    Summary,
    SyncPlan,
    Template,
    Tombstone,
    retry_on_conflict,
)
from models import Todo, Urgent


async def token() -> dict[str, str]:
    return {"Authorization": "Bearer x"}


AsyncSession("https://kinto.example/v1", auth=token, bucket="work", retry=None)
AsyncSession("https://kinto.example/v1", auth=lambda: {"Authorization": "x"})


async def done(todo: Todo) -> None:
    todo.done = True


async def models(session: AsyncSession) -> None:
    assert_type(await Todo.aget("x"), Todo)
    assert_type(await Urgent.aget("x", session=session), Urgent)
    assert_type(await Todo.aget_or_none("x"), Todo | None)
    assert_type(await Todo.aget_or_create("x", title="y"), tuple[Todo, bool])
    Todo.bind(session)
    todo = Todo(title="x")
    assert_type(await todo.asave(), Todo)
    assert_type(await todo.asave(force=True, session=session), Todo)
    assert_type(await todo.arefresh(keep_changes=True), Todo)
    assert_type(await todo.adelete(missing_ok=True), Tombstone)
    assert_type(await todo.acopy_to(session, id="y"), Todo)
    assert_type(await Todo.apatch("x", done=True, if_match=5), Todo)
    assert_type(await Urgent.amodify("x", lambda each: each.assign(done=True)), Urgent)
    assert_type(await Todo.amodify("x", done, times=3, session=session), Todo)
    assert_type((await Urgent.aget("x")).until.year, int)
    assert_type(await todo.permissions.grant("read", "x").asave(), Permissions)
    assert_type(await todo.ahistory(), Query[HistoryEntry])
    assert_type(await todo.asave(existing="skip"), Todo)
    async for deletion in Todo.adeleted():
        assert_type(deletion, Deletion[Todo])
        assert_type(deletion.error, InvalidData | None)
    assert_type(await Todo.arestore("x", at=5), Todo)
    assert_type(await todo.aat(1), Todo)
    assert_type(await todo.arevert(1), Todo)
    assert_type(await Collection(id="c").asnapshot(1), list[Record])
    assert_type(await Bucket(id="b").collections.aget("c"), Collection)


async def queries() -> None:
    found = Todo.find(Todo.prio > 3)
    async for todo in found:
        assert_type(todo, Todo)
    async for page in found.apages():
        assert_type(page, Page[Todo])
    assert_type([todo.title async for todo in found], list[str])
    assert_type(await found.aall(), list[Todo])
    assert_type(await found.afirst(), Todo | None)
    assert_type(await found.aone(), Todo)
    assert_type(await found.acount(), int)
    assert_type(await found.aexists(), bool)
    assert_type(await found.adelete(), int)
    assert_type(await found.aupdate(done=True, workers=2), Summary)
    async for change in Todo.find().achanges():
        if isinstance(change, Deleted):
            assert_type(change.object, None)
        else:
            assert_type(change.object, Todo)
    async for change in Todo.find().afollow(interval=1.0):
        if isinstance(change, Created):
            assert_type(change.object, Todo)


async def of_session() -> None:
    async with AsyncSession("memory://", on_request=print, dry_run=True) as session:
        assert_type(await session.request("GET", "/"), Reply)
        assert_type(session, AsyncSession)
        assert_type(session.scoped(bucket="home"), AsyncSession)
        assert_type(await session.get(Todo, "x"), Todo)
        assert_type(session.find(Todo, Todo.prio >= 3), Query[Todo])
        assert_type(await session.get_many(Todo, ["x"]), dict[str, Todo])
        assert_type(await session.get_many(Todo, ["x"], on_invalid="skip"), dict[str, Todo])
        assert_type(await session.server_info(), ServerInfo)
        assert_type(await session.account(), Account)
        assert_type(await session.sync_schema(Todo), SchemaPlan)
        assert_type(session.permissions(), AsyncIterator[PermissionEntry])
        await session.save(Todo(title="x"), Bucket(id="b"))
        await session.refresh(Todo(title="x"))
        await session.delete(Todo(title="x"))
        assert_type(await session.save_all(todos(), workers=8), Summary)
        assert_type(await session.save_all(todos(), existing="update"), Summary)
        assert_type(await session.save_all(todos(), progress=True), Summary)
        await session.delete_all(todos(), progress=True)
        await session.sync(Todo, todos(), progress=True)
        assert_type(await Todo.find().aall(), list[Todo])
        assert_type(await session.sync(Todo, todos(), dry_run=True), SyncPlan)
        assert_type(await (await Bucket.aget("work")).arestore(5, dry_run=True), RestorePlan)
        assert_type(await session.sync(Todo, [{"id": "x"}], delete_missing=True), SyncPlan)
        assert_type(await session.delete_all(Todo.find()), Summary)


async def todos() -> AsyncIterator[Todo]:
    yield Todo(title="x")


async def batches(session: AsyncSession) -> None:
    async with session.batch() as batch:
        assert_type(batch, AsyncBatch)
        batch.save(Todo(title="x"))
        got = batch.get(Todo, "x")
        batch.kv.set("a", 1)
    assert_type(got, Outcome[Todo])
    assert_type(got.result, Todo | None)
    assert_type(await batch.run(), list[Outcome[Any]])


async def key_values(session: AsyncSession) -> None:
    kv = session.kv
    assert_type(kv, AsyncKeyValues)
    assert_type(Bucket(id="b").akv, AsyncKeyValues)
    assert_type(await kv.get("a"), JsonValue | None)
    assert_type(await kv.get("a", 5), JsonValue | int)
    await kv.set(("a", "b/c"), {"d": [1, None]})
    await kv.delete("a", missing_ok=True)
    assert_type(await kv.has("a"), bool)
    async for version in kv.history("a"):
        assert_type(version, KeyVersion)
    assert_type(await kv.at(5), KeysAt)
    assert_type(await kv.revert("a", datetime.now(UTC)), JsonValue)
    assert_type(kv.uri("a"), str)
    assert_type(await kv.pop("a"), JsonValue)
    assert_type(await kv.count(), int)
    assert_type(await kv.get_many(["a"]), dict[str | tuple[str, ...], JsonValue])
    async for key in kv:
        assert_type(key, str)
    async for key, value in kv.items("prefix"):
        assert_type((key, value), tuple[str, JsonValue])


async def templates() -> None:
    template = await Template.aget("nginx.conf")
    assert_type(template, Template)
    assert_type(await template.arender(port=80), str)
    assert_type(await template.arender_json(), JsonValue)
    assert_type(await template.avariables(), frozenset[str])


@retry_on_conflict(times=3)
async def finish(id: str) -> Todo:
    todo = await Todo.aget(id)
    todo.done = True
    return await todo.asave()


async def again() -> None:
    assert_type(await finish("x"), Todo)


async def application(scope: Any, receive: Any, send: Any) -> None: ...


SessionMiddleware(application, session=AsyncSession("memory://"))
SessionMiddleware(application, session=Session("memory://"))
