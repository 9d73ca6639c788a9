"""What is saved comes back as it was; what could not is refused."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    SerializeAsAny,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from conftest import Backend
from kinto_orm import Conflict, InvalidData, ModelError, NotLoaded, Record, Session
from kinto_orm.models.contents import restored


class Address(BaseModel):
    city: str


class Item(BaseModel):
    n: int


class Typed(Record, collection="todos"):
    address: Address | None = None
    items: list[Item] = []
    by_name: dict[str, Item] = {}


@pytest.fixture
def untyped(session: Session) -> Session:
    """The session of the same collection, for records without a class."""
    return session.scoped(collection="todos")


def read(session: Session, id: str) -> dict[str, Any]:
    """The stored data."""
    return Record.get(id, session=session).model_dump(exclude={"id", "last_modified"})


# What the models inside of a record do not declare


def test_nested_fields_that_the_model_does_not_know_survive(untyped: Session) -> None:
    """Another program's fields inside of an object are sent back with it."""
    data = {"address": {"city": "Paris", "zip": "75001"}, "by_name": {"a": {"n": 1, "x": 2}}}
    Record(id="r", **data).save(session=untyped)
    typed = Typed.get("r")
    assert typed.address
    typed.address.city = "Lyon"
    typed.by_name["a"].n = 5
    typed.save()
    assert read(untyped, "r") == {
        "address": {"city": "Lyon", "zip": "75001"},
        "by_name": {"a": {"n": 5, "x": 2}},
    }
    assert not typed.diff()
    typed.save(force=True)
    assert read(untyped, "r")["address"] == {"city": "Lyon", "zip": "75001"}


def test_what_a_program_takes_away_goes(untyped: Session) -> None:
    """An object that was replaced or deleted does not come back in parts."""
    data = {"address": {"city": "Paris", "zip": "1"}, "by_name": {"a": {"n": 1}, "b": {"n": 2}}}
    Record(id="r", **data).save(session=untyped)
    typed = Typed.get("r")
    typed.address = None
    del typed.by_name["a"]
    typed.save()
    assert read(untyped, "r") == {"address": None, "by_name": {"b": {"n": 2}}}


STORED_ITEMS = [{"n": 1, "x": "a"}, {"n": 2, "x": "b"}, {"n": 3, "x": "c"}]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([1, 2, 9], ["a", "b", "c"]),
        ([3, 2, 1], ["c", "b", "a"]),
        ([9, 2, 1], ["c", "b", "a"]),
        ([1, 2, 3, 4], ["a", "b", "c", None]),
        ([9, 2, 3, 4], ["a", "b", "c", None]),
        ([2, 3], ["b", "c"]),
        ([2], ["b"]),
        ([8, 9], [None, None]),
        ([], []),
    ],
)
def test_items_of_a_list_keep_what_is_theirs(
    numbers: list[int], expected: list[str | None]
) -> None:
    """An item is found again by its value, else by its place while none was taken away."""
    old = [{"n": each["n"]} for each in STORED_ITEMS]
    found: Any = restored([{"n": n} for n in numbers], old, STORED_ITEMS)  # type: ignore[arg-type, list-item]
    assert [each["n"] for each in found] == numbers
    assert [each.get("x") for each in found] == expected


def test_large_floats_do_not_hinder_a_change_beside_them(untyped: Session) -> None:
    """PostgreSQL gives them back as integers, which Kinto refuses."""
    Record(id="r", o={"big": 1e300, "list": [-1e30]}).save(session=untyped)
    record = Record.get("r", session=untyped)
    record["o"]["n"] = 2  # type: ignore[index, call-overload]
    record.save()
    assert float(Record.get("r", session=untyped)["o"]["big"]) == 1e300  # type: ignore[index, call-overload, arg-type]


# What would be written with less than it holds


def test_a_secret_without_a_serializer_is_refused(session: Session) -> None:
    """It would be stored as asterisks."""

    class Login(Record, collection="todos"):
        password: SecretStr | None = None
        others: dict[str, list[SecretStr]] = {}

    Login(id="none").save()
    with pytest.raises(InvalidData, match=r"password.*asterisks.*field_serializer") as raised:
        Login(password="hunter2").save()
    assert "hunter2" not in str(raised.value)
    with pytest.raises(InvalidData, match="others"):
        Login(others={"a": [SecretStr("hunter2")]}).save()


