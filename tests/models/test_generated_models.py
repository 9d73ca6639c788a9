"""For models of any types, aliases, defaults and validators: what is saved is what is read.

Hypothesis makes models, values and changes. After each save the object equals what another program
reads, or the save was refused before anything was sent; nothing differs right after a load, and a
refused assignment changes nothing.
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    RootModel,
    SerializerFunctionWrapHandler,
    ValidationError,
    create_model,
    field_validator,
    model_serializer,
    model_validator,
)
from typing_extensions import TypedDict

from conftest import Wire
from kinto_orm import InvalidData, Record


class Kind(NamedTuple):
    """A type, and values that it may have, or that a change in place may put there."""

    type: Any
    values: st.SearchStrategy[Any]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "1"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    n: int = 0


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    n: int = 0


class Bare(BaseModel):
    n: int = 0


class Other(BaseModel):
    n: int = 0


class Typed(TypedDict, total=False):
    a: int
    b: datetime


@dataclasses.dataclass
class Point:
    x: int = 0
    y: float | None = None


class Rooted(RootModel[list[int]]):
    pass


class Ordered(BaseModel):
    a: int = 0
    b: int = 0

    @model_validator(mode="after")
    def _order(self) -> Ordered:
        if self.a > self.b:
            raise ValueError("not in order")
        return self


class Renamed(BaseModel):
    full: str = Field(default="", validation_alias=AliasChoices("name", "full"))
    model_config = ConfigDict(validate_by_name=True)


class Summed(BaseModel):
    items: list[int] = []
    total: int = 0

    @model_validator(mode="after")
    def _add(self) -> Summed:
        self.total = sum(self.items)
        return self


class Written(BaseModel):
    a: int = 0
    b: int = 0

    @model_serializer
    def _one(self) -> dict[str, int]:
        return {"a": self.a, "b": self.b % 3}


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
small = st.integers(-3, 3)
exact = st.integers(-(10**6), 10**6).map(lambda number: number / 8)
infinite = exact | st.sampled_from([float("inf"), float("-inf")])
zones = st.sampled_from([
    None, UTC, timezone(timedelta(hours=-9.5)), timezone(timedelta(seconds=1172)),
])  # fmt: skip
moments = st.datetimes(datetime(1000, 1, 1), datetime(9999, 1, 1), timezones=zones)
json_values = st.recursive(
    st.none() | st.booleans() | small | exact | text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(text, inner, max_size=2),
    max_leaves=3,
)
unwritten = {Colour.RED, Decimal(1), date(2020, 1, 1)}
odd = st.dictionaries(
    st.sampled_from([1, "1", None, "None", True, "true", 1.5, "1.5", (1, 2), date(2020, 1, 1)]),
    small | st.tuples(small),
    max_size=2,
)
points = st.builds(Point, x=small, y=st.none() | infinite)

LEAVES = [
    Kind(str, text | st.none()),
    Kind(int, small | st.booleans()),
    Kind(float, infinite | small),
    Kind(bool, st.booleans()),
    Kind(datetime, moments),
    Kind(date, st.dates()),
    Kind(time, st.times(timezones=zones)),
    Kind(timedelta, st.timedeltas(timedelta(days=-900), timedelta(days=900))),
    Kind(Decimal, st.decimals(allow_nan=False, allow_infinity=False, places=3)),
    Kind(uuid.UUID, st.uuids()),
    Kind(bytes, st.binary(max_size=3)),
    Kind(Colour, st.sampled_from(Colour)),
    Kind(Level, st.sampled_from(Level)),
    Kind(Literal["a", 1], st.sampled_from(["a", 1])),
    Kind(Any, json_values | st.sampled_from(list(unwritten)) | odd),
    Kind(dict[int, Any], st.dictionaries(small, odd, max_size=2)),
    Kind(set[int], st.sets(small | st.booleans(), max_size=3)),
    Kind(list[int], st.lists(small | st.booleans(), max_size=3)),
    Kind(frozenset[Colour], st.frozensets(st.sampled_from(Colour))),
    Kind(Annotated[int, Field(ge=0)], small),
    Kind(Annotated[list[int], Field(max_length=2)], st.lists(small, max_size=3)),
    Kind(Annotated[Cat | Dog, Field(discriminator="kind")], st.builds(Cat) | st.builds(Dog)),
    Kind(Bare | Other, st.builds(Bare, n=small) | st.builds(Other, n=small)),
    Kind(int | str, small | text),
    Kind(str | date, text | st.dates()),
    Kind(Colour | str, st.sampled_from(Colour) | st.sampled_from(["red", "x"])),
    Kind(float | int, exact | small),
    Kind(Typed, st.fixed_dictionaries({}, optional={"a": small, "b": moments})),
    Kind(Point, points),
    Kind(Rooted, st.builds(Rooted, st.lists(small, max_size=2))),
    Kind(Ordered, st.builds(Ordered.model_construct, a=small, b=small)),
    Kind(Renamed, st.builds(Renamed, full=text)),
    Kind(Summed, st.builds(Summed, items=st.lists(small, max_size=2))),
    Kind(Written, st.builds(Written, a=small, b=st.integers(0, 5))),
    Kind(Annotated[int, AfterValidator(lambda value: value + 1)], small),
    Kind(Annotated[int, AfterValidator(abs)], small),
    Kind(Annotated[str, BeforeValidator(lambda value: str(value).strip())], text | st.just(" a ")),
    Kind(Annotated[int, PlainSerializer(lambda value: str(value))], small),
    Kind(Annotated[int, PlainSerializer(lambda value: value // 2)], small),
]  # fmt: skip


def around(inner: st.SearchStrategy[Kind]) -> st.SearchStrategy[Kind]:
    """Types made of others: containers, and models with settings, aliases and validators."""
    return st.one_of(
        inner.map(lambda kind: Kind(list[kind.type], st.lists(kind.values, max_size=2))),  # type: ignore[name-defined]
        inner.map(
            lambda kind: Kind(dict[str, kind.type], st.dictionaries(text, kind.values, max_size=2))  # type: ignore[name-defined]
        ),
        inner.map(lambda kind: Kind(kind.type | None, st.none() | kind.values)),
        st.tuples(inner, inner).map(
            lambda two: Kind(
                tuple[two[0].type, two[1].type],  # type: ignore[name-defined]
                st.tuples(two[0].values, two[1].values),
            )
        ),
        st.builds(model_kind, inner, inner, st.sampled_from(FIELDS), st.sampled_from(CONFIGS)),
    )


FIELDS: list[Callable[[Any], Any]] = [
    lambda default: default,
    lambda default: Field(default=default, alias="Name"),
    lambda default: Field(default=default, serialization_alias="written"),
    lambda default: Field(default=default, validation_alias="read"),
    lambda default: Field(default=default, exclude=True),
    lambda default: Field(default=default, exclude_if=lambda value: not value),
    lambda default: Field(default=default, validation_alias=AliasChoices("old", "first")),
]
CONFIGS: list[dict[str, Any]] = [
    {},
    {"extra": "forbid"},
    {"extra": "allow"},
    {"frozen": True},
    {"ser_json_bytes": "base64"},
    {"ser_json_bytes": "hex", "val_json_bytes": "hex"},
    {"ser_json_timedelta": "float"},
    {"ser_json_inf_nan": "strings"},
    {"str_to_lower": True},
    {"use_enum_values": True},
    {"validate_assignment": True},
    {"strict": True},
]
names = itertools.count()


def model_kind(one: Kind, two: Kind, field: Callable[[Any], Any], config: dict[str, Any]) -> Kind:
    """A model of two fields; the first one is optional, so that it may be left out."""
    model: Any = create_model(
        f"Inner{next(names)}",
        __config__=ConfigDict(validate_by_name=True, **config),
        first=(one.type | None, field(None)),
        second=(two.type | None, None),
    )

    def made(first: Any, second: Any) -> Any:
        return model.model_construct(first=first, second=second)

    return Kind(model, st.builds(made, st.none() | one.values, st.none() | two.values))


kinds = st.recursive(st.sampled_from(LEAVES), around, max_leaves=4)


def top_level(field: Callable[[Any], Any]) -> bool:
    """Whether a record takes such a field: it refuses one that is not read from its place."""
    try:
        made("Trial", {"first": (int | None, field(None))})
    except TypeError:
        return False
    return True


def in_order(model: Any) -> Any:
    """A validator of the whole model: b is not before a."""
    if isinstance(model.a, int) and isinstance(model.b, int) and model.a > model.b:
        raise ValueError("b before a")
    return model


def old_name_first(model: Any, data: Any) -> Any:
    """A validator that reads an old name of b first."""
    return {**data, "b": data["old_b"]} if isinstance(data, dict) and "old_b" in data else data


def counted(model: Any) -> Any:
    """A validator that makes a value of others."""
    model.total = len(model.model_dump(exclude={"total", "id", "last_modified"}))
    return model


def short(self: Any, write: SerializerFunctionWrapHandler) -> Any:
    """A serializer of the whole model that leaves out what is false."""
    return {name: value for name, value in write(self).items() if value}


def only_a(self: Any) -> dict[str, Any]:
    """A serializer of the whole model that leaves out two fields."""
    return {"id": self.id, "a": self.a, "made": self.made}


VALIDATORS: list[dict[str, Any]] = [
    {},
    {"short": model_serializer(mode="wrap")(short)},
    {"only_a": model_serializer(only_a)},
    {"whole": model_validator(mode="after")(in_order)},
    {"old": model_validator(mode="before")(classmethod(old_name_first))},
    {"tidy": field_validator("b", mode="before")(lambda cls, value: value)},
    {"count": model_validator(mode="after")(counted)},
]


def made(name: str, fields: dict[str, Any], validators: dict[str, Any] | None = None) -> Any:
    """A model class of these fields."""
    return create_model(
        name,
        __base__=Record,
        __cls_kwargs__={"collection": "todos"},
        __validators__=validators or {},
        **fields,
    )


class Case(NamedTuple):
    """A model, values for new objects, and values to assign or to put in place."""

    model: Any
    fields: dict[str, Any]
    changes: dict[str, Any]
    in_place: bool


RECORD_FIELDS = [field for field in FIELDS if top_level(field)]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a case."""
    a, b = draw(kinds), draw(kinds)
    field = draw(st.sampled_from(RECORD_FIELDS))
    model = made(
        f"Outer{next(names)}",
        {
            "a": (a.type | None, field(None)),
            "b": (b.type | None, None),
            "total": (int, 0),
            "made": (str, Field(default_factory=lambda: uuid.uuid4().hex)),
        },
        draw(st.sampled_from(VALIDATORS)),
    )
    values = st.fixed_dictionaries({}, optional={"a": a.values, "b": b.values})
    return Case(model, draw(values), draw(values), draw(st.booleans()))


