"""kinto_orm.testing: objects of models with plausible values, which are read as they were saved."""

from __future__ import annotations

import dataclasses
import enum
import re
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    Field,
    FutureDate,
    HttpUrl,
    JsonValue,
    PastDatetime,
    PlainValidator,
    PositiveInt,
    ValidationError,
    create_model,
)
from typing_extensions import TypedDict

from kinto_orm import (
    Account,
    AsyncSession,
    Bucket,
    Collection,
    ConfigurationError,
    Everyone,
    Group,
    Link,
    Record,
    Session,
    Template,
)
from kinto_orm.testing import Factory


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    street: str
    city: str
    postcode: str = Field(pattern=r"^[0-9]{5}$")


class Node(BaseModel):
    name: str
    parent: Node | None = None
    children: list[Node] = []


class Spot(TypedDict):
    x: int
    note: str


@dataclasses.dataclass
class Point:
    x: int
    y: float


class Nothing:
    """What nobody can make without knowing it."""

    def __init__(self, known: str) -> None: ...


class Author(Record, collection="authors"):
    name: str
    mentor: Link[Author] | None = None
    friends: list[Link[Author]] = []


class Todo(Record, collection="todos"):
    title: str
    author: Link[Author]
    reviewers: list[Link[Author]] = []
    done: bool = False
    due: datetime | None = None


class Animal(Record, collection="zoo", discriminator="kind"):
    name: str


class Cat(Animal):
    kind: Literal["cat"] = "cat"
    lives: int


class Dog(Animal):
    kind: Literal["dog"] = "dog"
    tricks: set[str]


class Member(Record, collection="members"):
    club: Link[Club]
    greeting: str = Field("hello", exclude=True)


class Club(Record, collection="clubs"):
    head: Link[Member]


class Ticket(Record, collection="tickets"):
    id: Annotated[str, Field(pattern=r"^t[0-9]{6}$")]
    subject: str


LEAVES: list[Any] = [
    str, int, float, bool, datetime, date, time, timedelta, Decimal, UUID, bytes, Colour, Any,
    JsonValue, AwareDatetime, PastDatetime, FutureDate, HttpUrl, PositiveInt, Address, Node, Spot,
    Point, Literal["a", 1], int | str, dict, list, Link[Author],
    Annotated[int, Field(ge=0)],
    Annotated[int, Field(gt=-5, lt=5)],
    Annotated[float, Field(gt=0, le=1)],
    Annotated[float, Field(gt=0, lt=1e-9)],
    Annotated[float, Field(ge=0, multiple_of=0.125)],
    Annotated[int, Field(gt=10**17)],
    Annotated[Decimal, Field(max_digits=6, decimal_places=2)],
    Annotated[str, Field(min_length=30, max_length=40)],
    Annotated[str, Field(max_length=2)],
    Annotated[str, Field(pattern=r"^[A-Z]{2}-\d+$")],
    Annotated[list[int], Field(min_length=4)],
    Annotated[date, Field(ge=date(2024, 2, 28), lt=date(2024, 3, 1))],
    Annotated[datetime, Field(gt=datetime(2024, 2, 28, tzinfo=UTC))],
]  # fmt: skip
types = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.one_of(
        inner.map(lambda kind: kind | None),
        inner.map(lambda kind: list[kind]),
        inner.map(lambda kind: dict[str, kind]),
        inner.map(lambda kind: tuple[kind, int]),
        inner.map(
            lambda kind: create_model("Inner", first=(kind, ...), second=(kind | None, None))
        ),
    ),
    max_leaves=3,
)


@given(kinds=st.lists(types, min_size=1, max_size=3), seed=st.integers(0, 10**6))
def test_what_is_made_is_read_as_it_was_saved(
    kinto_session: Session, kinds: list[Any], seed: int
) -> None:
    """Of any types: the server keeps it, and equal seeds make equal values."""
    fields: Any = {f"field{number}": (kind, ...) for number, kind in enumerate(kinds)}
    fields["aliased"] = (str, Field("", alias="is-called"))
    model = create_model("Made", __base__=Record, __cls_kwargs__={"collection": "made"}, **fields)
    made = Factory(seed)(model, id="x")
    made.save(force=True)
    assert model.get("x") == made
    again = Factory(seed)(model, id="x")
    assert without_ids(again) == without_ids(made)


def without_ids(made: Any) -> str:
    """What is to be the same: those of linked objects are random UUIDs."""
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "", made.model_dump_json(exclude={"last_modified"}))


