"""Saving what may be there already, and making a collection equal to an iterable."""

from __future__ import annotations

from typing import Any

from trust.many import _bulk, _outcomes
from trust.operation import ONE, nothing, operation
from trust.world import Todo, World, seen

T1 = "collections/todos/records/t1"


def _there(world: World) -> None:
    """Some of what is saved, with a field of others; one is what it should be already."""
    for name in ("t0", "t1", "t3"):
        world.put(f"collections/todos/records/{name}", {"title": f"old {name}", "theirs": name})
    same = {"title": "new", "done": False, "note": None, "tags": [], "theirs": "x"}
    world.put("collections/todos/records/t2", same)


def _several(world: World) -> list[Todo]:
    _there(world)
    return [Todo(id=f"t{number}", title="new") for number in range(5)]


def _one(world: World) -> Todo:
    world.put(ONE, {"title": "old", "theirs": 1})
    return Todo(id="one", title="new")


def _none(world: World) -> Todo:
    return Todo(id="one", title="new")


@operation(ONE, prepare=_one, makes=True)
async def save_existing_update(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).save(session=world.session, existing="update"))


@operation(ONE, prepare=_none)
async def save_existing_update_missing(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).save(session=world.session, existing="update"))


@operation(ONE, prepare=_one, overwrites=True)
async def save_existing_replace(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).save(session=world.session, existing="replace"))


@operation(ONE, prepare=_none)
async def save_existing_fail(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).save(session=world.session, existing="fail"))


@operation(ONE, prepare=_one)
async def save_existing_skip(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).save(session=world.session, existing="skip"))


@operation(ONE, prepare=_none, claims=nothing)
async def save_existing_skip_missing(world: World, todo: Todo) -> Any:
    await world.do(todo).save(session=world.session, existing="skip")


@operation(T1, prepare=_several, makes=True)
async def save_all_existing_update(world: World, objects: list[Todo]) -> Any:
    summary = await world.do(world.session).save_all(objects, existing="update")
    return _bulk(world, objects, summary)


@operation(T1, prepare=_several, overwrites=True)
async def save_all_existing_replace(world: World, objects: list[Todo]) -> Any:
    summary = await world.do(world.session).save_all(objects, existing="replace")
    found = _bulk(world, objects, summary)
    # After a lost answer what was created counts as updated: the server says what it is by then.
    return found["created"] + found["updated"]


@operation("collections/todos/records/t4", prepare=_several, claims=nothing)
async def save_all_existing_skip(world: World, objects: list[Todo]) -> Any:
    summary = await world.do(world.session).save_all(objects, existing="skip")
    _bulk(world, objects, summary)


@operation(
    T1, prepare=_several, makes=True, claims=lambda result: result["statuses"][1] != "unchanged"
)
async def batch_existing_update(world: World, objects: list[Todo]) -> Any:
    batch = world.session.batch()
    try:
        async with world.do(batch):
            batch.save(*objects, existing="update")
    finally:
        _outcomes(world, batch)
    return {"statuses": [each.status for each in batch.outcomes], "objects": seen(objects)}


@operation("collections/todos/records/t4", prepare=_several, claims=nothing)
async def batch_existing_skip(world: World, objects: list[Todo]) -> Any:
    batch = world.session.batch()
    try:
        async with world.do(batch):
            batch.save(*objects, existing="skip")
    finally:
        _outcomes(world, batch)


@operation(T1, prepare=_several, overwrites=True)
async def batch_existing_replace(world: World, objects: list[Todo]) -> Any:
    batch = world.session.batch()
    try:
        async with world.do(batch):
            batch.save(*objects, existing="replace")
    finally:
        _outcomes(world, batch)
    return seen(objects)


# A sync


def _told(world: World, plan: Any) -> Any:
    """Raise what failed, and what ended it; note what was done."""
    failed = [each.error for each in plan.failed] + [plan.stopped] * (plan.stopped is not None)
    if failed:
        for each in plan.changes:
            world.done.add(f"collections/todos/records/{each.id}")
        raise ExceptionGroup("some failed", failed)
    return sorted(str(each) for each in plan.changes)


def _given() -> list[dict[str, Any]]:
    return [{"id": name, "title": "new"} for name in ("t0", "t2", "t4")]


@operation("collections/todos/records/t0", prepare=_there, makes=True)
async def sync(world: World, _: None) -> Any:
    return _told(world, await world.do(world.session).sync(Todo, _given()))


@operation(T1, prepare=_there, undoes=True, skips=3, claims=nothing)
async def sync_delete_missing(world: World, _: None) -> Any:
    plan = await world.do(world.session).sync(Todo, _given(), delete_missing=True)
    return _told(world, plan)


@operation("collections/todos/records/t0", prepare=_there, makes=True, overwrites=True, skips=2)
async def sync_replace(world: World, _: None) -> Any:
    plan = await world.do(world.session).sync(Todo, _given(), existing="replace")
    return _told(world, plan)


@operation(T1, prepare=_there, undoes=True, skips=6, claims=nothing)
async def sync_replace_delete_missing(world: World, _: None) -> Any:
    plan = await world.do(world.session).sync(
        Todo, _given(), existing="replace", delete_missing=True
    )
    return _told(world, plan)


@operation(prepare=_there)
async def sync_dry_run(world: World, _: None) -> Any:
    plan = await world.do(world.session).sync(Todo, _given(), delete_missing=True, dry_run=True)
    return _told(world, plan)
