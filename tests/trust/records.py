"""Records, one by one, and their permissions."""

from __future__ import annotations

from typing import Any

from kinto_orm import (
    Collection,
    Everyone,
    Record,
)
from trust.operation import NEW, ONE, nothing, operation
from trust.world import Todo, World, seen

# Prepared worlds


async def _stored(world: World) -> Todo:
    return await world.todo()


async def _changed(world: World) -> Todo:
    todo = await world.todo()
    todo.done = True
    return todo


async def _untyped(world: World) -> Record:
    world.put(ONE, {"title": "one", "deep": {"a": [1]}})
    record = await world.do(Record).get("one", session=world.session.scoped(collection="todos"))
    record["deep"]["a"].append(2)
    record["any name"] = "x"
    return record


async def _shorter(world: World) -> Record:
    world.put(ONE, {"title": "one", "extra": 1, "more": 2})
    record = await world.do(Record).get("one", session=world.session.scoped(collection="todos"))
    del record["extra"]
    record["more"] = 3
    return record


async def _new(world: World) -> Todo:
    todo = Todo(title="new")
    world.name(todo.id, "new")
    return todo


async def _opened(world: World) -> Todo:
    world.put(ONE, {"title": "one"}, read=["system.Everyone", "basicauth:x"])
    return await world.do(Todo).get("one", session=world.session)


async def _revoked(world: World) -> Todo:
    todo = await _opened(world)
    todo.permissions.revoke("read", Everyone)
    return todo


# Records, one by one


@operation(ONE, prepare=_stored)
async def get(world: World, _: Todo) -> Any:
    return seen(await world.do(Todo).get("one", session=world.session))


@operation(ONE, prepare=_stored)
async def get_or_none_there(world: World, _: Todo) -> Any:
    return seen(await world.do(Todo).get_or_none("one", session=world.session))


@operation(ONE)
async def get_or_none_missing(world: World, _: None) -> Any:
    return seen(await world.do(Todo).get_or_none("one", session=world.session))


@operation(ONE, prepare=_stored)
async def get_or_create_there(world: World, _: Todo) -> Any:
    return seen(await world.do(Todo).get_or_create("one", session=world.session, title="mine"))


@operation(ONE, claims=lambda result: bool(result[1]))
async def get_or_create_missing(world: World, _: None) -> Any:
    return seen(await world.do(Todo).get_or_create("one", session=world.session, title="mine"))


@operation(NEW, prepare=_new)
async def save_new_random_id(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).save(session=world.session))


@operation(ONE, prepare=lambda world: Todo(id="one", title="mine", tags=["x"]))
async def save_new_fixed_id(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).save(session=world.session))


@operation(
    ONE,
    prepare=lambda world: Todo(
        id="one", title="mine", permissions={"read": {Everyone}, "write": {"basicauth:b"}}
    ),
)
async def save_new_with_permissions(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).save(session=world.session))


@operation(ONE, prepare=_changed)
async def save_changed(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).save())


async def _saved_and_changed(world: World) -> Todo:
    todo = await world.todo()
    todo.done = True
    await world.do(todo).save()
    todo.note = "again"
    return todo


@operation(ONE, prepare=_saved_and_changed)
async def save_again(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).save())


async def _saved_and_granted(world: World) -> Todo:
    todo = await world.todo()
    await world.do(todo.permissions.grant("read", "basicauth:a")).save()
    return todo


@operation(ONE, prepare=_saved_and_granted, claims=nothing)
async def permissions_grant_again(world: World, todo: Todo) -> Any:
    await world.do(todo.permissions.grant("read", Everyone)).save()
    return seen(todo.permissions.read)


@operation(ONE, prepare=_untyped)
async def save_changed_untyped(world: World, record: Record) -> Any:
    return seen(await world.do(record).save())


@operation(ONE, prepare=_shorter)
async def save_removed_field(world: World, record: Record) -> Any:
    return seen(await world.do(record).save())


@operation(ONE, prepare=_revoked)
async def save_revoking(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).save())


async def _changed_and_granted(world: World) -> Todo:
    todo = await _opened(world)
    todo.title = "changed"
    todo.permissions.grant("write", "basicauth:b")
    todo.permissions.revoke("read", "basicauth:x")
    return todo


@operation(ONE, prepare=_changed_and_granted)
async def save_changed_with_permissions(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).save())


