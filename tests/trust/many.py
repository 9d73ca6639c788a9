"""Queries, batches, and many objects."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from kinto_orm import Everyone, Query, any_of, col
from trust.operation import KEY, ONE, nothing, operation
from trust.world import Todo, World, seen


async def several(world: World, count: int = 5) -> list[Todo]:
    names = [f"t{number}" for number in range(count)]
    world.put_all({f"collections/todos/records/{n}": {"title": n, "done": False} for n in names})
    return sorted(await world.do(Todo.find(session=world.session)).all(), key=lambda each: each.id)


def only_stored(world: World) -> None:
    world.put_all({f"collections/todos/records/t{n}": {"title": f"t{n}"} for n in range(5)})


# Queries


@operation(prepare=only_stored)
async def query_all(world: World, _: None) -> Any:
    return seen(await world.do(Todo.find(session=world.session)).all())


@operation(prepare=only_stored)
async def query_pages(world: World, _: None) -> Any:
    found = Todo.find(session=world.session).page_size(2)
    return seen([list(page) async for page in world.do(found).pages()])


@operation(prepare=only_stored)
async def query_pages_in_order(world: World, _: None) -> Any:
    found = Todo.find(session=world.session).order_by(col(Todo.title).desc()).page_size(2)
    return seen([each async for page in world.do(found).pages() for each in page])


@operation(prepare=only_stored)
async def query_first(world: World, _: None) -> Any:
    return seen(await world.do(Todo.find(Todo.title == "t1", session=world.session)).first())


@operation(prepare=only_stored)
async def query_one(world: World, _: None) -> Any:
    return seen(await world.do(Todo.find(Todo.title == "t1", session=world.session)).one())


@operation(prepare=only_stored)
async def query_count(world: World, _: None) -> Any:
    return await world.do(Todo.find(session=world.session)).count()


@operation(prepare=only_stored)
async def query_exists(world: World, _: None) -> Any:
    return await world.do(Todo.find(Todo.title == "t1", session=world.session)).exists()


@operation(prepare=only_stored)
async def query_only(world: World, _: None) -> Any:
    return [
        each.title async for each in world.do(Todo.find(session=world.session).only(Todo.title))
    ]


def _either(world: World) -> Query[Todo]:
    """Three todos, of which one is found by both branches."""
    branches = any_of(Todo.title <= "t1", col(Todo.title).in_(["t1", "t3"]))
    return Todo.find(branches, session=world.session)


@operation(prepare=only_stored)
async def any_of_pages(world: World, _: None) -> Any:
    found = _either(world).page_size(2)
    return seen([list(page) async for page in world.do(found).pages()])


@operation(prepare=only_stored)
async def any_of_count(world: World, _: None) -> Any:
    return await world.do(_either(world)).count()


@operation("collections/todos/records/t1", prepare=only_stored, overwrites=True, claims=nothing)
async def any_of_delete(world: World, _: None) -> Any:
    return await world.do(_either(world)).delete()


@operation(prepare=only_stored)
async def query_on_invalid(world: World, _: None) -> Any:
    found = Todo.find(session=world.session).on_invalid("skip")
    return seen(await world.do(found).all())


@operation("collections/todos/records/t1", prepare=only_stored, overwrites=True, claims=nothing)
async def query_delete(world: World, _: None) -> Any:
    return await world.do(Todo.find(session=world.session)).delete()


@operation("collections/todos/records/t1", prepare=only_stored)
async def query_update(world: World, _: None) -> Any:
    summary = await world.do(Todo.find(session=world.session)).update(note="new")
    failed = {each.target.id: each.error for each in summary.failed}
    world.settle(
        (f"collections/todos/records/t{n}", failed.get(f"t{n}"))
        for n in range(5)
        if failed or summary.total == 5
    )
    return seen(summary)


@operation(prepare=only_stored)
async def changes(world: World, _: None) -> Any:
    found = Todo.find(session=world.session).page_size(2)
    return [[type(each).__name__, each.id] async for each in world.do(found).changes()]


async def _followed(world: World) -> str:
    only_stored(world)
    found = Todo.find(session=world.session)
    token = [each.token async for each in world.do(found).changes()][-1]
    world.direct.ask("DELETE", f"/buckets/{world.bucket}/collections/todos/records/t0")
    world.put("collections/todos/records/t1", {"title": "new"})
    return token


@operation(prepare=_followed)
async def changes_since(world: World, token: str) -> Any:
    found = world.do(Todo.find(session=world.session)).changes(token)
    kinds = {f"{type(each).__name__} {each.id}" async for each in found}
    return sorted(kinds - {"Updated t4"})


@operation(prepare=only_stored, skips=2)
async def follow(world: World, _: None) -> Any:
    found = Todo.find(session=world.session)
    return await _first_of(5, world.do(found).follow(interval=0.01))


@operation(prepare=_followed, skips=2)
async def follow_since(world: World, token: str) -> Any:
    found = Todo.find(session=world.session)
    return await _first_of(2, world.do(found).follow(token, interval=0.01))


async def _first_of(count: int, changes: Any) -> list[str]:
    """So many changes; an object may come twice when it changed twice."""
    seen_: set[str] = set()
    async with aclosing(aiter(changes)) as found:
        async for each in found:
            seen_ |= {f"{type(each).__name__} {each.id}"} - {"Updated t4"}
            if len(seen_) == count:
                break
    return sorted(seen_)


# Batches and many objects


async def _mixture(world: World) -> list[Todo]:
    changed, deleted, outdated, _ = await several(world, 4)
    changed.note = "changed"
    new = Todo(id="tn", title="new")
    world.put("collections/todos/records/t2", {"title": "theirs"})
    return [changed, deleted, outdated, new]


def _outcomes(world: World, batch: Any) -> None:
    """Note what the outcomes of a batch acknowledge."""
    for each in batch.outcomes:
        if each.error is not None or each.status in ("queued", "failed"):
            continue
        id = each.target if isinstance(each.target, str) else each.target.id
        if each.act in ("save", "delete"):
            world.done.add(f"collections/todos/records/{id}")
        if each.act == "get":
            world.read[id] = seen(each.result)


@operation("collections/todos/records/t0", prepare=_mixture)
async def batch_mixed(world: World, objects: list[Todo]) -> Any:
    changed, deleted, outdated, new = objects
    batch = world.session.batch()
    try:
        async with world.do(batch):
            batch.save(changed, new)
            batch.delete(deleted, missing_ok=True)
            batch.refresh(outdated)
            there = batch.get(Todo, "t3")
    finally:
        _outcomes(world, batch)
    return seen([changed, outdated, new, there.result])


@operation("collections/todos/records/t1", prepare=several)
async def batch_delete(world: World, objects: list[Todo]) -> Any:
    batch = world.session.batch()
    try:
        async with world.do(batch):
            batch.delete(*objects)
    finally:
        _outcomes(world, batch)
    return seen([each.result for each in batch.outcomes])


async def _saved_together(world: World) -> list[Todo]:
    objects = await several(world)
    for each in objects:
        each.note = "first"
    await world.do(world.session).save_all(objects, on_error="raise")
    for each in objects:
        each.note = "second"
    return objects


@operation("collections/todos/records/t1", prepare=_saved_together)
async def save_all_again(world: World, objects: list[Todo]) -> Any:
    return _bulk(world, objects, await world.do(world.session).save_all(objects))


def _new_ones(world: World) -> list[Todo]:
    return [Todo(id=f"t{number}", title="new") for number in range(5)]


def _bulk(world: World, objects: list[Todo], summary: Any) -> Any:
    failed = {each.target.id: each.error for each in summary.failed}
    world.settle((f"collections/todos/records/{o.id}", failed.get(o.id)) for o in objects)
    return seen(summary)


@operation("collections/todos/records/t1", prepare=_new_ones)
async def save_all_create(world: World, objects: list[Todo]) -> Any:
    return _bulk(world, objects, await world.do(world.session).save_all(objects))


async def _changed_ones(world: World) -> list[Todo]:
    objects = await several(world)
    for each in objects:
        each.note = "changed"
    return objects


@operation("collections/todos/records/t1", prepare=_changed_ones)
async def save_all_update(world: World, objects: list[Todo]) -> Any:
    return _bulk(world, objects, await world.do(world.session).save_all(objects))


@operation("collections/todos/records/t1", prepare=_changed_ones, overwrites=True)
async def save_all_force(world: World, objects: list[Todo]) -> Any:
    return _bulk(world, objects, await world.do(world.session).save_all(objects, force=True))


@operation("collections/todos/records/t1", prepare=several)
async def delete_all(world: World, objects: list[Todo]) -> Any:
    return _bulk(world, objects, await world.do(world.session).delete_all(objects))


@operation(prepare=only_stored)
async def get_many(world: World, _: None) -> Any:
    return seen(await world.do(world.session).get_many(Todo, ["t0", "t3", "none"]))


# Permissions and key values in a batch


async def _granted(world: World) -> Todo:
    world.put(ONE, {"title": "one"}, read=["system.Everyone"])
    todo: Todo = await world.do(Todo).get("one", session=world.session)
    todo.permissions.grant("read", "basicauth:b").revoke("read", Everyone)
    return todo


@operation(ONE, prepare=_granted, claims=nothing)
async def batch_permissions(world: World, todo: Todo) -> Any:
    batch = world.session.batch()
    async with world.do(batch):
        batch.save(todo.permissions)
        batch.get(Todo, "one")
    return seen(todo.permissions.read)


def _two_keys(world: World) -> None:
    world.key("a", {"b": {"c": 1}})
    world.put("collections/kv/records/z", {"key": "z", "value": "end"})


@operation(KEY, prepare=_two_keys, claims=nothing)
async def batch_kv_set(world: World, _: None) -> Any:
    batch = world.session.batch()
    async with world.do(batch):
        batch.kv.set("a/b/d", 2)
        batch.kv.set("new", [1])


@operation(KEY, prepare=_two_keys, overwrites=True, claims=nothing)
async def batch_kv_delete(world: World, _: None) -> Any:
    batch = world.session.batch()
    async with world.do(batch):
        batch.kv.delete("a", missing_ok=True)
        batch.kv.delete("z", missing_ok=True)
