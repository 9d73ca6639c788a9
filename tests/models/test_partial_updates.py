"""assign, patch, modify and modified_at: a part of an object, at once, unloaded, or in a race."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator, model_validator

from both import AnySession, do, either, either_wire
from conftest import Wire
from feeding import (
    NOW,
    after_loss,
    asked,
    body,
    fails,
    feed,
    forbids,
    is_missing,
    is_there,
    nowhere,
    object_of,
    refuses,
    root,
    shows,
)
from kinto_orm import (
    Account,
    AsyncSession,
    BadReply,
    Bucket,
    Conflict,
    Group,
    HistoryEntry,
    InvalidData,
    ModelError,
    NotFound,
    Record,
    Session,
    Template,
    Unsupported,
)
from kinto_orm.models.patching import modifying, patching
from kinto_orm.wire.flows import Pause

session = either
wire = either_wire
TODO = "PATCH /buckets/b/collections/todos/records/x"


class Address(BaseModel):
    city: str


class Todo(Record, collection="todos"):
    title: str
    low: int = 0
    high: int = 9
    due: datetime | None = None
    address: Address | None = None
    nick: str | None = Field(
        default=None, validation_alias="nickName", serialization_alias="nickName"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Todo:
        if self.low > self.high:
            raise ValueError("low is beyond high")
        return self


class Odd(Record, collection="todos"):
    """Fields that cannot go alone, or not at all."""

    title: str = ""
    low: int = 0
    high: int = 9
    hidden: str = Field(default="", exclude=True)
    secret: SecretStr = SecretStr("")

    @field_validator("high")
    @classmethod
    def _beyond(cls, value: int, info: Any) -> int:
        if value < info.data["low"]:
            raise ValueError("high is below low")
        return value


def patch(model: Any, **fields: Any) -> Any:
    """The flow of a patch of the object x."""
    return patching(model, nowhere(), "x", fields, None)


# assign


def test_assign_sets_all_or_nothing() -> None:
    """What is valid together only can be set; what is not leaves the object as it was."""
    todo = Todo(id="x", title="a")
    assert todo.assign(low=20, high=30, nick="n") is todo
    assert (todo.low, todo.high, todo.nick) == (20, 30, "n")
    before = todo.model_dump()
    with pytest.raises(ValidationError, match="low is beyond high"):
        todo.assign(title="b", low=50)
    with pytest.raises(ValidationError, match="no such field"):
        todo.assign(title="b", tilte="c")
    with pytest.raises(ValidationError):
        todo.assign({"title": "b", "due": "tomorrow"})
    assert todo.model_dump() == before


@pytest.mark.parametrize("name", ["id", "last_modified", "permissions"])
def test_assign_takes_fields_only(name: str) -> None:
    """What is the server's, or no field, is set otherwise."""
    with pytest.raises(TypeError, match=name):
        Todo(title="a").assign(**{name: None})
    with pytest.raises(TypeError, match="no field to set"):
        Todo(title="a").assign()


def test_assign_takes_any_name() -> None:
    """Undeclared fields of open models, stored names, and names that are no identifiers."""
    todo = Todo(title="a").assign({"nickName": "n"})
    assert todo.nick == "n"
    record = Record(a=1).assign({"any name": 2, "permissions": 3}, b=4)
    assert (record["any name"], record["permissions"], record["b"]) == (2, 3, 4)


async def test_what_another_stored_beside_the_fields_may_be_assigned(session: AnySession) -> None:
    """As it may be set; what the object does not have is a misspelt name."""
    await do(
        Record(id="x", title="a", shop="corner").save, session=session.scoped(collection="todos")
    )
    todo = await do(Todo.get, "x")
    todo.assign(shop="market")
    await do(todo.assign(shop="mall", title="b").save)
    assert (await do(Todo.get, "x"))["shop"] == "mall"
    with pytest.raises(ValidationError, match="no such field"):
        todo.assign(shopp="x")


async def test_assigned_fields_are_a_change(session: AnySession) -> None:
    """They are sent by the next save, as if they had been set one by one."""
    todo = await do(Todo(id="x", title="a").save)
    todo.assign(low=20, high=30)
    assert todo.diff() == {"low": (0, 20), "high": (9, 30)}
    await do(todo.save)
    assert (await do(Todo.get, "x")).high == 30


# patch


