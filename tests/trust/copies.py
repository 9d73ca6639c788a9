"""Copies of objects, assigning several fields, and what a collection was at a time."""

from __future__ import annotations

from typing import Any

from kinto_orm import Record, retry_on_conflict
from trust.operation import ONE, nothing, operation
from trust.world import Todo, World, seen

TWO = "collections/todos/records/two"
COPY = "collections/copies/records/one"


async def _stored(world: World) -> Todo:
    return await world.todo()


async def _with_copies(world: World) -> Todo:
    world.put("collections/copies", {})
    return await world.todo()


async def _with_old_copy(world: World) -> Todo:
    todo = await _with_copies(world)
    world.put(COPY, {"title": "old", "theirs": 1})
    return todo


async def _changed(world: World) -> Todo:
    todo = await world.todo()
    todo.note = "not saved"
    return todo


def _elsewhere(world: World) -> Any:
    return world.session.scoped(collection="copies")


@operation(COPY, prepare=_with_copies)
async def copy_to(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).copy_to(_elsewhere(world)))


@operation(TWO, prepare=_changed, keeps=True)
async def copy_under_another_id(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).copy_to(world.session, id="two"))


@operation(COPY, prepare=_with_old_copy, overwrites=True)
async def copy_force(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).copy_to(_elsewhere(world), force=True))


async def _untyped(world: World) -> Record:
    await _with_copies(world)
    scope = world.session.scoped(collection="todos")
    return await world.do(Record).get("one", session=scope)  # type: ignore[no-any-return]


# It lives there from then on.
@operation(COPY, prepare=_untyped)
async def save_elsewhere(world: World, record: Record) -> Any:
    return seen(await world.do(record).save(session=_elsewhere(world)))


# Assigning


@operation(ONE, prepare=_stored)
async def assign_and_save(world: World, todo: Todo) -> Any:
    todo.assign(title="new", note="x", tags=["b"])
    return seen(await world.do(todo).save())


@operation(ONE, prepare=lambda world: world.put(ONE, {"title": "one"}), claims=nothing, skips=1)
async def retrying_on_conflict(world: World, _: None) -> Any:
    async def change() -> Any:
        todo = await world.do(Todo).get("one", session=world.session)
        return seen(await world.do(todo.assign(note="new")).save())

    if world.face.name == "AsyncSession":
        return await retry_on_conflict()(change)()
    return retry_on_conflict()(lambda: world.run(change()))()


@operation(ONE, prepare=_stored)
async def save_with_timestamp(world: World, todo: Todo) -> Any:
    todo.note = "new"
    stamp = (todo.last_modified or 0) + 60_000
    found = await world.do(todo).save(last_modified=stamp)
    return [seen(found), found.last_modified == stamp]


# Times


def _as_the_server_says(world: World, todo: Todo) -> bool:
    there = world.direct.read(world.bucket, ONE)["data"]["last_modified"]
    at = todo.modified_at
    return at is not None and round(at.timestamp() * 1000) == there


@operation(ONE, prepare=_stored)
async def modified_at(world: World, todo: Todo) -> Any:
    todo.note = "new"
    return _as_the_server_says(world, await world.do(todo).save())