def test_a_secret_with_a_serializer_is_stored(session: Session) -> None:
    """The field's own serializer decides."""

    class Login(Record, collection="todos"):
        password: SecretStr
        other: Annotated[SecretStr, PlainSerializer(lambda value: value.get_secret_value())]

        @field_serializer("password", when_used="json")
        def _plain(self, value: SecretStr) -> str:
            return value.get_secret_value()

    Login(id="x", password="a", other="b").save()
    found = Login.get("x")
    assert (found.password.get_secret_value(), found.other.get_secret_value()) == ("a", "b")


class Base(BaseModel):
    x: int = 1


class Sub(Base):
    y: int = 2


class Same(Base):
    def more(self) -> int:
        return self.x + 1


def test_more_than_the_declared_model_is_refused(session: Session) -> None:
    """Pydantic would leave out what a subclass adds."""

    class Inner(BaseModel):
        bases: list[Base] = []

    class Holder(Record, collection="todos"):
        one: Base = Base()
        many: dict[str, tuple[Base, ...]] = {}
        inner: Inner = Inner()

    Holder(one=Same(x=3)).save()
    for fields in (
        {"one": Sub()},
        {"many": {"a": (Base(), Sub())}},
        {"inner": Inner(bases=[Sub()])},
    ):
        with pytest.raises(InvalidData, match=r"holds a Sub where Base is declared.*y would"):
            Holder(**fields).save()  # type: ignore[arg-type]


def test_more_than_the_declared_model_by_declaration(session: Session) -> None:
    """A union or SerializeAsAny stores all of it."""

    class Holder(Record, collection="todos"):
        union: Sub | Base
        any_: SerializeAsAny[Base]

    holder = Holder(union=Sub(y=7), any_=Sub(y=8)).save()
    assert not holder.diff()
    raw = Record.get(holder.id, session=session.scoped(collection="todos"))
    assert (raw["union"], raw["any_"]) == ({"x": 1, "y": 7}, {"x": 1, "y": 8})
    found = Holder.get(holder.id)
    found.any_.x = 5
    found.save()
    assert raw.refresh()["any_"] == {"x": 5, "y": 8}


def test_a_field_that_is_not_read_from_where_it_is_stored() -> None:
    """Its saves would never be seen again."""
    with pytest.raises(ModelError, match=r"Odd\.x is stored as 'z', but not read from there"):

        class Odd(Record, collection="todos"):
            x: int = Field(serialization_alias="z")


@pytest.mark.parametrize(
    "field",
    [
        lambda: Field(validation_alias=AliasPath("old", "x")),
        lambda: Field(validation_alias=AliasChoices(AliasPath("old", "x"), "x")),
    ],
)
def test_an_older_name_that_is_read_first_refuses_saves(untyped: Session, field: Any) -> None:
    """As long as the record has it, what is saved would not be seen again."""

    class Odd(Record, collection="todos"):
        x: int = field()
        y: int = 0

    Record(id="r", old={"x": 1}).save(session=untyped)
    odd = Odd.get("r")
    odd.y = 5
    odd.save()
    odd.x = 2
    for force in (False, True):
        with pytest.raises(InvalidData, match=r"'old' too, which is read first"):
            odd.save(force=force)
    assert read(untyped, "r") == {"old": {"x": 1}, "y": 5}
    new = Odd(id="new", x=3).save()
    new.x = 4
    new.save()
    assert Odd.get("new").x == 4


# Models with validators


def test_a_validator_may_assign(session: Session) -> None:
    """A derived field is the common case; every validator runs once for an assignment."""

    class Sum(Record, collection="todos"):
        a: int
        total: int = 0

        @model_validator(mode="after")
        def _add(self) -> Sum:
            self.total = self.a * 2
            return self

    new = Sum(a=1)
    assert new.total == 2
    new.a = 5
    assert new.total == 10
    new.save()
    assert not new.diff()
    assert Sum.get(new.id).total == 10


def test_a_property_of_the_model_may_be_set() -> None:
    """Its setter is called, as in Pydantic."""

    class Half(Record, collection="todos"):
        a: int = 1

        @property
        def twice(self) -> int:
            return self.a * 2

        @twice.setter
        def twice(self, value: int) -> None:
            self.a = value // 2

    half = Half()
    half.twice = 10
    assert half.a == 5