async def test_patch_sends_one_request(wire: Wire) -> None:
    """The object comes whole from the answer, and is saved."""
    await do(Todo(id="x", title="a", low=3).save)
    wire.clear()
    due = datetime(2030, 1, 1, tzinfo=UTC)
    todo = await do(Todo.patch, "x", nick="n", due=due, address={"city": "Lyon"})
    assert wire.methods == ["PATCH"]
    assert wire.body["data"] == {
        "nickName": "n",
        "due": "2030-01-01T00:00:00Z",
        "address": {"city": "Lyon"},
    }
    assert "If-Match" not in wire.last.headers
    assert (todo.title, todo.low, todo.due, todo.address) == ("a", 3, due, Address(city="Lyon"))
    assert todo.diff() == {}
    todo.title = "b"
    assert (await do(todo.save)).last_modified > 0


async def test_patch_heeds_a_timestamp(session: AnySession) -> None:
    """If it must not have changed, a Conflict shows what is there."""
    todo = await do(Todo(id="x", title="a").save)
    await do(Todo.patch, "x", title="b")
    with pytest.raises(Conflict) as caught:
        await do(Todo.patch, "x", title="c", if_match=todo.last_modified)
    assert caught.value.remote.title == "b"
    assert not caught.value.unconfirmed
    with pytest.raises(Conflict):
        caught.value.merge()
    now = caught.value.remote.last_modified
    assert (await do(Todo.patch, "x", title="c", if_match=now)).title == "c"


async def test_patch_of_what_is_not_there(session: AnySession) -> None:
    """Nothing is made; what is refused is said as by other verbs."""
    with pytest.raises(NotFound):
        await do(Todo.patch, "no", title="a")
    with pytest.raises(ValidationError, match="no such field"):
        await do(Todo.patch, "x", tilte="a")
    with pytest.raises(ValidationError):
        await do(Todo.patch, "x", title=5)


async def test_patch_of_other_classes(session: AnySession) -> None:
    """Untyped records, groups, buckets, and templates by their names."""

    class Open(Record, collection="todos"):
        pass

    await do(Open(id="x", a=1).save)
    assert (await do(Open.patch, "x", {"b c": 2}))["a"] == 1
    group = await do(Group(id="g", members=["a"]).save)
    assert (await do(Group.patch, group.id, members=["b"])).members == ["b"]
    assert (await do(Bucket.patch, session.bucket, {"note": "n"}))["note"] == "n"
    await do(Template(name="t.conf", source="a").save)
    assert (await do(Template.patch, "t.conf", source="b")).source == "b"
    with pytest.raises(NotFound):
        await do(Template.patch, "other", source="b")


async def test_patch_sends_again_what_an_object_believes_to_be_there(session: AnySession) -> None:
    """A save of an unchanged value sends nothing; a patch does, and the server decides."""
    todo = await do(Todo(id="x", title="to-sign").save)
    await do(Todo.patch, "x", title="signed")  # a plugin of the server
    todo.title = "to-sign"
    await do(todo.save)
    assert (await do(Todo.get, "x")).title == "signed"
    assert (await do(Todo.patch, "x", title="to-sign")).title == "to-sign"


def test_a_patch_by_hand() -> None:
    """What is sent, and which answers are believed."""
    done = shows(object_of("x", title="a", low=1))
    found, steps = feed(patch(Todo, title="a"), done)
    assert asked(steps) == [TODO]
    assert body(steps[0]) == {"data": {"title": "a"}}
    assert found.low == 1
    fails(patch(Todo, title="b"), BadReply, done)
    fails(patch(Todo, title="a"), BadReply, shows(object_of("y", title="a")))
    fails(patch(Todo, title="a"), NotFound, is_missing())
    error, _ = fails(patch(Todo, title="a"), InvalidData, shows(object_of("x", title="a", low=99)))
    assert error.lost
    assert "was patched, and what the server has now does not fit" in str(error)
    fails(patching(Todo, nowhere(), "x", {"title": "a"}, NOW + 1), BadReply, done)
    fails(patching(Todo, nowhere(), "x", {"title": "a"}, 0), InvalidData)


async def test_a_patch_that_the_whole_model_refuses(session: AnySession) -> None:
    """It is done: the error says so, shows what is there, and what to do about it."""
    await do(Todo(id="x", title="a", nick="n").save)
    with pytest.raises(InvalidData) as caught:
        await do(Todo.patch, "x", low=50, nick="m")
    error = caught.value
    raw = await do(Record.get, "x", session=session.scoped(collection="todos"))
    assert error.details["existing"] == raw.model_dump()
    assert (error.lost, error.status) == (True, None)
    for said in (
        "was patched",
        "given low, nick",
        str(raw.last_modified),
        "Patch it back",
        "modify",
    ):
        assert said in str(error)
    assert (await do(Todo.patch, "x", low=5)).nick == "m"
    with pytest.raises(ValidationError, match="low is beyond high"):
        await do(Todo.modify, "x", lambda todo: todo.assign(low=50))
    assert (await do(Todo.get, "x")).low == 5


