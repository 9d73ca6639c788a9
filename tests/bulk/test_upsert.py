"""Saving over what is there: a load that is repeated changes nothing, and takes away nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given as given_by
from hypothesis import settings
from hypothesis import strategies as st
from pydantic import AliasChoices, BaseModel, Field, model_serializer

from both import AnySession, Place, do, either, either_wire, entered, in_a_bucket
from conftest import Wire
from kinto_orm import (
    BatchError,
    Collection,
    Conflict,
    Everyone,
    Group,
    InvalidData,
    Link,
    NotFound,
    NotLoaded,
    Record,
    Session,
    Template,
)

# On both sessions.
session = either
wire = either_wire


class Todo(Record, collection="todos"):
    title: str
    n: int = 0
    nick: str | None = Field(default=None, alias="nickName")


class Note(Record, collection="todos"):
    """What somebody else writes to the same records."""

    title: str | None = None
    seen: bool = False


class Made(Record, collection="todos"):
    title: str
    made_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    tags: list[str] = Field(default_factory=list)


class Renamed(Record, collection="todos"):
    """Another class of the same records."""

    title: str


class Author(Record, collection="authors"):
    name: str = ""


class Post(Record, collection="posts"):
    title: str = ""
    author: Link[Author]
    others: list[Link[Author]] = []
    by: dict[str, Link[Author]] = {}


NOT_STORED = {"id", "last_modified", "schema"}


class Numbers(Record, collection="todos"):
    number: float = 0
    many: list[float] = []
    named: dict[str, float] = {}


def rows(count: int, **fields: Any) -> Iterator[Todo]:
    return (Todo(**{"id": f"t{n:04}", "title": f"Todo {n}", **fields}) for n in range(count))


def lines(wire: Wire) -> list[str]:
    """Methods and targets of what was sent, but for questions about the server."""
    sent = [f"{each.method} {each.path_url}" for each in wire.requests]
    return [each for each in sent if not each.endswith("/v1/")]


# Many


@pytest.mark.parametrize("workers", [1, 3])
async def test_a_repeated_load_sends_no_write(wire: Wire, workers: int) -> None:
    """The first load creates. The second reads, a hundred with each request, and writes nothing."""
    options = {"existing": "update", "workers": workers}
    assert str(await do(wire.session.save_all, rows(250), **options)) == "250 created"
    wire.clear()
    assert str(await do(wire.session.save_all, rows(250), **options)) == "250 unchanged"
    assert len(lines(wire)) == 3
    assert all(each.startswith("GET ") and "in_id=" in each for each in lines(wire))


async def test_what_differs_is_sent(wire: Wire) -> None:
    """The created, the updated and the unchanged are told apart."""
    await do(wire.session.save_all, rows(5))
    given = [*rows(3), Todo(id="t0003", title="new"), Todo(id="t0009", title="x")]
    summary = await do(wire.session.save_all, given, existing="update")
    assert (summary.created, summary.updated, summary.unchanged) == (1, 1, 3)
    assert (await do(Todo.get, "t0003")).title == "new"
    assert not any(each.is_new or each.diff() for each in given)


async def test_what_others_added_stays(session: AnySession) -> None:
    """Fields that the model does not declare are kept, here and there."""
    await do(session.save_all, rows(3))
    note = await do(Note.get, "t0001")
    note.seen = True
    await do(note.save)
    given = list(rows(3, n=7))
    assert str(await do(session.save_all, given, existing="update")) == "3 updated"
    assert (await do(Note.get, "t0001")).seen
    assert given[1]["seen"] is True
    await do(session.save_all, rows(3), force=True)
    assert not (await do(Note.get, "t0001")).seen


@pytest.mark.parametrize("many", [False, True])
async def test_replacing(wire: Wire, many: bool) -> None:
    """It overwrites what differs, with what others added, and counts the unchanged truly."""
    await do(wire.session.save_all, rows(3))
    note = await do(Note.get, "t0001")
    note.seen = True
    await do(note.save)
    wire.clear()
    given = [*rows(3), Todo(id="t9", title="x")]
    if many:
        summary = await do(wire.session.save_all, given, existing="replace")
        assert str(summary) == "1 created, 1 updated, 2 unchanged"
    else:
        for each in given:
            await do(each.save, existing="replace")
    assert not (await do(Note.get, "t0001")).seen
    assert not any(each.is_new or each.diff() for each in given)


@pytest.mark.parametrize("many", [False, True])
async def test_skipping(session: AnySession, many: bool) -> None:
    """What is there is left alone, the rest is created; the objects that were skipped stay new."""
    await do(session.save_all, rows(3))
    given = [*rows(3, n=7), Todo(id="t9", title="x")]
    if many:
        summary = await do(session.save_all, given, existing="skip")
        assert str(summary) == "1 created, 3 skipped"
        assert (summary.skipped, summary.total) == (3, 4)
    else:
        for each in given:
            await do(each.save, existing="skip")
    assert [each.is_new for each in given] == [True, True, True, False]
    assert (await do(Todo.get, "t0001")).n == 0


async def test_two_of_one_id(session: AnySession) -> None:
    """The second finds what the first wrote, also within one hundred."""
    given = [Todo(id="a", title="1"), Todo(id="a", title="2"), Todo(id="a", title="2")]
    summary = await do(session.save_all, given, existing="update")
    assert str(summary) == "1 created, 1 updated, 1 unchanged"
    assert (await do(Todo.get, "a")).title == "2"
    again = [Todo(id="a", title="3"), Todo(id="a", title="4")]
    assert str(await do(session.save_all, again, existing="skip")) == "2 skipped"


@pytest.mark.parametrize(
    ("how", "workers"),
    [("update", 1), *((how, 4) for how in ("update", "replace", "skip", "force", "sync"))],
)
async def test_one_address_is_written_in_the_order_that_was_given(
    session: AnySession, how: str, workers: int
) -> None:
    """However far two of one id are from each other, and whatever their classes."""
    classes: tuple[type[Any], ...] = (Todo,) if how == "sync" else (Todo, Renamed)
    order = [f"k{n}" for n in range(101)] + ["k3", *(f"w{n % 7}" for n in range(30)), "k0", "k0"]

    def given(classes: tuple[type[Any], ...]) -> list[Any]:
        return [classes[n % len(classes)](id=id, title=f"{id} {n}") for n, id in enumerate(order)]

    options = {"force": True} if how == "force" else {"existing": how}
    if how == "sync":
        summary = await do(session.sync, Todo, given(classes), workers=workers)
    else:
        summary = await do(session.save_all, given(classes), workers=workers, **options)
    ids = sorted(set(order))
    assert (summary.created, summary.failed) == (len(ids), [])
    assert (summary.skipped if how == "skip" else summary.updated) == len(order) - len(ids)
    numbered = list(enumerate(order))
    places = {id: n for n, id in (reversed(numbered) if how == "skip" else numbered)}
    found = {each.id: each.title for each in await do(Todo.find().all)}
    assert found == {id: f"{id} {n}" for id, n in places.items()}


async def test_one_address_in_a_batch(session: AnySession) -> None:
    """What is queued for one id is done in that order, whatever it asks first."""
    async with entered(session.batch()) as batch:
        batch.save(Todo(id="a", title="1"), Renamed(id="a", title="2"), existing="update")
        batch.save(Todo(id="a", title="3"), Todo(id="b", title="4"), existing="update")
        batch.save(Todo(id="b", title="5"), existing="skip")
    found = [each.status for each in batch.outcomes]
    assert found == ["created", "updated", "updated", "created", "skipped"]
    assert [each.title for each in await do(Todo.find().all)] == ["3", "4"]


async def test_objects_of_other_classes_and_places(session: AnySession, place: Place) -> None:
    """Each is looked for where it lives."""
    await do(Group(id="g", members=["a"]).save)
    await do(Todo(id="x", title="x").save)
    given = [Group(id="g", members=["a"]), Todo(id="x", title="x"), Todo(id="y", title="y")]
    summary = await do(session.save_all, given, existing="update")
    assert str(summary) == "1 created, 2 unchanged"
    template = Template(name="a b", source="hello")
    assert str(await do(session.save_all, [template], existing="update")) == "1 created"
    again = [Template(name="a b", source="hello"), Template(name="c", source="x")]
    assert str(await do(session.save_all, again, existing="update")) == "1 created, 1 unchanged"


async def test_a_missing_collection(session: AnySession) -> None:
    """The reason is that of a save."""

    class Lost(Record, collection="lost"):
        n: int = 0

    summary = await do(session.save_all, [Lost(id="a"), Lost(id="b")], existing="update")
    assert len(summary.failed) == 2
    assert all(isinstance(each.error, NotFound) for each in summary.failed)
    with pytest.raises(NotFound, match="collection"):
        await do(Lost(id="a").save, existing="skip")


async def test_a_personal_bucket(place: Place) -> None:
    """Looking makes nothing; the first write makes the collection."""
    async with entered(place.session(bucket="default", collection=place.new_id())) as session:
        given = [Record(id="a", n=1), Record(id="b", n=1)]
        assert str(await do(session.save_all, given, existing="update")) == "2 created"
        again = [Record(id="a", n=1), Record(id="b", n=2)]
        assert str(await do(session.save_all, again, existing="update")) == "1 updated, 1 unchanged"


async def test_another_server(session: AnySession, place: Place) -> None:
    """Objects that live elsewhere are created or updated here; what is unchanged is not sent."""
    await do(session.save_all, rows(3))
    async with in_a_bucket(place) as other:
        found = await do(Todo.find(session=session).all)
        assert str(await do(other.save_all, found, existing="update")) == "3 created"
        note = await do(other.get, Note, "t0001")
        note.seen = True
        await do(note.save)
        found = await do(Todo.find(session=session).all)
        assert str(await do(other.save_all, found, existing="update")) == "3 unchanged"
        found = await do(Todo.find(session=session).all)
        found[1].n = 9
        assert str(await do(other.save_all, found, existing="update")) == "1 updated, 2 unchanged"
        assert found[1]["seen"] is True
        there = await do(other.get, Todo, "t0001")
        assert (there.n, there["seen"]) == (9, True)
        found = await do(Todo.find(session=session).all)
        summary = await do(other.save_all, found, existing="replace")
        assert str(summary) == "1 updated, 2 unchanged"
    assert (await do(session.get, Todo, "t0001")).n == 0


async def test_an_object_without_an_id_of_its_own_is_not_looked_for(wire: Wire) -> None:
    """Nobody else can have it."""
    wire.clear()
    given = [Todo(title="a"), Todo(title="b")]
    assert str(await do(wire.session.save_all, given, existing="update")) == "2 created"
    assert not any("in_id" in each for each in lines(wire))


async def test_what_does_not_fit_the_model(session: AnySession) -> None:
    """Fails alone for "update", and is replaced by "replace"."""
    await do(Record(id="a", title=5).save, session=session.scoped(collection="todos"))
    given = [Todo(id="a", title="x"), Todo(id="b", title="x")]
    summary = await do(session.save_all, given, existing="update")
    assert summary.counted == "1 created, 1 failed"
    error = summary.failed[0].error
    assert isinstance(error, InvalidData)
    assert "existing='replace'" in str(error)
    assert given[0].is_new
    assert str(await do(session.save_all, [given[0]], existing="replace")) == "1 updated"


async def test_what_is_no_object_fails_alone(session: AnySession) -> None:
    """As it does without `existing`."""
    summary = await do(session.save_all, [5, Todo(id="b", title="x")], existing="update")
    assert summary.counted == "1 created, 1 failed"
    partial = await do(Todo.find().only(Todo.title).all)
    summary = await do(session.save_all, partial, existing="update")
    assert isinstance(summary.failed[0].error, NotLoaded)
    bad = Todo(id="a/b", title="x")
    summary = await do(session.save_all, [bad, *rows(1)], existing="update")
    assert summary.counted == "1 created, 1 failed"


# One


async def test_one(wire: Wire) -> None:
    """It is looked for, and what differs is sent with a precondition."""
    assert (await do(Todo(id="a", title="1").save, existing="update")).last_modified
    wire.clear()
    todo = await do(Todo(id="a", title="1").save, existing="update")
    assert [each.split()[0] for each in lines(wire)] == ["GET"]
    todo = await do(Todo(id="a", title="2").save, existing="update")
    assert [each.split()[0] for each in lines(wire)] == ["GET", "GET", "PATCH"]
    assert not todo.diff()
    todo.title = "3"
    wire.clear()
    await do(todo.save, existing="update")
    assert [each.split()[0] for each in lines(wire)] == ["PATCH"]


async def test_in_a_batch(session: AnySession) -> None:
    """As alone, each with its outcome."""
    await do(session.save_all, rows(2))
    given = [Todo(id="t0000", title="x"), Todo(id="t0001", title="Todo 1"), Todo(id="n", title="n")]
    async with entered(session.batch()) as batch:
        batch.save(*given, existing="update")
    assert [each.status for each in batch.outcomes] == ["updated", "unchanged", "created"]
    given[0].permissions.grant("read", Everyone)
    async with entered(session.batch()) as batch:
        batch.save(given[0].permissions, existing="update")
        batch.save(Todo(id="n", title="m"), existing="skip")
    assert [each.status for each in batch.outcomes] == ["updated", "skipped"]
    with pytest.raises(BatchError):
        async with entered(session.batch()) as batch:
            batch.save(Todo(id="n", title="m"))


async def test_permissions_are_added(session: AnySession) -> None:
    """Those of a new object are granted over those that are there."""
    first = Todo(id="a", title="x", permissions={"read": ["system.Authenticated"]})
    await do(first.save)
    await do(Todo(id="a", title="x", permissions={"read": [Everyone]}).save, existing="update")
    await do(first.permissions.refresh)
    assert first.permissions.read == {Everyone, "system.Authenticated"}


async def test_what_a_factory_makes_is_for_new_objects(session: AnySession) -> None:
    """A default that is made anew each time does not replace what is there."""
    old = Made(id="a", title="x", tags=["t"])
    await do(old.save)
    new = Made(id="a", title="x")
    assert str(await do(session.save_all, [new], existing="update")) == "1 unchanged"
    assert (new.made_at, new.tags) == (old.made_at, ["t"])
    given = Made(id="a", title="x", tags=[])
    assert str(await do(session.save_all, [given], existing="update")) == "1 updated"
    changed = Made(id="a", title="x")
    changed.tags.append("u")
    assert str(await do(session.save_all, [changed], existing="update")) == "1 updated"
    assert (await do(Made.get, "a")).tags == ["u"]


async def test_what_the_object_leaves_out_is_taken_away(session: AnySession) -> None:
    """A field that the object was given is as it has it, also when it has none."""

    class Short(Record, collection="todos"):
        title: str
        note: str | None = None

        @model_serializer(mode="wrap")
        def _short(self, handler: Any) -> Any:
            return {name: value for name, value in handler(self).items() if value is not None}

    await do(Short(id="a", title="x", note="n").save)
    given = [Short(id="a", title="x"), Short(id="a", title="x", note=None)]
    summary = await do(session.save_all, given, existing="update")
    assert str(summary) == "1 updated, 1 unchanged"
    assert "note" not in await do(Record.get, "a", session=session.scoped(collection="todos"))


async def test_inside_of_models_what_is_not_declared_stays(session: AnySession) -> None:
    """Also of the models inside of it."""

    class Inner(BaseModel):
        a: int

    class Outer(Record, collection="todos"):
        inner: Inner

    untyped = session.scoped(collection="todos")
    await do(Record(id="a", inner={"a": 1, "b": 2}).save, session=untyped)
    outer = await do(Outer(id="a", inner=Inner(a=1)).save, existing="update")
    assert outer.last_modified
    await do(Outer(id="a", inner=Inner(a=5)).save, existing="update")
    assert (await do(Record.get, "a", session=untyped))["inner"] == {"a": 5, "b": 2}


class Stamped(Record, collection="todos"):
    title: str
    created_at: datetime | None = None
    made_by: str | None = None
    removed_at: datetime | None = None

    def before_save(self) -> None:
        if self.created_at is None:
            self.created_at = datetime.now(UTC)
        if self.is_new:
            self.made_by = f"me {datetime.now(UTC)}"


@pytest.mark.parametrize("way", ["save_all", "save", "batch", "sync", "sync objects"])
async def test_what_was_not_given_is_as_it_is_there(wire: Wire, way: str) -> None:
    """Before the hook is called: what it makes for new objects is made once, and marks stay."""
    session = wire.session

    async def load() -> str:
        given = Stamped(id="a", title="x")
        if way == "save_all":
            return str(await do(session.save_all, [given], existing="update"))
        if way == "save":
            wire.clear()
            await do(given.save, existing="update")
            return ", ".join(each.method for each in wire.requests if each.method != "GET")
        if way == "batch":
            async with entered(session.batch()) as batch:
                batch.save(given, existing="update")
            return f"1 {batch.outcomes[0].status}"
        rows: list[Any] = [given] if way == "sync objects" else [{"id": "a", "title": "x"}]
        plan = await do(session.sync, Stamped, rows)
        return str(plan.counts)

    await load()
    first = await do(Stamped.get, "a")
    assert None not in (first.created_at, first.made_by)
    assert await load() in ("1 unchanged", "")
    await do(first.assign(removed_at=datetime.now(UTC)).save)
    assert await load() in ("1 unchanged", "")
    assert await do(Stamped.get, "a") == first


@pytest.mark.parametrize("existing", ["update", "replace"])
async def test_copies_with_links(session: AnySession, existing: str) -> None:
    """Links are ids: a copy's lead to what is there, when it is created and when it is compared."""
    there = session.scoped(bucket=f"{session.bucket}-copy")
    for each in (session, there):
        await do(each.sync_schema, Author, Post)
    ada = await do(Author(id="ada").save)
    await do(Post(id="p", author=ada, others=[ada], by={"x": ada}).save)
    for said in ("1 created", "1 unchanged", "1 unchanged"):
        found = await do(Post.find().prefetch(Post.author).all)
        assert str(await do(there.save_all, found, existing=existing)) == said
        assert found[0].author.loaded is None
    for given in (
        await do(Post.find().prefetch(Post.author).all),
        [each.model_dump() for each in await do(Post.find().all)],
        [each.model_dump(mode="json") for each in await do(Post.find().all)],
    ):
        plan = await do(there.sync, Post, given, existing=existing)
        assert plan.counts == "1 unchanged"
    held = await do(Post.get, "p")
    held.title = "new"
    await do(held.save, session=there, existing=existing)
    assert (await do(Post.get, "p", session=there)).title == "new"
    await do(Author(id="ada", name="there").save, session=there)
    assert (await do(held.author.fetch)).name == "there"


