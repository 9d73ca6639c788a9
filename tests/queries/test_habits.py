"""Whoever writes what other mappers have is told what to write here."""

from __future__ import annotations

import gc
import inspect
import warnings
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import Field

from both import AnySession, do, either, entered
from kinto_orm import AsyncSession, Bucket, Collection, InvalidData, Query, Record, Session
from kinto_orm.models.resource import Resource
from kinto_orm.queries.habits import OF_CLASSES, OF_OBJECTS, OF_QUERIES, OF_SESSIONS

session = either


class Todo(Record, collection="todos"):
    title: str
    prio: int = 0
    text: str = Field("", alias="body")
    address: dict[str, str] = {}


# The verbs that take conditions or an id, how each is called with fields, and what it says.
VERBS = {
    "find": (lambda session: Todo.find, "write Todo.find({})"),
    "where": (lambda session: Todo.find().where, "write where({})"),
    "get": (lambda session: Todo.get, "write Todo.find({}).one()"),
    "get_or_none": (lambda session: Todo.get_or_none, "write Todo.find({}).first()"),
    "get_or_create": (lambda session: Todo.get_or_create, "write Todo.find({}).first()"),
    "session.find": (lambda session: part(session.find), "write Todo.find({})"),
    "session.get": (lambda session: part(session.get), "write Todo.find({}).one()"),
}


def part(verb: Any) -> Any:
    """A verb of a session, which is given the class first."""
    return lambda **fields: verb(Todo, **fields)


def awaited(session: AnySession, said: str) -> str:
    """What is said under an AsyncSession: the twins, awaited."""
    if isinstance(session, Session):
        return said
    for verb in ("one", "first"):
        if said.endswith(f".{verb}()"):
            return said.replace("write ", "write await ").replace(f".{verb}()", f".a{verb}()")
    return said


@pytest.mark.parametrize("verb", VERBS)
async def test_fields_as_keywords(session: AnySession, verb: str) -> None:
    """`find(title="x")` says which condition to write, and not the value, which may be secret."""
    take, said = VERBS[verb]
    with pytest.raises(TypeError) as caught:
        await do(take(session), title="s3cret", prio=1)
    condition = "Todo.title == ..., Todo.prio == ..."
    assert awaited(session, said.format(condition)) in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_fields_as_keywords_of_what_is_inside(session: AnySession) -> None:
    """`bucket.collections.find(id="x")` says it, too."""
    with pytest.raises(TypeError, match=r"write Collection\.find\(Collection\.id == \.\.\.\)"):
        Bucket(id="b").collections.find(id="x")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("keyword", "condition"),
    [
        ("prio__gte", "Todo.prio >= ..."),
        ("prio__in", "col(Todo.prio).in_([...])"),
        ("title__icontains", 'col(Todo.title).like("*...*")'),
        ("title__isnull", "Todo.title == None"),
        ("address__city", "col(Todo.address)['city'] == ..."),
        ("body", "field('body') == ..."),
    ],
)
def test_endings_of_keywords(keyword: str, condition: str) -> None:
    """Those of Django have their conditions."""
    with pytest.raises(TypeError) as caught:
        Todo.find(**{keyword: "x"})
    assert str(caught.value).endswith(f"write Todo.find({condition})")


def test_a_field_that_is_not_there() -> None:
    """The error is that of a condition, with what was perhaps meant."""
    with pytest.raises(InvalidData, match="did you mean 'title'"):
        Todo.find(titel="x")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"field\('anything'\) == \.\.\."):
        Record.find(anything=1)  # type: ignore[call-arg]


def test_other_mistakes_are_pythons() -> None:
    """What has nothing to do with fields is told as ever; so is what goes wrong inside."""
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'id'"):
        Todo.get()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="is no condition"):
        Todo.find({"title": "x"})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="twice"):
        Todo.get_or_create("x", {"title": "a"}, title="b")


async def test_get_or_create_says_that_only_ids_are_unique(session: AnySession) -> None:
    """Django's way finds by a field, which nothing makes unique in Kinto."""
    with pytest.raises(TypeError, match=r"Todo\.get_or_create\('its-id', \.\.\.\)"):
        await do(Todo.get_or_create, title="x")
    todo, created = await do(Todo.get_or_create, "its-id", title="x")
    assert (todo.title, created) == ("x", True)


async def test_defaults_are_the_fields_themselves(session: AnySession) -> None:
    """Django's `defaults={...}` is no field of a typed model, and may be one of an untyped one."""
    with pytest.raises(
        TypeError, match=r"get_or_create\('x', \{\.\.\.\}\), or give them as keywords"
    ):
        await do(Todo.get_or_create, "x", defaults={"title": "x"})
    untyped = {"session": session.scoped(collection="todos")}
    record, _ = await do(Record.get_or_create, "y", defaults={"title": "x"}, **untyped)
    assert record["defaults"] == {"title": "x"}


