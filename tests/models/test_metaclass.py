"""Model classes: field expressions at class level beside all that Pydantic offers."""

from __future__ import annotations

import copy
import enum
import inspect
import pickle
import threading
import uuid
import warnings
from datetime import datetime
from typing import Annotated, Any, ClassVar, Generic, Literal, NewType, Optional, TypeVar
from unittest.mock import create_autospec

import pytest
from hypothesis import given
from hypothesis.strategies import builds, data
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
    computed_field,
    field_serializer,
    field_validator,
    model_validator,
)

from conftest import Wire
from kinto_orm import Bucket, Collection, Column, Condition, Group, ModelError, Record, Session, col

T = TypeVar("T")


class Base(Record):
    made: str = "today"
    tags: list[str] = Field(default_factory=list)


class Todo(Base, collection="todos"):
    title: str
    done: bool = False
    due: datetime | None = None
    parent: Todo | None = None
    due_on: str = Field(default="", validation_alias="due-on", serialization_alias="due-on")


# Expressions


@pytest.mark.parametrize("name", ["id", "last_modified", "made", "tags", "title", "done", "parent"])
def test_fields_are_expressions_at_class_level(name: str) -> None:
    """Those of the model, of its bases, and the two that all have."""
    column = getattr(Todo, name)
    assert isinstance(column, Column)
    assert getattr(Todo, name) is column
    assert hasattr(Todo, name)


def test_expressions_know_stored_names() -> None:
    """A condition asks for what the server has."""
    assert "due-on" in repr(Todo.find(Todo.due_on == "x"))


def test_misspelt_expressions() -> None:
    """An AttributeError with the field that was perhaps meant."""
    with pytest.raises(AttributeError, match=r"Todo has no field 'titel'.*'title'"):
        Todo.titel  # type: ignore[attr-defined]
    assert not hasattr(Todo, "titel")
    assert getattr(Todo, "titel", 5) == 5


def test_objects_have_values_not_expressions() -> None:
    """And a field without a value is an AttributeError on the object."""
    todo = Todo(title="x")
    assert (todo.title, todo.made, todo.due) == ("x", "today", None)
    with pytest.raises(AttributeError):
        Todo.model_construct().title


def test_methods_and_properties_stay_what_they_are() -> None:
    """Only fields are expressions."""
    assert callable(Todo.save)
    assert callable(Todo.find)
    assert isinstance(inspect.getattr_static(Record, "uri"), property)


# Inheritance


def test_inherited_fields_keep_their_defaults() -> None:
    """An expression never becomes the default of a subclass's field."""

    class Sub(Todo):
        more: int = 1

    class SubSub(Sub):
        made: str = "later"

    assert Sub(title="x").made == "today"
    assert Sub(title="x").tags == []
    assert SubSub(title="x").made == "later"
    with pytest.raises(ValidationError, match="title"):
        SubSub()  # type: ignore[call-arg]
    assert not isinstance(Sub.model_fields["title"].default, Column)
    assert isinstance(SubSub.title == "x", Condition)


def test_a_subclass_redefines_a_field() -> None:
    """With another type or default; the base stays."""

    class Narrow(Todo):
        title: Literal["a", "b"] = "a"  # type: ignore[assignment]

    assert Narrow().title == "a"
    with pytest.raises(ValidationError):
        Narrow(title="c")  # type: ignore[arg-type]
    assert Todo(title="c").title == "c"


def test_mixins_that_are_no_records() -> None:
    """A plain Pydantic model or class may lend its fields and methods."""

    class Dated(BaseModel):
        day: str = "monday"

    class Shouting:
        def shout(self) -> str:
            """In capitals."""
            return str(self.title).upper()  # type: ignore[attr-defined]

    class Mixed(Shouting, Todo, Dated):
        pass

    mixed = Mixed(title="x")
    assert (mixed.day, mixed.shout()) == ("monday", "X")
    assert isinstance(Mixed.day == "x", Condition)


def test_subclasses_of_structure(session: Session) -> None:
    """Buckets, groups and collections may have declared fields too."""

    class Team(Group):
        motto: str = "go"

    Team(id="t", motto="on").save()
    assert Team.get("t").motto == "on"
    assert [team.id for team in Team.find(Team.motto == "on")] == ["t"]
    assert issubclass(Team, Group)
    assert not issubclass(Team, (Bucket, Collection))


# Generics and forward references


class Box(Record, Generic[T], collection="todos"):
    content: T
    label: str = ""