async def test_links_of_what_fails_lead_where_they_led(session: AnySession) -> None:
    """What cannot be saved elsewhere is as it was."""
    there = session.scoped(bucket=f"{session.bucket}-copy")
    for each in (session, there):
        await do(each.sync_schema, Author, Post)
    ada = await do(Author(id="ada", name="here").save)
    post = await do(Post(id="p", author=ada).save)
    await do(there.save_all, await do(Post.find().all))
    post.title = "a\0b"
    summary = await do(there.save_all, [post], existing="update")
    assert len(summary.failed) == 1
    assert (await do(post.author.fetch)).name == "here"


class Old(Record, collection="todos"):
    price: float = 0
    text: str = ""
    day: str = "2024-05-01"
    inner: dict[str, Any] = {}
    tags: list[str] = []
    big: float = 1e30
    whole: float = 1e16


class Priced(BaseModel):
    price: Decimal = Decimal(0)


class Book(Record, collection="todos"):
    """The same after a change of the model: it reads the older form, and writes another."""

    price: Decimal = Decimal(0)
    body: str = Field("", validation_alias=AliasChoices("body", "text"), serialization_alias="body")
    day: datetime = datetime(2024, 5, 1)
    inner: Priced = Priced()
    tags: set[str] = set()
    big: float = 1e30
    whole: float = 1e16


