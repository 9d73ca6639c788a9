"""Making a collection equal to an iterable, and saying what that takes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pydantic import Field, ValidationError

from both import AnySession, Place, do, either, either_wire, entered, in_a_bucket, streamed
from conftest import Wire
from kinto_orm import (
    Bucket,
    ConfigurationError,
    InvalidData,
    NotFound,
    Record,
    Session,
    SyncChange,
    SyncPlan,
)

# On both sessions.
session = either
wire = either_wire


class Todo(Record, collection="todos"):
    title: str
    nick: str | None = Field(default=None, alias="nickName")


async def ids(session: AnySession) -> list[str]:
    return [each.id for each in await do(Todo.find().all)]


@pytest.fixture
async def three(session: AnySession) -> list[Todo]:
    given = [Todo(id=name, title=name) for name in "abc"]
    await do(session.save_all, given)
    return given


def writes(wire: Wire) -> list[Any]:
    return [each for each in wire.requests if each.method != "GET"]


GIVEN = [
    {"id": "a", "title": "a"},
    {"id": "b", "title": "new", "nickName": "n"},
    {"id": "d", "title": "d"},
]
PLAN = """\
Todo: 1 created, 1 updated, 1 unchanged, 1 deleted
  ~ b: title, nick
  + d
  - c"""


async def test_it_becomes_equal(session: AnySession, three: list[Todo]) -> None:
    """What is missing is created, what differs updated, what is too much deleted."""
    plan = await do(session.sync, Todo, GIVEN, delete_missing=True)
    assert str(plan) == PLAN
    assert (plan.created, plan.updated, plan.unchanged, plan.deleted, plan.total) == (1, 1, 1, 1, 4)
    assert plan.changes == [
        SyncChange("update", "b", ("title", "nick")),
        SyncChange("create", "d"),
        SyncChange("delete", "c"),
    ]
    assert await ids(session) == ["a", "b", "d"]
    again = await do(session.sync, Todo, GIVEN, delete_missing=True)
    assert str(again) == "Todo: 3 unchanged"
    assert isinstance(again, SyncPlan)


async def test_nothing_is_deleted_unless_it_is_asked_for(
    session: AnySession, three: list[Todo]
) -> None:
    """By default what was not given stays."""
    plan = await do(session.sync, Todo, [Todo(id="a", title="x")])
    assert str(plan) == "Todo: 1 updated\n  ~ a: title"
    assert await ids(session) == ["a", "b", "c"]


class Task(Record, collection="todos"):
    title: str
    done: bool = False
    note: str | None = None
    tags: list[str] = Field(default_factory=list)


async def test_an_object_has_its_defaults(session: AnySession) -> None:
    """What is to be equal to it has them; None, what a factory makes, and a row say nothing."""
    await do(session.save_all, [Task(id=name, title=name) for name in "ab"])
    changed = [Task(id=name, title=name, done=True, note="n", tags=["t"]) for name in "ab"]
    await do(session.save_all, changed, existing="update")
    plan = await do(session.sync, Task, [Task(id="a", title="a"), {"id": "b", "title": "b"}])
    assert str(plan) == "Task: 1 updated, 1 unchanged\n  ~ a: done"
    a, b = await do(Task.find().all)
    assert (a.done, a.note, a.tags) == (False, "n", ["t"])
    assert (b.done, b.note, b.tags) == (True, "n", ["t"])


async def test_a_dry_run(wire: Wire) -> None:
    """It says the same, writes nothing, and leaves what was given as it was."""
    session = wire.session
    await do(session.save_all, [Todo(id=name, title=name) for name in "abc"])
    wire.clear()
    given = [Todo(**each) for each in GIVEN]
    plan = await do(session.sync, Todo, given, delete_missing=True, dry_run=True)
    assert not writes(wire)
    first, *rest = str(plan).splitlines()
    assert first == f"{PLAN.splitlines()[0]} (a dry run: nothing was written)"
    assert rest == PLAN.splitlines()[1:]
    assert plan.dry_run
    assert all(each.is_new for each in given)
    assert str(await do(session.sync, Todo, given, delete_missing=True)) == PLAN


async def test_a_dry_run_where_nothing_is(session: AnySession, place: Place) -> None:
    """It promises nothing that would fail, and makes no collection."""

    class Lost(Record, collection="lost"):
        n: int = 0

    with pytest.raises(NotFound, match="collection"):
        await do(session.sync, Lost, [Lost(id="a")], dry_run=True)
    plan = await do(session.sync, Lost, [Lost(id="a")], delete_missing=True)
    assert len(plan.failed) == 1
    name = place.new_id()
    async with entered(place.session(bucket="default", collection=name)) as personal:
        given = [Record(id="a")]
        plan = await do(personal.sync, Record, given, dry_run=True, delete_missing=True)
        assert plan.created == 1
        bucket = await do(Bucket.get, "default", session=personal)
        assert name not in [each.id for each in await do(bucket.collections.find().all)]
        assert (await do(personal.sync, Record, given)).created == 1


async def test_what_fails_keeps_the_rest(session: AnySession, three: list[Todo]) -> None:
    """When something failed, nothing is deleted: what failed may be what was missing."""
    given: list[Any] = [*GIVEN, {"id": "c"}, Todo(title="no id"), 5, Record(id="r")]
    plan = await do(session.sync, Todo, given, delete_missing=True)
    assert [type(each.error) for each in plan.failed] == [
        ValidationError,
        InvalidData,
        TypeError,
        TypeError,
    ]
    assert plan.failed[0].target == {"id": "c"}
    assert (plan.kept, plan.deleted) == (1, 0)
    assert str(plan).endswith("1 not deleted, because something failed")
    assert await ids(session) == ["a", "b", "c", "d"]
    with pytest.raises(ValidationError):
        await do(session.sync, Todo, given, on_error="raise")


async def test_any_iterable(session: AnySession) -> None:
    """Also one that is awaited; it is read once."""

    async def many() -> AsyncIterator[Todo]:
        for n in range(120):
            yield Todo(id=f"t{n:03}", title="x")

    plan = await do(session.sync, Todo, streamed(many()), workers=2, delete_missing=True)
    assert plan.created == 120
    assert len(str(plan).splitlines()) == 102
    assert str(plan).endswith("and 20 more")
    assert str(await do(session.sync, Todo, streamed(many()), delete_missing=True)) == (
        "Todo: 120 unchanged"
    )
    assert (await do(session.sync, Todo, [], delete_missing=True)).deleted == 120


async def test_objects_of_another_place(session: AnySession, place: Place) -> None:
    """Those that live elsewhere are copied here; those of another collection are refused."""
    await do(session.save_all, [Todo(id="a", title="a")])
    async with in_a_bucket(place) as other:
        found = await do(Todo.find(session=session).all)
        assert (await do(other.sync, Todo, found, delete_missing=True)).created == 1
        found = await do(Todo.find(session=session).all)
        assert str(await do(other.sync, Todo, found, delete_missing=True)) == "Todo: 1 unchanged"

    class Done(Todo, collection="done"):
        pass

    plan = await do(session.sync, Todo, [Done(id="x", title="x")], delete_missing=True)
    assert isinstance(plan.failed[0].error, ConfigurationError)
    assert "done/records" in str(plan.failed[0].error)


async def test_permissions_become_equal(wire: Wire) -> None:
    """Those that are given, one by one; those that are not given stay. Then nothing is sent."""
    me = (await do(wire.session.server_info)).user["id"]
    given = {"read": ["system.Everyone"], "write": ["w"]}
    await do(Todo(id="a", title="a", permissions=given).save)
    for wanted, left in (
        ({"read": ["r"]}, ({"r"}, {me, "w"})),
        ({"read": [], "write": []}, (set(), {me})),
        ({}, (set(), {me})),
    ):
        objects = [Todo(id="a", title="a", permissions=wanted)]
        await do(wire.session.sync, Todo, objects)
        todo = await do(Todo.get, "a")
        assert (todo.permissions.read, todo.permissions.write) == left
        wire.clear()
        again = [Todo(id="a", title="a", permissions=wanted)]
        assert str(await do(wire.session.sync, Todo, again)) == "Todo: 1 unchanged"
        assert not writes(wire)


async def test_replacing(wire: Wire) -> None:
    """It takes away what only the server has, names it, and says all of it in a dry run."""
    session = wire.session
    await do(Record(id="a", title="a", more=1).save, session=session.scoped(collection="todos"))
    given = [{"id": "a", "title": "new"}]
    assert str(await do(session.sync, Todo, given)) == "Todo: 1 updated\n  ~ a: title"
    wire.clear()
    options = {"existing": "replace"}
    plan = await do(session.sync, Todo, given, dry_run=True, **options)
    assert [str(each) for each in plan.changes] == ["~ a: nick, more"]
    assert not writes(wire)
    plan = await do(session.sync, Todo, given, **options)
    assert [str(each) for each in plan.changes] == ["~ a: nick, more"]
    assert (await do(Todo.get, "a")).model_extra == {}
    assert str(await do(session.sync, Todo, given, **options)) == "Todo: 1 unchanged"
    with pytest.raises(ValueError, match="'update' or 'replace'"):
        await do(session.sync, Todo, given, existing="skip")


@pytest.mark.parametrize("existing", ["update", "replace"])
async def test_copies_between_collections_with_schemas(session: AnySession, existing: str) -> None:
    """What the server adds to records differs there, and is no difference."""

    class Copied(Record, collection="copies"):
        title: str
        n: int = 0

    await do(session.sync_schema, Todo)
    await do(session.sync_schema, Copied)
    here, there = session.scoped(collection="todos"), session.scoped(collection="copies")
    await do(here.save_all, [Record(id=name, title=name) for name in "ab"])
    for said in ("2 created", "2 unchanged"):
        found = await do(Record.find(session=here).all)
        plan = await do(there.sync, Record, found, existing=existing)
        assert str(plan).startswith(f"Record: {said}")


async def test_permissions_are_named(session: AnySession, three: list[Todo]) -> None:
    """What a JSON-Patch changes is named, too."""
    three[0].permissions.grant("read", "system.Everyone")
    three[0].title = "x"
    plan = await do(session.sync, Todo, three)
    assert plan.changes == [SyncChange("update", "a", ("title", "permissions"))]


async def test_what_is_no_model(session: AnySession) -> None:
    """It is refused at once."""
    with pytest.raises(TypeError, match="class of a model"):
        await do(session.sync, "todos", [])
    with pytest.raises(TypeError, match="iterable"):
        await do(session.sync, Todo, {"id": "a"})


async def test_what_is_added_meanwhile_stays(
    session: AnySession, place: Place, three: list[Todo]
) -> None:
    """What another writer adds or changes while it runs was not there, and is named."""

    def meanwhile() -> Iterator[Todo]:
        yield Todo(id="a", title="a")
        auth = {"auth": ("tests", "s3cret")} if place.name == "http" else {}
        with Session(place.url, bucket=session.bucket, **auth) as other:
            Todo(id="theirs", title="x").save(session=other)
            Todo.get("c", session=other).assign(title="new").save()

    plan = await do(session.sync, Todo, meanwhile(), delete_missing=True)
    assert (plan.deleted, plan.left) == (1, ["c", "theirs"])
    assert "not deleted, because somebody wrote it meanwhile: c, theirs" in str(plan)
    assert await ids(session) == ["a", "c", "theirs"]


async def test_the_bucket_by_both_of_its_names(place: Place) -> None:
    """The personal bucket has two ids, and is one bucket."""
    async with entered(place.session(bucket="default", collection="mine")) as personal:
        await do(Record(id="a", n=1).save)
        mine = await do(Bucket.get, "default")
        for given in (Bucket(id="default"), Bucket(id=mine.id)):
            plan = await do(personal.sync, Bucket, [given], delete_missing=True, dry_run=True)
            assert mine.id not in [c.id for c in plan.changes if c.action == "delete"]


@pytest.mark.parametrize("existing", ["update", "replace"])
async def test_a_dry_run_calls_no_hook_of_any_kind(wire: Wire, existing: str) -> None:
    """Not of what is new, there, changed, gone or elsewhere, not of mappings and deletions."""
    called: list[str] = []

    class Hooked(Record, collection="todos"):
        title: str = ""

        def before_save(self) -> None:
            called.append(f"before_save {self.id}")

        def after_save(self) -> None:
            called.append(f"after_save {self.id}")

        def before_delete(self) -> None:
            called.append(f"before_delete {self.id}")

        def after_delete(self) -> None:
            called.append(f"after_delete {self.id}")

    session = wire.session
    await do(session.save_all, [Todo(id=name, title=name) for name in "abcde"])
    changed, gone = await do(Hooked.get, "b"), await do(Hooked.get, "c")
    changed.title = "mine"
    await do((await do(Todo.get, "c")).delete)
    other = session.scoped(bucket=f"{session.bucket}-copy")
    await do(other.sync_schema, Todo)
    await do(other.save_all, [Todo(id=name, title=name) for name in "fg"])
    moved = await do(Hooked.find(session=other).all)
    called.clear()
    wire.clear()
    given: list[Any] = [Hooked(id="a", title="n"), changed, gone, *moved]
    given += [{"id": "d", "title": "n"}, {"id": "h"}]
    plan = await do(
        session.sync, Hooked, given, delete_missing=True, dry_run=True, existing=existing
    )
    assert (plan.created, plan.updated, plan.deleted) == (4, 3, 1)
    assert (called, writes(wire)) == ([], [])
    await do(session.sync, Hooked, given, delete_missing=True, existing=existing)
    acts = [("save", id) for id in "abcdfgh"] + [("delete", "e")]
    hooks = [f"{time}_{act} {id}" for act, id in acts for time in ("before", "after")]
    assert sorted(called) == sorted(hooks)


async def test_a_dry_run_calls_no_hooks(wire: Wire) -> None:
    """They might write; and nothing that was given is changed, down to its lists."""

    class Hooked(Record, collection="todos"):
        tags: list[str] = []

        def before_save(self) -> None:
            self.tags.append("hooked")
            called.append(self.id)

        def after_save(self) -> None:
            called.append(self.id)

    called: list[str] = []
    session = wire.session
    await do(session.save_all, [Hooked(id=name, tags=["x"]) for name in "ab"])
    called.clear()
    wire.clear()
    loaded = await do(Hooked.get, "a")
    loaded.tags.append("mine")
    given: list[Any] = [loaded, Hooked(id="b", tags=[]), Hooked(id="c"), {"id": "d"}]
    for existing in ("update", "replace"):
        plan = await do(session.sync, Hooked, given, dry_run=True, existing=existing)
        assert sorted(each.id for each in plan.changes) == ["a", "b", "c", "d"]
    assert not called
    assert not writes(wire)
    assert (loaded.tags, given[1].tags) == (["x", "hooked", "mine"], [])
    await do(session.sync, Hooked, given)
    assert sorted(called) == sorted("abcd" * 2)
