"""Dry runs: what is answered is what Kinto would answer, and nothing is ever written."""

from __future__ import annotations

from typing import Any

from kinto_orm import Bucket, Everyone
from trust.many import only_stored
from trust.operation import ONE, operation
from trust.world import Todo, World, seen


def _one(world: World) -> None:
    world.put(ONE, {"title": "one", "tags": ["a"]})


def _some(world: World) -> None:
    world.put_all({f"collections/todos/records/t{n}": {"title": f"t{n}"} for n in range(3)})


# Each time in another session: what was pretended in one counts there as done.


@operation(dry=True)
async def dry_save_new(world: World, _: None) -> Any:
    return seen(await world.do(Todo(id="one", title="new")).save(session=world.dry()))


@operation(prepare=_one, dry=True, skips=2)
async def dry_save_changed(world: World, _: None) -> Any:
    todo = await world.do(Todo).get("one", session=world.dry())
    todo.done = True
    todo.permissions.grant("read", Everyone)
    await world.do(todo).save()
    return [seen(todo), seen(await world.do(todo).refresh())]


@operation(prepare=_one, dry=True, skips=3)
async def dry_delete(world: World, _: None) -> Any:
    session = world.dry()
    todo = await world.do(Todo).get("one", session=session)
    gone = await world.do(todo).delete()
    return [seen(gone), seen(await world.do(Todo).get_or_none("one", session=session))]


@operation(prepare=_some, dry=True, skips=5)
async def dry_save_all(world: World, _: None) -> Any:
    objects = [Todo(id=f"t{number}", title="new") for number in range(2, 5)]
    summary = await world.do(world.dry()).save_all(objects, existing="update")
    world.settle((each.target.uri, each.error) for each in summary.failed)
    return seen(summary)


@operation(prepare=_some, dry=True, skips=8)
async def dry_batch(world: World, _: None) -> Any:
    batch = world.dry().batch()
    async with world.do(batch):
        batch.save(Todo(id="new", title="new"))
        there = batch.get(Todo, "t1")
        batch.kv.set("key", 1)
    return [seen(there.result), [each.status for each in batch.outcomes]]


@operation(prepare=_some, dry=True, skips=5)
async def dry_query_update(world: World, _: None) -> Any:
    summary = await world.do(Todo.find(session=world.dry())).update(note="new")
    world.settle((each.target.uri, each.error) for each in summary.failed)
    return seen(summary)


@operation(prepare=only_stored, dry=True, skips=2)
async def dry_query_delete(world: World, _: None) -> Any:
    return await world.do(Todo.find(session=world.dry())).delete()


@operation(prepare=_some, dry=True, skips=8)
async def dry_sync(world: World, _: None) -> Any:
    given = [{"id": name, "title": "new"} for name in ("t0", "t4")]
    plan = await world.do(world.dry()).sync(Todo, given, delete_missing=True)
    world.settle((str(each), each.error) for each in plan.failed)
    if plan.stopped is not None:
        raise plan.stopped
    return sorted(str(each) for each in plan.changes)


def _keys(world: World) -> None:
    world.key("a", {"b": {"c": 1}, "list": [1, 2]})


@operation(prepare=_keys, dry=True, skips=3)
async def dry_kv(world: World, _: None) -> Any:
    kv = world.dry().kv
    await world.do(kv).__setitem__("a/b/d", 2)
    await world.do(kv).__setitem__("a/list/-", 3)
    return await world.do(kv).get("a")


@operation(dry=True, skips=4)
async def dry_kv_first_key(world: World, _: None) -> Any:
    kv = world.dry().kv
    await world.do(kv).__setitem__("a", 1)
    return await world.do(kv).get("a")


# A read below `/buckets/default` would make the collection.
@operation(dry=True, personal=True, skips=5)
async def dry_personal(world: World, _: None) -> Any:
    kv = world.dry().kv
    await world.do(kv).__setitem__("a", 1)
    return await world.do(kv).get("a")


@operation(prepare=_one, dry=True, skips=1)
async def dry_request(world: World, _: None) -> Any:
    session = world.dry()
    path = f"/buckets/{world.bucket}/{ONE}"
    put = await world.do(session).request("PUT", path, json={"data": {"title": "new"}})
    gone = await world.do(session).request("DELETE", path)
    return [put.object["data"]["title"], gone.object["data"]["deleted"]]


@operation(dry=True, skips=2)
async def dry_sync_schema(world: World, _: None) -> Any:
    return [each.applied for each in await world.do(world.dry()).sync_schema(Todo)]


def _changed(world: World) -> int:
    _some(world)
    _, answer = world.direct.ask("GET", f"/buckets/{world.bucket}/history?_limit=1")
    world.put("collections/todos/records/t1", {"title": "changed"})
    world.put("collections/todos/records/new", {"title": "new"})
    return int(answer["data"][0]["target"]["data"]["last_modified"])


@operation(prepare=_changed, dry=True, skips=8)
async def dry_bucket_restore(world: World, when: int) -> Any:
    bucket = await world.do(Bucket).get(world.bucket, session=world.dry())
    plan = await world.do(bucket).restore(when)
    world.settle((str(each), each.error) for each in plan.failed)
    if plan.stopped is not None:
        raise plan.stopped
    return sorted(str(each) for each in plan.changes)


@operation(prepare=_one, dry=True, skips=3)
async def dry_copy(world: World, _: None) -> Any:
    session = world.dry()
    todo = await world.do(Todo).get("one", session=session)
    return seen(await world.do(todo).copy_to(session, id="two"))
