"""What was, and bringing it back."""

from __future__ import annotations

from typing import Any

from kinto_orm import Bucket, Collection, Template
from trust.operation import KEY, ONE, TEMPLATE, nothing, operation
from trust.world import Todo, World, seen

T1 = "collections/todos/records/t1"


def _at(world: World) -> int:
    """A time after all that was done until now."""
    _, answer = world.direct.ask("GET", f"/buckets/{world.bucket}/history?_limit=1")
    return int(answer["data"][0]["target"]["data"]["last_modified"])


def _delete(world: World, *paths: str) -> None:
    for each in paths:
        world.direct.ask("DELETE", f"/buckets/{world.bucket}/{each}")


async def _revised(world: World) -> Todo:
    todo = await world.todo()
    world.put(ONE, {"title": "second"})
    return todo


def _deleted(world: World) -> None:
    world.put(ONE, {"title": "one", "extra": 1})
    _delete(world, ONE)


async def _twice(world: World) -> tuple[Todo, int | None]:
    first = await _revised(world)
    return await world.do(Todo).get("one", session=world.session), first.last_modified


@operation(prepare=_twice)
async def record_at(world: World, subject: tuple[Todo, int]) -> Any:
    return seen(await world.do(subject[0]).at(subject[1]))


@operation(prepare=_deleted)
async def deleted(world: World, _: None) -> Any:
    found = world.do(Todo).deleted(session=world.session)
    return [[each.id, seen(each.object)] async for each in found]


@operation(ONE, prepare=_deleted)
async def restore(world: World, _: None) -> Any:
    return seen(await world.do(Todo).restore("one", session=world.session))


async def _first(world: World) -> int | None:
    return (await _revised(world)).last_modified


@operation(ONE, prepare=_first, undoes=True)
async def restore_at(world: World, when: int) -> Any:
    return seen(await world.do(Todo).restore("one", at=when, session=world.session))


async def _first_and_changes(world: World) -> Collection:
    when = await _first(world)
    world.put("collections/todos/records/new", {"title": "new"})
    return Collection(id="todos", bucket=world.bucket, when=when)


@operation(prepare=_first_and_changes, skips=1)
async def snapshot(world: World, collection: Collection) -> Any:
    found = world.do(collection).snapshot(collection["when"], session=world.session)
    return sorted(seen(each)["title"] for each in await found)


# The history itself is nothing that Kinto has a past of: what is left of it is looked at.


async def _past_bucket(world: World) -> Bucket:
    for number in range(3):
        world.put(f"collections/todos/records/t{number}", {"title": f"t{number}"})
    return await _bucket(world)


def _entries(world: World) -> int:
    return len(world.direct.ask("GET", f"/buckets/{world.bucket}/history")[1]["data"])


@operation(prepare=_past_bucket)
async def history_purge(world: World, bucket: Bucket) -> Any:
    await world.do(await world.do(bucket).history()).delete()
    return _entries(world)


# Templates


async def _template(world: World) -> tuple[Template, int]:
    world.template("page", "first")
    when = _at(world)
    world.template("page", "second")
    return await world.do(Template).get("page", session=world.session), when


@operation(TEMPLATE, prepare=_template, skips=2)
async def template_revert(world: World, subject: tuple[Template, int]) -> Any:
    return seen(await world.do(subject[0]).revert(subject[1]))


def _deleted_template(world: World) -> None:
    world.template("page", "first")
    _delete(world, TEMPLATE)


@operation(TEMPLATE, prepare=_deleted_template, skips=3)
async def template_restore(world: World, _: None) -> Any:
    return seen(await world.do(Template).restore("page", session=world.session))


# A whole bucket


Subject = tuple[Bucket, int]


async def _bucket(world: World) -> Bucket:
    """The bucket, over a session that knows what the server can do."""
    await world.do(world.session).server_info()
    return await world.do(Bucket).get(world.bucket, session=world.session)  # type: ignore[no-any-return]


async def _changed_records(world: World) -> Subject:
    for number in range(3):
        world.put(f"collections/todos/records/t{number}", {"title": f"t{number}"})
    when = _at(world)
    world.put(T1, {"title": "changed"})
    _delete(world, "collections/todos/records/t2")
    world.put("collections/todos/records/new", {"title": "new"})
    return await _bucket(world), when


async def _changed_parents(world: World) -> Subject:
    world.put("groups/g", {"members": ["basicauth:a"]})
    when = _at(world)
    world.put("groups/g", {"members": []})
    return await _bucket(world), when


async def _made_collection(world: World) -> Subject:
    when = _at(world)
    world.put("collections/made", {})
    return await _bucket(world), when


async def _dropped_collection(world: World) -> Subject:
    for number in range(3):
        world.put(f"collections/todos/records/t{number}", {"title": f"t{number}"})
    when = _at(world)
    _delete(world, "collections/todos")
    return await _bucket(world), when


def _told(world: World, plan: Any) -> Any:
    """Raise what failed, and what ended it; note what was done."""
    failed = [each.error for each in plan.failed] + [plan.stopped] * (plan.stopped is not None)
    if failed:
        world.done |= {each.id for each in plan.changes}
        raise ExceptionGroup("some failed", failed)
    return sorted(str(each) for each in plan.changes)


@operation(T1, prepare=_changed_records, undoes=True)
async def bucket_restore(world: World, subject: Subject) -> Any:
    return _told(world, await world.do(subject[0]).restore(subject[1]))


@operation(
    "collections/todos/records/new",
    prepare=_changed_records,
    undoes=True,
    skips=2,
    claims=nothing,
)
async def bucket_restore_deleting(world: World, subject: Subject) -> Any:
    return _told(world, await world.do(subject[0]).restore(subject[1], workers=2))


@operation("groups/g", prepare=_changed_parents, undoes=True, skips=2)
async def bucket_restore_parents(world: World, subject: Subject) -> Any:
    return _told(world, await world.do(subject[0]).restore(subject[1]))


@operation("collections/made", prepare=_made_collection, undoes=True, claims=nothing)
async def bucket_restore_made(world: World, subject: Subject) -> Any:
    return _told(world, await world.do(subject[0]).restore(subject[1]))


@operation(T1, prepare=_dropped_collection, undoes=True, skips=6)
async def bucket_restore_collection(world: World, subject: Subject) -> Any:
    return _told(world, await world.do(subject[0]).restore(subject[1]))


@operation(prepare=_dropped_collection)
async def bucket_restore_dry_run(world: World, subject: Subject) -> Any:
    return _told(world, await world.do(subject[0]).restore(subject[1], dry_run=True))


# Key values


def _versions(world: World) -> int:
    world.key("a", {"b": 1})
    when = _at(world)
    world.key("a", {"b": 2, "c": 3})
    return when


@operation(prepare=_versions)
async def kv_history(world: World, _: int) -> Any:
    found = world.do(world.session.kv).history("a/b")
    return [[each.value, each.exists] async for each in found]


@operation(prepare=_versions)
async def kv_at(world: World, when: int) -> Any:
    return dict(await world.do(world.session.kv).at(when))


@operation(KEY, prepare=_versions, claims=nothing, undoes=True)
async def kv_revert(world: World, when: int) -> Any:
    await world.do(world.session.kv).revert("a/b", when)


@operation(KEY, prepare=_versions, overwrites=True)
async def kv_revert_root(world: World, when: int) -> Any:
    await world.do(world.session.kv).revert("a", when)
