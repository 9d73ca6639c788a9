"""Conflicts: what they know, how they merge, and writes that meet their own echo."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

import pytest

from conftest import Backend, Wire
from kinto_orm import (
    Bucket,
    Collection,
    Conflict,
    Everyone,
    Group,
    NotFound,
    Record,
    Session,
)

pytestmark = pytest.mark.usefixtures("session")


class Todo(Record, collection="todos"):
    title: str = ""
    done: bool = False
    tags: list[str] = []
    note: str | None = None


def changed_elsewhere(todo: Todo, **fields: object) -> None:
    """Another writer changes fields of the same object."""
    theirs = Todo.get(todo.id)
    for name, value in fields.items():
        setattr(theirs, name, value)
    theirs.save()


def conflict_of(act: Callable[[], Any]) -> Conflict:
    """The Conflict that an act ends in."""
    with pytest.raises(Conflict) as raised:
        act()
    return raised.value


# What a conflict knows


def test_stale_save_names_the_three_states_and_the_contested_fields() -> None:
    """A save over somebody else's change is refused and shows base, local, remote and fields."""
    todo = Todo(title="base", note="n").save()
    changed_elsewhere(todo, title="theirs", done=True)
    todo.title, todo.tags = "mine", ["x"]
    conflict = conflict_of(todo.save)
    assert conflict.base.title == "base"
    assert conflict.local is todo
    assert todo.title == "mine"
    assert (conflict.remote.title, conflict.remote.done) == ("theirs", True)
    assert conflict.fields == {"title"}
    assert conflict.status == 412
    assert conflict.errno == 114


def test_nothing_is_lost_by_a_refused_save() -> None:
    """After a Conflict both sides are as they were."""
    todo = Todo(title="base").save()
    changed_elsewhere(todo, title="theirs")
    todo.title = "mine"
    conflict_of(todo.save)
    assert Todo.get(todo.id).title == "theirs"
    assert todo.diff() == {"title": ("base", "mine")}


def test_same_change_on_both_sides_is_not_contested() -> None:
    """A field that both sides set to one value is no disagreement."""
    todo = Todo(title="base").save()
    changed_elsewhere(todo, title="same", done=True)
    todo.title = "same"
    conflict = conflict_of(todo.save)
    assert conflict.fields == frozenset()
    assert conflict.merge().save().done is True


def test_remote_of_a_conflict_can_be_saved() -> None:
    """The remote object is a loaded one: it can be changed and saved itself."""
    todo = Todo(title="base").save()
    changed_elsewhere(todo, title="theirs")
    todo.title = "mine"
    remote = conflict_of(todo.save).remote
    remote.note = "taken from here"
    remote.save()
    assert Todo.get(todo.id).note == "taken from here"


def test_contested_fields_go_by_their_names_in_the_program() -> None:
    """A field with a stored name of its own is named as the program knows it."""

    class Aliased(Record, collection="todos"):
        due_on: str = ""
        model_config = {"alias_generator": lambda name: name.replace("_", "-")}

    mine = Aliased(due_on="a").save()
    theirs = Aliased.get(mine.id)
    theirs.due_on = "b"
    theirs.save()
    mine.due_on = "c"
    assert conflict_of(mine.save).fields == {"due_on"}


def test_conflict_of_untyped_records_names_any_field() -> None:
    """Untyped records have the same conflicts."""
    records = Collection(id="todos").records
    mine = records.new(title="a", **{"due-date": "x"}).save()
    theirs = records.get(mine.id)
    theirs["due-date"] = "y"
    theirs.save()
    mine["due-date"] = "z"
    conflict = conflict_of(mine.save)
    assert conflict.fields == {"due-date"}
    assert conflict.merge(prefer="local").save()["due-date"] == "z"


# Creations


def test_create_over_an_existing_object_is_a_conflict() -> None:
    """A creation never overwrites; the Conflict has no base."""
    Todo(id="taken", title="theirs", done=True).save()
    mine = Todo(id="taken", title="mine", note="x")
    conflict = conflict_of(mine.save)
    assert conflict.base is None
    assert conflict.remote.title == "theirs"
    assert {"title", "done"} <= conflict.fields
    assert mine.is_new
    assert Todo.get("taken").title == "theirs"