BOOK: dict[str, Any] = {
    "price": "1.5",
    "body": "x",
    "day": "2024-05-01T00:00:00",
    "inner": {"price": "2.5"},
    "big": 1e30,
    "whole": 1e16,
}
WAYS = ["update", "replace", "sync", "sync replace", "force", "loaded force", "loaded replace"]


@pytest.mark.parametrize("way", WAYS)
async def test_the_form_of_the_model_is_what_is_stored(wire: Wire, way: str) -> None:
    """What an older program wrote in another form is a difference, once."""
    session = wire.session
    untyped = session.scoped(collection="todos")
    old = Old(id="a", price=1.5, text="x", inner={"price": 2.5}, tags=["b", "a", "c"])
    await do(old.save)
    for again in (False, True):
        loaded = await do(Book.get, "a")
        assert not loaded.diff()
        given: Any = {"id": "a", **BOOK, "tags": ["c", "a", "b"]}
        wire.clear()
        if "sync" in way:
            existing = "replace" if "replace" in way else "update"
            await do(session.sync, Book, [given], existing=existing)
        else:
            book = loaded if "loaded" in way else Book.model_validate(given)
            options = {"force": True} if "force" in way else {"existing": way.split()[-1]}
            await do(session.save_all, [book], **options)
        if "force" not in way:
            assert len([each for each in lines(wire) if "GET" not in each]) == (not again)
        there = (await do(Record.get, "a", session=untyped)).model_dump(exclude=NOT_STORED)
        assert sorted(there.pop("tags")) == ["a", "b", "c"]
        assert ("text" in there) == (way in ("update", "sync"))
        there.pop("text", None)
        there["big"] = float(there["big"])  # PostgreSQL gives it back as an integer
        assert there == BOOK
    assert await do(Book.find(Book.price == Decimal("1.5"), Book.body == "x").count) == 1


