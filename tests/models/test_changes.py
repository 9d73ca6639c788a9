"""Change tracking: what is sent is what changed, whatever the types; reading changes nothing."""

from __future__ import annotations

import enum
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from threading import Barrier
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AliasChoices, BaseModel, Field, computed_field, field_validator

from conftest import Wire
from kinto_orm import Collection, InvalidData, Record, Session


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Address(BaseModel):
    city: str = ""
    zip_code: str = Field(default="", alias="zip", validate_default=True)
    seen: datetime | None = None
    model_config = {"populate_by_name": True}


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    tricks: list[str] = []


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]


class Rich(Record, collection="todos"):
    """One field of each kind that JSON does not have as it is."""

    title: str = ""
    due: datetime | None = None
    day: date | None = None
    hour: time | None = None
    lasts: timedelta | None = None
    price: Decimal | None = None
    key: uuid.UUID | None = None
    ratio: float = 0.0
    colour: Colour = Colour.RED
    size: Size | None = None
    tags: set[str] = set()
    numbers: frozenset[int] = frozenset()
    colours: set[Colour] = set()
    pair: tuple[int, str] | None = None
    address: Address | None = None
    addresses: list[Address] = []
    by_name: dict[str, Address] = {}
    pet: Pet | None = None
    either: int | str | None = None
    number: int | float | None = None
    when: datetime | str | None = None
    anything: Any = None
    due_on: str = Field(default="", validation_alias="due-on", serialization_alias="due-on")
    renamed: int = Field(
        default=0, validation_alias=AliasChoices("new", "old"), serialization_alias="new"
    )
    made: datetime = Field(default_factory=lambda: datetime.now(UTC))
    token: str = Field(default_factory=lambda: uuid.uuid4().hex)
    labels: list[str] = Field(default_factory=list)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def shout(self) -> str:
        """The title in capitals."""
        return self.title.upper()


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
zones = st.sampled_from([None, UTC, timezone(timedelta(hours=2)), timezone(timedelta(hours=-9.5))])
moments = st.datetimes(datetime(1000, 1, 1), datetime(9999, 1, 1), timezones=zones)
finite = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-(2**63), 2**63 - 1)
# Kinto's own JSON parser rounds the last digit of some floats.
exact = st.integers(-(10**6), 10**6).map(lambda n: n / 8)
json_values = st.recursive(
    st.none() | st.booleans() | integers | exact | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
addresses = st.builds(Address, city=text, zip_code=text, seen=st.none() | moments)

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "title": text,
    "due": moments,
    "day": st.dates(),
    "hour": st.times(),
    "lasts": st.timedeltas(timedelta(days=-900), timedelta(days=900)),
    "price": st.decimals(allow_nan=False, allow_infinity=False, places=4),
    "key": st.uuids(),
    "ratio": finite,
    "colour": st.sampled_from(Colour),
    "size": st.sampled_from(Size),
    "tags": st.sets(text, max_size=5),
    "numbers": st.frozensets(st.integers(-9, 9), max_size=5),
    "colours": st.sets(st.sampled_from(Colour)),
    "pair": st.tuples(st.integers(-9, 9), text),
    "address": addresses,
    "addresses": st.lists(addresses, max_size=3),
    "by_name": st.dictionaries(text, addresses, max_size=3),
    "pet": st.builds(Cat, lives=st.integers(0, 9)) | st.builds(Dog, tricks=st.lists(text)),
    "either": st.integers(-9, 9) | text,
    # PostgreSQL gives larger floats back as integers, written with the digits of the float's repr.
    "number": st.integers(-9, 9) | st.floats(-(2.0**53), 2.0**53),
    "when": moments | text,
    "anything": json_values,
    "due_on": text,
    "renamed": st.integers(-9, 9),
    "made": moments,
    "token": text,
    "labels": st.lists(text, max_size=3),
}
records = st.fixed_dictionaries({}, optional=FIELDS)
few = settings(max_examples=12)  # each is several requests
STORED_AS = {"due_on": "due-on", "renamed": "new"}


@few
@given(fields=records)
def test_a_saved_object_is_clean(wire: Wire, fields: dict[str, Any]) -> None:
    """After a save nothing has changed, and a second save sends nothing."""
    rich = Rich(**fields).save()
    assert rich.diff() == {}
    wire.clear()
    rich.save()
    assert wire.methods == []


@few
@given(fields=records)
def test_a_loaded_object_is_clean(wire: Wire, fields: dict[str, Any]) -> None:
    """Neither a get, nor a page, nor a refresh makes a change."""
    saved = Rich(**fields).save()
    fetched = Rich.get(saved.id)
    assert fetched.diff() == {}
    [listed] = Rich.find(Rich.id == saved.id)
    assert listed.diff() == {}
    assert listed.refresh().diff() == {}
    wire.clear()
    fetched.save()
    listed.save()
    assert wire.methods == []
    assert fetched == listed