@pytest.mark.parametrize(("prefer", "title"), [("local", "mine"), ("remote", "theirs")])
def test_create_conflict_merges_into_what_is_there(prefer: Any, title: str) -> None:
    """After the merge a new object is an update of the one that was there."""
    Todo(id="taken", title="theirs", note="kept").save()
    mine = Todo(id="taken", title="mine", tags=["x"])
    merged = conflict_of(mine.save).merge(prefer=prefer)
    assert merged is mine
    assert not merged.is_new
    merged.save()
    assert Todo.get("taken").title == title


def test_create_conflict_with_a_session_of_the_call_only(session: Session) -> None:
    """A Conflict needs no current session when the call names one."""
    Todo(id="taken", title="theirs").save()

    def create() -> Conflict:
        return conflict_of(lambda: Todo(id="taken", title="mine").save(session=session))

    conflict = contextvars.Context().run(create)
    assert conflict.remote.title == "theirs"


@pytest.mark.parametrize("kind", ["bucket", "collection", "group"])
def test_creations_of_structure_are_guarded_too(kind: str, backend: Backend) -> None:
    """A bucket, a collection or a group is never overwritten by a creation either."""
    if kind == "bucket":
        id = backend.new_id()
        first, again = Bucket(id=id, colour="red"), Bucket(id=id, colour="blue")
    elif kind == "collection":
        first, again = Collection(id="c", colour="red"), Collection(id="c", colour="blue")
    else:
        first, again = (  # type: ignore[assignment]
            Group(id="g", members=["account:a"]),
            Group(id="g", members=["account:b"]),
        )
    first.save()
    assert conflict_of(again.save).remote.last_modified == first.last_modified


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
def test_three_way_merge(
    local: dict[str, Any], remote: dict[str, Any], prefer: Any, merged: dict[str, Any] | None
) -> None:
    """Changes of different fields go together; `prefer` decides where both changed one."""
    todo = Todo(title="base").save()
    changed_elsewhere(todo, **remote)
    for name, value in local.items():
        setattr(todo, name, value)
    conflict = conflict_of(todo.save)
    if merged is None:
        assert conflict_of(conflict.merge) is conflict
        return
    assert conflict.merge(prefer=prefer) is todo
    todo.save()
    stored = Todo.get(todo.id)
    expected = Todo(title="base").model_dump(exclude={"id", "last_modified"}) | merged
    assert stored.model_dump(exclude={"id", "last_modified"}) == expected


def test_failed_merge_leaves_the_object_alone() -> None:
    """A merge that nobody wins changes nothing, so that `prefer` can still be given."""
    todo = Todo(title="base").save()
    changed_elsewhere(todo, title="theirs", done=True)
    todo.title = "mine"
    conflict = conflict_of(todo.save)
    conflict_of(conflict.merge)
    assert (todo.title, todo.done) == ("mine", False)
    assert conflict.merge(prefer="local").save().done is True


def test_merged_object_sends_its_own_changes_only(wire: Wire) -> None:
    """What was taken from the server is not sent back."""
    todo = Todo(title="base").save()
    changed_elsewhere(todo, done=True)
    todo.title = "mine"
    merged = conflict_of(todo.save).merge()
    assert merged.diff() == {"title": ("base", "mine")}
    merged.save()
    assert wire.last.method == "PATCH"
    assert wire.body == {"data": {"title": "mine"}}


def test_merge_that_prefers_the_server_leaves_nothing_to_send(wire: Wire) -> None:
    """When all that was changed is given up, the next save sends nothing."""
    todo = Todo(title="base").save()
    changed_elsewhere(todo, title="theirs")
    todo.title = "mine"
    merged = conflict_of(todo.save).merge(prefer="remote")
    wire.clear()
    merged.save()
    assert wire.methods == []
    assert merged.title == "theirs"


def test_merge_is_guarded_by_the_version_it_merged() -> None:
    """A third writer between merge and save is noticed again."""
    todo = Todo(title="base").save()
    changed_elsewhere(todo, done=True)
    todo.title = "mine"
    merged = conflict_of(todo.save).merge()
    changed_elsewhere(todo, title="third")
    assert conflict_of(merged.save).remote.title == "third"


def test_merge_takes_fields_that_the_server_removed_or_added() -> None:
    """Fields of no model are merged as well: added ones come, removed ones go."""
    records = Collection(id="todos").records
    mine = records.new(a=1, b=1).save()
    theirs = records.get(mine.id)
    del theirs["a"]
    theirs["c"] = 3
    theirs.save()
    mine["b"] = 2
    merged = conflict_of(mine.save).merge().save()
    assert merged.model_extra == {"b": 2, "c": 3} == records.get(mine.id).model_extra


