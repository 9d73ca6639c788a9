"""Fields of enums and literals, compared with and set to the values of members."""

from __future__ import annotations

import operator
from collections.abc import Callable
from enum import Enum, IntEnum, IntFlag, StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, PlainSerializer, ValidationError

from both import do, either
from kinto_orm import InvalidData, Record, col

session = either


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Size(StrEnum):
    L = "l"
    XL = "xl"


class Old(str, Enum):  # noqa: UP042
    A = "a"


class Other(StrEnum):
    L = "l"


class Level(IntEnum):
    LOW = 1
    HIGH = 10


class Right(IntFlag):
    READ = 1
    WRITE = 2


class Lenient(StrEnum):
    ON = "on"

    @classmethod
    def _missing_(cls, value: object) -> Lenient:
        if isinstance(value, str):
            return cls(value.lower())
        raise RuntimeError(value)


class Part(BaseModel):
    color: Color = Color.RED
    size: Size = Size.L


class Shirt(Record, collection="todos"):
    color: Color | None = None
    size: Size = Size.L
    old: Old = Old.A
    level: Level = Level.LOW
    rights: Right = Right.READ
    lenient: Lenient = Lenient.ON
    word: Literal["a", "b"] = "a"
    one: Literal[Size.L, 3] = Size.L
    mixed: Size | int = 1
    colors: list[Color] = []
    sizes: list[Size] = []
    size_set: set[Size] = set()
    by_name: dict[str, Size] = {}
    part: Part = Part()


class Named(Record, collection="todos"):
    """Stores the names of members."""

    named: Annotated[Size, PlainSerializer(lambda size: size.name, when_used="json")] = Size.L


class Valued(Record, collection="todos"):
    """Its objects hold the values."""

    color: Color | None = None
    colors: list[Color] = []
    model_config = ConfigDict(use_enum_values=True)


# A field, a value, and the member that it stands for; the comparison in Python is true of them.
TAKEN: list[tuple[Any, Any, Any]] = [
    (Shirt.size, "l", Size.L),
    (Shirt.size, Other.L, Size.L),
    (Shirt.old, "a", Old.A),
    (Shirt.level, 1, Level.LOW),
    (Shirt.level, 1.0, Level.LOW),
    (Shirt.level, True, Level.LOW),
    (Shirt.rights, 3, Right.READ | Right.WRITE),
    (Shirt.lenient, "on", Lenient.ON),
    (Shirt.word, "b", "b"),
    (Shirt.one, "l", Size.L),
    (Shirt.one, 3, 3),
    (Shirt.mixed, "xl", Size.XL),
    (Shirt.mixed, 7, 7),
    (Named.named, "xl", Size.XL),
    (Shirt.sizes, ["l", Size.XL], [Size.L, Size.XL]),
    (Shirt.size_set, {"l"}, {Size.L}),
    (col(Shirt.by_name)["x"], "l", Size.L),
    (col(Shirt.part)["size"], "l", Size.L),
]


@pytest.mark.parametrize(("column", "value", "member"), TAKEN)
def test_a_value_stands_for_the_member_that_it_equals(column: Any, value: Any, member: Any) -> None:
    """Where Python takes both for equal, both ask for the same."""
    assert value == member
    ways: list[Callable[[Any], Any]] = [
        lambda v: column == v,
        lambda v: column != v,
        lambda v: column.eq(v),
        lambda v: column.in_([v]),
        lambda v: column.not_in([v]),
    ]
    for way in ways:
        assert way(value).params == way(member).params


@pytest.mark.parametrize("way", ["has", "has_any"])
def test_items_stand_for_members_too(way: str) -> None:
    """Of a list and of a set."""
    for column in (Shirt.sizes, Shirt.size_set):
        ask = getattr(col(column), way)
        given: Any = ("l", Size.L) if way == "has" else (["l"], [Size.L])
        assert ask(given[0]).params == ask(given[1]).params