@few
@given(fields=records, name=st.sampled_from(list(FIELDS)), data=st.data())
def test_an_assignment_sends_this_field_only(
    wire: Wire, fields: dict[str, Any], name: str, data: st.DataObject
) -> None:
    """Each assignment of another value is seen, sent alone, and there when fetched again."""
    rich = Rich.get(Rich(**fields).save().id)
    before = rich.model_dump(mode="json")[name]
    setattr(rich, name, data.draw(FIELDS[name]))
    wire.clear()
    rich.save()
    if rich.model_dump(mode="json")[name] == before:
        return
    assert wire.methods == ["PATCH"]
    assert set(wire.body["data"]) == {STORED_AS.get(name, name)}
    assert Rich.get(rich.id).diff() == rich.diff() == {}
    assert getattr(Rich.get(rich.id), name) == getattr(rich, name)


MUTATIONS: list[tuple[str, Any]] = [
    ("tags", lambda rich: rich.tags.add("new")),
    ("tags", lambda rich: rich.tags.discard("a")),
    ("labels", lambda rich: rich.labels.append("new")),
    ("labels", lambda rich: rich.labels.reverse()),
    ("labels", lambda rich: rich.labels.clear()),
    ("address", lambda rich: setattr(rich.address, "city", "Rome")),
    ("address", lambda rich: setattr(rich.address, "zip_code", "9")),
    ("address", lambda rich: setattr(rich.address, "seen", datetime(2020, 1, 1, tzinfo=UTC))),
    ("addresses", lambda rich: setattr(rich.addresses[1], "city", "Rome")),
    ("addresses", lambda rich: rich.addresses.pop(0)),
    ("by_name", lambda rich: setattr(rich.by_name["home"], "city", "Rome")),
    ("by_name", lambda rich: rich.by_name.update(work=Address())),
    ("by_name", lambda rich: rich.by_name.pop("home")),
    ("pet", lambda rich: rich.pet.tricks.append("sit")),
    ("pet", lambda rich: setattr(rich, "pet", Cat())),
    ("anything", lambda rich: rich.anything["deep"][0].update(x=2)),
    ("anything", lambda rich: rich.anything.pop("deep")),
    ("anything", lambda rich: rich.anything.update(flag=1)),
    ("either", lambda rich: setattr(rich, "either", 1)),
    ("number", lambda rich: setattr(rich, "number", 1.0)),
    ("size", lambda rich: setattr(rich, "size", None)),
    ("colours", lambda rich: rich.colours.add(Colour.BLUE)),
    ("due_on", lambda rich: setattr(rich, "due_on", "later")),
    ("renamed", lambda rich: setattr(rich, "renamed", 7)),
    ("token", lambda rich: setattr(rich, "token", "t")),
    ("made", lambda rich: setattr(rich, "made", rich.made + timedelta(microseconds=1))),
]


def furnished() -> Rich:
    """A record with something in each container."""
    return Rich(
        tags={"a", "b"},
        labels=["a", "b"],
        address=Address(city="Oslo"),
        addresses=[Address(city="a"), Address(city="b")],
        by_name={"home": Address()},
        pet=Dog(),
        either="1",
        number=1,
        size=Size.LARGE,
        colours={Colour.RED},
        anything={"deep": [{"x": 1}], "flag": True},
    )


@pytest.mark.parametrize(("name", "mutate"), MUTATIONS)
def test_every_mutation_is_seen(wire: Wire, name: str, mutate: Any) -> None:
    """Changes in place, at any depth, are found and sent: that top-level field and no other.

    Whether the object was saved here, fetched, or found in a list.
    """
    saved, others = furnished().save(), [furnished().save(), furnished().save()]
    fetched, listed = Rich.get(others[0].id), Rich.find(Rich.id == others[1].id).one()
    for rich in (saved, fetched, listed):
        wire.clear()
        mutate(rich)
        assert set(rich.diff()) == {name}
        rich.save()
        assert wire.methods == ["PATCH"]
        assert set(wire.body["data"]) == {STORED_AS.get(name, name)}
        assert rich.diff() == {}
        assert Rich.get(rich.id) == rich


def test_diff_names_old_and_new_values(session: Session) -> None:
    """`diff` speaks in the program's names and types."""
    rich = Rich(id="x", due=datetime(2020, 1, 1, tzinfo=UTC), due_on="a").save()
    rich.due = None
    rich.due_on = "b"
    assert rich.diff() == {
        "due": (datetime(2020, 1, 1, tzinfo=UTC), None),
        "due_on": ("a", "b"),
    }


