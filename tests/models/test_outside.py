"""What comes from outside has declared fields only; what the server sent keeps all it has."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    computed_field,
    model_validator,
)

from conftest import Wire
from kinto_orm import (
    Account,
    Bucket,
    Collection,
    Group,
    InvalidData,
    ModelError,
    Record,
    Session,
)


class Item(Record, collection="todos"):
    name: str = ""


class Todo(Record, collection="todos"):
    title: str = "t"
    due_on: str = Field(default="", validation_alias="due-on", serialization_alias="due-on")
    item: Item | None = None
    metadata: list[Item] = []
    default: dict[str, Item] = {}


class Envelope(BaseModel):
    todo: Todo


Data = dict[str, Any]
# Every way in which a web framework, a queue or a file gives an object; each gives what it made.
WAYS: dict[str, Callable[[Data], Any]] = {
    "model_validate": Todo.model_validate,
    "model_validate_json": lambda data: Todo.model_validate_json(json.dumps(data)),
    "adapter": TypeAdapter(Todo).validate_python,
    "adapter of a list": lambda data: TypeAdapter(list[Todo]).validate_python([data])[0],
    "adapter of a union": lambda data: TypeAdapter(int | Todo | None).validate_python(data),
    "inside of a model": lambda data: Envelope.model_validate({"todo": data}).todo,
    "JSON inside of a model": lambda data: (
        Envelope.model_validate_json(json.dumps({"todo": data})).todo
    ),
    "inside of a record": lambda data: Todo.model_validate({"item": {"name": "x"}} | data),
    "constructor": lambda data: Todo(**data),
    "keywords of a model": lambda data: Envelope(todo=data).todo,  # type: ignore[arg-type]
}
each_way = pytest.mark.parametrize("make", WAYS.values(), ids=WAYS)
KNOWN = {*Todo.model_fields, "due-on"}
CONSTRUCTORS_OWN = {"permissions"}
names = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1
) | st.sampled_from(
    ["titel", "deleted", "__permissions__", "save", "__class__", "model_config", "Title", "due_on "]
)


@each_way
@given(name=names.filter(lambda name: name not in KNOWN | CONSTRUCTORS_OWN), value=st.integers())
def test_no_way_in_takes_fields_that_are_not_declared(
    make: Callable[[Data], Any], name: str, value: int
) -> None:
    """Whatever their names are, and those that the server takes for something else."""
    with pytest.raises((ValidationError, InvalidData)):
        make({"title": "a", name: value})


@each_way
def test_every_way_in_takes_what_is_declared(make: Callable[[Data], Any]) -> None:
    """By Python and by stored names, an id included."""
    made = make({"id": "x", "title": "a", "due-on": "b"})
    assert (type(made), made.id, made.title, made.due_on) == (Todo, "x", "a", "b")
    assert made.is_new


@pytest.mark.parametrize("make", [Todo.model_validate, TypeAdapter(Todo).validate_python])
@pytest.mark.parametrize(
    "data",
    [
        {"item": {"nam": "x"}},
        {"metadata": [{}, {"nam": "x"}]},
        {"default": {"extras_keys_schema": {"nam": "x"}}},
    ],
)
def test_records_inside_of_records_are_guarded(make: Callable[[Data], Any], data: Data) -> None:
    """The error says where the name stands, and which one was perhaps meant."""
    with pytest.raises(ValidationError, match=r"nam\n.*did you mean 'name'"):
        make(data)


def test_texts_from_forms_are_guarded() -> None:
    """`model_validate_strings` too."""

    class Form(Record):
        count: int

    assert Form.model_validate_strings({"count": "3"}).count == 3
    with pytest.raises(ValidationError, match="count"):
        Form.model_validate_strings({"count": "3", "cuont": "4"})


def test_permissions_of_a_body_are_no_permissions() -> None:
    """They are a constructor's keyword, and nothing that a client may give."""
    with pytest.raises(ValidationError, match="permissions"):
        Todo.model_validate({"permissions": {"read": ["system.Everyone"]}})


RESERVED = ["deleted", "__permissions__"]