# A field, a value, what the error says
REFUSED: list[tuple[Any, Any, str]] = [
    (Shirt.color, "red", r"Shirt.color: in Python Color.RED does not equal .* Write Color.RED"),
    (Shirt.color, "rde", r"Shirt.color, .*Color.RED \('red'\), Color.BLUE \('blue'\)$"),
    (Shirt.color, Size.L, r"Color.RED \('red'\), Color.BLUE"),
    (Shirt.color, 1, r"Color.RED \('red'\), Color.BLUE"),
    (Shirt.size, "m", r"Size.L \('l'\), Size.XL \('xl'\)"),
    (Shirt.level, 5, r"Level.LOW \(1\), Level.HIGH \(10\)"),
    (Shirt.level, "1", r"Level.LOW \(1\), Level.HIGH \(10\)"),
    (Shirt.lenient, "ON", r"Lenient.ON \('on'\)"),
    (Shirt.lenient, 1, r"Lenient.ON \('on'\)"),
    (Shirt.word, "c", r"Shirt.word, .*: there are 'a', 'b'$"),
    (Shirt.one, "xl", r"Size.L \('l'\)|3"),
    (Named.named, "L", r"Size.L \('l'\), Size.XL"),
    (Shirt.colors, ["red"], r"an item of Shirt.colors: .*Write Color.RED"),
    (Shirt.sizes, ["m"], r"an item of Shirt.sizes, .*Size.L \('l'\)"),
    (col(Shirt.by_name)["x"], "m", r"Shirt.by_name.x, .*Size.L \('l'\)"),
    (col(Shirt.part)["color"], "red", r"Part.color: .*Write Color.RED"),
]


@pytest.mark.parametrize(("column", "value", "said"), REFUSED)
def test_another_value_is_refused_and_the_members_are_named(
    column: Any, value: Any, said: str
) -> None:
    """No object has it; the one that was meant is named, or all that there are."""
    ways: list[Callable[[], Any]] = [
        lambda: column == value,
        lambda: column != value,
        lambda: column.in_([value, None]),
        lambda: column.not_in([value]),
    ]
    for way in ways:
        with pytest.raises(InvalidData, match=said):
            way()


def test_another_item_is_refused() -> None:
    """By `has` as well, before anything is sent."""
    with pytest.raises(InvalidData, match=r"an item of Shirt.colors: .*Write Color.RED"):
        col(Shirt.colors).has("red")  # type: ignore[arg-type]
    with pytest.raises(InvalidData, match=r"an item of Shirt.sizes, .*Size.XL \('xl'\)"):
        col(Shirt.sizes).has_any(["m"])  # type: ignore[list-item]


def test_many_members_are_not_all_named() -> None:
    """A message stays readable."""
    many = Enum("many", {f"M{n}": n for n in range(12)})  # type: ignore[misc]

    class Many(Record, collection="todos"):
        field: many  # type: ignore[valid-type]

    with pytest.raises(InvalidData, match=r"many.M9 \(9\), 2 more$"):
        assert Many.field == 99


def test_a_bound_need_be_no_member() -> None:
    """An order is that of the values, which others have, too."""
    for compare in (operator.lt, operator.le, operator.gt, operator.ge):
        assert compare(Shirt.level, 5).params
        assert compare(Shirt.size, "m").params
        assert compare(Shirt.word, "aa").params
        with pytest.raises(InvalidData, match=r"Write Color.RED"):
            compare(Shirt.color, "red")
        with pytest.raises(InvalidData, match=r"cannot be ordered .*in a way of their own"):
            compare(Named.named, Size.XL)
        with pytest.raises(InvalidData):
            compare(Shirt.level, "5")


@pytest.mark.parametrize("value", ["red", Color.RED])
def test_objects_that_hold_values_are_found_by_them(value: Any) -> None:
    """With use_enum_values a value is what the comparison in Python takes."""
    assert (Valued.color == value).params == (("eq_color", '"red"'),)
    assert col(Valued.colors).has(value).params[-1] == ("contains_any_colors", '["red"]')
    with pytest.raises(InvalidData, match=r"Color.RED \('red'\)"):
        assert Valued.color == "rde"


@pytest.mark.usefixtures("session")
async def test_a_member_is_set_by_its_value_wherever_fields_are_given() -> None:
    """As Pydantic does; another value is an error that lists what there is."""
    red: Any = {"color": "red", "size": "xl", "level": 10, "word": "b"}
    wrong: Any = {"color": "rde"}
    await do(Shirt(id="one", **red).save)
    await do(Shirt.get_or_create, "two", **red)
    three = Shirt(id="three")
    three.assign(**red)
    await do(three.save)
    await do(Shirt(id="four").save)
    await do(Shirt.patch, "four", **red)
    await do(Shirt(id="five").save)
    await do(Shirt.find(Shirt.size == "l").update, **red)
    found = await do(Shirt.find(Shirt.color == Color.RED, Shirt.level >= 5, Shirt.size == "xl").all)
    assert {each.id for each in found} == {"one", "two", "three", "four", "five"}
    for verb in (three.assign, lambda **f: Shirt(**f), Shirt.find().update):
        with pytest.raises(ValidationError, match="'red' or 'blue'"):
            await do(verb, **wrong)
    for verb in (Shirt.patch, Shirt.get_or_create):
        with pytest.raises(ValidationError, match="'red' or 'blue'"):
            await do(verb, "new", **wrong)