def test_one_is_made(kinto_factory: Factory) -> None:
    """Unsaved; what is given comes first, also a part of what is nested."""

    class Shop(Record, collection="shops"):
        email: str
        address: Address

    assert kinto_factory(Todo, title="given").title == "given"
    made = kinto_factory(Shop, permissions={"read": [Everyone]}, address={"city": "Ulm"})
    assert made.is_new
    assert "@" in made.email
    assert made.address.city == "Ulm"
    assert made.permissions.read == {Everyone}


def test_links_lead_to_objects(kinto_session: Session, kinto_factory: Factory) -> None:
    """Those that were made for them, which are saved first; cycles end."""
    for todo in kinto_factory.create(Todo, 3, done=True):
        assert Todo.get(todo.id) == todo
        for link in (todo.author, *todo.reviewers):
            assert link.fetch() == link.loaded
        assert todo.author.loaded.mentor is None
    ada = kinto_factory(Author, name="Ada")
    todos = kinto_factory.create(Todo, 2, author=ada)
    assert {each.id for each in ada.backlinks(Todo.author)} == {each.id for each in todos}


def test_what_is_left_as_the_model_has_it(kinto_session: Session, kinto_factory: Factory) -> None:
    """What is never stored; and a cycle that cannot end has an id of nothing."""
    [member] = kinto_factory.create(Member, 1)
    assert Member.get(member.id) == member
    assert member.greeting == "hello"
    assert member.club.fetch().head.loaded is None


async def test_they_are_saved_by_what_is_awaited(
    kinto_async_session: AsyncSession, kinto_factory: Factory
) -> None:
    """`acreate`; the other one is refused, and names it."""
    [todo] = await kinto_factory.acreate(Todo, 1)
    assert await Todo.aget(todo.id) == todo
    with pytest.raises(ConfigurationError, match="await acreate"):
        kinto_factory.create(Todo, 1)


def test_kinds(kinto_session: Session, kinto_factory: Factory) -> None:
    """Of a class with kinds comes one of them; of a kind, or where one is named, that."""
    made = kinto_factory.create(Animal, 20)
    assert {type(each) for each in made} == {Cat, Dog}
    assert Animal.find().count() == 20
    assert {each.id: each for each in Animal.find()} == {each.id: each for each in made}
    assert type(kinto_factory(Animal, kind="dog")) is Dog
    assert type(kinto_factory(Cat)) is Cat


def test_ids(kinto_session: Session, kinto_factory: Factory) -> None:
    """The model makes them, or they follow the model's own rule, or they are given."""
    assert kinto_factory(Author).id != kinto_factory(Author).id
    [ticket] = kinto_factory.create(Ticket, 1)
    assert Ticket.get(ticket.id) == ticket
    assert kinto_factory(Ticket, id="t000001").id == "t000001"


def test_all_that_can_be_saved(kinto_session: Session, kinto_factory: Factory) -> None:
    """Not records alone: what the library declares stays as it is, unless it is needed."""
    with kinto_session.scoped(bucket=kinto_factory(Bucket).save().id).current():
        for model in (Collection, partial(Group, members=["x"]), Template):
            cls = getattr(model, "func", model)
            [made] = kinto_factory.create(cls, 1, **getattr(model, "keywords", {}))
            assert cls.get(made.name if cls is Template else made.id) == made
    assert kinto_factory(Record, title="x").title == "x"
    assert kinto_factory(Account, password="s3cret").save()


def test_values_depend_on_the_test_alone() -> None:
    """Another seed, other values; what was made before does not matter to another factory."""
    titles = [Factory(seed)(Author).name for seed in ("a", "a", "b")]
    assert titles[0] == titles[1] != titles[2]


def test_what_cannot_be_made_is_told(kinto_factory: Factory) -> None:
    """With what to give."""

    class Odd(Record, collection="odd"):
        code: Annotated[str, AfterValidator(lambda value: int(value) and value)]

    with pytest.raises(ValidationError) as caught:
        kinto_factory(Odd)
    assert "kinto_factory(Odd, field=...)" in caught.value.__notes__[0]
    assert kinto_factory(Odd, code="7").code == "7"

    class Unknown(Record, collection="odd"):
        code: Annotated[Nothing, PlainValidator(str)]

    with pytest.raises(
        ConfigurationError, match=r"field 'code'.*kinto_factory\(Unknown, field=...\)"
    ):
        kinto_factory(Unknown)
    with pytest.raises(ValidationError, match="no such field"):
        kinto_factory(Author, nmae="x")
    with pytest.raises(TypeError, match="a class of a model"):
        kinto_factory(Address)  # type: ignore[type-var]


def test_without_the_extra() -> None:
    """The error names it."""
    code = (
        "import sys; sys.modules['polyfactory'] = None\n"
        "from kinto_orm.testing import Factory\n"
        "try: Factory()\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ConfigurationError")
    assert "pip install 'kinto-orm[test]'" in done.stdout