def save(wire: Wire, record: Any, **options: bool) -> bool:
    """Save an object; False when that is refused, and then nothing was sent."""
    wire.clear()
    try:
        record.save(**options)
    except InvalidData:
        assert wire.methods == []
        return False
    return True


def check_saved(wire: Wire, record: Any) -> None:
    """What is read is what was saved, and differs in nothing from what is stored."""
    model = type(record)
    found = model.get(record.id)
    assert found == record
    [listed] = model.find(model.id == record.id)
    for each in (record, found, listed, found.refresh()):
        assert each.diff() == {}
    wire.clear()
    record.save()
    listed.save()
    assert wire.methods == []


def assign(record: Any, name: str, value: Any) -> None:
    """Assign a value; when it is refused the object is as it was."""
    before = record.model_copy(), set(record.model_fields_set)
    try:
        setattr(record, name, value)
    except ValidationError:
        assert (record, record.model_fields_set) == before


@given(case=cases(), force=st.booleans(), taken=st.sets(st.sampled_from(["a", "b"])))
def test_what_is_saved_is_read_or_refused(
    wire: Wire, case: Case, force: bool, taken: set[str]
) -> None:
    """New objects and changed ones, assigned to or changed in place, with and without force."""
    try:
        record = case.model(**case.fields)
    except ValidationError:
        assume(False)
    if save(wire, record):
        check_saved(wire, record)
    else:
        record = case.model().save()
    for name, value in case.changes.items():
        put = partial(record.__dict__.__setitem__) if case.in_place else partial(assign, record)
        put(name, value)
    for name in taken & record.__dict__.keys():
        delattr(record, name)
    if save(wire, record, force=force):
        check_saved(wire, record)


@given(case=cases())
def test_an_older_record_is_clean(wire: Wire, case: Case) -> None:
    """A record that another program wrote differs in nothing right after any load."""
    raw: Any = Record(id="x")
    for name, value in case.fields.items():
        raw[name] = value
    records = wire.session.scoped(collection="todos")
    try:
        raw.save(session=records, force=True)
        found = case.model.get("x")
    except InvalidData:
        assume(False)
    [listed] = case.model.find()
    for each in (found, listed, found.refresh(), found.refresh(keep_changes=True)):
        assert each.diff() == {}
    wire.clear()
    found.save()
    listed.save()
    assert wire.methods == []
