"""Conflicts: what they know, how they merge, and writes that meet their own echo."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest

from both import AnySession, Place, do, either, either_wire, same_kind
from conftest import Wire
from kinto_orm import (
    Bucket,
    Collection,
    Conflict,
    Everyone,
    Group,
    NotFound,
    Record,
)

# On both sessions.
session = either
wire = either_wire

pytestmark = pytest.mark.usefixtures("session")


class Todo(Record, collection="todos"):
    title: str = ""
    done: bool = False
    tags: list[str] = []
    note: str | None = None


async def changed_elsewhere(todo: Todo, **fields: object) -> None:
    """Another writer changes fields of the same object."""
    theirs = await do(Todo.get, todo.id)
    for name, value in fields.items():
        setattr(theirs, name, value)
    await do(theirs.save)


async def conflict_of(act: Any, **options: Any) -> Conflict:
    """The Conflict that an act ends in."""
    with pytest.raises(Conflict) as raised:
        await do(act, **options)
    return raised.value


# What a conflict knows


async def test_stale_save_names_the_three_states_and_the_contested_fields() -> None:
    """A save over somebody else's change is refused and shows base, local, remote and fields."""
    todo = await do(Todo(title="base", note="n").save)
    await changed_elsewhere(todo, title="theirs", done=True)
    todo.title, todo.tags = "mine", ["x"]
    conflict = await conflict_of(todo.save)
    assert conflict.base.title == "base"
    assert conflict.local is todo
    assert todo.title == "mine"
    assert (conflict.remote.title, conflict.remote.done) == ("theirs", True)
    assert conflict.fields == {"title"}
    assert conflict.status == 412
    assert conflict.errno == 114


async def test_nothing_is_lost_by_a_refused_save() -> None:
    """After a Conflict both sides are as they were."""
    todo = await do(Todo(title="base").save)
    await changed_elsewhere(todo, title="theirs")
    todo.title = "mine"
    await conflict_of(todo.save)
    assert (await do(Todo.get, todo.id)).title == "theirs"
    assert todo.diff() == {"title": ("base", "mine")}


async def test_same_change_on_both_sides_is_not_contested() -> None:
    """A field that both sides set to one value is no disagreement."""
    todo = await do(Todo(title="base").save)
    await changed_elsewhere(todo, title="same", done=True)
    todo.title = "same"
    conflict = await conflict_of(todo.save)
    assert conflict.fields == frozenset()
    assert (await do(conflict.merge().save)).done is True


async def test_remote_of_a_conflict_can_be_saved() -> None:
    """The remote object is a loaded one: it can be changed and saved itself."""
    todo = await do(Todo(title="base").save)
    await changed_elsewhere(todo, title="theirs")
    todo.title = "mine"
    remote = (await conflict_of(todo.save)).remote
    remote.note = "taken from here"
    await do(remote.save)
    assert (await do(Todo.get, todo.id)).note == "taken from here"


async def test_contested_fields_go_by_their_names_in_the_program() -> None:
    """A field with a stored name of its own is named as the program knows it."""

    class Aliased(Record, collection="todos"):
        due_on: str = ""
        model_config = {"alias_generator": lambda name: name.replace("_", "-")}

    mine = await do(Aliased(due_on="a").save)
    theirs = await do(Aliased.get, mine.id)
    theirs.due_on = "b"
    await do(theirs.save)
    mine.due_on = "c"
    assert (await conflict_of(mine.save)).fields == {"due_on"}


async def test_conflict_of_untyped_records_names_any_field() -> None:
    """Untyped records have the same conflicts."""
    records = Collection(id="todos").records
    mine = await do(records.new(title="a", **{"due-date": "x"}).save)
    theirs = await do(records.get, mine.id)
    theirs["due-date"] = "y"
    await do(theirs.save)
    mine["due-date"] = "z"
    conflict = await conflict_of(mine.save)
    assert conflict.fields == {"due-date"}
    assert (await do(conflict.merge(prefer="local").save))["due-date"] == "z"


# Creations