def test_diff_of_a_new_object_is_all_of_it() -> None:
    """What was never saved differs from nothing in every field."""
    assert Record(a=1, b=None).diff() == {"a": (None, 1), "b": (None, None)}


def test_taking_a_change_back_leaves_nothing_to_send(wire: Wire) -> None:
    """A change that was undone is no change."""
    rich = furnished().save()
    rich.labels.append("x")
    rich.title = "y"
    rich.labels.pop()
    rich.title = ""
    wire.clear()
    rich.save()
    assert wire.methods == []


def test_order_of_sets_and_keys_is_no_change(wire: Wire) -> None:
    """Sets have no order, and PostgreSQL gives the keys of objects back in another one."""
    wide = {f"k{n}": n for n in (3, 1, 2, 11)}
    rich = Rich(tags={str(n) for n in range(50)}, anything=wide, id="x").save()
    rich.tags = {str(n) for n in reversed(range(50))}
    rich.anything = dict(sorted(wide.items()))
    wire.clear()
    rich.save()
    assert wire.methods == []


@pytest.mark.parametrize(("old", "new"), [(1, True), (0, False), (1, 1.0), ([1], [True]), ("1", 1)])
def test_values_that_python_holds_equal_are_told_apart(wire: Wire, old: Any, new: Any) -> None:
    """1, 1.0 and true are equal in Python and different on the server."""
    rich = Rich(anything=old).save()
    rich.anything = new
    rich.save()
    assert wire.body == {"data": {"anything": new}}
    assert repr(Rich.get(rich.id).anything) == repr(new)


# Fields that dumps leave out, or that the server has and the model has not


class Guarded(Record, collection="todos"):
    title: str = ""
    secret: str = Field(default="", exclude=True)
    when_set: str | None = Field(default=None, exclude_if=lambda value: value is None)


def test_excluded_fields_survive_and_are_no_change(wire: Wire) -> None:
    """A field with exclude=True is neither sent, nor lost, nor found changed."""
    records = Collection(id="todos").records
    records.new(id="x", title="a", secret="kept", other=1).save()
    guarded = Guarded.get("x")
    assert guarded.secret == "kept"
    assert guarded.diff() == {}
    guarded.title = "b"
    guarded.save()
    assert wire.body == {"data": {"title": "b"}}
    guarded.save(force=True)
    assert records.get("x").model_extra == {"title": "b", "secret": "kept", "other": 1}
    assert guarded.diff() == {}


def test_a_field_that_is_no_longer_dumped_is_removed(wire: Wire) -> None:
    """exclude_if that begins to apply takes the field away on the server."""
    guarded = Guarded(id="x", when_set="now").save()
    guarded.when_set = None
    guarded.save()
    assert wire.body == [{"op": "remove", "path": "/data/when_set"}]
    assert "when_set" not in (Collection(id="todos").records.get("x").model_extra or {})


@few
@given(fields=st.dictionaries(text.filter(bool), json_values, max_size=4))
def test_undeclared_fields_survive_any_save(wire: Wire, fields: dict[str, Any]) -> None:
    """What the model does not declare comes back from every kind of save as it was."""
    names = {"id", "last_modified", "title", "secret", "when_set", "schema", "deleted"}
    extra = {name: value for name, value in fields.items() if name not in names}
    records = Collection(id="todos").records
    records.new(id="x", title="a").save(force=True)
    record = records.get("x")
    for name, value in extra.items():
        record[name] = value
    record.save()
    guarded = Guarded.get("x")
    assert guarded.diff() == {}
    guarded.title = "b"
    guarded.save()
    guarded.title = "c"
    guarded.save(force=True)
    assert records.get("x").model_extra == {"title": "c"} | extra


def test_large_numbers_of_the_server_can_be_sent_back(session: Session) -> None:
    """PostgreSQL gives large floats back as integers, which is no reason to refuse them."""
    records = Collection(id="todos").records
    records.new(id="x", large=1e30).save()
    records.get("x").save(force=True)
    assert float(records.get("x")["large"]) == 1e30


def test_computed_fields_are_never_sent(wire: Wire) -> None:
    """They are made from the others, by each reader for itself."""
    Rich(title="a").save()
    assert "shout" not in wire.body["data"]


def test_a_stored_computed_field_does_no_harm(wire: Wire) -> None:
    """One that another program stored is neither sent twice nor found changed."""
    Collection(id="todos").records.new(id="x", title="a", shout="A").save()
    rich = Rich.get("x")
    assert rich.diff() == {}
    rich.title = "b"
    rich.save()
    assert wire.body == {"data": {"title": "b"}}
    assert rich.shout == "B"