def test_merge_keeps_removals() -> None:
    """A field that was removed here stays removed."""
    records = Collection(id="todos").records
    mine = records.new(a=1, b=1).save()
    theirs = records.get(mine.id)
    theirs["b"] = 2
    theirs.save()
    del mine["a"]
    conflict_of(mine.save).merge().save()
    assert records.get(mine.id).model_extra == {"b": 2}


def test_merge_keeps_unsaved_grants() -> None:
    """Permissions that wait to be saved with the object survive a merge."""
    todo = Todo(title="base").save()
    changed_elsewhere(todo, done=True)
    todo.title = "mine"
    todo.permissions.grant("read", Everyone)
    conflict_of(todo.save).merge().save()
    assert Todo.get(todo.id).permissions.read == {Everyone}


def test_merge_refuses_another_preference() -> None:
    """Only None, "local" and "remote" mean something."""
    todo = Todo(title="base").save()
    changed_elsewhere(todo, title="theirs")
    todo.title = "mine"
    conflict = conflict_of(todo.save)
    with pytest.raises(ValueError, match="'local' or 'remote'"):
        conflict.merge(prefer="mine")  # type: ignore[arg-type]


# Objects that are gone


def test_save_of_what_somebody_deleted() -> None:
    """A 404 on update is a Conflict with nothing remote."""
    todo = Todo(title="base").save()
    Todo.get(todo.id).delete()
    todo.title = "mine"
    conflict = conflict_of(todo.save)
    assert conflict.remote is None
    assert conflict.base.title == "base"
    assert conflict.local is todo
    assert conflict.fields == frozenset()
    assert "gone" in str(conflict)


def test_merge_with_what_is_gone() -> None:
    """It is created again only when "local" is preferred, with all its data."""
    todo = Todo(title="base", note="kept").save()
    Todo.get(todo.id).delete()
    todo.title = "mine"
    conflict = conflict_of(todo.save)
    assert conflict_of(conflict.merge) is conflict
    assert conflict_of(lambda: conflict.merge(prefer="remote")) is conflict
    conflict.merge(prefer="local").save()
    stored = Todo.get(todo.id)
    assert (stored.title, stored.note) == ("mine", "kept")


def test_save_of_what_this_program_deleted(wire: Wire) -> None:
    """Saving a deleted object is refused before anything is sent, and says what to do."""
    todo = Todo(title="x").save()
    todo.delete()
    wire.clear()
    conflict = conflict_of(todo.save)
    assert conflict.remote is None
    assert "force=True" in str(conflict)
    assert wire.methods == []
    todo.save(force=True)
    assert Todo.get(todo.id).title == "x"


def test_delete_of_what_changed() -> None:
    """A delete does not throw away what it has not seen."""
    todo = Todo(title="base").save()
    changed_elsewhere(todo, title="theirs")
    assert conflict_of(todo.delete).remote.title == "theirs"
    assert Todo.get(todo.id).title == "theirs"
    todo.delete(force=True)
    assert Todo.get_or_none(todo.id) is None


def test_delete_of_what_is_gone() -> None:
    """A second delete is a Conflict, unless a missing object is all right."""
    todo = Todo(title="base").save()
    Todo.get(todo.id).delete()
    assert conflict_of(todo.delete).remote is None
    tombstone = todo.delete(missing_ok=True)
    assert (tombstone.id, tombstone.last_modified) == (todo.id, None)


def test_refresh_of_what_is_gone() -> None:
    """There is nothing to take: NotFound names the object."""
    todo = Todo(title="base").save()
    Todo.get(todo.id).delete()
    with pytest.raises(NotFound, match=todo.id) as raised:
        todo.refresh()
    assert raised.value.resource == "record"
    assert todo.title == "base"


def test_a_conflict_merges_once() -> None:
    """Merging it again later would bring back what was true then."""
    todo = Todo(id="x", title="base").save()
    changed_elsewhere(todo, done=True)
    todo.title = "mine"
    conflict = conflict_of(todo.save)
    conflict.merge().save()
    changed_elsewhere(todo, title="newer")
    todo.refresh()
    assert conflict_of(conflict.merge) is conflict
    assert todo.title == "newer"