def test_a_patch_in_a_race_by_hand() -> None:
    """After a lost answer a 412 is unconfirmed; what is another object is not shown."""

    def flow() -> Any:
        return patching(Todo, nowhere(), "x", {"title": "a"}, NOW)

    error, _ = fails(flow(), Conflict, after_loss(is_there(object_of("x", NOW + 1, title="a"))))
    assert error.unconfirmed
    error, _ = fails(flow(), Conflict, is_there(object_of("x", NOW + 1, low="?")))
    assert (type(error.remote), error.remote["low"]) == (Record, "?")  # type: ignore[union-attr]
    assert error.unfit is not None  # type: ignore[union-attr]
    error, _ = fails(flow(), Conflict, is_there(object_of("y", NOW + 1, title="a")))
    assert error.remote is None


def test_a_patch_makes_nothing() -> None:
    """Where the collection is missing, the error explains it."""
    fails(patch(Todo, title="a"), NotFound, is_missing("collection"))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"hidden": "x"}, "exclude=True"),
        ({"secret": "x"}, "secret"),
        ({"high": 5}, "looks at 'low'. Give that, too, or use modify"),
        ({"any": {1: 2}}, ""),
    ],
    ids=lambda each: str(each)[:12],
)
def test_what_a_patch_cannot_send(fields: dict[str, Any], said: str) -> None:
    """It would not be read back, or cannot be checked without the other fields."""
    error, steps = fails(patch(Odd, **fields), ValueError)
    assert said in str(error)
    assert steps == []


def test_fields_that_go_together() -> None:
    """A validator sees the fields that are patched with its own."""
    data = object_of("x", low=3, high=5)
    assert feed(patch(Odd, high=5, low=3), shows(data))[0].high == 5
    fails(patch(Odd, high=1, low=3), ValidationError)


def test_accounts_and_history() -> None:
    """Rules for one class hold here, too."""
    fails(patch(Account, password="x" * 73), InvalidData)
    fails(patch(Account, password=None), InvalidData)
    fails(patch(HistoryEntry, action="x"), Unsupported)


def test_the_password_of_an_account() -> None:
    """It is sent by itself, and nobody sees its hash."""
    sent = feed(
        patching(Account, nowhere(), "bob", {"password": "s3cret"}, None),
        root(25, "accounts"),
        shows({"id": "bob", "last_modified": NOW, "password": "$2b$hash"}),
    )
    assert sent[0].password is None
    assert body(sent[1][-1]) == {"data": {"password": "s3cret"}}


def test_options_and_fields_of_the_same_name() -> None:
    """What may be meant both ways is refused, and can be said."""

    class Both(Record, collection="todos"):
        if_match: str = ""
        session: str = ""

    with Session("memory://"):
        Both(id="x").save()
        with pytest.raises(TypeError, match="if_match"):
            Both.patch("x", if_match=5)
        both = Both.patch("x", {"if_match": "a", "session": "b"})
        assert (both.if_match, both.session) == ("a", "b")
        with pytest.raises(TypeError, match="whole number"):
            Todo.patch("x", title="a", if_match="5")  # type: ignore[arg-type]
        for name in ("id", "last_modified", "permissions"):
            with pytest.raises(TypeError, match=name):
                Todo.patch("x", **{name: "y"})
        with pytest.raises(TypeError, match="no field to set"):
            Todo.patch("x")
        with pytest.raises(TypeError, match="name"):
            Template.patch("x", name="y")


def test_a_kvp_server_patches_nothing() -> None:
    """It has no such request; nothing is sent."""
    scope = Session("kvp+http://127.0.0.1:9", auth=("key", ""))
    fails(patching(Template, scope, "t", {"source": "x"}, None), Unsupported)


def test_a_refused_patch_names_the_field() -> None:
    """As by other verbs."""
    refusal = refuses(400, 107, errors=[{"name": "nickName"}])
    error, _ = fails(patch(Todo, nick="a"), InvalidData, refusal)
    assert "'nick'" in str(error)
    fails(patch(Todo, nick="a"), Exception, forbids())


# modify


