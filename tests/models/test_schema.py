"""Keeping a collection's JSON schema in step with its model."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from enum import Enum, Flag, IntFlag, StrEnum
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator  # type: ignore[import-untyped]
from pydantic import AliasGenerator, BaseModel, ConfigDict, Field, computed_field, create_model
from pydantic.alias_generators import to_camel

from conftest import Backend, Wire
from kinto_orm import (
    Bucket,
    Collection,
    ConfigurationError,
    Everyone,
    Forbidden,
    InvalidData,
    ModelError,
    Record,
    Session,
    Unsupported,
)
from kinto_orm.models.fitting import fits_schema


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    city: str
    zip_codes: list[int] = []


class Person(BaseModel):
    name: str
    address: Address | None = None


class Todo(Record, collection="todos"):
    title: str
    done: bool = False
    due: datetime | None = None
    tags: list[str] = []
    labels: set[str] = set()
    color: Color = Color.RED
    size: Literal["S", "M"] = "M"
    score: float = 0.0
    owner: Person | None = None
    nick: str | None = Field(
        default=None, validation_alias="nickName", serialization_alias="nickName"
    )

    @computed_field
    @property
    def shout(self) -> str:
        return self.title.upper()


def full() -> Todo:
    """An object with a value in each field."""
    return Todo(
        title="x",
        done=True,
        due=datetime(2026, 1, 2),
        tags=["a"],
        labels={"b"},
        color=Color.BLUE,
        size="S",
        score=1.5,
        owner=Person(name="Ann", address=Address(city="Lyon", zip_codes=[69000])),
        nick="n",
    )


def version(name: str, **fields: Any) -> type[Record]:
    """A model `Doc` of the collection `docs`, as a later version of the program has it."""
    annotations = {field: kind for field, (kind, *_) in fields.items()}
    defaults = {field: given[1] for field, given in fields.items() if len(given) > 1}
    namespace = {"__annotations__": annotations, "__module__": __name__, **defaults}
    made: type[Record] = type(Record)(name, (Record,), namespace, collection="docs")
    return made


def schema_of(session: Session, collection: str = "docs") -> dict[str, Any]:
    return Collection.get(collection, session=session).json_schema or {}


@pytest.fixture
def fresh(backend: Backend) -> Any:
    """The current session, on a bucket that does not exist."""
    with backend.session(bucket=backend.new_id("new")) as session:
        yield session


def test_it_makes_bucket_collection_and_schema(fresh: Session) -> None:
    """One call, and objects can be saved; a second call has nothing to do."""
    plan = fresh.sync_schema(Todo)
    assert plan[0].creates_bucket
    assert plan[0].creates_collection
    assert plan[0].applied
    todo = full().save()
    Todo(title="defaults only").save()
    assert Todo.get(todo.id) == todo
    stamp = Collection.get("todos").last_modified
    again = fresh.sync_schema(Todo)
    assert not again
    assert str(again) == f"Todo in {fresh.bucket}/todos: nothing to do"
    assert Collection.get("todos").last_modified == stamp


def test_what_the_schema_says(fresh: Session) -> None:
    """Fields stand under their stored names; what has a default is not required."""
    fresh.sync_schema(Todo)
    schema = schema_of(fresh, "todos")
    assert set(schema["properties"]) == {
        "title", "done", "due", "tags", "labels", "color", "size", "score", "owner", "nickName",
    }  # fmt: skip
    assert schema["required"] == ["title"]
    assert set(schema["$defs"]) == {"Address", "Color", "Person"}


def test_the_server_checks_what_others_write(fresh: Session) -> None:
    """Records of programs without the model are checked by the schema, nested fields too."""
    fresh.sync_schema(Todo)
    records = Collection.get("todos").records
    records.new(title="x", owner={"name": "Ann", "address": None}, other="kept").save()
    for wrong in (
        {},
        {"title": 3},
        {"title": "x", "color": "green"},
        {"title": "x", "owner": {"name": "Ann", "address": {"city": 3}}},
        {"title": "x", "nickName": 4},
    ):
        with pytest.raises(InvalidData):
            records.new(**wrong).save()


def test_invalid_data_names_the_field(fresh: Session) -> None:
    """The server's refusal is InvalidData that says which field of which object is wrong."""
    strict = version("Doc", title=(int,))
    fresh.sync_schema(strict)
    doc = version("Doc", title=(str,))(id="d", title="x")
    with pytest.raises(InvalidData, match=r"Doc 'd'.*title") as caught:
        doc.save()
    assert caught.value.status == 400
    summary = fresh.save_all([doc])
    assert "title" in str(summary.failed[0].error)


