"""What was deleted, and how it is brought back, without an object in hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar, Literal

import pytest
from pydantic import BaseModel

from bare import bare_session
from both import AnySession, do, either
from kinto_orm import (
    Bucket,
    Conflict,
    Deletion,
    Everyone,
    HistoryEntry,
    InvalidData,
    NotFound,
    Record,
    Template,
    Unsupported,
)

# On both sessions.
session = either


class Inner(BaseModel):
    a: int = 0


class Todo(Record, collection="todos", extra="allow"):
    title: str
    inner: Inner = Inner()


class Other(Record, collection="other"):
    title: str


async def deleted(model: type[Record] = Todo) -> list[Deletion[Record]]:
    return list(await do(model.deleted))


async def test_what_was_deleted(session: AnySession) -> None:
    """Each object as it was before, when it was deleted and by whom; the newest deletion first."""
    for name in "abcd":
        todo = await do(Todo(id=name, title="first").save)
        todo.title = f"last {name}"
        await do(todo.save)
        if name != "d":
            tombstone = await do(todo.delete)
    found = await deleted()
    assert [each.id for each in found] == ["c", "b", "a"]
    newest = found[0]
    assert isinstance(newest.object, Todo)
    assert newest.object.title == "last c"
    assert newest.last_modified == tombstone.last_modified
    assert abs(newest.date - datetime.now(UTC)).total_seconds() < 600
    assert newest.user_id == (await do(session.server_info)).user["id"]


class Told(Record, collection="todos"):
    title: str
    told: ClassVar[list[str]] = []

    def before_save(self) -> None:
        self.title += "!"

    def after_save(self) -> None:
        self.told.append(self.title)


async def test_hooks_are_called(session: AnySession) -> None:
    """Whether it was deleted or only changed: by every way of saving."""
    made = await do(Told(id="a", title="a").save)
    when = made.last_modified
    await do(made.delete)
    Told.told.clear()
    assert (await do(Told.restore, "a")).title == "a!!"
    assert (await do(Told.get, "a")).title == "a!!"
    assert Told.told == ["a!!"]
    assert (await do(Told.restore, "a", at=when)).title == "a!!"
    await do(Told.patch, "a", title="b")
    assert (await do(Told.restore, "a", at=when)).title == "a!!"
    assert Told.told == ["a!!", "b", "a!!"]


async def test_one_that_does_not_fit_hides_no_other(session: AnySession) -> None:
    """It is among them, with the error in the place of the object."""
    raw = session.scoped(collection="todos")
    for name, title in (("a", "a"), ("bad", 5), ("c", "c")):
        await do((await do(Record(id=name, title=title).save, session=raw)).delete)
    found = await deleted()
    assert [each.id for each in found] == ["c", "bad", "a"]
    assert [each.object and each.object.id for each in found] == ["c", None, "a"]
    assert [type(each.error) for each in found] == [type(None), InvalidData, type(None)]
    assert "title" in str(found[1].error)
    assert (found[1].user_id, type(found[1].last_modified)) == (found[0].user_id, int)
    assert (await do(Record.restore, "bad", session=raw))["title"] == 5


class Animal(Record, collection="todos", discriminator="kind"):
    kind: str


class Cat(Animal):
    kind: Literal["cat"] = "cat"


class Dog(Animal):
    kind: Literal["dog"] = "dog"


async def test_kinds(session: AnySession) -> None:
    """A class finds what it would find were it there."""
    for animal in (Cat(id="c"), Dog(id="d")):
        await do((await do(animal.save)).delete)
    for model, ids in ((Animal, ["d", "c"]), (Cat, ["c"]), (Dog, ["d"])):
        found = await deleted(model)
        assert [each.id for each in found] == ids
        assert all(each.object and each.error is None for each in found)


async def test_nothing_was_deleted(session: AnySession) -> None:
    """Where nothing was ever deleted there is nothing to ask about, and nothing is found."""
    assert await deleted() == []
    await do(Todo(id="a", title="kept").save)
    assert await deleted() == []


async def test_what_is_there_again_was_not_deleted(session: AnySession) -> None:
    """And what was deleted twice is found once."""
    for title in ("1", "2"):
        await do((await do(Todo(id="a", title=title).save)).delete)
        await do((await do(Todo(id="b", title=title).save)).delete)
    await do(Todo(id="b", title="3").save)
    found = await deleted()
    assert [(each.id, each.object.title) for each in found] == [("a", "2")]  # type: ignore[union-attr]


async def test_only_of_this_collection(session: AnySession) -> None:
    """The history of a bucket is of all its collections."""
    collections = Bucket(id=session.bucket).collections
    await do(collections.new(id="other").save)
    await do(collections.new(id="todos2").save)
    scope = session.scoped(collection="todos2")
    await do((await do(Record(id="x", n=1).save, session=scope)).delete)
    await do((await do(Other(id="a", title="x").save)).delete)
    await do((await do(Todo(id="a", title="x").save)).delete)
    assert [each.id for each in await deleted()] == ["a"]
    assert [type(each.object) for each in await deleted(Other)] == [Other]
    assert [each.id for each in await do(Record.deleted, session=scope)] == ["x"]


async def test_many(session: AnySession) -> None:
    """Page by page."""
    await do(session.save_all, [Todo(id=f"t{n:03}", title=str(n)) for n in range(130)])
    await do(Todo.find().delete)
    found = await deleted()
    assert len({each.id for each in found}) == 130
    assert all(each.object.title == str(int(each.id[1:])) for each in found)  # type: ignore[union-attr]


async def test_a_history_that_does_not_reach_back(session: AnySession) -> None:
    """The deletion is known, the object is not."""
    await do((await do(Todo(id="a", title="x").save)).delete)
    bucket = await do(Bucket.get, session.bucket)
    history = await do(bucket.history)
    await do(history.where(HistoryEntry.action == "create").delete)
    (found,) = await deleted()
    assert (found.id, found.object) == ("a", None)
    with pytest.raises(NotFound, match="Todo 'a' was not in the history"):
        await do(Todo.restore, "a")


async def test_restoring_what_was_deleted(session: AnySession) -> None:
    """It is there again, with all of its fields, and as any object that was saved."""
    untyped = session.scoped(collection="todos")
    raw = {"title": "x", "inner": {"a": 1, "hidden": 2}, "extra": 3}
    await do(Record(id="a", **raw).save, session=untyped)
    await do((await do(Todo.get, "a")).delete)
    todo = await do(Todo.restore, "a")
    assert (todo.title, todo["extra"]) == ("x", 3)
    assert not todo.is_new
    assert not todo.diff()
    there = await do(Record.get, "a", session=untyped)
    assert there["inner"] == {"a": 1, "hidden": 2}
    todo.title = "y"
    await do(todo.save)
    await do(todo.delete)
    assert (await do(Todo.restore, "a")).title == "y"
    assert not await deleted()


async def test_restoring_how_it_was(session: AnySession) -> None:
    """At a time, whether it is there or was deleted since."""
    todo = await do(Todo(id="a", title="first").save)
    first = todo.last_modified
    todo.title, todo["more"] = "second", 1
    await do(todo.save)
    back = await do(Todo.restore, "a", at=first)
    assert back.title == "first"
    assert "more" not in await do(Todo.get, "a")
    await do(back.delete)
    assert (await do(Todo.restore, "a", at=todo.last_modified)).title == "second"
    with pytest.raises(NotFound, match="Todo 'a' was not there at 5"):
        await do(Todo.restore, "a", at=5)


async def test_what_is_there_is_not_restored(session: AnySession) -> None:
    """Without a time nothing says what it should become."""
    await do(Todo(id="a", title="x").save)
    with pytest.raises(Conflict, match=r"Todo\.a?restore\(id, at=\.\.\.\)") as refused:
        await do(Todo.restore, "a")
    assert refused.value.remote.title == "x"
    assert not (await do(refused.value.merge().refresh)).diff()
    with pytest.raises(NotFound):
        await do(Todo.restore, "nobody")


async def test_permissions_do_not_come_back(session: AnySession) -> None:
    """Who may do what is said anew."""
    todo = await do(Todo(id="a", title="x", permissions={"read": [Everyone]}).save)
    await do(todo.delete)
    back = await do(Todo.restore, "a")
    await do(back.permissions.refresh)
    assert Everyone not in back.permissions.read


async def test_templates_are_restored_by_name(session: AnySession) -> None:
    """As they are got."""
    template = await do(Template(name="a b.conf", source="hello").save)
    await do(template.delete)
    assert [each.object.name for each in await do(Template.deleted)] == ["a b.conf"]
    assert (await do(Template.restore, "a b.conf")).source == "hello"


async def test_what_does_not_fit(session: AnySession) -> None:
    """It is not brought back by a model that could not load it."""
    untyped = session.scoped(collection="todos")
    await do((await do(Record(id="a", title=5).save, session=untyped)).delete)
    with pytest.raises(InvalidData):
        await do(Todo.restore, "a")
    assert await do(Record.find(session=untyped).all) == []


def test_a_server_without_history() -> None:
    """The capability is named."""
    with bare_session() as session:
        with pytest.raises(Unsupported, match="history"):
            list(Todo.deleted(session=session))
        with pytest.raises(Unsupported, match="history"):
            Todo.restore("a", session=session)
