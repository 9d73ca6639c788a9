"""What is known of an object holds where it lives, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from conftest import Backend, Wire
from kinto_orm import (
    Bucket,
    Collection,
    ConfigurationError,
    Conflict,
    Everyone,
    Group,
    InvalidData,
    ModelError,
    NotLoaded,
    Permissions,
    Record,
    Session,
    Template,
)


class Todo(Record, collection="todos"):
    title: str = ""
    done: bool = False


@pytest.fixture
def here(backend: Backend) -> Iterator[Session]:
    """Where the objects live."""
    yield from stocked(backend.session(bucket=backend.new_id()))


@pytest.fixture
def there(backend: Backend) -> Iterator[Session]:
    """Another server."""
    yield from stocked(Session("memory://", bucket="elsewhere"))


def stocked(session: Session) -> Iterator[Session]:
    with session:
        bucket = Bucket(id=session.bucket).save(session=session)
        for name in ("todos", "a", "b", "templates"):
            Collection(id=name, bucket=bucket).save(session=session)
        yield session


KINDS: dict[str, tuple[type[Any], dict[str, Any], str]] = {
    "record": (Todo, {"id": "x"}, "title"),
    "untyped record": (Record, {"id": "x"}, "title"),
    "group": (Group, {"id": "x"}, "note"),
    "collection": (Collection, {"id": "x"}, "note"),
    "bucket": (Bucket, {"id": "x"}, "note"),
    "template": (Template, {"name": "x"}, "source"),
}
SAVES: dict[str, Callable[[Session, Any, bool], object]] = {
    "save": lambda session, each, force: each.save(session=session, force=force),
    "batch": lambda session, each, force: in_batch(session, each, force),
    "save_all": lambda session, each, force: raising(session.save_all([each], force=force)),
}


def in_batch(session: Session, each: Any, force: bool) -> None:
    batch = session.batch()
    batch.save(each, force=force)
    raising(batch)


def raising(done: Any) -> None:
    """Raise the only failure."""
    if hasattr(done, "run"):
        try:
            done.run()
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
    elif done.failed:
        raise done.failed[0].error


def scope_of(kind: str, session: Session) -> Session:
    return session.scoped(collection="a") if kind == "untyped record" else session


def found(kind: str, session: Session) -> Any:
    """What is stored there."""
    cls, named, _ = KINDS[kind]
    return cls.get_or_none(next(iter(named.values())), session=scope_of(kind, session))


def made(kind: str, session: Session, text: str) -> Any:
    """An object that lives there, loaded."""
    cls, named, field = KINDS[kind]
    cls(**named, **({"source": ""} if cls is Template else {})).save(
        session=scope_of(kind, session), force=True
    )
    loaded = found(kind, session)
    loaded[field] = text
    loaded.save()
    return found(kind, session)


@pytest.mark.parametrize("how", SAVES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_given_to_another_server_is_created_there(
    here: Session, there: Session, kind: str, how: str
) -> None:
    """Unchanged or not; then it lives there, and the next save goes on from that."""
    field = KINDS[kind][2]
    thing = made(kind, here, "mine")
    SAVES[how](scope_of(kind, there), thing, False)
    assert found(kind, there)[field] == "mine"
    thing[field] = "newer"
    thing.save()
    assert (found(kind, there)[field], found(kind, here)[field]) == ("newer", "mine")


@pytest.mark.parametrize("how", SAVES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_there_already_is_a_conflict(
    here: Session, there: Session, kind: str, how: str
) -> None:
    """Never a success that did nothing, and the original goes on living where it was."""
    field = KINDS[kind][2]
    thing = made(kind, here, "mine")
    made(kind, there, "theirs")
    with pytest.raises(Conflict) as raised:
        SAVES[how](scope_of(kind, there), thing, False)
    assert raised.value.remote[field] == "theirs"
    assert found(kind, there)[field] == "theirs"
    thing[field] = "changed"
    thing.save()
    assert (found(kind, here)[field], found(kind, there)[field]) == ("changed", "theirs")
    raised.value.merge(prefer="local").save()
    assert found(kind, there)[field] == "mine"


@pytest.mark.parametrize("how", SAVES)
@pytest.mark.parametrize("kind", KINDS)
def test_force_overwrites_there_and_not_here(
    here: Session, there: Session, kind: str, how: str
) -> None:
    """The original stays."""
    field = KINDS[kind][2]
    thing = made(kind, here, "mine")
    made(kind, there, "theirs")
    SAVES[how](scope_of(kind, there), thing, True)
    assert (found(kind, here)[field], found(kind, there)[field]) == ("mine", "mine")


ACTS: dict[str, Callable[[Any, Session], object]] = {
    "delete": lambda todo, session: todo.delete(session=session),
    "delete with force": lambda todo, session: todo.delete(session=session, force=True),
    "delete what may be missing": lambda todo, session: todo.delete(
        session=session, missing_ok=True
    ),
    "refresh": lambda todo, session: todo.refresh(session=session),
    "refresh and keep": lambda todo, session: todo.refresh(session=session, keep_changes=True),
    "session.delete": lambda todo, session: session.delete(todo),
    "session.refresh": lambda todo, session: session.refresh(todo),
    "batch.delete": lambda todo, session: queued(session, lambda batch: batch.delete(todo)),
    "batch.refresh": lambda todo, session: queued(session, lambda batch: batch.refresh(todo)),
    "delete_all": lambda todo, session: raising(session.delete_all([todo])),
    "history": lambda todo, session: todo.history(session=session),
    "at": lambda todo, session: todo.at(todo.last_modified, session=session),
    "revert": lambda todo, session: todo.revert(todo.last_modified, session=session),
}


def queued(session: Session, queue: Callable[[Any], object]) -> None:
    batch = session.batch()
    queue(batch)
    raising(batch)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("other", ["server", "bucket", "collection"])
def test_other_acts_on_what_lives_elsewhere_say_where(
    here: Session, there: Session, backend: Backend, act: str, other: str
) -> None:
    """An object of the same id there is not touched, nor the one here."""
    mine = made("untyped record", here, "mine")
    target = there.scoped(collection="a")
    if other == "bucket":
        bucket = Bucket(id=backend.new_id()).save(session=here)
        Collection(id="a", bucket=bucket).save(session=here)
        target = here.scoped(bucket=bucket.id, collection="a")
    if other == "collection":
        target = here.scoped(collection="b")
    Record(id="x", title="theirs").save(session=target)
    with pytest.raises(ConfigurationError, match="lives in /buckets/"):
        ACTS[act](mine, target)
    assert Record.get("x", session=target)["title"] == "theirs"
    assert found("untyped record", here)["title"] == "mine"
    assert mine.diff() == {}


def test_many_objects_go_to_another_server(here: Session, there: Session) -> None:
    """`new.save_all(Todo.find(session=old))` copies them all."""
    here.save_all(Todo(title=str(number)) for number in range(60))
    summary = there.save_all(Todo.find(session=here))
    assert (summary.created, summary.total) == (60, 60)
    key = {each.id: each.title for each in Todo.find(session=here)}
    assert {each.id: each.title for each in Todo.find(session=there)} == key


def test_a_forced_save_in_another_scope_leaves_the_original(here: Session) -> None:
    """The same server, another collection."""
    a, b = here.scoped(collection="a"), here.scoped(collection="b")
    original = Record(id="x", title="a").save(session=a)
    original["title"] = "changed"
    assert b.save_all([original], force=True).created == 1
    assert (Record.get("x", session=a)["title"], Record.get("x", session=b)["title"]) == (
        "a",
        "changed",
    )


def test_another_session_on_the_same_place_is_no_other_place(wire: Wire, backend: Backend) -> None:
    """Another user who works on the same object, and the same scope by another name."""
    todo = Todo(id="x", title="a", permissions={"write": [Everyone]}).save()
    todo.title = "b"
    wire.clear()
    todo.save(session=wire.session.scoped())
    assert wire.methods == ["PATCH"]
    with backend.session(auth="bob:s3cret", bucket=wire.session.bucket) as bob:
        todo.title = "c"
        todo.save(session=bob)
        assert Todo.get("x").title == "c"
        todo.delete(session=bob)


def test_what_has_a_place_of_its_own_is_saved_by_its_own_session(here: Session) -> None:
    """A collection of another bucket, given to the session that it came from."""
    bucket = Bucket(id=f"{here.bucket}-other").save()
    collection = Collection(id="c", bucket=bucket).save()
    collection["note"] = "n"
    here.save(collection)
    assert bucket.collections.get("c")["note"] == "n"


def test_the_default_bucket_is_the_same_place(backend: Backend) -> None:
    """By the word and by its real id."""
    with backend.session() as session:
        todo = Todo(title="a").save()
        todo.title = "b"
        todo.save(session=session.scoped(bucket=session.resolve_bucket("default")))
        assert Todo.get(todo.id).title == "b"
        todo.delete()


# Copies


class Place(BaseModel):
    city: str


class Person(Record, collection="todos"):
    name: str
    place: Place = Place(city="")


def test_a_copy_has_all_that_is_stored(here: Session, there: Session) -> None:
    """Also what the model does not declare, at any depth, and what is not saved yet."""
    raw = {
        "name": "Ada",
        "place": {"city": "London", "zip": "N1"},
        "extra": [1],
        "deep": {"a": None},
    }
    Record(id="x", **raw).save(session=here.scoped(collection="todos"))
    person = Person.get("x", session=here)
    person.name = "Bob"
    copied = person.copy_to(there, id="y")
    assert (copied.id, copied.is_new, copied.diff()) == ("y", False, {})
    stored = Record.get("y", session=there.scoped(collection="todos"))
    assert stored.model_extra == raw | {"name": "Bob"}
    assert person.diff() == {"name": ("Ada", "Bob")}
    copied.name = "Cleo"
    copied.save()
    assert (Person.get("x", session=here).name, Person.get("y", session=there).name) == (
        "Ada",
        "Cleo",
    )


def test_a_copy_overwrites_nothing_unless_it_is_forced(here: Session, there: Session) -> None:
    """As every creation."""
    mine = Todo(id="x", title="mine").save(session=here)
    Todo(id="x", title="theirs").save(session=there)
    with pytest.raises(Conflict):
        mine.copy_to(there)
    assert Todo.get("x", session=there).title == "theirs"
    assert mine.copy_to(there, force=True).title == "mine"
    assert Todo.get("x", session=there).title == "mine"


def test_a_copy_into_the_same_collection_needs_another_id(here: Session) -> None:
    """Under its own it is there already."""
    todo = Todo(id="x", title="a").save(session=here)
    with pytest.raises(Conflict):
        todo.copy_to(here)
    assert todo.copy_to(here, id="y").save().title == "a"


@pytest.mark.parametrize("force", [False, True])
def test_a_copy_goes_where_the_scope_says(here: Session, force: bool) -> None:
    """Also that of a class which names its collection: the original stays as it is."""
    todo = Todo(id="x", title="a").save(session=here)
    todo.title = "changed"
    copied = todo.copy_to(here.scoped(collection="a"), force=force)
    assert copied.uri.endswith("/collections/a/records/x")
    assert Todo.get("x", session=here).title == "a"
    assert Record.get("x", session=here.scoped(collection="a"))["title"] == "changed"
    copied.title = "again"
    copied.save()
    assert Todo.get("x", session=here).title == "a"
    assert Record.get("x", session=here.scoped(collection="a"))["title"] == "again"


def test_what_cannot_be_copied(here: Session, there: Session) -> None:
    """Half an object, and to what is no session."""
    Todo(id="x", title="a").save(session=here)
    (half,) = Todo.find(session=here).only("title")
    with pytest.raises(NotLoaded):
        half.copy_to(there)
    with pytest.raises(TypeError, match="Session"):
        Todo.get("x", session=here).copy_to("memory://")  # type: ignore[arg-type]
    with pytest.raises(InvalidData, match="a b"):
        Todo.get("x", session=here).copy_to(there, id="a b")


# Names that mean something to the library


def test_a_stored_field_named_permissions_is_data(here: Session, there: Session) -> None:
    """Copying it by any documented way gives nobody an access."""
    notes = here.scoped(collection="a")
    note = Record(id="x", title="t")
    note["permissions"] = {"read": [Everyone]}
    note.save(session=notes)
    read = Record.get("x", session=notes)
    copies = [
        read.copy_to(notes, id="y"),
        Record(**read.model_dump(exclude={"id", "last_modified"})).save(session=notes),
        Record(**read.model_dump(mode="json", exclude={"id", "last_modified"})).save(session=notes),
    ]
    for each in copies:
        stored = Record.get(each.id, session=notes)
        assert stored["permissions"] == {"read": [Everyone]}
        assert Everyone not in stored.permissions.read
    assert json.loads(json.dumps(read.model_dump()))["permissions"] == {"read": [Everyone]}


@pytest.mark.parametrize("value", [["x"], "x", 5, None, {"reed": ["x"]}, {"read": 5}])
def test_what_is_no_access_list_is_refused_in_words(here: Session, value: Any) -> None:
    """A list, a text, nothing: none of it is dropped, and none ends in a bare error."""
    with pytest.raises((InvalidData, ValidationError), match=r"permissions|Permissions"):
        Record(title="x", permissions=value)


def test_a_declared_field_named_permissions(here: Session) -> None:
    """The field has its own name in the program; the keyword takes a Permissions only."""
    from pydantic import Field

    class Odd(Record, collection="todos"):
        access: list[str] = Field(
            default=[], validation_alias="permissions", serialization_alias="permissions"
        )

    with pytest.raises(InvalidData, match=r"access=\.\.\."):
        Odd(permissions={"read": [Everyone]})  # type: ignore[call-arg]
    odd = Odd(access=["x"], permissions=Permissions(read={Everyone})).save(session=here)
    read = Odd.get(odd.id, session=here)
    assert (read.access, Everyone in read.permissions.read) == (["x"], True)


# The server's timestamp


def test_last_modified_is_the_servers(here: Session) -> None:
    """It is given to no constructor, not assigned and not taken away; nothing is dropped."""
    with pytest.raises(InvalidData, match=r"copy_to.*save\(last_modified"):
        Todo(title="x", last_modified=5)
    todo = Todo(title="x").save(session=here)
    was = todo.last_modified
    for act in (
        lambda: setattr(todo, "last_modified", 5),
        lambda: todo.__setitem__("last_modified", 5),
        lambda: delattr(todo, "last_modified"),
        lambda: todo.__delitem__("last_modified"),
        lambda: delattr(todo, "id"),
    ):
        with pytest.raises(ModelError, match=r"last_modified|id"):
            act()
    assert todo.last_modified == was
    todo.title = "y"
    assert todo.save().title == "y"


@pytest.mark.parametrize("force", [False, True])
def test_a_replica_keeps_a_timestamp(here: Session, force: bool) -> None:
    """A new object any, a stored one only a newer one."""
    todo = Todo(id="x", title="a").save(session=here, last_modified=1000, force=force)
    assert (todo.last_modified, Todo.get("x", session=here).last_modified) == (1000, 1000)
    todo.title = "b"
    todo.save(last_modified=2000, force=force)
    assert Todo.get("x", session=here).last_modified == todo.last_modified == 2000
    todo.save(last_modified=3000, force=force)  # nothing else changed
    assert Todo.get("x", session=here).last_modified == todo.last_modified == 3000
    assert todo.diff() == {}


@pytest.mark.parametrize("stamp", [0, -1, 1.5, True, "5", 2000, 1999])
def test_a_timestamp_that_would_not_be_kept_is_refused(here: Session, stamp: Any) -> None:
    """Before anything is sent."""
    todo = Todo(id="x", title="a").save(session=here, last_modified=2000)
    todo.title = "b"
    with pytest.raises(InvalidData, match="Nothing was sent"):
        todo.save(last_modified=stamp)
    assert Todo.get("x", session=here).title == "a"