def test_a_plan_names_each_field(fresh: Session) -> None:
    """Added, removed and changed fields are named, and the plan can be printed."""
    fresh.sync_schema(version("Doc", a=(str,), b=(int, 0), c=(str, "")))
    (change,) = fresh.sync_schema(version("Doc", a=(str, ""), b=(float, 0), d=(str, "")))
    assert (change.added, change.removed, change.changed) == (["d"], ["c"], ["a", "b"])
    assert str(change) == f"Doc in {fresh.bucket}/docs: added d; removed c; changed a, b"
    assert set(schema_of(fresh)["properties"]) == {"a", "b", "d"}


def test_a_change_inside_a_nested_model(fresh: Session) -> None:
    """A field is changed when a model that it leads to is, and only then."""
    other = create_model("Other", y=(int, 0))

    def doc(kind: type) -> type[Record]:
        inner = create_model("Inner", x=(kind, ...))
        middle = create_model("Middle", inner=(inner, ...))
        return version("Doc", a=(middle | None, None), b=(other | None, None))

    fresh.sync_schema(doc(int))
    (change,) = fresh.sync_schema(doc(str))
    assert (change.added, change.removed, change.changed) == ([], [], ["a"])


class Comment(Record, collection="docs"):
    text: str
    answers: list[Comment] = []


def test_a_model_that_contains_itself(fresh: Session) -> None:
    """A recursive model has its whole schema."""
    fresh.sync_schema(Comment)
    assert set(schema_of(fresh)["properties"]) == {"text", "answers"}
    assert schema_of(fresh)["required"] == ["text"]
    assert not fresh.sync_schema(Comment)
    with pytest.raises(InvalidData):
        Collection.get("docs").records.new(text=3).save()


def test_a_model_with_an_alias_generator(fresh: Session) -> None:
    """Names that a generator makes are the schema's names."""

    class Doc(Record, collection="docs"):
        model_config = ConfigDict(
            alias_generator=AliasGenerator(validation_alias=to_camel, serialization_alias=to_camel)
        )
        due_date: date | None = None

    fresh.sync_schema(Doc)
    assert set(schema_of(fresh)["properties"]) == {"dueDate"}
    doc = Doc(due_date=date(2026, 1, 2)).save()
    assert Doc.get(doc.id) == doc


def test_a_dry_run_touches_nothing(backend: Backend) -> None:
    """dry_run says what would be done, and sends no write."""
    wire = Wire()
    with backend.session(auth=wire, bucket=backend.new_id("new")) as session:
        plan = session.sync_schema(Todo, dry_run=True)
        assert str(plan).startswith(f"Todo in {session.bucket}/todos: new bucket and collection")
        assert not plan[0].applied
        session.sync_schema(version("Doc", a=(str,)))
        wire.clear()
        plan = session.sync_schema(version("Doc", a=(int,)), dry_run=True)
        assert plan[0].changed == ["a"]
        assert set(wire.methods) == {"GET"}
        assert schema_of(session)["properties"]["a"]["type"] == "string"


def test_other_attributes_and_permissions_stay(fresh: Session) -> None:
    """The collection keeps what else it has, and who may do what."""
    Bucket(id=fresh.bucket, color="green").save()
    collection = Collection(id="docs", sort="title", permissions={"read": [Everyone]})
    collection.save()
    fresh.sync_schema(version("Doc", a=(str,)))
    found = Collection.get("docs")
    assert found["sort"] == "title"
    assert Everyone in found.permissions.read
    assert Bucket.get(fresh.bucket)["color"] == "green"


def test_stored_records_that_do_not_fit_are_counted(fresh: Session) -> None:
    """The plan says how many records the new schema would refuse; they stay readable."""
    old = version("Doc", a=(str,), b=(str, ""))
    fresh.sync_schema(old)
    fresh.save_all(old(id=f"d{n}", a="x", b="3" if n % 2 else "x") for n in range(10))
    new = version("Doc", a=(str,), c=(int, 0))
    assert fresh.sync_schema(new, dry_run=True)[0].refused == 0
    strict = version("Doc", a=(str,), b=(int, 0))
    (change,) = fresh.sync_schema(strict, dry_run=True)
    assert change.refused == 10
    assert str(change).endswith("changed b; 10 stored record(s) do not fit")
    fresh.sync_schema(strict)
    record = Collection.get("docs").records.get("d1")
    record["b"] = 3
    record.save()
    assert strict.get("d1").b == 3  # type: ignore[attr-defined]