async def test_create_over_an_existing_object_is_a_conflict() -> None:
    """A creation never overwrites; the Conflict has no base."""
    await do(Todo(id="taken", title="theirs", done=True).save)
    mine = Todo(id="taken", title="mine", note="x")
    conflict = await conflict_of(mine.save)
    assert conflict.base is None
    assert conflict.remote.title == "theirs"
    assert {"title", "done"} <= conflict.fields
    assert mine.is_new
    assert (await do(Todo.get, "taken")).title == "theirs"


@pytest.mark.parametrize(("prefer", "title"), [("local", "mine"), ("remote", "theirs")])
async def test_create_conflict_merges_into_what_is_there(prefer: Any, title: str) -> None:
    """After the merge a new object is an update of the one that was there."""
    await do(Todo(id="taken", title="theirs", note="kept").save)
    mine = Todo(id="taken", title="mine", tags=["x"])
    merged = (await conflict_of(mine.save)).merge(prefer=prefer)
    assert merged is mine
    assert not merged.is_new
    await do(merged.save)
    assert (await do(Todo.get, "taken")).title == title


async def test_create_conflict_with_a_session_of_the_call_only(session: AnySession) -> None:
    """A Conflict needs no current session when the call names one."""
    await do(Todo(id="taken", title="theirs").save)

    without_current = contextvars.Context()
    same_kind(without_current)
    creating = conflict_of(Todo(id="taken", title="mine").save, session=session)
    conflict = await asyncio.create_task(creating, context=without_current)
    assert conflict.remote.title == "theirs"


@pytest.mark.parametrize("kind", ["bucket", "collection", "group"])
async def test_creations_of_structure_are_guarded_too(kind: str, place: Place) -> None:
    """A bucket, a collection or a group is never overwritten by a creation either."""
    if kind == "bucket":
        id = place.new_id()
        first, again = Bucket(id=id, colour="red"), Bucket(id=id, colour="blue")
    elif kind == "collection":
        first, again = Collection(id="c", colour="red"), Collection(id="c", colour="blue")
    else:
        first, again = (  # type: ignore[assignment]
            Group(id="g", members=["account:a"]),
            Group(id="g", members=["account:b"]),
        )
    await do(first.save)
    assert (await conflict_of(again.save)).remote.last_modified == first.last_modified


# Merging


MERGES: list[tuple[dict[str, Any], dict[str, Any], Any, dict[str, Any] | None]] = [
    # local, remote, prefer, merged (None: the Conflict again)
    ({"title": "L"}, {"done": True}, None, {"title": "L", "done": True}),
    ({"title": "L"}, {"done": True}, "local", {"title": "L", "done": True}),
    ({"title": "L"}, {"done": True}, "remote", {"title": "L", "done": True}),
    ({"title": "L"}, {"title": "R"}, None, None),
    ({"title": "L"}, {"title": "R"}, "local", {"title": "L"}),
    ({"title": "L"}, {"title": "R"}, "remote", {"title": "R"}),
    ({"title": "L", "note": "l"}, {"title": "R", "done": True}, "remote",
     {"title": "R", "note": "l", "done": True}),
    ({"title": "L", "note": "l"}, {"title": "R", "done": True}, "local",
     {"title": "L", "note": "l", "done": True}),
    ({"tags": ["l"]}, {"tags": ["r"]}, None, None),
    ({"tags": ["l"]}, {"note": "r"}, None, {"tags": ["l"], "note": "r"}),
    ({"note": "l"}, {"note": "l"}, None, {"note": "l"}),
]  # fmt: skip


@pytest.mark.parametrize(("local", "remote", "prefer", "merged"), MERGES)
async def test_three_way_merge(
    local: dict[str, Any], remote: dict[str, Any], prefer: Any, merged: dict[str, Any] | None
) -> None:
    """Changes of different fields go together; `prefer` decides where both changed one."""
    todo = await do(Todo(title="base").save)
    await changed_elsewhere(todo, **remote)
    for name, value in local.items():
        setattr(todo, name, value)
    conflict = await conflict_of(todo.save)
    if merged is None:
        assert await conflict_of(conflict.merge) is conflict
        return
    assert conflict.merge(prefer=prefer) is todo
    await do(todo.save)
    stored = await do(Todo.get, todo.id)
    expected = Todo(title="base").model_dump(exclude={"id", "last_modified"}) | merged
    assert stored.model_dump(exclude={"id", "last_modified"}) == expected