# Defaults that the server does not have


class Grown(Record, collection="todos"):
    title: str = ""
    made: datetime = Field(default_factory=lambda: datetime.now(UTC))
    token: str = Field(default_factory=lambda: uuid.uuid4().hex)
    labels: list[str] = Field(default_factory=lambda: ["new"])
    count: int = 0


@pytest.fixture
def old(wire: Wire) -> Wire:
    """A stored record `old` that knows the title only."""
    Collection(id="todos").records.new(id="old", title="a").save()
    wire.clear()
    return wire


def test_defaults_of_new_fields_are_no_change(old: Wire) -> None:
    """A record that is older than the model's newest fields is not written by reading it."""
    for grown in (Grown.get("old"), *Grown.find()):
        assert grown.diff() == {}
        grown.save()
    assert "PATCH" not in old.methods


def test_a_default_that_was_changed_is_sent(old: Wire) -> None:
    """Assigned or changed in place: then it is a value like any other."""
    grown = Grown.get("old")
    grown.labels.append("x")
    grown.token = "mine"
    grown.save()
    assert old.body == {"data": {"labels": ["new", "x"], "token": "mine"}}
    assert grown.diff() == {}


# Removals


def test_removed_and_changed_fields_go_in_one_json_patch(wire: Wire) -> None:
    """`del` takes a field away; names with / and ~ are escaped as RFC 6901 says."""
    records = Collection(id="todos").records
    record = records.new(id="x", **{"a/b": 1, "c~d": 2, "e": 3}).save()
    del record["a/b"]
    record["c~d"] = None
    record["new"] = [1]
    assert record.diff() == {"a/b": (1, None), "c~d": (2, None), "new": (None, [1])}
    record.save()
    assert wire.last.headers["Content-Type"] == "application/json-patch+json"
    assert wire.last.headers["If-Match"]
    assert wire.body[-1] == {"op": "remove", "path": "/data/a~1b"}
    assert {"op": "add", "path": "/data/c~0d", "value": None} in wire.body
    assert records.get("x").model_extra == {"c~d": None, "e": 3, "new": [1]}


# What cannot be stored


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (float("nan"), "NaN"),
        (float("inf"), "infinity"),
        ({"deep": [1, float("-inf")]}, "infinity"),
        (2**64, "64 bits"),
        ("a\0b", "NUL"),
        ({"a\0": 1}, "NUL"),
        ("\ud800", "surrogate"),
        (object(), "JSON"),
    ],
)
def test_what_json_or_the_server_cannot_keep_is_refused(
    wire: Wire, value: Any, complaint: str
) -> None:
    """NaN and its kin are an InvalidData that names the object; nothing is sent or lost."""
    rich = Rich(id="bad", title="a").save()
    wire.clear()
    rich.anything = value
    with pytest.raises(InvalidData, match=complaint) as raised:
        rich.save()
    assert "bad" in str(raised.value)
    assert wire.methods == []
    assert rich.anything is value


# Validators


class Tidy(Record, collection="todos"):
    title: str

    @field_validator("title")
    @classmethod
    def stripped(cls, value: str) -> str:
        """Without the spaces around it."""
        return value.strip()


def test_a_validator_that_changes_values_makes_no_change(wire: Wire) -> None:
    """What loading itself makes of the stored data is not the program's change."""
    Collection(id="todos").records.new(id="x", title="  a ").save()
    tidy = Tidy.get("x")
    assert tidy.title == "a"
    wire.clear()
    tidy.save()
    assert wire.methods == []


def test_an_assignment_is_validated_and_a_bad_one_changes_nothing(session: Session) -> None:
    """A value that does not fit is refused at the assignment."""
    rich = Rich(ratio=1).save()
    with pytest.raises(ValueError, match="ratio"):
        rich.ratio = "much"  # type: ignore[assignment]
    assert rich.ratio == 1.0
    assert rich.diff() == {}


# Threads


def test_threads_find_changes_of_one_page_at_once(session: Session) -> None:
    """The objects of a page share its bytes; threads that save them find their own change only."""
    for number in range(8):
        Rich(id=f"r{number}", title="old", labels=["x"] * 20).save()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            for _ in range(10):
                page = Rich.find().all()
                start = Barrier(8)

                def change(rich: Rich, start: Barrier = start) -> set[str]:
                    rich.title = "new"
                    start.wait()
                    return set(rich.diff())

                assert list(pool.map(change, page)) == [{"title"}] * 8
    finally:
        sys.setswitchinterval(interval)