def test_records_are_read_only_when_fields_move(backend: Backend) -> None:
    """When nothing changes, no record is read."""
    wire = Wire()
    with backend.session(auth=wire, bucket=backend.new_id("new")) as session:
        model = version("Doc", a=(str,))
        session.sync_schema(model)
        wire.clear()
        session.sync_schema(model)
        assert not [r for r in wire.requests if "records" in str(r.url)]


def test_a_schema_that_somebody_tightened(fresh: Session) -> None:
    """What else was changed in the stored schema is put right, and said."""
    model = version("Doc", a=(str,))
    fresh.sync_schema(model)
    collection = Collection.get("docs")
    collection.json_schema = {**(collection.json_schema or {}), "additionalProperties": False}
    collection.save()
    plan = fresh.sync_schema(model)
    assert plan
    assert str(plan) == f"Doc in {fresh.bucket}/docs: changed the rest of the schema"
    Collection.get("docs").records.new(a="x", b="y").save()


def test_several_models(fresh: Session) -> None:
    """Several models are synced in order; an untyped one gets a collection without a schema."""

    class Loose(Record, collection="loose"):
        pass

    plan = fresh.sync_schema(Todo, version("Doc", a=(str,)), Loose)
    assert [each.creates_bucket for each in plan] == [True, False, False]
    assert [each.collection for each in plan] == ["todos", "docs", "loose"]
    assert Collection.get("loose").json_schema is None
    assert not fresh.sync_schema(Todo, Loose)


def test_the_personal_bucket(backend: Backend) -> None:
    """On a new user's personal bucket it works like on any other."""
    with backend.session(auth=(backend.new_id("user"), "s3cret")) as session:
        session.sync_schema(Todo)
        Todo(title="x").save()
        assert not session.sync_schema(Todo)
        assert Collection.get("todos").json_schema


def test_a_model_with_its_own_bucket(fresh: Session) -> None:
    """A class with bucket= is synced there, whatever the session's bucket."""

    class Elsewhere(Record, bucket=f"{fresh.bucket}-2", collection="docs"):
        a: str

    fresh.sync_schema(Elsewhere)
    found = Collection.get("docs", session=fresh.scoped(bucket=f"{fresh.bucket}-2"))
    assert found.json_schema is not None


def test_somebody_elses_bucket(backend: Backend, session: Session) -> None:
    """Without permission it is Forbidden."""
    theirs = backend.session(auth=("mallory", "s3cret"), bucket=session.bucket)
    with theirs, pytest.raises(Forbidden):
        theirs.sync_schema(Todo)


@pytest.mark.parametrize("model", [Bucket, Address, "Todo", Todo.model_construct(title="x")])
def test_what_is_no_record_class(session: Session, model: Any) -> None:
    """Only classes of records have a collection with a schema."""
    with pytest.raises(ConfigurationError, match="classes of records"):
        session.sync_schema(model)


def test_a_key_value_server_has_no_schemas() -> None:
    """On a kvp.io server it is Unsupported."""
    with Session("kvp+http://127.0.0.1:9") as session, pytest.raises(Unsupported):
        session.sync_schema(Todo)


def test_excluded_fields(fresh: Session) -> None:
    """A field that is never stored is not in the schema."""

    class Doc(Record, collection="docs"):
        a: str
        cache: str = Field(default="", exclude=True)

    fresh.sync_schema(Doc)
    assert set(schema_of(fresh)["properties"]) == {"a"}
    assert schema_of(fresh)["required"] == ["a"]
    Doc(a="x").save()
    with pytest.raises(InvalidData, match="never stored"):
        Doc(a="x", cache="y").save()