def test_generic_models(session: Session) -> None:
    """Box[int] is a model of its own, with the class keywords of Box."""
    box = Box[int](id="x", content=5).save()
    assert box.uri.endswith("/collections/todos/records/x")
    assert Box[int].get("x").content == 5
    assert Box[int].find(Box[int].content > 4).one() == box
    with pytest.raises(ValidationError):
        Box[int](content="five")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="label"):
        Box[int](content=5, labell="x")  # type: ignore[call-arg]
    assert isinstance(Box[list[str]].content == ["x"], Condition)


def test_forward_references(session: Session) -> None:
    """A model may contain itself, and classes that are defined later."""
    inner = Todo(title="inner")
    outer = Todo(id="x", title="outer", parent=inner).save()
    assert Todo.get("x").parent is not None
    assert outer.parent is inner

    class First(Record):
        second: Optional[Second] = None  # noqa: UP045

    class Second(BaseModel):
        x: int = 0

    First.model_rebuild(_types_namespace={"Second": Second, "Optional": Optional})
    assert First(second=Second(x=1)).second.x == 1  # type: ignore[union-attr]
    assert isinstance(First.second == None, Condition)  # noqa: E711


def test_annotations_with_local_names() -> None:
    """A class in a function may use what is local there, as with any Pydantic model."""

    class Kind(enum.Enum):
        GOOD = "good"

    class Inner(BaseModel):
        x: int = 0

    class Local(Record, collection="todos"):
        kind: Kind = Kind.GOOD
        inner: Inner | None = None

    assert Local(kind="good").kind is Kind.GOOD  # type: ignore[arg-type]
    assert Local(inner=Inner(x=1)).inner == Inner(x=1)


# What Pydantic offers


def not_empty(value: str) -> str:
    """Refuse the empty text."""
    if not value:
        raise ValueError("is empty")
    return value