@operation(ONE, prepare=_changed, overwrites=True)
async def save_force(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).save(force=True))


@operation(ONE, prepare=_revoked, overwrites=True, steps=True)
async def save_force_revoking(world: World, todo: Todo) -> Any:
    todo.title = "forced"
    return seen(await world.do(todo).save(force=True))


@operation(ONE, prepare=_stored)
async def session_save(world: World, todo: Todo) -> Any:
    todo.note = "x"
    await world.do(world.session).save(todo)
    return seen(todo)


@operation(ONE, prepare=_stored)
async def delete(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).delete())


@operation(ONE, prepare=_stored, claims=nothing)
async def delete_missing_ok(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).delete(missing_ok=True))


@operation(ONE, prepare=_stored, overwrites=True)
async def delete_force(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).delete(force=True))


@operation(ONE, prepare=_stored)
async def refresh_unchanged(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).refresh())


async def _outdated(world: World) -> Todo:
    todo = await world.todo()
    world.put(ONE, {"title": "theirs", "tags": []})
    return todo


@operation(ONE, prepare=_outdated)
async def refresh_changed(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).refresh())


async def _outdated_with_changes(world: World) -> Todo:
    todo = await _outdated(world)
    todo.note = "mine"
    return todo


@operation(ONE, prepare=_outdated_with_changes, keeps=True)
async def refresh_keep_changes(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).refresh(keep_changes=True))


@operation(ONE, prepare=lambda world: world.put(ONE, {"title": "one"}))
async def read_modify_save(world: World, _: None) -> Any:
    todo = await world.do(Todo).get("one", session=world.session)
    todo.done = True
    return seen(await world.do(todo).save())


def _put(world: World) -> None:
    world.put(ONE, {"title": "one"})


@operation(ONE, prepare=_put, overwrites=True, claims=nothing)
async def patch(world: World, _: None) -> Any:
    return seen(await world.do(Todo).patch("one", session=world.session, note="mine"))


@operation(ONE, prepare=_put)
async def patch_if_match(world: World, _: None) -> Any:
    stamp = (await world.do(Todo).get("one", session=world.session)).last_modified
    return seen(
        await world.do(Todo).patch("one", session=world.session, note="mine", if_match=stamp)
    )


# What it sets may be there by somebody else when it looks again.
@operation(ONE, prepare=_put, claims=nothing)
async def modify(world: World, _: None) -> Any:
    return seen(
        await world.do(Todo).modify(
            "one", lambda todo: todo.assign(done=True), session=world.session
        )
    )


# Permissions


@operation(ONE, prepare=_stored, claims=nothing)
async def permissions_grant(world: World, todo: Todo) -> Any:
    await world.do(todo.permissions.grant("read", Everyone)).save()
    return seen(todo.permissions.read)


@operation(ONE, prepare=_opened, claims=nothing)
async def permissions_revoke(world: World, todo: Todo) -> Any:
    await world.do(todo.permissions.revoke("read", Everyone)).save()
    return seen(todo.permissions.read)


async def _listed(world: World) -> Todo:
    world.put(ONE, {"title": "one"}, read=["system.Everyone", "basicauth:x"])
    return await world.do(Todo.find(session=world.session)).one()


@operation(ONE, prepare=_listed, claims=nothing)
async def permissions_grant_not_loaded(world: World, todo: Todo) -> Any:
    await world.do(todo.permissions.grant("read", "basicauth:new")).save()
    return None


@operation(ONE, prepare=_listed, claims=nothing)
async def permissions_revoke_not_loaded(world: World, todo: Todo) -> Any:
    await world.do(todo.permissions.revoke("read", Everyone)).save()
    return seen(todo.permissions.read)


@operation(ONE, prepare=_listed)
async def permissions_refresh(world: World, todo: Todo) -> Any:
    return seen((await world.do(todo.permissions).refresh()).read)


@operation(ONE, prepare=_opened, overwrites=True)
async def permissions_delete(world: World, todo: Todo) -> Any:
    await world.do(todo.permissions).delete()
    return None


@operation(
    "collections/todos",
    prepare=lambda world: world.do(Collection(id="todos", bucket=world.bucket)).refresh(
        session=world.session
    ),
    claims=nothing,
)
async def permissions_grant_record_create(world: World, collection: Collection) -> Any:
    await world.do(collection.permissions.grant("record_create", "system.Authenticated")).save()
    return seen(collection.permissions.record_create)
