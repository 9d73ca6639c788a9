"""What a save sends reads back as the object that was saved, or it is refused before sending."""

from __future__ import annotations

import dataclasses
import enum
import re
import uuid
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

import pytest
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    PrivateAttr,
    RootModel,
    SecretStr,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_serializer,
    model_validator,
)
from typing_extensions import TypedDict

from conftest import Wire
from kinto_orm import (
    Account,
    BatchError,
    Collection,
    Conflict,
    Group,
    InvalidData,
    ModelError,
    Record,
    Session,
    Template,
)


def _in_batch(wire: Wire, record: Record) -> None:
    with wire.session.batch() as batch:
        batch.save(record)


def _in_bulk(wire: Wire, record: Record) -> None:
    for failure in wire.session.save_all([record]).failed:
        raise failure.error


WAYS: dict[str, Callable[[Wire, Record], object]] = {
    "save": lambda wire, record: record.save(),
    "force": lambda wire, record: record.save(force=True),
    "session": lambda wire, record: wire.session.save(record),
    "batch": _in_batch,
    "save_all": _in_bulk,
}


def check_refused(wire: Wire, record: Record, match: str) -> None:
    """Every way of saving refuses, names the field, and sends nothing."""
    wire.clear()
    for save in WAYS.values():
        with pytest.raises((InvalidData, BatchError)) as raised:
            save(wire, record)
        error: Any = raised.value
        (error,) = getattr(error, "exceptions", [error])
        assert isinstance(error, InvalidData)
        assert re.search(match, str(error))
        assert "Nothing was sent" in str(error)
    assert set(wire.methods) <= {"GET"}


# Models that cannot read what they write


class Named(BaseModel):
    """An old name is read first."""

    full: str = ""

    @model_validator(mode="before")
    @classmethod
    def _old(cls, data: Any) -> Any:
        return {"full": data["name"]} if isinstance(data, dict) and "name" in data else data


class Chosen(BaseModel):
    full: str = Field(default="", validation_alias=AliasChoices("name", "full"))
    model_config = ConfigDict(validate_by_name=True)


class OneSided(BaseModel):
    serial: int = Field(default=0, serialization_alias="serialNumber")


class Hidden(BaseModel):
    seen: int = 0
    unseen: int = Field(default=0, exclude=True)


class Never(BaseModel):
    seen: int = 0
    unseen: int = Field(exclude=True)


class Encoded(BaseModel):
    raw: bytes = b""
    model_config = ConfigDict(ser_json_bytes="base64")


class Cat(BaseModel):
    name: str = ""


class Dog(BaseModel):
    name: str = ""


class Colour(enum.Enum):
    RED = "red"


class Closed(BaseModel):
    n: int = 0
    model_config = ConfigDict(extra="forbid")