async def test_failed_merge_leaves_the_object_alone() -> None:
    """A merge that nobody wins changes nothing, so that `prefer` can still be given."""
    todo = await do(Todo(title="base").save)
    await changed_elsewhere(todo, title="theirs", done=True)
    todo.title = "mine"
    conflict = await conflict_of(todo.save)
    await conflict_of(conflict.merge)
    assert (todo.title, todo.done) == ("mine", False)
    assert (await do(conflict.merge(prefer="local").save)).done is True


async def test_merged_object_sends_its_own_changes_only(wire: Wire) -> None:
    """What was taken from the server is not sent back."""
    todo = await do(Todo(title="base").save)
    await changed_elsewhere(todo, done=True)
    todo.title = "mine"
    merged = (await conflict_of(todo.save)).merge()
    assert merged.diff() == {"title": ("base", "mine")}
    await do(merged.save)
    assert wire.last.method == "PATCH"
    assert wire.body == {"data": {"title": "mine"}}


async def test_merge_that_prefers_the_server_leaves_nothing_to_send(wire: Wire) -> None:
    """When all that was changed is given up, the next save sends nothing."""
    todo = await do(Todo(title="base").save)
    await changed_elsewhere(todo, title="theirs")
    todo.title = "mine"
    merged = (await conflict_of(todo.save)).merge(prefer="remote")
    wire.clear()
    await do(merged.save)
    assert wire.methods == []
    assert merged.title == "theirs"


async def test_merge_is_guarded_by_the_version_it_merged() -> None:
    """A third writer between merge and save is noticed again."""
    todo = await do(Todo(title="base").save)
    await changed_elsewhere(todo, done=True)
    todo.title = "mine"
    merged = (await conflict_of(todo.save)).merge()
    await changed_elsewhere(todo, title="third")
    assert (await conflict_of(merged.save)).remote.title == "third"


async def test_merge_takes_fields_that_the_server_removed_or_added() -> None:
    """Fields of no model are merged as well: added ones come, removed ones go."""
    records = Collection(id="todos").records
    mine = await do(records.new(a=1, b=1).save)
    theirs = await do(records.get, mine.id)
    del theirs["a"]
    theirs["c"] = 3
    await do(theirs.save)
    mine["b"] = 2
    merged = await do((await conflict_of(mine.save)).merge().save)
    assert merged.model_extra == {"b": 2, "c": 3} == (await do(records.get, mine.id)).model_extra


async def test_merge_keeps_removals() -> None:
    """A field that was removed here stays removed."""
    records = Collection(id="todos").records
    mine = await do(records.new(a=1, b=1).save)
    theirs = await do(records.get, mine.id)
    theirs["b"] = 2
    await do(theirs.save)
    del mine["a"]
    await do((await conflict_of(mine.save)).merge().save)
    assert (await do(records.get, mine.id)).model_extra == {"b": 2}


async def test_merge_keeps_unsaved_grants() -> None:
    """Permissions that wait to be saved with the object survive a merge."""
    todo = await do(Todo(title="base").save)
    await changed_elsewhere(todo, done=True)
    todo.title = "mine"
    todo.permissions.grant("read", Everyone)
    await do((await conflict_of(todo.save)).merge().save)
    assert (await do(Todo.get, todo.id)).permissions.read == {Everyone}


async def test_merge_refuses_another_preference() -> None:
    """Only None, "local" and "remote" mean something."""
    todo = await do(Todo(title="base").save)
    await changed_elsewhere(todo, title="theirs")
    todo.title = "mine"
    conflict = await conflict_of(todo.save)
    with pytest.raises(ValueError, match="'local' or 'remote'"):
        conflict.merge(prefer="mine")  # type: ignore[arg-type]