def test_a_refusal_names_the_models_field(fresh: Session) -> None:
    """Kinto names what is stored, and of nested data the last name only."""

    class Strict(BaseModel):
        level: int = Field(default=0, le=10, alias="theLevel")

    class Ruled(Record, collection="ruled"):
        prio: int = Field(default=0, le=10, alias="thePrio")
        inner: Strict = Strict()
        many: list[Strict] = []

    class Loose(BaseModel):
        level: int = Field(default=0, alias="theLevel")

    class Older(Record, collection="ruled"):
        prio: int = Field(default=0, alias="thePrio")
        inner: Loose = Loose()
        many: list[Loose] = []

    fresh.sync_schema(Ruled)
    with pytest.raises(InvalidData, match=r"'thePrio' is what the field 'prio' is stored as"):
        Older(prio=99).save()
    with pytest.raises(InvalidData, match=r"'theLevel' is inside of the field inner or many"):
        Older(many=[Loose(theLevel=99)]).save()
    older = Older().save()
    older.inner.level = 99
    with pytest.raises(InvalidData, match=r"'theLevel' is inside of the field inner") as raised:
        older.save()
    assert raised.value.names == ["theLevel"]


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_field_that_the_server_overwrites(wire: Wire, dry_run: bool) -> None:
    """Collections with a schema have their version in each record, as `schema`."""

    class Drawing(Record, collection="drawings"):
        schema_: str = Field(default="", alias="schema")

    wire.clear()
    with pytest.raises(ModelError, match=r"overwrites the field 'schema_', which is stored as"):
        wire.session.sync_schema(Drawing, dry_run=dry_run)
    assert wire.methods == []


class Right(IntFlag):
    READ = 1
    WRITE = 2


class Mode(Flag):
    A = 1
    B = 2


class Growing(StrEnum):
    """Makes members of what it does not know."""

    X = "x"

    @classmethod
    def _missing_(cls, value: object) -> Any:
        made = str.__new__(cls, value)
        made._name_, made._value_ = str(value), str(value)
        return made


@pytest.mark.parametrize(
    ("kind", "value"),
    [(Right, Right(3)), (Right, Right(0)), (Mode, Mode(3)), (Growing, Growing("y"))],
)
@pytest.mark.parametrize("inside", [False, True])
def test_an_enum_with_more_values_than_names(
    session: Session, kind: Any, value: Any, inside: bool
) -> None:
    """What such a field may hold fits the schema of its model."""
    held: Any = list[kind] if inside else kind
    model = create_model("Door", __base__=Todo, kind=(held, ...))
    session.sync_schema(model)
    wanted = [value] if inside else value
    door = model(id="a", title="x", kind=wanted).save()
    assert model.get(door.id).kind == wanted
    assert not session.sync_schema(model, dry_run=True)


def test_what_another_form_refuses(session: Session) -> None:
    """A record that can be read, but whose form the schema refuses, is counted."""

    class Old(Record, collection="todos"):
        price: float = 0

    class New(Record, collection="todos"):
        price: Decimal = Decimal(0)

    session.sync_schema(Old)
    session.save_all([Old(id="a", price=1.5), Old(id="b")])
    assert session.sync_schema(New, dry_run=True)[0].refused == 2
    assert session.sync_schema(New)[0].refused == 2
    assert str(session.save_all(New.find(), existing="replace")) == "2 updated"
    found = New.get("a")
    found.price += 1
    assert found.save().price == Decimal("2.5")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-3, 3) | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=2),
    max_leaves=5,
)
TYPES = ["string", "integer", "number", "boolean", "array", "object", "null"]
SIMPLE = st.one_of(
    st.sampled_from(TYPES).map(lambda name: {"type": name}),
    st.lists(JSON, min_size=1, max_size=3).map(lambda items: {"enum": items}),
    st.fixed_dictionaries({"minimum": st.integers(-2, 2), "exclusiveMaximum": st.integers(0, 3)}),
    st.fixed_dictionaries({"minLength": st.integers(0, 2), "pattern": st.just("^a")}),
    st.fixed_dictionaries({"maxItems": st.integers(0, 2), "uniqueItems": st.booleans()}),
    st.just({"multipleOf": 2}),
)
SCHEMAS = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=2).map(lambda each: {"anyOf": each}),
        st.lists(inner, min_size=1, max_size=2).map(lambda each: {"oneOf": each}),
        inner.map(lambda each: {"not": each}),
        inner.map(lambda each: {"items": each}),
        inner.map(lambda each: {"properties": {"a": each}, "required": ["a"]}),
        inner.map(lambda each: {"additionalProperties": each, "properties": {"a": True}}),
    ),
    max_leaves=4,
)
REFERRING = SCHEMAS.map(lambda each: {"$defs": {"x": each}, "items": {"$ref": "#/$defs/x"}})


@settings(max_examples=300)
@given(value=JSON, schema=SCHEMAS | REFERRING)
def test_what_fits_is_what_the_server_takes(value: Any, schema: Any) -> None:
    """Kinto asks jsonschema, draft 7."""
    assert fits_schema(value, schema) == Draft7Validator(schema).is_valid(value)