@dataclasses.dataclass
class Point:
    x: int = 0
    y: Annotated[int, PlainSerializer(lambda value: value // 10)] = 0


class Typed(TypedDict):
    n: Annotated[int, AfterValidator(lambda value: value + 1)]


class Rooted(RootModel[Annotated[int, AfterValidator(lambda value: value * 2)]]):
    pass


class Written(BaseModel):
    a: int = 0
    b: int = 0

    @model_serializer
    def _one(self) -> dict[str, int]:
        return {"a": self.a}


class Ordered(BaseModel):
    start: int = 0
    end: int = 9

    @model_validator(mode="after")
    def _order(self) -> Ordered:
        if self.start > self.end:
            raise ValueError("start after end")
        return self


T = TypeVar("T")


class Box(BaseModel, Generic[T]):
    content: T


class Real(BaseModel):
    x: float = 0.0
    y: float | None = None


amsterdam = timezone(timedelta(minutes=19, seconds=32))
Positive = Annotated[int, Field(ge=0)]

TYPES: dict[str, tuple[Any, Any]] = {
    "one-sided alias": (OneSided, OneSided(serial=5)),
    "excluded inside": (Hidden, Hidden(unseen=5)),
    "required and excluded inside": (Never, Never(unseen=5)),
    "bytes": (Encoded, Encoded(raw=b"abc")),
    "bytes of the model": (bytes | None, b"\xff"),
    "union": (Cat | Dog, Dog(name="Rex")),
    "enum or text": (str | Colour, Colour.RED),
    "list of unions": (list[Cat | Dog], [Cat(), Dog()]),
    "dataclass": (Point, Point(y=7)),
    "typed dict": (Typed, {"n": 1}),
    "root model": (Rooted, Rooted(1)),
    "model serializer": (Written, Written(a=1, b=2)),
    "increment": (Annotated[int, BeforeValidator(lambda value: int(value) + 1)], 1),
    "serializer": (Annotated[int, PlainSerializer(str)] | None, "no"),
    "text of a number": (Annotated[Decimal, PlainSerializer(lambda v: f"€{v}")], Decimal(1)),
    "generic": (Box[Positive], Box[Positive].model_construct(content=-1)),
    "seconds of a zone": (datetime, datetime(2020, 1, 1, tzinfo=amsterdam)),
    "incomplete": (Real, Real.model_construct(x=None)),
    "infinity": (Real, Real(x=float("inf"))),
    "infinity or none": (Real, Real(y=float("inf"))),
    "secret": (Any, SecretStr("hunter2")),
    "order": (Ordered, Ordered.model_construct(start=10, end=5)),
    "optional": (OneSided | None, OneSided(serial=5)),
    "mapping": (dict[str, Hidden], {"a": Hidden(unseen=1)}),
    "tuple": (tuple[OneSided, int] | None, (OneSided(serial=1), 2)),
}


@pytest.mark.parametrize("name", TYPES)
def test_what_would_not_be_read_back_is_refused(wire: Wire, name: str) -> None:
    """Whatever the type, a new object and a changed one are refused by every way of saving."""
    annotation, value = TYPES[name]

    class Model(Record, collection="todos"):
        other: int = 0
        held: annotation | None = None  # type: ignore[valid-type]

    new = Model()
    new.__dict__["held"] = value
    check_refused(wire, new, r"held|JSON")
    changed = Model(id="x").save()
    changed.__dict__["held"] = value
    check_refused(wire, changed, r"held|JSON")
    assert Model.get("x").held is None


CHANGES: dict[str, tuple[Any, Any, Callable[[Any], object]]] = {
    "a new item": (list[Positive], [1], lambda held: held.append(-5)),
    "too long": (list[Annotated[str, Field(max_length=2)]], ["a"], lambda held: held.append("abc")),
    "too many": (Annotated[list[int], Field(max_length=1)], [1], lambda held: held.append(2)),
    "another type": (list[str], ["a"], lambda held: held.append(5)),
    "nothing": (list[str], ["a"], lambda held: held.append(None)),
    "no time": (list[datetime], [], lambda held: held.append(None)),
    "a name": (dict[str, int], {"a": 1}, lambda held: held.update({None: 1})),
    "a value": (dict[str, Positive], {"a": 1}, lambda held: held.update(a=-1)),
    "a deep item": (dict[str, list[Positive]], {"a": []}, lambda held: held["a"].append(-1)),
    "a set": (set[Positive], {1}, lambda held: held.add(-1)),
    "inside a model": (Ordered, Ordered(), lambda held: setattr(held, "start", 10)),
    "another model": (list[Ordered], [], lambda held: held.append(Dog())),
    "taken away": (Real, Real(), lambda held: delattr(held, "x") or setattr(held, "y", 1.0)),
    "an excluded one": (Hidden, Hidden(), lambda held: setattr(held, "unseen", 5)),
    "one of many": (list[Hidden], [Hidden()], lambda held: setattr(held[0], "unseen", 5)),
    "an infinity": (Real, Real(), lambda held: setattr(held, "y", float("inf"))),
    "what is not written": (Written, Written(a=1), lambda held: setattr(held, "b", 2)),
    "of a dataclass": (Point, Point(), lambda held: setattr(held, "y", 3)),
    "in JSON": (dict[str, JsonValue], {}, lambda held: held.update(a=SecretStr("x"))),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_in_place_are_checked(wire: Wire, name: str) -> None:
    """No assignment looks at them, so the save does, whether anything else changed or not."""
    annotation, value, change = CHANGES[name]

    class Model(Record, collection="todos"):
        other: int = 0
        held: annotation

    Model(id="x", held=value).save()
    for other in (0, 1):
        loaded = Model.get("x")
        loaded.other = other
        change(loaded.held)
        check_refused(wire, loaded, r"held|JSON")
        loaded.refresh()
        assert loaded.save() == Model.get("x")


def test_an_old_name_that_is_read_first_inside_of_a_model(wire: Wire) -> None:
    """Another program's record would read as before, whatever is saved."""

    class Person(Record, collection="todos"):
        named: Named = Named()
        chosen: Chosen = Chosen()
        others: list[Named] = []

    old = {"name": "Ada"}
    records = Collection(id="todos").records
    records.new(id="p", named=old, chosen=old, others=[old]).save()
    changes: dict[str, Callable[[Person], Named | Chosen]] = {
        "named": lambda person: person.named,
        "chosen": lambda person: person.chosen,
        "others": lambda person: person.others[0],
    }
    for name, part in changes.items():
        person = Person.get("p")
        assert part(person).full == "Ada"
        part(person).full = "Bob"
        check_refused(wire, person, rf"Person\.{name}.*full")
    assert records.get("p").model_extra == {"named": old, "chosen": old, "others": [old]}


def test_an_old_name_that_a_validator_of_the_record_reads_first(wire: Wire) -> None:
    """Plain texts are looked at, too, where a validator sees the whole record."""

    class Person(Record, collection="todos"):
        full: str = ""
        age: int = 0

        @model_validator(mode="before")
        @classmethod
        def _old(cls, data: Any) -> Any:
            return (
                {**data, "full": data["name"]}
                if isinstance(data, dict) and "name" in data
                else data
            )

    Collection(id="todos").records.new(id="p", name="Ada").save()
    person = Person.get("p")
    person.full = "Bob"
    check_refused(wire, person, r"Person\.full would be read back with another value")
    person.full = "Ada"
    person.age = 36
    person.save()
    assert Person.get("p").age == 36
    person.name = "Eve"  # type: ignore[attr-defined]
    person.save()
    assert person.full == Person.get("p").full == "Eve"


def test_a_record_with_a_serializer_of_its_own(wire: Wire) -> None:
    """It may write anything; what it leaves out is no more lost than what others leave out."""

    class Pair(Record, collection="todos"):
        a: int = 0
        b: int = 0
        secret: int = 0

        @model_validator(mode="before")
        @classmethod
        def _split(cls, data: Any) -> Any:
            if isinstance(data, dict) and "pair" in data:
                a, b = data.pop("pair")
                return {**data, "a": a, "b": b}
            return data

        @model_serializer
        def _join(self) -> dict[str, Any]:
            return {"id": self.id, "last_modified": self.last_modified, "pair": [self.a, self.b]}

    pair = Pair(id="x", a=1).save()
    pair.b = 5
    pair.save()
    found = Pair.get("x")
    assert (found.a, found.b, found.diff()) == (1, 5, {})
    assert set(Collection(id="todos").records.get("x").model_extra or {}) == {"pair"}
    found.secret = 1
    check_refused(wire, found, r"Pair\.secret would be read back")


def test_a_record_that_is_written_as_no_object(wire: Wire) -> None:
    """The server stores objects only."""

    class Flat(Record, collection="todos"):
        a: int = 0

        @model_serializer
        def _flat(self) -> str:
            return "a"

    check_refused(wire, Flat(), "gives no object")


def test_what_fits_is_saved(wire: Wire) -> None:
    """Whatever loads as it was is no concern of the check."""

    class Fine(Record, collection="todos"):
        cat: Cat | Dog = Cat()
        box: Box[int] = Box[int](content=1)
        closed: Closed = Closed(n=1)
        point: Point = Point(x=1)
        pair: tuple[int, str] = (1, "a")
        price: Decimal = Decimal("1.10")
        raw: bytes = b"abc"
        when: datetime = datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=-9, minutes=-30)))
        naive: datetime = datetime(2020, 1, 1)
        hidden: Hidden = Hidden(seen=2)
        lasts: timedelta = timedelta(days=-1, microseconds=7)
        secret: Annotated[SecretStr, PlainSerializer(lambda value: value.get_secret_value())] = (
            SecretStr("a")
        )
        _own: int = PrivateAttr(default=0)

    fine = Fine(cat=Cat(name="Tom"), closed=Closed(n=2))
    for save in WAYS.values():
        save(wire, fine)
        assert Fine.get(fine.id) == fine
        fine.point.x += 1
        fine.closed.n += 1


