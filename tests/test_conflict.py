"""Conflicts: what they know, how they merge, and writes that meet their own echo."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from conftest import Backend, Wire
from faults import FaultyServer, answer_halved, answer_lost
from kinto_orm import (
    Bucket,
    Collection,
    Conflict,
    ConnectFailed,
    Everyone,
    Group,
    NotFound,
    Permissions,
    Record,
    Retry,
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


# Lost answers


LOST = [answer_lost, answer_halved]
FAST = Retry(deadline=5, backoff_factor=0.001)


@pytest.fixture
def lossy(proxy: FaultyServer, wire: Wire) -> Iterator[FaultyServer]:
    """The current session goes through the proxy, into the bucket of `wire`."""
    with Session(proxy.url, auth="alice:s3cret", bucket=wire.session.bucket, retry=FAST):
        proxy.received.clear()
        yield proxy


@pytest.mark.parametrize("fault", LOST)
@pytest.mark.parametrize("id", ["chosen", None])
def test_create_whose_answer_was_lost_recognises_its_own_write(
    lossy: FaultyServer, fault: Any, id: str | None
) -> None:
    """The repeated creation meets its own write and is content."""
    todo = Todo(id=id, title="x", tags=["a"])  # type: ignore[arg-type]
    lossy.answers.append(fault)
    todo.save()
    assert lossy.methods == ["PUT", "PUT"]
    assert not todo.is_new
    assert todo.diff() == {}
    stored = Todo.get(todo.id)
    assert stored == todo
    assert Todo.find().count() == 1


@pytest.mark.parametrize("fault", LOST)
def test_update_whose_answer_was_lost_recognises_its_own_write(
    lossy: FaultyServer, fault: Any
) -> None:
    """The repeated PATCH meets its own write and is content; the next save goes on from it."""
    todo = Todo(id="x", title="old").save()
    lossy.answers.append(fault)
    todo.title = "new"
    todo.save()
    assert lossy.methods == ["PUT", "PATCH", "PATCH"]
    assert Todo.get("x") == todo
    todo.done = True
    todo.save()
    assert Todo.get("x").done is True


def test_removal_whose_answer_was_lost_recognises_its_own_write(lossy: FaultyServer) -> None:
    """The same for a JSON-Patch."""
    records = Collection(id="todos").records
    record = records.new(id="x", a=1, b=2).save()
    lossy.answers.append(answer_lost)
    del record["a"]
    record["b"] = 3
    record.save()
    assert records.get("x").model_extra == {"b": 3} == record.model_extra


@pytest.mark.parametrize("fault", LOST)
def test_delete_whose_answer_was_lost_is_a_delete(lossy: FaultyServer, fault: Any) -> None:
    """The repeated DELETE finds nothing and is content."""
    todo = Todo(id="x").save()
    lossy.answers.append(fault)
    assert todo.delete().id == "x"
    assert lossy.methods == ["PUT", "DELETE", "DELETE"]
    assert Todo.get_or_none("x") is None


def test_lost_answer_and_another_writer_is_still_a_conflict(
    lossy: FaultyServer, wire: Wire
) -> None:
    """Only an object that is what was sent counts as the own write."""
    todo = Todo(id="x", title="old").save()

    def overtaken(exchange: Any) -> None:
        answer_lost(exchange)
        theirs = Todo.get("x", session=wire.session)
        theirs.note = "theirs"
        theirs.save()

    lossy.answers.append(overtaken)
    todo.title = "mine"
    assert conflict_of(todo.save).remote.note == "theirs"


def test_creation_by_hand_again_after_a_lost_answer(lossy: FaultyServer, wire: Wire) -> None:
    """Without retries the program may call save() again: a random id is nobody else's."""
    with Session(lossy.url, auth="alice:s3cret", bucket=wire.session.bucket, retry=None):
        todo = Todo(title="x")
        lossy.answers.append(answer_lost)
        with pytest.raises(ConnectFailed):
            todo.save()
        assert todo.is_new
        todo.save()
        assert Todo.find().count() == 1


def test_creation_with_permissions_whose_answer_was_lost(lossy: FaultyServer) -> None:
    """The permissions were stored with the first attempt; they are unknown until refreshed."""
    todo = Todo(title="x", permissions=Permissions(read={Everyone}))
    lossy.answers.append(answer_lost)
    todo.save()
    assert not todo.permissions.is_loaded
    assert todo.permissions.refresh().read == {Everyone}


def test_merge_after_an_answer_that_was_lost_for_good(lossy: FaultyServer, wire: Wire) -> None:
    """Without retries, saving the same change again is a Conflict that merges to nothing."""
    with Session(lossy.url, auth="alice:s3cret", bucket=wire.session.bucket, retry=None):
        todo = Todo(id="x", title="old").save()
        lossy.answers.append(answer_lost)
        todo.title = "new"
        with pytest.raises(ConnectFailed):
            todo.save()
        conflict = conflict_of(todo.save)
        assert conflict.fields == frozenset()
        assert conflict.merge().diff() == {}