@pytest.mark.parametrize("name", RESERVED)
@pytest.mark.parametrize("model", [Record, Bucket, Collection, Group])
def test_untyped_models_refuse_reserved_names(model: Any, name: str) -> None:
    """From outside, and in every way of setting a field."""
    made = model(id="x")
    for way in (
        lambda: model.model_validate({name: True}),
        lambda: TypeAdapter(list[model]).validate_json(json.dumps([{name: True}])),
        lambda: model(**{name: True}),
        lambda: model.model_construct(**{name: True}),
        lambda: made.__setitem__(name, True),
        lambda: made.model_copy(update={name: True}),
    ):
        with pytest.raises((ValidationError, InvalidData), match=name):
            way()
    assert name not in made


@pytest.mark.parametrize("name", RESERVED)
def test_reserved_names_are_refused_at_save(wire: Wire, name: str) -> None:
    """However they came into the object; nothing is sent."""
    new = Record(id="x")
    assert new.model_extra is not None
    new.model_extra[name] = {"read": ["system.Everyone"]}
    stored = Item(id="y").save()
    assert stored.model_extra is not None
    stored.model_extra[name] = True
    wire.clear()
    todos = wire.session.scoped(collection="todos")
    for save in (
        lambda: new.save(session=todos),
        lambda: new.save(session=todos, force=True),
        stored.save,
        lambda: stored.save(force=True),
    ):
        with pytest.raises(InvalidData, match=name):
            save()
    assert isinstance(wire.session.save_all([stored]).failed[0].error, InvalidData)
    assert set(wire.methods) <= {"GET"}  # of a bulk's root page


def test_what_another_program_stored_survives(session: Session) -> None:
    """The loader asks no guard, inside of records neither; a save loses nothing."""
    stored = Record(
        title="a",
        shop="corner",
        item={"id": "i", "name": "b", "color": "red"},
        metadata=[{"id": "m", "weight": 3}],
    ).save(session=session.scoped(collection="todos"))
    for read in (Todo.get, lambda _: Todo.find().one(), lambda id: Todo.get(id).refresh()):
        found = read(stored.id)
        assert (found["shop"], found.item["color"]) == ("corner", "red")  # type: ignore[index]
        assert found.diff() == {}
        found.title += "!"
        found.save()
    found.save(force=True)
    assert stored.refresh()["shop"] == "corner"
    assert stored["item"]["color"] == "red"
    assert stored["metadata"][0]["weight"] == 3
    assert Todo.find().only("title").one().title == "a!!!"


def test_a_loaded_object_passes_through(session: Session) -> None:
    """An object is no data from outside: it is taken as it is, its undeclared fields with it."""
    stored = Record(title="a", shop="corner").save(session=session.scoped(collection="todos"))
    found = Todo.get(stored.id)
    assert Todo.model_validate(found) is found
    assert Envelope(todo=found).todo is found
    for copied in (copy.copy(found), copy.deepcopy(found), found.model_copy()):
        assert copied["shop"] == "corner"
    assert pickle.loads(pickle.dumps(found))["shop"] == "corner"
    changed = found.model_copy(update={"shop": "market", "due-on": "x"})
    assert (changed["shop"], changed.due_on) == ("market", "x")
    changed.save()
    assert stored.refresh().model_extra == {"title": "a", "shop": "market", "due-on": "x"} | {
        name: stored[name] for name in ("item", "metadata", "default") if name in stored
    }


def test_a_copy_takes_no_misspelt_field() -> None:
    """`model_copy` and `model_construct` validate no values, but names."""
    todo = Todo(title="a")
    with pytest.raises(ValidationError, match="'title'"):
        todo.model_copy(update={"titel": "b"})
    with pytest.raises(ValidationError, match="'title'"):
        Todo.model_construct(titel="b")
    assert Todo.model_construct(title=3).title == 3  # type: ignore[arg-type, comparison-overlap]


def test_the_servers_timestamp_from_outside_is_not_believed(wire: Wire) -> None:
    """The object is new whatever a client says; the value can be compared by the program."""
    mine = Item(id="x", name="a").save()
    body = Item.model_validate_json(mine.model_dump_json())
    assert (body, body.last_modified, body.is_new) == (mine, mine.last_modified, True)
    wire.clear()
    other = Item.model_validate({"id": "z", "name": "b", "last_modified": 5})
    other.save()
    assert wire.methods == ["PUT"]
    assert wire.last.headers["If-None-Match"] == "*"
    assert wire.body == {"data": {"name": "b"}}
    assert other.last_modified != 5