def test_settings_for_strings_leave_ids_alone(session: Session) -> None:
    """They are checked, never rewritten."""

    class Low(Record, collection="todos"):
        model_config = ConfigDict(str_to_lower=True, str_max_length=5, str_strip_whitespace=True)
        name: str = ""

    assert Low(id="ABCDEFGH", name="ABC").save().name == "abc"
    assert Low.get("ABCDEFGH").id == "ABCDEFGH"
    with pytest.raises(InvalidData):
        Low(id=" x").save()


def test_partial_objects_are_validated_as_whole_ones(session: Session) -> None:
    """With the validators of the fields and the settings of the model."""
    number = BeforeValidator(lambda value: int(str(value).strip("n")))
    written = PlainSerializer(lambda value: f"n{value}", when_used="json")

    class Odd(Record, collection="todos"):
        n: Annotated[int, number, written] = 0
        title: str = ""

        @field_validator("title")
        @classmethod
        def _shout(cls, value: str, info: ValidationInfo) -> str:
            assert info.field_name == "title"
            return value.upper()

    Odd(id="x", n=5, title="a").save()
    found = Odd.find().only(Odd.n, Odd.title).one()
    assert (found.n, found.title) == (5, "A")


def test_partial_objects_that_do_not_fit_name_the_record(untyped: Session) -> None:
    """As whole ones do."""

    class Dated(Record, collection="todos"):
        n: int
        items: list[Item]

    Record(id="r", n=1, items=[{"n": "no"}]).save(session=untyped)
    with pytest.raises(InvalidData, match=r"'r' does not fit the model: items\.0\.n"):
        Dated.find().only(Dated.items).all()


def test_refresh_of_a_partial_object_keeps_changes(session: Session) -> None:
    """So that it can be saved afterwards."""

    class Full(Record, collection="todos"):
        n: int
        text: str

    Full(id="x", n=1, text="a").save()
    part = Full.find().only(Full.n).one()
    part.n = 2
    assert part.diff() == {"n": (1, 2)}
    with pytest.raises(NotLoaded, match="keep_changes=True"):
        part.save()
    with pytest.raises(NotLoaded, match=r"'text'.*was not loaded"):
        part["text"]
    part.refresh(keep_changes=True).save()
    assert (Full.get("x").n, Full.get("x").text) == (2, "a")


# Clashes


def test_a_mixins_field_must_not_clash() -> None:
    """However the field comes into the class."""

    class Saves(BaseModel):
        save: int = 1

    with pytest.raises(ModelError, match="'save'"):

        class First(Saves, Record, collection="todos"):
            pass

    with pytest.raises(ModelError, match="'save'"):

        class Last(Record, Saves, collection="todos"):
            pass


def test_any_name_is_a_field_of_an_untyped_record(backend: Backend) -> None:
    """Names of parameters too."""
    with backend.session(bucket="default", collection="names") as session:
        record = Record(cls=1, self=2, fields=3, given=4).save()
        assert Record.get(record.id)["cls"] == 1
        session.delete(record)


# Conflicts


def test_a_conflict_with_data_that_does_not_fit(untyped: Session) -> None:
    """It is a conflict that nothing can merge, and shows what is there as a plain record."""

    class Number(Record, collection="todos"):
        n: int = 0
        text: str = ""

    mine = Number(id="x").save()
    theirs = Record.get("x", session=untyped)
    theirs["n"] = "broken"
    theirs.save()
    mine.text = "a"
    with pytest.raises(Conflict, match=r"does not fit the model: n") as raised:
        mine.save()
    conflict = raised.value
    assert (type(conflict.remote), conflict.remote["n"]) == (Record, "broken")
    assert "n: Input" in str(conflict.unfit)
    for prefer in (None, "local", "remote"):
        with pytest.raises(Conflict, match="force=True") as again:
            conflict.merge(prefer=prefer)
        assert again.value is conflict
    assert read(untyped, "x")["n"] == "broken"
    conflict.remote["n"] = 1
    conflict.remote.save()
    mine.save(force=True)
    assert read(untyped, "x")["n"] == 0


# Defaults


def test_a_default_that_is_assigned_is_sent(untyped: Session) -> None:
    """So that older records can be given it."""

    class Ranked(Record, collection="todos"):
        a: int = 0
        rank: int = 7

    Record(id="x", a=1).save(session=untyped)
    old = Ranked.get("x")
    assert not old.diff()
    old.rank = 7
    old.save()
    assert read(untyped, "x") == {"a": 1, "rank": 7}
    assert not old.diff()
    assert Ranked.find(Ranked.rank == 7).count() == 1
