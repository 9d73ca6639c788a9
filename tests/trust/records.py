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


def _stored(world: World) -> Todo:
    return world.todo()


def _changed(world: World) -> Todo:
    todo = world.todo()
    todo.done = True
    return todo


def _untyped(world: World) -> Record:
    world.put(ONE, {"title": "one", "deep": {"a": [1]}})
    record = Record.get("one", session=world.session.scoped(collection="todos"))
    record["deep"]["a"].append(2)
    record["any name"] = "x"
    return record


def _shorter(world: World) -> Record:
    world.put(ONE, {"title": "one", "extra": 1, "more": 2})
    record = Record.get("one", session=world.session.scoped(collection="todos"))
    del record["extra"]
    record["more"] = 3
    return record


def _new(world: World) -> Todo:
    todo = Todo(title="new")
    world.name(todo.id, "new")
    return todo


def _opened(world: World) -> Todo:
    world.put(ONE, {"title": "one"}, read=["system.Everyone", "basicauth:x"])
    return Todo.get("one", session=world.session)


def _revoked(world: World) -> Todo:
    todo = _opened(world)
    todo.permissions.revoke("read", Everyone)
    return todo


# Records, one by one


@operation(ONE, prepare=_stored)
def get(world: World, _: Todo) -> Any:
    return seen(Todo.get("one", session=world.session))


@operation(ONE, prepare=_stored)
def get_or_none_there(world: World, _: Todo) -> Any:
    return seen(Todo.get_or_none("one", session=world.session))


@operation(ONE)
def get_or_none_missing(world: World, _: None) -> Any:
    return seen(Todo.get_or_none("one", session=world.session))


@operation(ONE, prepare=_stored)
def get_or_create_there(world: World, _: Todo) -> Any:
    return seen(Todo.get_or_create("one", session=world.session, title="mine"))


@operation(ONE, claims=lambda result: bool(result[1]))
def get_or_create_missing(world: World, _: None) -> Any:
    return seen(Todo.get_or_create("one", session=world.session, title="mine"))


@operation(NEW, prepare=_new)
def save_new_random_id(world: World, todo: Todo) -> Any:
    return seen(todo.save(session=world.session))


@operation(ONE, prepare=lambda world: Todo(id="one", title="mine", tags=["x"]))
def save_new_fixed_id(world: World, todo: Todo) -> Any:
    return seen(todo.save(session=world.session))


@operation(
    ONE,
    prepare=lambda world: Todo(
        id="one", title="mine", permissions={"read": {Everyone}, "write": {"basicauth:b"}}
    ),
)
def save_new_with_permissions(world: World, todo: Todo) -> Any:
    return seen(todo.save(session=world.session))


@operation(ONE, prepare=_changed)
def save_changed(world: World, todo: Todo) -> Any:
    return seen(todo.save())


@operation(ONE, prepare=_untyped)
def save_changed_untyped(world: World, record: Record) -> Any:
    return seen(record.save())


@operation(ONE, prepare=_shorter)
def save_removed_field(world: World, record: Record) -> Any:
    return seen(record.save())


@operation(ONE, prepare=_revoked)
def save_revoking(world: World, todo: Todo) -> Any:
    return seen(todo.save())


def _changed_and_granted(world: World) -> Todo:
    todo = _opened(world)
    todo.title = "changed"
    todo.permissions.grant("write", "basicauth:b")
    todo.permissions.revoke("read", "basicauth:x")
    return todo


@operation(ONE, prepare=_changed_and_granted)
def save_changed_with_permissions(world: World, todo: Todo) -> Any:
    return seen(todo.save())


@operation(ONE, prepare=_changed, overwrites=True)
def save_force(world: World, todo: Todo) -> Any:
    return seen(todo.save(force=True))


@operation(ONE, prepare=_revoked, overwrites=True, steps=True)
def save_force_revoking(world: World, todo: Todo) -> Any:
    todo.title = "forced"
    return seen(todo.save(force=True))


@operation(ONE, prepare=_stored)
def session_save(world: World, todo: Todo) -> Any:
    todo.note = "x"
    world.session.save(todo)
    return seen(todo)


@operation(ONE, prepare=_stored)
def delete(world: World, todo: Todo) -> Any:
    return seen(todo.delete())


@operation(ONE, prepare=_stored, claims=nothing)
def delete_missing_ok(world: World, todo: Todo) -> Any:
    return seen(todo.delete(missing_ok=True))


@operation(ONE, prepare=_stored, overwrites=True)
def delete_force(world: World, todo: Todo) -> Any:
    return seen(todo.delete(force=True))


@operation(ONE, prepare=_stored)
def refresh_unchanged(world: World, todo: Todo) -> Any:
    return seen(todo.refresh())


def _outdated(world: World) -> Todo:
    todo = world.todo()
    world.put(ONE, {"title": "theirs", "tags": []})
    return todo


@operation(ONE, prepare=_outdated)
def refresh_changed(world: World, todo: Todo) -> Any:
    return seen(todo.refresh())


def _outdated_with_changes(world: World) -> Todo:
    todo = _outdated(world)
    todo.note = "mine"
    return todo


@operation(ONE, prepare=_outdated_with_changes, keeps=True)
def refresh_keep_changes(world: World, todo: Todo) -> Any:
    return seen(todo.refresh(keep_changes=True))


@operation(ONE, prepare=lambda world: world.put(ONE, {"title": "one"}))
def read_modify_save(world: World, _: None) -> Any:
    todo = Todo.get("one", session=world.session)
    todo.done = True
    return seen(todo.save())


# Permissions


@operation(ONE, prepare=_stored, claims=nothing)
def permissions_grant(world: World, todo: Todo) -> Any:
    todo.permissions.grant("read", Everyone).save()
    return seen(todo.permissions.read)


@operation(ONE, prepare=_opened, claims=nothing)
def permissions_revoke(world: World, todo: Todo) -> Any:
    todo.permissions.revoke("read", Everyone).save()
    return seen(todo.permissions.read)


def _listed(world: World) -> Todo:
    world.put(ONE, {"title": "one"}, read=["system.Everyone", "basicauth:x"])
    return Todo.find(session=world.session).one()


@operation(ONE, prepare=_listed, claims=nothing)
def permissions_grant_not_loaded(world: World, todo: Todo) -> Any:
    todo.permissions.grant("read", "basicauth:new").save()
    return None


@operation(ONE, prepare=_listed, claims=nothing)
def permissions_revoke_not_loaded(world: World, todo: Todo) -> Any:
    todo.permissions.revoke("read", Everyone).save()
    return seen(todo.permissions.read)


@operation(ONE, prepare=_listed)
def permissions_refresh(world: World, todo: Todo) -> Any:
    return seen(todo.permissions.refresh().read)


@operation(ONE, prepare=_opened, overwrites=True)
def permissions_delete(world: World, todo: Todo) -> Any:
    todo.permissions.delete()
    return None


@operation(
    "collections/todos",
    prepare=lambda world: Collection(id="todos", bucket=world.bucket).refresh(
        session=world.session
    ),
    claims=nothing,
)
def permissions_grant_record_create(world: World, collection: Collection) -> Any:
    collection.permissions.grant("record_create", "system.Authenticated").save()
    return seen(collection.permissions.record_create)