def test_a_copy_has_the_servers_timestamp(session: Session) -> None:
    """Another one would be taken for somebody else's write."""
    item = Item(id="x").save()
    with pytest.raises(ModelError, match="last_modified"):
        item.model_copy(update={"last_modified": 5})
    assert item.model_copy(update={"last_modified": item.last_modified}) == item
    assert item.model_copy(update={"id": "y"}).last_modified is None


# The setting `extra`


def test_extra_may_be_forbidden(session: Session) -> None:
    """It says what holds in any case; stored fields are kept."""

    class Strict(Record, collection="todos"):
        model_config = ConfigDict(extra="forbid")
        title: str = ""

    class Keyword(Record, collection="todos", extra="forbid"):
        title: str = ""

    class Heir(Keyword):
        more: int = 0

    stored = Record(title="a", shop="corner").save(session=session.scoped(collection="todos"))
    for model in (Strict, Keyword, Heir):
        with pytest.raises(ValidationError, match="shop"):
            model(shop="x")
        with pytest.raises(ValidationError, match="shop"):
            model.model_validate({"shop": "x"})
        found = model.get(stored.id)
        found.title += "!"
        found.save(force=True)
    assert stored.refresh().model_extra is not None
    assert (stored["shop"], stored["title"]) == ("corner", "a!!!")


def test_untyped_models_may_forbid_extra() -> None:
    """Then they have no fields at all."""

    class Closed(Record, extra="forbid"):
        pass

    class Team(Group, extra="forbid"):
        motto: str = ""

    for model in (Closed, Team):
        with pytest.raises(ValidationError, match="size"):
            model(size=3)
        with pytest.raises(ValidationError, match="size"):
            model.model_validate({"size": 3})


def test_typed_models_may_allow_extra(session: Session) -> None:
    """Then they take any further field; reserved names stay refused."""

    class Loose(Record, collection="todos", extra="allow"):
        title: str

    class Heir(Loose):
        more: int = 0

    for model in (Loose, Heir):
        made = model.model_validate({"id": "x", "title": "a", "shop": "corner"})
        made["size"] = 3
        made.save(force=True)
        assert (model.get("x")["shop"], model.get("x")["size"]) == ("corner", 3)
        with pytest.raises(ValidationError, match="deleted"):
            model.model_validate({"title": "a", "deleted": True})


def test_extra_cannot_be_ignored() -> None:
    """Stored fields would be lost."""
    with pytest.raises(ModelError, match=r"extra='ignore'.*'forbid'"):

        class Bad(Record, extra="ignore"):
            title: str


def test_a_model_that_is_compiled_at_once(session: Session) -> None:
    """`defer_build=False` changes nothing."""

    class Eager(Record, collection="todos", extra="forbid", defer_build=False):
        title: str

    Record(id="x", title="a", shop="b").save(session=session.scoped(collection="todos"))
    assert Eager.get("x")["shop"] == "b"
    with pytest.raises(ValidationError, match="shop"):
        Eager.model_validate({"title": "a", "shop": "b"})


def test_adapters_are_compiled_where_they_are_made() -> None:
    """FastAPI suppresses there what Pydantic says of its parameters; classes are compiled late."""

    class Fresh(Record):
        title: str = ""

    assert not Fresh.__pydantic_complete__
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        body = TypeAdapter(Annotated[Fresh, Field(alias="body")])
    assert body.validate_python({"title": "a"}).title == "a"


def test_id_factory_makes_ids_of_what_comes_from_outside() -> None:
    """As it does in the constructor."""

    class Numbered(Record, id_factory=lambda: "made"):
        title: str = ""

    class Heir(Numbered):
        pass

    for model in (Numbered, Heir):
        assert model.model_validate({}).id == model().id == "made"
        assert TypeAdapter(list[model]).validate_json("[{}]")[0].id == "made"  # type: ignore[valid-type]
        assert model.model_validate({"id": "x"}).id == "x"


def test_a_client_may_send_back_what_it_got(session: Session) -> None:
    """What the server wrote into the object is no field of the client's."""
    session.sync_schema(Item)
    item = Item(id="x", name="a").save()
    assert "schema" in item
    for body in (
        Item.model_validate(item.model_dump()),
        Item.model_validate_json(item.model_dump_json()),
        TypeAdapter(list[Item]).validate_python([item.model_dump()])[0],
    ):
        assert body.model_extra == {}
    item.name = "b"
    assert "schema" in item
    assert item.save().diff() == {}
    assert "schema" in Item.model_validate(item)