# Fields that are never stored


def test_a_required_field_that_is_never_stored_is_refused_with_its_class() -> None:
    """What is saved could not be loaded."""
    with pytest.raises(ModelError, match=r"Odd\.token is required, but never stored.*PrivateAttr"):

        class Odd(Record, collection="todos"):
            token: str = Field(exclude=True)


def test_the_value_of_a_field_that_is_never_stored_is_not_lost_silently(wire: Wire) -> None:
    """A default, or what another program stored, is no loss; anything else is refused."""

    class Odd(Record, collection="todos"):
        title: str = ""
        token: str = Field(default="", exclude=True)
        cache: dict[str, int] = Field(default_factory=dict, exclude=True)
        stamp: datetime = Field(default_factory=lambda: datetime.now(UTC), exclude=True)
        shown: int = Field(default=5, exclude_if=lambda value: value == 0)

    check_refused(wire, Odd(token="t"), r"Odd\.token is never stored.*PrivateAttr")
    check_refused(wire, Odd(stamp=datetime(2020, 1, 1)), r"Odd\.stamp is never stored")
    check_refused(wire, Odd(shown=0), r"Odd\.shown")
    odd = Odd(id="x", title="a").save()
    odd.cache["a"] = 1
    check_refused(wire, odd, r"Odd\.cache is never stored")
    odd.cache.clear()
    odd.title = "b"
    odd.save()
    odd.token = "t"
    check_refused(wire, odd, r"Odd\.token is never stored")
    assert Odd.get("x").title == "b"


