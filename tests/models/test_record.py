"""Records: typed ones by subclass, untyped ones that take any field."""

from __future__ import annotations

import contextvars
import itertools
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from conftest import Backend, Wire
from kinto_orm import (
    Bucket,
    Collection,
    Group,
    InvalidData,
    ModelError,
    NotFound,
    Record,
    Session,
    Template,
)


class Todo(Record, collection="todos"):
    title: str
    done: bool = False
    due_on: str = Field(default="", validation_alias="due-on", serialization_alias="due-on")


@pytest.fixture
def records(session: Session) -> Any:
    """The records of the collection todos, untyped."""
    return Collection(id="todos").records


# Untyped records


def test_untyped_records_take_any_field(session: Session) -> None:
    """Fields are given by name, read by name and stored by name."""
    with session.scoped(collection="todos"):
        record = Record(title="x", status="done", nested={"a": [1, None]}).save()
        found = Record.get(record.id)
        assert (found.title, found["status"], found["nested"]) == ("x", "done", {"a": [1, None]})
        found.status = "open"
        found["nested"]["a"].append(2)
        found.save()
        assert Record.get(record.id).model_extra == {
            "title": "x", "status": "open", "nested": {"a": [1, None, 2]}
        }  # fmt: skip


def test_values_that_are_no_json_yet(records: Any) -> None:
    """What Pydantic can write as JSON may be given; it comes back as JSON."""
    record = records.new(due=datetime(2020, 1, 1, tzinfo=UTC), tags={"a"}).save()
    assert record.diff() == {}
    found = records.get(record.id)
    assert (found["due"], found["tags"]) == ("2020-01-01T00:00:00Z", ["a"])


# Kinto itself takes these names for its own.
SERVERS_OWN = {"id", "last_modified", "schema", "deleted", "__permissions__"}
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
methods = st.sampled_from([
    "save", "delete", "refresh", "get", "find", "uri", "is_new", "permissions", "copy", "json",
    "dict", "model_fields", "model_dump", "__class__", "__dict__", "__kinto_state__", "_private",
    "bucket", "collection", "session", "self", "cls", "due-on", "a b", "a.b", "a/b", "ü",
])  # fmt: skip


@settings(max_examples=15)
@given(fields=st.dictionaries(names | methods, st.integers(-9, 9) | st.text("ab"), max_size=4))
def test_items_of_any_name(session: Session, fields: dict[str, Any]) -> None:
    """record["any name"] reaches every field, those named like methods included."""
    expected = {name: value for name, value in fields.items() if name not in SERVERS_OWN}
    records = Collection(id="todos").records
    record = records.new(id="x")
    for name, value in expected.items():
        record[name] = value
        assert record[name] == value
        assert name in record
    record.save(force=True)
    found = records.get("x")
    assert found.model_extra == expected
    assert {name: found[name] for name in expected} == expected
    assert found.diff() == record.diff() == {}
    for name in expected:
        del found[name]
        assert name not in found
    found.save()
    assert records.get("x").model_extra == {}


def test_items_that_are_not_there(records: Any) -> None:
    """A KeyError that names the record and a name that was perhaps meant."""
    record = records.new(id="x", title="a")
    with pytest.raises(KeyError, match=r"'x' has no 'titel'.*'title'"):
        record["titel"]
    with pytest.raises(KeyError, match="titel"):
        del record["titel"]
    assert "titel" not in record


def test_attributes_that_are_not_there(records: Any) -> None:
    """An AttributeError, as everywhere in Python."""
    with pytest.raises(AttributeError):
        records.new(title="a").titel
    assert not hasattr(records.new(), "titel")


def test_a_field_named_like_a_method_leaves_the_method(records: Any) -> None:
    """It is reached as an item; the method stays the method."""
    record = records.new(id="x", save="a", uri="b").save()
    assert (record["save"], record["uri"]) == ("a", "b")
    assert record.uri.endswith("/records/x")
    with pytest.raises((AttributeError, ValueError, TypeError)):
        record.refresh = "x"
    record.refresh()


def test_permissions_are_no_data() -> None:
    """Kinto would take `__permissions__` in the data for permissions."""
    record = Record()
    with pytest.raises(InvalidData, match="permissions="):
        record["__permissions__"] = {}
    with pytest.raises(InvalidData, match="permissions="):
        Record(__permissions__={})


# Typed records


def test_misspelt_fields_are_refused() -> None:
    """In the constructor and in an assignment, with the name that was perhaps meant."""
    with pytest.raises(ValidationError, match=r"titel[\s\S]*did you mean 'title'"):
        Todo(titel="x")  # type: ignore[call-arg]
    todo = Todo(title="x")
    with pytest.raises(ValidationError, match="'title'"):
        todo.titel = "y"  # type: ignore[attr-defined]
    with pytest.raises(ValidationError, match="'title'"):
        todo["titel"] = "y"
    assert not hasattr(todo, "titel")
    assert todo.model_extra == {}