def test_validators_serializers_and_computed_fields(wire: Wire) -> None:
    """They run in the constructor, in assignments and when loading."""

    class Rich(Record, collection="todos"):
        title: Annotated[str, AfterValidator(not_empty)]
        size: int = Field(default=1, ge=0, description="How large")
        start: int = 0
        end: int = 9
        kinds: ClassVar[list[str]] = ["a"]
        _cache: int = PrivateAttr(default=7)

        @field_validator("title")
        @classmethod
        def strip(cls, value: str) -> str:
            return value.strip()

        @field_serializer("size")
        def size_as_text(self, value: int) -> str:
            return f"{value}"

        @model_validator(mode="after")
        def in_order(self) -> Rich:
            if self.start > self.end:
                raise ValueError("ends before it starts")
            return self

        @computed_field  # type: ignore[prop-decorator]
        @property
        def span(self) -> int:
            return self.end - self.start

        def model_post_init(self, context: Any, /) -> None:
            self._cache += 1

    rich = Rich(id="x", title=" a ")
    assert (rich.title, rich.span, rich._cache) == ("a", 9, 8)
    for wrong in ({"title": ""}, {"title": "a", "size": -1}, {"title": "a", "start": 10}):
        with pytest.raises(ValidationError):
            Rich(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        rich.size = -1
    rich.save()
    assert wire.body["data"] == {"title": "a", "size": "1", "start": 0, "end": 9}
    found = Rich.get("x")
    assert (found, found.size, found.diff()) == (rich, 1, {})
    assert Rich.find(Rich.size == 1).one().id == "x"
    assert Rich.kinds == ["a"]


def test_frozen_fields() -> None:
    """A field may be constant."""

    class Constant(Record, collection="todos"):
        title: str = Field(frozen=True)

    with pytest.raises(ValidationError, match="frozen"):
        Constant(title="a").title = "b"


def test_alias_generators_and_other_settings() -> None:
    """model_config of a model is its own, but for `extra`."""

    class Camel(Record, collection="todos"):
        model_config = ConfigDict(alias_generator=lambda name: name.title(), str_max_length=5)
        title: str = ""

    assert Camel(title="abc").title == Camel(Title="abc").title == "abc"  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        Camel(title="abcdef")


def test_schemas_and_adapters() -> None:
    """JSON schema, TypeAdapter and validation from outside work as for any model."""
    schema = Todo.model_json_schema()
    assert schema["$defs"]["Todo"]["properties"].keys() >= {"title", "done", "due-on"}
    todos = TypeAdapter(list[Todo]).validate_python([{"title": "a"}])
    assert todos[0].title == "a"
    assert todos[0].is_new
    assert Todo.model_validate_json('{"title": "b"}').title == "b"


def test_records_inside_of_records(session: Session) -> None:
    """A record as a field is data."""

    class Outer(Record, collection="todos"):
        inner: Todo

    Outer(id="x", inner=Todo(id="y", title="a")).save()
    assert Outer.get("x").inner.title == "a"
    assert Outer.get("x").diff() == {}


def test_tools_that_look_at_classes() -> None:
    """inspect, copy and pickle of the class, help() and repr."""
    assert "title" in inspect.signature(Todo).parameters
    assert pickle.loads(pickle.dumps(Todo)) is Todo
    assert copy.deepcopy(Todo) is Todo
    assert dict(inspect.getmembers(Todo, callable))["save"]
    assert repr(Todo(id="x", title="a")).startswith("Todo(id='x', last_modified=None, ")
    assert Todo.__name__ == "Todo"


def test_the_signature_of_a_constructor_before_its_first_use() -> None:
    """It is that of the constructor, and asking for it compiles nothing."""

    class Fresh(Todo):
        made_at: datetime = Field(default_factory=datetime.now)
        size: int = 3

    class Open(Record):
        pass

    signature = inspect.signature(Fresh)
    assert not Fresh.__pydantic_complete__
    assert set(signature.parameters) == {
        "id", "made", "tags", "title", "done", "parent", "due", "due_on", "made_at", "size"
    }  # fmt: skip
    required = [name for name, each in signature.parameters.items() if each.default is each.empty]
    assert required == ["title"]
    assert signature.parameters["size"].default == 3
    assert signature.parameters["size"].annotation is int
    Fresh(title="x")
    assert inspect.signature(Fresh) == signature
    kinds = [each.kind for each in inspect.signature(Open).parameters.values()]
    assert kinds[-1] is inspect.Parameter.VAR_KEYWORD
    assert str(inspect.signature(Open)).startswith("(*, id: ")
    inspect.signature(type(Fresh))


def test_a_constructor_takes_back_the_defaults_of_its_signature() -> None:
    """As FastAPI's `Depends(Model)` gives them."""

    class Fresh(Record):
        title: str
        made_at: list[int] = Field(default_factory=lambda: [1])

    defaults = {
        name: copy.deepcopy(each.default)
        for name, each in inspect.signature(Fresh).parameters.items()
        if each.default is not each.empty
    }
    one, other = Fresh(title="x", **defaults), Fresh(title="x", **defaults)
    assert one.made_at == [1]
    assert one.id != other.id
    assert one.model_fields_set == {"title"}


@given(data())
def test_tools_build_models_by_their_signatures(example: Any) -> None:
    """Hypothesis makes objects of a class that was never used."""

    class Fresh(Record):
        title: str
        size: int

    made = example.draw(builds(Fresh))
    assert isinstance(made.title, str)
    assert isinstance(made.size, int)


def test_autospec() -> None:
    """unittest.mock makes stand-ins of models, which refuse what models refuse."""
    with warnings.catch_warnings():
        # Pydantic's own deprecated attributes warn when mock looks at them.
        warnings.simplefilter("ignore")
        fake = create_autospec(Todo, instance=True)
        fake_class = create_autospec(Todo)
    fake.save.return_value = fake
    assert fake.save(force=True) is fake
    with pytest.raises(TypeError):
        fake.save(nonsense=True)
    with pytest.raises(AttributeError):
        fake.sav()
    fake_class.get("x")
    fake_class.get.assert_called_once_with("x")


def test_classes_defined_by_many_threads() -> None:
    """Making a class in one thread does not disturb expressions in another."""
    stop = threading.Event()
    wrong: list[object] = []

    def look() -> None:
        while not stop.is_set():
            if not isinstance(Todo.title, Column):
                wrong.append(Todo.title)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for number in range(20):
            made = type(Record)(
                f"Made{number}", (Todo,), {"__annotations__": {"n": int}, "n": number,
                                           "__module__": __name__}
            )  # fmt: skip
            assert made(title="x").n == number
    finally:
        stop.set()
        watcher.join()
    assert wrong == []


def test_a_class_that_could_not_be_made_leaves_expressions_alone() -> None:
    """After a refused class the others work as before."""
    with pytest.raises(ModelError):

        class Bad(Todo):
            save: int = 1  # type: ignore[assignment]

    class Worse(Todo):
        x: nonsense  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(PydanticUserError, match="not fully defined"):
        Worse(title="x", x=1)
    assert isinstance(Todo.title, Column)
    assert isinstance(col(Todo.due).exists(), Condition)


@pytest.mark.parametrize("field", ["save", "uri", "permissions"])
def test_clashes_with_a_base_are_refused_in_every_generation(field: str) -> None:
    """However deep the subclass."""
    with pytest.raises(ModelError, match=field):
        type(Record)("Bad", (Todo,), {"__annotations__": {field: str}, "__module__": __name__})


def test_a_clash_with_a_method_of_the_program() -> None:
    """A field that hides a method of its own base class is refused as well."""

    class Acting(Record, collection="todos"):
        def act(self) -> str:
            """Do it."""
            return "done"

    with pytest.raises(ModelError, match="'act'"):

        class Bad(Acting):
            act: str = ""  # type: ignore[assignment]


class Code(enum.StrEnum):
    """Texts."""

    GOOD = "good"


@pytest.mark.parametrize(
    "kind", [int, uuid.UUID, bytes, datetime, str | None, int | str, Literal[1, "a"], object]
)
def test_an_id_that_is_no_text_is_refused_when_the_class_is_defined(kind: Any) -> None:
    """With what to write."""
    with pytest.raises(ModelError, match=r"Bad\.id cannot be .*id_factory"):
        type(Record)("Bad", (Record,), {"__annotations__": {"id": kind}, "__module__": __name__})


@pytest.mark.parametrize(
    "kind",
    [str, Annotated[str, Field(max_length=9)], Literal["good", "b"], Code, NewType("Name", str)],
)
def test_an_id_may_be_any_text(kind: Any, session: Session) -> None:
    """Constraints and literals included."""
    made = type(Record)(
        "Good", (Record,), {"__annotations__": {"id": kind}, "__module__": __name__},
        collection="todos",
    )  # fmt: skip
    made(id="good").save()
    assert made.get("good").id == "good"


@pytest.mark.parametrize("kind", [str, datetime, float, datetime | None, int | str])
def test_another_timestamp_is_refused_when_the_class_is_defined(kind: Any) -> None:
    """The server has one kind only."""
    names = {"last_modified": kind}
    with pytest.raises(ModelError, match=r"Bad\.last_modified cannot be .*milliseconds"):
        type(Record)("Bad", (Record,), {"__annotations__": names, "__module__": __name__})


@pytest.mark.parametrize("name", ["id", "last_modified"])
def test_identity_has_its_own_stored_name(name: str) -> None:
    """An alias would hide it."""
    kind = str if name == "id" else int | None
    fields = {"__annotations__": {name: kind}, name: Field(alias="other", default=None)}
    with pytest.raises(ModelError, match="on every server"):
        type(Record)("Bad", (Record,), {**fields, "__module__": __name__})


@pytest.mark.parametrize("name", ["id", "last_modified"])
@pytest.mark.parametrize(
    "aliases",
    [
        lambda name: {"alias": name},
        lambda name: {"validation_alias": name},
        lambda name: {"serialization_alias": name},
        lambda name: {"validation_alias": AliasChoices("a", name)},
        lambda name: {"alias": name, "exclude": True},
    ],
    ids=["alias", "validation", "serialization", "choices", "excluded"],
)
def test_no_alias_stands_for_the_servers_own_names(name: str, aliases: Any) -> None:
    """Such a field would be taken for the id or the timestamp, or these for it."""
    with pytest.raises(ModelError, match=rf"Bad\.a cannot .*'{name}'.*the server's own {name}"):
        bad({"a": Field(default=0, **aliases(name))})


@pytest.mark.parametrize("aliases", [("b", None), (None, "a"), ("c", "c")])
def test_two_fields_are_not_stored_under_one_name(aliases: tuple[str | None, str | None]) -> None:
    """One of them would be lost."""
    fields = {
        name: Field(default=0, alias=alias) for name, alias in zip("ab", aliases, strict=True)
    }
    with pytest.raises(ModelError, match=r"Bad\.b cannot be stored as .* Bad\.a is"):
        bad(fields)


def bad(fields: dict[str, Any]) -> Any:
    """Define a class of records with these fields, which are numbers."""
    kinds = dict.fromkeys(fields, int)
    return type(Record)(
        "Bad", (Record,), {"__annotations__": kinds, "__module__": __name__, **fields}
    )