@settings(max_examples=10)
@given_by(numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=20))
@pytest.mark.parametrize("way", ["save", "save_all", "sync"])
def test_floats_are_compared_as_they_are_stored(
    blocking: Session, way: str, numbers: list[float]
) -> None:
    """A load that is repeated writes nothing, however many digits its numbers have."""

    def load(name: str) -> Numbers:
        numbered = {"number": numbers[0], "many": numbers, "named": {"x": numbers[1]}}
        given = Numbers(id=name, **numbered)
        if way == "save":
            return given.save(existing="update")
        if way == "sync":
            blocking.sync(Numbers, [{"id": name, **numbered}], existing="replace")
        else:
            blocking.save_all([given], existing="update")
        return Numbers.get(name)

    name = uuid4().hex
    first = load(name)
    assert load(name).last_modified == first.last_modified
    first.many = numbers
    assert not first.diff()
    first.number = 0.25 if first.number == 0.5 else 0.5
    assert first.diff()


async def test_deleted_ones(session: AnySession) -> None:
    """What was deleted is created again; an object that knows of it, too."""
    for existing in ("update", "replace", "skip"):
        todo = await do(Todo(id="a", title="x").save)
        await do(todo.delete)
        await do(todo.save, existing=existing)
        assert (await do(Todo.get, "a")).title == "x"
        await do(todo.delete)