def test_every_misspelt_field_is_named() -> None:
    """One error for all of them."""
    with pytest.raises(ValidationError) as raised:
        Todo(title="x", don=True, other=1)  # type: ignore[call-arg]
    assert {error["loc"] for error in raised.value.errors()} == {("don",), ("other",)}


def test_missing_and_wrong_fields_are_refused() -> None:
    """As by any Pydantic model."""
    with pytest.raises(ValidationError, match="title"):
        Todo()  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="done"):
        Todo(title="x", done="perhaps")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Todo("x")  # type: ignore[misc]


def test_names_of_aliased_fields(wire: Wire) -> None:
    """The constructor takes the program's name and the stored one; the stored one is sent."""
    assert Todo(title="a", due_on="x").due_on == "x"
    assert Todo(title="a", **{"due-on": "x"}).due_on == "x"  # type: ignore[arg-type]
    Todo(id="x", title="a", due_on="later").save()
    assert wire.body["data"]["due-on"] == "later"
    assert Todo.get("x").due_on == "later"


def test_items_of_aliased_fields(session: Session) -> None:
    """An item by the stored name is that field, not a second one beside it."""
    todo = Todo(id="x", title="a", due_on="old").save()
    assert todo["due_on"] == "old"
    todo["due-on"] = "new"
    todo.save()
    assert Todo.get("x").due_on == "new" == todo.due_on
    assert todo["due-on"] == "new"


def test_items_of_declared_fields_are_validated(session: Session) -> None:
    """todo["done"] is todo.done."""
    todo = Todo(title="a")
    todo["done"] = "yes"
    assert todo.done is True
    with pytest.raises(ValidationError):
        todo["done"] = "perhaps"


def test_undeclared_fields_of_the_server_are_kept(records: Any) -> None:
    """They are there as items, survive every save, and can be changed and removed."""
    records.new(id="x", title="a", colour="red", size=3).save()
    todo = Todo.get("x")
    assert (todo["colour"], todo.size) == ("red", 3)  # type: ignore[attr-defined]
    todo.title = "b"
    todo.save()
    todo["colour"] = "blue"
    todo.size = 4  # type: ignore[attr-defined]
    todo.save()
    assert records.get("x").model_extra == {"title": "b", "colour": "blue", "size": 4}
    del todo["size"]
    todo.save()
    todo.save(force=True)
    assert "size" not in records.get("x")
    assert records.get("x")["colour"] == "blue"


# What a class may not be


CLASHES = ["save", "delete", "refresh", "get", "find", "diff", "uri", "is_new", "permissions",
           "bind", "copy", "json", "dict", "schema", "validate", "model_dump", "construct",
           "get_or_none", "get_or_create", "is_partial"]  # fmt: skip


@pytest.mark.parametrize("name", CLASHES)
def test_a_clashing_field_is_refused_when_the_class_is_defined(name: str) -> None:
    """A field that would hide a method, or be hidden by one; the message shows the way out."""
    with pytest.raises(ModelError, match=f"'{name}'.*{name}_: .*validation_alias"):
        type(Record)("Bad", (Record,), {"__annotations__": {name: str}, "__module__": __name__})


def test_the_way_out_of_a_clash(session: Session) -> None:
    """Another name in the program, the same one in the store."""

    class Escaped(Record, collection="todos"):
        save_: str = Field(validation_alias="save", serialization_alias="save")

    escaped = Escaped(save_="x").save()
    assert Collection(id="todos").records.get(escaped.id)["save"] == "x"
    assert Escaped.get(escaped.id).save_ == "x"


def test_methods_may_be_overridden(session: Session) -> None:
    """A method is no field."""

    class Loud(Record, collection="todos"):
        title: str

        def refresh(self, **options: Any) -> Loud:
            """Take the server's state, in capitals."""
            self.title = super().refresh(**options).title.upper()
            return self

    assert Loud(title="a").save().refresh().title == "A"


@pytest.mark.parametrize("keyword", ["collection", "bucket"])
@pytest.mark.parametrize("value", ["a b", "my todos", "", "a/b", 5, ["x"]])
def test_class_keywords_are_checked(keyword: str, value: Any) -> None:
    """An id that cannot be one is refused when the class is defined."""
    with pytest.raises(ModelError, match=f"{keyword}= of Bad"):
        type(Record)("Bad", (Record,), {"__module__": __name__}, **{keyword: value})