def test_verbs_stay_what_they_are() -> None:
    """For frameworks that look at them: coroutine functions, names and parameters."""
    assert inspect.iscoroutinefunction(Todo.aget)
    assert not inspect.iscoroutinefunction(Todo.get)
    assert [*inspect.signature(Todo.get_or_none).parameters] == ["id", "session"]
    assert (Todo.find.__name__, Todo.aget.__name__) == ("find", "aget")


@pytest.mark.parametrize("name", OF_CLASSES)
def test_names_of_classes(name: str) -> None:
    """`Todo.all` and its like."""
    with pytest.raises(AttributeError, match=r"; write .*(Todo|save_all)"):
        getattr(Todo, name)
    assert not hasattr(Todo, name)


@pytest.mark.parametrize("name", OF_OBJECTS)
def test_names_of_objects(name: str) -> None:
    """`todo.update` and its like; of a record that has such a field it is the field."""
    with pytest.raises(AttributeError, match="; write "):
        getattr(Todo(title="x"), name)
    assert getattr(Record(**{name: 1}), name) == 1


@pytest.mark.parametrize("name", OF_QUERIES)
async def test_names_of_queries(session: AnySession, name: str) -> None:
    """`.filter`, `.offset`, `.create` and their like."""
    with pytest.raises(AttributeError, match="; write "):
        getattr(session.find(Todo), name)


@pytest.mark.parametrize("name", OF_SESSIONS)
async def test_names_of_sessions(session: AnySession, name: str) -> None:
    """`session.add`, `session.commit` and their like."""
    with pytest.raises(AttributeError, match=f"Session' object has no attribute '{name}'; write "):
        getattr(session, name)


@pytest.mark.parametrize("habit", [len, bool, lambda query: query[0], lambda query: query[2:5]])
async def test_a_query_is_no_list(session: AnySession, habit: Any) -> None:
    """The error says what to write."""
    with pytest.raises(TypeError, match=r"\w+\(\)"):
        habit(session.find(Todo))


def test_no_habit_is_a_name_of_ours() -> None:
    """What is there needs no hint, and would not give one."""
    todo = Todo(title="x")
    assert not [each for each in OF_CLASSES if hasattr(Resource, each)]
    assert not [each for each in OF_OBJECTS if hasattr(todo, each)]
    assert not [each for each in OF_QUERIES if hasattr(Query, each)]
    assert not [
        each for each in OF_SESSIONS for cls in (Session, AsyncSession) if hasattr(cls, each)
    ]


def test_an_error_of_a_property_is_its_own() -> None:
    """That a session knows other names hides no mistake in a class of a program."""

    class Ours(Session):
        @property
        def tenant(self) -> str:
            return self.nothing  # type: ignore[attr-defined, no-any-return]

    with Ours("memory://") as session, pytest.raises(AttributeError, match="'nothing'"):
        session.tenant


# Times


SECONDS = 1_764_000_000


async def test_seconds_are_no_milliseconds(session: AnySession) -> None:
    """They would be a time in 1970, when nothing was there; the error says what to give."""
    await do(session.kv.set, "a", 1)
    for asking in (
        lambda: do(session.kv.at, SECONDS),
        lambda: do(session.kv.revert, "a", SECONDS),
        lambda: do(Todo.restore, "x", at=SECONDS),
        lambda: do(Todo(title="x").at, SECONDS),
        lambda: do(Collection(id="todos").snapshot, SECONDS),
    ):
        with pytest.raises(TypeError, match=rf"give {SECONDS} \* 1000, or a datetime"):
            await asking()
    assert dict(await do(session.kv.at, datetime.now(UTC))) in ({}, {"a": 1})
    assert dict(await do(session.kv.at, SECONDS * 1000)) == {}


# Batches


def dropped(session: AnySession) -> str:
    """What is said of a batch that was filled, and never sent."""
    batch = session.batch()
    batch.save(Todo(title="x"), Todo(title="y"))
    batch.kv.set("a", 1)
    with pytest.warns(RuntimeWarning) as caught:
        del batch
    return str(caught[0].message)


async def test_a_batch_without_a_block(session: AnySession) -> None:
    """As Python warns of a coroutine that nobody awaits."""
    block = "with" if isinstance(session, Session) else "async with"
    said = (
        f"3 operations of a batch were never sent: open it as `{block} session.batch() as batch:`"
    )
    assert said in dropped(session)


async def fail(session: AnySession) -> None:
    async with entered(session.batch()) as batch:
        batch.save(Todo(title="y"))
        1 / 0


async def test_a_batch_that_was_used(session: AnySession) -> None:
    """Nothing is said of one that is empty, was sent, or whose block ended by an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session.batch()
        batch = session.batch()
        batch.save(Todo(title="x"))
        await do(batch.run)
        del batch
        with pytest.raises(ZeroDivisionError):
            await fail(session)
        gc.collect()