# Objects that are gone


async def test_save_of_what_somebody_deleted() -> None:
    """A 404 on update is a Conflict with nothing remote."""
    todo = await do(Todo(title="base").save)
    await do((await do(Todo.get, todo.id)).delete)
    todo.title = "mine"
    conflict = await conflict_of(todo.save)
    assert conflict.remote is None
    assert conflict.base.title == "base"
    assert conflict.local is todo
    assert conflict.fields == frozenset()
    assert "gone" in str(conflict)


async def test_merge_with_what_is_gone() -> None:
    """It is created again only when "local" is preferred, with all its data."""
    todo = await do(Todo(title="base", note="kept").save)
    await do((await do(Todo.get, todo.id)).delete)
    todo.title = "mine"
    conflict = await conflict_of(todo.save)
    assert await conflict_of(conflict.merge) is conflict
    assert await conflict_of(lambda: conflict.merge(prefer="remote")) is conflict
    await do(conflict.merge(prefer="local").save)
    stored = await do(Todo.get, todo.id)
    assert (stored.title, stored.note) == ("mine", "kept")


async def test_save_of_what_this_program_deleted(wire: Wire) -> None:
    """Saving a deleted object is refused before anything is sent, and says what to do."""
    todo = await do(Todo(title="x").save)
    await do(todo.delete)
    wire.clear()
    conflict = await conflict_of(todo.save)
    assert conflict.remote is None
    assert "force=True" in str(conflict)
    assert wire.methods == []
    await do(todo.save, force=True)
    assert (await do(Todo.get, todo.id)).title == "x"


async def test_delete_of_what_changed() -> None:
    """A delete does not throw away what it has not seen."""
    todo = await do(Todo(title="base").save)
    await changed_elsewhere(todo, title="theirs")
    assert (await conflict_of(todo.delete)).remote.title == "theirs"
    assert (await do(Todo.get, todo.id)).title == "theirs"
    await do(todo.delete, force=True)
    assert await do(Todo.get_or_none, todo.id) is None


async def test_delete_of_what_is_gone() -> None:
    """A second delete is a Conflict, unless a missing object is all right."""
    todo = await do(Todo(title="base").save)
    await do((await do(Todo.get, todo.id)).delete)
    assert (await conflict_of(todo.delete)).remote is None
    tombstone = await do(todo.delete, missing_ok=True)
    assert (tombstone.id, tombstone.last_modified) == (todo.id, None)


async def test_refresh_of_what_is_gone() -> None:
    """There is nothing to take: NotFound names the object."""
    todo = await do(Todo(title="base").save)
    await do((await do(Todo.get, todo.id)).delete)
    with pytest.raises(NotFound, match=todo.id) as raised:
        await do(todo.refresh)
    assert raised.value.resource == "record"
    assert todo.title == "base"


async def test_a_conflict_merges_once() -> None:
    """Merging it again later would bring back what was true then."""
    todo = await do(Todo(id="x", title="base").save)
    await changed_elsewhere(todo, done=True)
    todo.title = "mine"
    conflict = await conflict_of(todo.save)
    await do(conflict.merge().save)
    await changed_elsewhere(todo, title="newer")
    await do(todo.refresh)
    assert await conflict_of(conflict.merge) is conflict
    assert todo.title == "newer"


async def test_merging_with_an_earlier_timestamp(session: AnySession) -> None:
    """What was deleted and made anew with an old stamp is what is there: a merge ends the race."""
    mine = await do(Todo(id="a", title="x").save)
    theirs = await do(Todo.get, "a")
    await do(theirs.delete)
    await do(Todo(id="a", title="anew").save, last_modified=5)
    mine.done = True
    with pytest.raises(Conflict) as refused:
        await do(mine.save)
    merged = refused.value.merge("local")
    assert merged is mine
    await do(mine.save)
    assert (await do(Todo.get, "a")).title in ("anew", "x")
    assert (await do(Todo.get, "a")).done is True