@pytest.mark.parametrize("factory", [5, "x", ["x"], True])
def test_an_id_factory_is_a_function(factory: Any) -> None:
    """What cannot be called is refused when the class is defined."""
    with pytest.raises(ModelError, match=r"id_factory= of Bad is a function .* not"):
        type(Record)("Bad", (Record,), {"__module__": __name__}, id_factory=factory)


@pytest.mark.parametrize("id", [UUID(int=1), 5, ("a",), Record(id="x"), b"x"], ids=repr)
def test_an_id_is_a_text(session: Session, id: Any) -> None:
    """What is no text is refused as that, and not by the rule for the signs in it."""
    todos = session.scoped(collection="todos")
    for read in (
        lambda: Record.get(id, session=todos),
        lambda: Record.get_or_none(id, session=todos),
        lambda: Bucket.get(id),
        lambda: session.scoped(bucket=id),
        lambda: session.scoped(collection=id),
        lambda: Record(id="x").copy_to(todos, id=id),
        lambda: Template.get(id),
        lambda: Template.get_or_none(id),
    ):
        with pytest.raises(ValueError, match=r"is a text.*rite str\(\.\.\.\)"):
            read()


@pytest.mark.parametrize(
    ("base", "keyword", "meant"),
    [
        (Record, "colection", "collection"),
        (Record, "buket", "bucket"),
        (Record, "id_fatcory", "id_factory"),
        (Record, "str_to_loewr", "str_to_lower"),
        (Todo, "colection", "collection"),
        (Record, "nonsense", None),
        (Group, "collection", None),
    ],
)
def test_unknown_class_keywords_are_refused(base: Any, keyword: str, meant: str | None) -> None:
    """With the one that was perhaps meant."""
    with pytest.raises(ModelError, match=f"'{keyword}'.*{meant or 'settings'}"):
        type(Record)("Bad", (base,), {"__module__": __name__}, **{keyword: "x"})


def test_a_base_of_the_program_may_take_class_keywords() -> None:
    """As in any class of Python."""
    seen = []

    class Plain:
        def __init_subclass__(cls, table: str = "", **more: Any) -> None:
            super().__init_subclass__(**more)
            seen.append(table)

    class Mixed(Plain, Record, collection="todos", table="x"):
        pass

    assert seen == ["x"]
    with Session("memory://"):
        assert Mixed(id="y").uri.endswith("/collections/todos/records/y")


def test_class_keywords_are_inherited(session: Session, backend: Backend) -> None:
    """A subclass lives where its base lives, unless it says otherwise."""
    other = backend.new_id()

    class Base(Record, collection="todos", bucket=other, id_factory=lambda: "made"):
        title: str = ""

    class Same(Base):
        more: int = 0

    class Moved(Base, collection="notes"):
        pass

    assert Same().uri == f"/buckets/{other}/collections/todos/records/made"
    assert Moved().uri == f"/buckets/{other}/collections/notes/records/made"


def test_id_factory(session: Session) -> None:
    """Makes the id of a new record that is given none."""
    numbers = itertools.count(1)

    class Numbered(Record, collection="todos", id_factory=lambda: f"n{next(numbers)}"):
        title: str = ""

    assert [Numbered().save().id, Numbered().save().id] == ["n1", "n2"]
    assert Numbered(id="given").id == "given"
    assert Numbered(id=None).id == "n3"  # type: ignore[arg-type]
    assert {each.id for each in Numbered.find()} == {"n1", "n2"}
    assert next(numbers) == 4


def test_bind(session: Session, backend: Backend) -> None:
    """A class may have a session of its own, which its subclasses inherit."""

    class Base(Record, collection="todos"):
        title: str = ""

    class Sub(Base):
        pass

    bound = session.scoped(bucket=backend.new_id())
    Base.bind(bound)
    assert contextvars.Context().run(lambda: Sub().uri).startswith(f"/buckets/{bound.bucket}/")
    assert Sub().uri.startswith(f"/buckets/{session.bucket}/")


# Children


def test_children_of_a_collection(wire: Wire) -> None:
    """new, get and find, where the collection is."""
    records = Bucket(id=wire.session.bucket).collections.get("todos").records
    record = records.new(id="x", a=1)
    assert record.is_new
    record.save()
    assert records.get("x") == record
    assert [each.id for each in records.find()] == ["x"]
    assert "todos/records" in repr(records)
    with pytest.raises(NotFound, match="'nobody'"):
        records.get("nobody")


def test_children_stay_with_their_session(backend: Backend, session: Session) -> None:
    """What comes from a loaded collection uses its session, whatever is current."""
    collection = Collection.get("todos")
    with backend.session(auth="bob:pw", bucket=backend.new_id()):
        record = collection.records.new(id="x").save()
        assert collection.records.get("x") == record
        assert record.uri.startswith(f"/buckets/{session.bucket}/")