async def test_loaded_ones(session: AnySession) -> None:
    """An object that was loaded sends its own changes: what others changed since is a conflict."""
    mine = await do(Todo(id="a", title="x").save)
    theirs = await do(Todo.get, "a")
    theirs.n = 3
    await do(theirs.save)
    mine.title = "mine"
    for existing in ("update", "replace"):
        with pytest.raises(Conflict):
            await do(mine.save, existing=existing)
    await do(mine.save, existing="skip")
    there = await do(Todo.get, "a")
    assert (there.title, there.n) == ("x", 3)
    await do(mine.save, force=True)
    assert (await do(Todo.get, "a")).n == 0


@pytest.mark.parametrize("existing", ["update", "replace"])
async def test_a_snapshot(session: AnySession, existing: str) -> None:
    """Records as they were at a time are made what is there, whatever became of them since."""
    given = list(rows(3))
    await do(session.save_all, given)
    then = max(each.last_modified or 0 for each in given)
    given[0].n = 9
    await do(given[0].save)
    await do(given[1].delete)
    collection = await do(Collection.get, "todos")
    old = await do(collection.snapshot, then)
    assert str(await do(session.save_all, old, existing=existing)) == (
        "1 created, 1 updated, 1 unchanged"
    )
    assert [each.n for each in await do(Todo.find().all)] == [0, 0, 0]


async def test_a_timestamp(session: AnySession) -> None:
    """A replica keeps it."""
    todo = await do(Todo(id="a", title="x").save)
    later = (todo.last_modified or 0) + 1000
    for existing in ("update", "replace"):
        later += 1000
        new = await do(Todo(id="a", title="x").save, existing=existing, last_modified=later)
        assert new.last_modified == later


# What is refused


async def test_what_existing_may_be(session: AnySession) -> None:
    """One of four; and `force` answers the same question."""
    with pytest.raises(ValueError, match="'fail', 'update', 'replace', 'skip', not 'upsert'"):
        await do(session.save_all, [], existing="upsert")
    with pytest.raises(ValueError, match="upsert"):
        await do(Todo(title="x").save, existing="upsert")
    with pytest.raises(TypeError, match="give one of them"):
        await do(session.save_all, [], existing="skip", force=True)
    with pytest.raises(TypeError, match="give one of them"):
        await do(Todo(title="x").save, existing="skip", force=True)
    with pytest.raises(TypeError, match="give one of them"):
        session.batch().save(Todo(title="x"), existing="skip", force=True)