async def test_modify_runs_again(session: AnySession) -> None:
    """As often as somebody else is first; the function sees what that one left."""
    await do(Todo(id="x", title="a", high=100).save)
    seen = []

    async def change(todo: Todo) -> None:
        seen.append(todo.low)
        if len(seen) < 3:
            await do(Todo.patch, "x", low=len(seen))
        todo.title += "b"

    def changes(todo: Todo) -> None:
        seen.append(todo.low)
        if len(seen) < 3:
            Todo.patch("x", low=len(seen))
        todo.title += "b"

    todo = await do(Todo.modify, "x", change if isinstance(session, AsyncSession) else changes)
    assert seen == [0, 1, 2]
    assert (todo.title, todo.low) == ("ab", 2)
    assert (await do(Todo.get, "x")).title == "ab"


async def test_modify_gives_up(session: AnySession) -> None:
    """After so many times the Conflict is raised; what the function raises at once."""
    await do(Todo(id="x", title="a").save)
    with pytest.raises(NotFound):
        await do(Todo.modify, "no", lambda todo: None)
    with pytest.raises(ZeroDivisionError):
        await do(Todo.modify, "x", lambda todo: 1 / 0)
    with pytest.raises(TypeError, match="another object"):
        await do(Todo.modify, "x", lambda todo: todo.model_copy(update={"title": "b"}))
    with pytest.raises(ValueError, match="times"):
        await do(Todo.modify, "x", repr, -1)
    assert (await do(Todo.modify, "x", lambda todo: todo.address)).title == "a"


def test_modify_by_hand() -> None:
    """It waits between; an unconfirmed conflict, or the last one, ends it."""

    def flow(times: int) -> Any:
        return modifying(Todo, nowhere(), "x", lambda todo: todo.assign(title="b"), times)

    there, newer = object_of("x", title="a"), object_of("x", NOW + 1, title="c")
    error, steps = fails(flow(0), Conflict, shows(there), is_there(newer))
    assert error.remote.title == "c"
    steps = fails(flow(5), Conflict, shows(there), after_loss(is_there(newer)))[1]
    assert len(steps) == 2
    done = shows(object_of("x", NOW + 2, title="b"))
    found, steps = feed(flow(1), shows(there), is_there(newer), None, None, shows(newer), done)
    assert [type(each) for each in steps[2:3]] == [Pause]
    assert found.title == "b"
    gone = fails(flow(5), NotFound, shows(there), is_missing(), None, None, is_missing())
    assert isinstance(gone[0], NotFound)


def test_a_coroutine_function_needs_somebody_who_awaits() -> None:
    """A Session says so; nothing is saved."""

    async def change(todo: Todo) -> None:
        await asyncio.sleep(0)

    with Session("memory://"):
        Todo(id="x", title="a").save()
        with pytest.raises(Exception, match=r"change\(\) is to be awaited, and <Session"):
            Todo.modify("x", change)


# modified_at


async def test_modified_at(session: AnySession) -> None:
    """The timestamp as a datetime, to the millisecond."""
    todo = Todo(id="x", title="a")
    assert todo.modified_at is None
    await do(todo.save)
    assert todo.modified_at is not None
    assert todo.modified_at.tzinfo is UTC
    assert round(todo.modified_at.timestamp() * 1000) == todo.last_modified
    assert "modified_at" not in todo.model_dump()
    with pytest.raises(ValidationError):
        todo.modified_at = todo.modified_at  # type: ignore[misc]
    (part,) = await do(Todo.find().only("title").all)
    assert part.modified_at == todo.modified_at


async def test_a_field_of_that_name_is_that_field(session: AnySession) -> None:
    """Declared or not, it is what the program stored."""

    class Dated(Record, collection="todos"):
        modified_at: Annotated[datetime | None, Field(alias="changed")] = None

    class Open(Record, collection="todos"):
        pass

    when = datetime(2001, 1, 1, tzinfo=UTC)
    dated = await do(Dated(id="x", modified_at=when).save)
    assert (await do(Dated.find(Dated.modified_at == when).one)).modified_at == when
    assert dated.last_modified is not None
    assert (await do(Open(modified_at="then").save)).modified_at == "then"
    assert isinstance((await do(Open(a=1).save)).modified_at, datetime)
    with pytest.raises(AttributeError, match="modified_at"):
        _ = Todo.modified_at


@pytest.mark.parametrize("name", ["before_save", "assign", "patch", "modify"])
def test_new_names_are_no_fields(name: str) -> None:
    """A field that would hide one of them is refused with the way out."""
    with pytest.raises(ModelError, match=f"'{name}'.*{name}_: .*validation_alias"):
        type(Record)("Bad", (Record,), {"__annotations__": {name: str}, "__module__": __name__})