# Computed fields


class Box(Record, collection="todos"):
    width: int = 2

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        return self.width**2


class Shelf(Record, collection="todos"):
    box: Box


def test_a_stored_computed_field_stands_once_in_dumps(session: Session) -> None:
    """It is computed; what is stored under its name is not lost."""
    todos = session.scoped(collection="todos")
    stored = Record(id="x", width=3, area=5).save(session=todos)
    Record(id="y", box={"width": 3, "area": 5}).save(session=todos)
    boxes = Box.find(Box.id == "x")
    for found in (Box.get("x"), boxes.one(), Shelf.get("y").box, Box.get("x").refresh()):
        assert found.model_dump_json().count('"area"') == 1
        assert found.area == found.model_dump()["area"] == 9
    found = Box.get("x")
    assert found.diff() == {}
    found.width = 4
    found.save()
    found.save(force=True)
    assert (stored.refresh()["area"], stored["width"]) == (5, 4)


@pytest.mark.parametrize("extra", ["forbid", "allow"])
def test_a_computed_field_is_not_given(extra: Any) -> None:
    """A program that gives it is wrong; a client sends back what it got."""

    class Square(Record, extra=extra):
        side: int = 2

        @computed_field(alias="its-area")  # type: ignore[prop-decorator]
        @property
        def area(self) -> int:
            return self.side**2

    class Board(BaseModel):
        squares: list[Square]

    for area in ({"area": 3}, {"its-area": 3}):
        with pytest.raises(ValidationError, match="computes"):
            Square(**area)  # type: ignore[arg-type]
        with pytest.raises(ValidationError, match="computes"):
            Square()[next(iter(area))] = 3
        with pytest.raises(ValidationError, match="computes"):
            Square().model_copy(update=area)
    square = Square(side=3)
    for dumped in (square.model_dump(), square.model_dump(by_alias=True)):
        again = Square.model_validate(dumped)
        assert (again, again.model_extra, again.area) == (square, {}, 9)
        assert Board.model_validate({"squares": [dumped]}).squares == [square]
    square.side = 4
    assert (square.area, square.model_dump_json(by_alias=True).count("area")) == (16, 1)
    assert "its-area" not in Square.model_json_schema()["properties"]


def test_validators_run_once_for_what_comes_from_outside() -> None:
    """With the guard as without it."""
    seen: list[Any] = []

    class Looking(Record):
        title: str = ""

        @model_validator(mode="before")
        @classmethod
        def look(cls, data: Any) -> Any:
            seen.append(data)
            return data

        @model_validator(mode="wrap")
        @classmethod
        def wrap(cls, data: Any, handler: Any) -> Any:
            return handler(data)

        @model_validator(mode="after")
        def after(self) -> Looking:
            seen.append(self)
            return self

    made = Looking.model_validate({"title": "a"})
    assert seen == [{"title": "a"}, made]
    with pytest.raises(ValidationError, match="titel"):
        Looking.model_validate({"titel": "a"})


# JSON schema


def test_what_is_the_servers_is_read_only_in_json_schemas() -> None:
    """With the bounds that the server has, and no others."""
    schema = Item.model_json_schema()
    assert schema["properties"]["id"] == {
        "title": "Id", "type": "string", "readOnly": True, "pattern": "^[a-zA-Z0-9][a-zA-Z0-9_-]*$"
    }  # fmt: skip
    assert schema["properties"]["last_modified"] == {
        "title": "Last Modified",
        "anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}],
        "default": None,
        "readOnly": True,
    }
    assert schema["additionalProperties"] is False
    assert Record.model_json_schema()["additionalProperties"] is True
    assert "@" in Account.model_json_schema()["properties"]["id"]["pattern"]


def test_json_schemas_of_answers_allow_what_is_stored() -> None:
    """Fields that the model does not declare are in its dumps."""
    schema = Item.model_json_schema(mode="serialization")
    assert schema["additionalProperties"] is True
    assert schema["properties"]["id"] == {"title": "Id", "type": "string", "readOnly": True}


def test_json_schemas_of_models_that_contain_records() -> None:
    """The same inside of another model, and by Python names."""
    definitions = Envelope.model_json_schema(by_alias=False)["$defs"]
    for name in ("Todo", "Item"):
        assert definitions[name]["additionalProperties"] is False
        assert definitions[name]["properties"]["id"]["readOnly"] is True