def test_the_password_of_an_account_is_saved(session: Session) -> None:
    """It is excluded from dumps, and written by the account itself."""
    account = Account(id=f"alice-{session.bucket}", password="s3cret").save()
    assert account.password is None
    assert account.diff() == {}
    account.password = "another"
    account.save()
    assert account.diff() == {}


# Fields that depend on others


class Event(Record, collection="todos"):
    start: int = 0
    end: int = 5
    items: list[int] = []
    total: int = 0

    @model_validator(mode="after")
    def _whole(self) -> Event:
        self.total = sum(self.items)
        if self.start > self.end:
            raise ValueError("start after end")
        return self


class Later(Record, collection="todos"):
    start: int = 0
    end: int = 5

    @field_validator("end")
    @classmethod
    def _after(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("start", 0):
            raise ValueError("start after end")
        return value


class Wrapped(Record, collection="todos"):
    start: int = 0
    end: int = 5

    @model_validator(mode="wrap")
    @classmethod
    def _around(cls, data: Any, handler: Any) -> Any:
        made = handler(data)
        if made.start > made.end:
            raise ValueError("start after end")
        return made


@pytest.mark.parametrize("model", [Event, Wrapped])
def test_a_refused_assignment_changes_nothing(wire: Wire, model: type[Any]) -> None:
    """However it is assigned: the refused value is not in the object, nor is what followed."""
    held = model(id="x").save()
    before = held.model_dump(), set(held.model_fields_set)
    assignments: list[Callable[[], None]] = [
        lambda: setattr(held, "start", 10),
        lambda: held.__setitem__("start", 10),
        lambda: setattr(held, "end", -1),
    ]
    for assign in assignments:
        with pytest.raises(ValidationError, match="start after end"):
            assign()
        assert (held.model_dump(), held.model_fields_set) == before
        assert held.diff() == {}
    wire.clear()
    held.save()
    assert wire.methods == []
    held.start = 5
    assert held.save() == model.get("x")


def test_a_field_whose_validator_looks_at_another_one(wire: Wire) -> None:
    """The other one's assignment does not ask it; the save does."""
    later = Later(id="x").save()
    later.start = 10
    check_refused(wire, later, r"end .*start after end")
    later.end = 20
    assert later.save() == Later.get("x")


def test_what_follows_from_a_change_in_place(wire: Wire) -> None:
    """No assignment runs the validators; after the save the object is what others read."""
    event = Event(id="x").save()
    event.items.append(3)
    event.save()
    assert event.total == 3
    assert event == Event.get("x")
    assert event.diff() == {}


def test_what_is_required_cannot_be_taken_away(wire: Wire) -> None:
    """A record without it could not be loaded."""

    class Titled(Record, collection="todos"):
        title: str
        note: str = ""

    titled = Titled(id="x", title="a", note="b").save()
    del titled["title"]
    check_refused(wire, titled, r"title could not be loaded again: Field required")
    titled.refresh()
    del titled["note"]
    titled.save()
    assert Titled.get("x").note == ""


# Other ways of writing


def test_update_of_a_query_reports_what_it_refuses(wire: Wire) -> None:
    """One record that does not fit is a failure of its own; the others are updated."""
    Later(id="a").save()
    Later(id="b", end=50).save()
    summary = Later.find().update(start=10)
    assert (summary.updated, [each.target.id for each in summary.failed]) == (1, ["a"])
    assert isinstance(summary.failed[0].error, InvalidData)
    assert {each.id: each.start for each in Later.find()} == {"a": 0, "b": 10}


def test_members_of_a_group_and_schemas_of_a_collection(session: Session) -> None:
    """They are checked as records are."""
    group = Group(id="g", members=["account:a"]).save()
    group.members.append(5)  # type: ignore[arg-type]
    with pytest.raises(InvalidData, match="members"):
        group.save()
    group.members[1:] = [None]  # type: ignore[list-item]
    with pytest.raises(InvalidData, match="members"):
        group.save()

    class Counted(Collection):
        sizes: list[Positive] = []

    counted = Counted(id="counted", sizes=[1]).save()
    counted.sizes.append(-1)
    with pytest.raises(InvalidData, match="sizes"):
        counted.save(force=True)
    assert Counted.get("counted").sizes == [1]


def test_a_template_whose_source_its_model_changes(session: Session) -> None:
    """What is rendered from the server is what was saved."""

    class Marked(Template):
        @field_validator("source")
        @classmethod
        def _mark(cls, value: str) -> str:
            return value + "!"

    with pytest.raises(InvalidData, match=r"Marked\.source would be read back"):
        Marked(name="a", source="x").save()
    assert Template.get_or_none("a") is None


def test_a_revert_to_what_the_model_changes(wire: Wire) -> None:
    """The old state is loaded, and saved as any other."""

    class Odd(Record, collection="todos"):
        n: Annotated[int, AfterValidator(lambda value: value + 1)] = 0

    records = Collection(id="todos").records
    stored = records.new(id="x", n=1).save()
    then = stored.last_modified
    stored["n"] = 5
    stored.save()
    with pytest.raises(InvalidData, match=r"Odd\.n would be read back"):
        Odd.get("x").revert(then or 0)
    assert records.get("x")["n"] == 5


# Two valid halves


def _two_halves(wire: Wire, model: type[Any]) -> Any:
    """An object with an unsaved start of 4, while another one's end of 3 is stored."""
    model(id="x").save()
    mine, theirs = model.get("x"), model.get("x")
    theirs.end = 3
    theirs.save()
    mine.start = 4
    return mine


@pytest.mark.parametrize("model", [Event, Later, Wrapped])
def test_a_merge_of_what_does_not_fit_together(wire: Wire, model: type[Any]) -> None:
    """The Conflict is raised again, and the object is as it was."""
    mine = _two_halves(wire, model)
    with pytest.raises(Conflict) as raised:
        mine.save()
    before = mine.model_dump()
    for prefer in (None, "local", "remote"):
        with pytest.raises(
            Conflict, match=r"do not fit the model together.*start after end"
        ) as two:
            raised.value.merge(prefer)
        assert two.value is raised.value
        assert str(two.value).count("together") == 1
        assert mine.model_dump() == before
        assert set(mine.diff()) == {"start"}
    mine.start = 2
    assert raised.value.merge().save() == model.get("x")
    assert (mine.start, mine.end) == (2, 3)


@pytest.mark.parametrize("model", [Event, Later, Wrapped])
def test_a_refresh_that_keeps_what_does_not_fit(wire: Wire, model: type[Any]) -> None:
    """It says so, and the object is as it was."""
    mine = _two_halves(wire, model)
    before = mine.model_dump()
    with pytest.raises(InvalidData, match=r"do not fit together.*start after end.*keep_changes"):
        mine.refresh(keep_changes=True)
    assert mine.model_dump() == before
    assert set(mine.diff()) == {"start"}
    mine.start = 2
    mine.refresh(keep_changes=True)
    assert (mine.start, mine.end) == (2, 3)
    assert set(mine.diff()) == {"start"}
    mine.save()
    assert mine.refresh().diff() == {}


def test_a_merge_works_out_what_follows_from_both(wire: Wire) -> None:
    """A field that a validator makes of the others is made of the merged ones."""

    class Sum(Record, collection="todos"):
        a: int = 0
        b: int = 0
        total: int = 0

        @model_validator(mode="after")
        def _add(self) -> Sum:
            self.total = self.a + self.b
            return self

    Sum(id="x").save()
    mine, theirs = Sum.get("x"), Sum.get("x")
    theirs.b = 10
    theirs.save()
    mine.a = 1
    with pytest.raises(Conflict) as raised:
        mine.save()
    assert raised.value.fields == {"total"}
    merged = raised.value.merge(prefer="local")
    assert (merged.a, merged.b, merged.total) == (1, 10, 11)
    assert merged.save() == Sum.get("x")


# Values that are no JSON yet, in fields without a type


def test_untyped_values_become_what_they_are_stored_as(wire: Wire) -> None:
    """So that the object is what everybody else reads."""

    class Loose(Record, collection="todos"):
        anything: Any = None

    record = Collection(id="todos").records.new(id="x", pair=(1, 2), day=datetime(2020, 1, 1))
    record.save()
    assert record["pair"] == [1, 2]
    assert record["day"] == "2020-01-01T00:00:00"
    assert record == Collection(id="todos").records.get("x")
    loose = Loose(anything={"a": {Decimal(1)}}).save()
    assert loose.anything == {"a": ["1"]}
    assert loose.diff() == {}
    assert loose == Loose.get(loose.id)
    record["secret"] = [SecretStr("hunter2")]
    check_refused(wire, record, r"secret.*asterisks")


class Loose(Record, collection="todos", extra="allow"):
    anything: Any = None
    several: list[Any] = []
    numbered: dict[int, Any] = {}


ODD_NAMES: list[dict[Any, Any]] = [
    {1: "a", "1": "b"},
    {None: 1, "None": 2},
    {True: 1, "true": 2},
    {1.5: 2},
    {(1, 2): 3},
    {datetime(2020, 1, 1): 3},
]


def _put_any(loose: Loose, value: Any) -> None:
    loose.anything["a"] = [value]


def _put_several(loose: Loose, value: Any) -> None:
    loose.several.append((value,))


def _put_numbered(loose: Loose, value: Any) -> None:
    loose.numbered[1] = value


def _put_extra(loose: Loose, value: Any) -> None:
    loose["extra"] = {"a": value}


PLACES = [_put_any, _put_several, _put_numbered, _put_extra]


@pytest.mark.parametrize("odd", ODD_NAMES, ids=repr)
@pytest.mark.parametrize("put", PLACES)
def test_names_that_are_no_text_are_refused(
    wire: Wire, put: Callable[[Loose, Any], None], odd: dict[Any, Any]
) -> None:
    """Where nothing says their type they would become text, and two of them perhaps one."""
    for loose in (Loose(anything={}), Loose(anything={}).save()):
        put(loose, odd)
        check_refused(wire, loose, r"has the name .*, which is no text")


def test_a_name_that_is_no_text_beside_its_text(wire: Wire) -> None:
    """What is written stays the same; the object does not."""
    loose = Loose(id="x", anything={"1": "b"}).save()
    loose["extra"] = {"1": "b"}
    loose.save()
    for held in (loose.anything, loose["extra"]):
        held[1] = "b"
        check_refused(wire, loose, "has the name 1, which is no text")
        del held[1]
    assert loose.save().diff() == {}


def test_untyped_values_become_what_is_stored_without_a_request(wire: Wire) -> None:
    """Nothing has to be sent, and the object is what everybody reads all the same."""
    loose = Loose(id="x", anything=Decimal(1)).save()
    loose["pair"] = [1, 2]
    loose.save()
    loose.anything, loose["pair"] = Decimal(1), (1, 2)
    wire.clear()
    loose.save()
    assert wire.methods == []
    assert (loose.anything, loose["pair"]) == ("1", [1, 2])
    assert loose == Loose.get("x")


@pytest.mark.parametrize("annotation", ["bare", "full", "nested", "inner"])
def test_the_order_of_names_is_no_data(wire: Wire, annotation: str) -> None:
    """The server does not keep it: PostgreSQL has an order of its own."""

    class Inner(BaseModel):
        order: OrderedDict[str, int] = OrderedDict()

    types: dict[str, Any] = {
        "full": OrderedDict[str, int],
        "nested": list[OrderedDict[str, int]],
        "inner": Inner,
    }
    with pytest.raises(ModelError, match=r"Ranked\.ranks .* does not keep the order of names"):
        create_model(
            "Ranked",
            __base__=Record,
            __cls_kwargs__={"collection": "todos"},
            ranks=(types.get(annotation, OrderedDict), ...),
        )(ranks={"order": {}}).save(session=wire.session)


class Numbers(Record, collection="todos"):
    one: int = 0
    some: list[int] = []
    named: dict[str, float] = {}
    unlike: set[int] = set()


def _append(numbers: Numbers) -> None:
    numbers.some.append(True)


def _name(numbers: Numbers) -> None:
    numbers.named["a"] = True


def _add(numbers: Numbers) -> None:
    numbers.unlike.add(True)


@pytest.mark.parametrize("put", [_append, _name, _add])
def test_true_is_no_number(wire: Wire, put: Callable[[Numbers], None]) -> None:
    """In JSON it is not, so that it would be stored as another value than the one that is read."""
    for numbers in (Numbers(), Numbers().save()):
        put(numbers)
        check_refused(wire, numbers, "is a bool, and would be read back as an? (int|float)")


def test_what_was_taken_away_has_its_default_after_the_save(wire: Wire) -> None:
    """As for everybody who loads it."""
    for numbers in (Numbers(), Numbers(one=7).save(), Numbers().save()):
        del numbers.one
        numbers.save()
        assert numbers == Numbers.get(numbers.id)
        assert (numbers.one, numbers.diff()) == (0, {})


class Tagged(Record, collection="todos"):
    made: str = Field(default_factory=lambda: uuid.uuid4().hex)
    tags: list[str] = ["new"]
    older: list[str] = Field(default=["old"], validation_alias=AliasChoices("older", "oldest"))


def test_a_container_that_was_taken_away_has_its_default_after_the_save(wire: Wire) -> None:
    """Also where it is kept how an object was written, or values depend on others."""
    for tagged in (Tagged(tags=["a"], older=[]), Tagged(tags=["a"], older=[]).save()):
        del tagged.tags, tagged.older
        tagged.save()
        assert tagged == Tagged.get(tagged.id)
        assert (tagged.tags, tagged.older, tagged.diff()) == (["new"], ["old"], {})
        wire.clear()
        tagged.save()
        assert wire.methods == []


# Models that write less than they have


class Truthy(Record, collection="todos"):
    done: bool = True
    n: int = 3

    @model_serializer(mode="wrap")
    def _short(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in write(self).items() if value}


class Halved(Record, collection="todos"):
    done: bool = True
    n: int = 3

    @model_serializer
    def _half(self) -> dict[str, Any]:
        return {"done": self.done}


@pytest.mark.parametrize("model", [Truthy, Halved])
def test_a_serializer_of_a_record_that_leaves_out(wire: Wire, model: type[Any]) -> None:
    """It may leave out what a load gives anyway; the rest is refused, and shown by diff()."""
    assert model.get(model().save().id).n == 3
    fresh, saved = model(n=0), model().save()
    saved.n = 0
    assert fresh.diff()["n"] == (None, 0)
    assert saved.diff() == {"n": (3, 0)}
    for each in (fresh, saved, model.get(saved.id)):
        each.n = 0
        check_refused(wire, each, rf"{model.__name__}\.n would be read back")
    saved.n = 3
    assert saved.diff() == {}


# What the messages say


def test_messages_name_the_place_and_the_remedy(session: Session) -> None:
    """Down to the part of the field; and they quote no value, which may be secret."""

    class Pets(Record, collection="todos"):
        pets: dict[str, list[Cat | Dog]] = {}
        numbers: list[Positive] = []
        pin: Annotated[str, AfterValidator(lambda value: value + "1")] = ""

    with pytest.raises(InvalidData, match=r"Pets\.pets\['a'\]\[1\] is a Dog, .* as a Cat.*discr"):
        Pets(pets={"a": [Cat(), Dog()]}).save()
    pets = Pets(numbers=[1])
    pets.numbers.append(-1)
    with pytest.raises(InvalidData, match=r"numbers\.1 could not be loaded again.*greater than"):
        pets.save()
    with pytest.raises(InvalidData, match=r"Pets\.pin would be read back") as raised:
        Pets(pin="9876").save()
    assert "9876" not in str(raised.value)
