"""Merging the changes of two writers, down to the keys of objects and the items of sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    RootModel,
    field_serializer,
    model_validator,
)
from typing_extensions import TypedDict

from both import do, either, either_wire
from conftest import Wire
from kinto_orm import Collection, Conflict, Group, InvalidData, Link, Record, Session

session = either
wire = either_wire


class Geo(BaseModel):
    lat: int = 0
    lon: int = 0


class Address(BaseModel):
    """Keeps what it does not declare on the server, and does not show it."""

    city: str = ""
    street_name: str = Field("", alias="streetName")
    geo: Geo | None = None
    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    name: str = ""
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: str = ""
    lives: int = 1


class Circle(TypedDict):
    form: Literal["circle"]
    size: int
    colour: str


class Square(TypedDict):
    form: Literal["square"]
    size: int
    colour: str


class Labels(RootModel[set[str]]):
    pass


@dataclass
class Point:
    x: int = 0
    y: int = 0


class Page(Record, collection="todos", extra="allow"):
    title: str = ""
    address: Address = Address()
    second: Address | None = None
    meta: dict[str, JsonValue] = {}
    counts: dict[int, int] = {}
    tags: set[str] = set()
    marks: frozenset[int] = frozenset()
    teams: dict[str, set[str]] = {}
    steps: list[str] = []
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    animal: Cat | Dog | None = None
    shape: Circle | Square | None = None
    labels: Labels = Labels(set())
    point: Point = Point()


class Page2(Page, collection="todos"):
    """The same with a rule for the whole."""

    @model_validator(mode="after")
    def few(self) -> Page2:
        if len(self.tags) > 2:
            raise ValueError("too many tags")
        return self


def change(page: Any, fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        if value is ...:
            del page[name]
        else:
            page[name] = value


async def conflict_between(
    local: Mapping[str, Any],
    remote: Mapping[str, Any],
    base: Mapping[str, Any] | None = None,
    model: Any = Page,
) -> Conflict:
    """The Conflict of two writers who loaded the same object."""
    mine = await do(model(**(base or {})).save)
    theirs = await do(model.get, mine.id)
    change(theirs, remote)
    await do(theirs.save)
    change(mine, local)
    with pytest.raises(Conflict) as raised:
        await do(mine.save)
    return raised.value


def address(city: str = "", street: str = "", geo: Geo | None = None) -> Address:
    return Address(city=city, street_name=street, geo=geo)


BASE: dict[str, Any] = {
    "address": address("Lyon", "Rue A", Geo(lat=1, lon=2)),
    "meta": {"a": 1, "b": {"c": [1], "d": 2}},
    "counts": {1: 1, 2: 2},
    "tags": {"x", "y"},
    "marks": frozenset({1, 2}),
    "teams": {"red": {"ann", "bob"}},
    "steps": ["one", "two"],
    "pet": Cat(name="Tom"),
    "animal": Cat(name="Tom"),
    "shape": {"form": "circle", "size": 1, "colour": "red"},
    "labels": Labels({"l"}),
    "extra": {"p": 1, "q": {"r": 1}},
    "point": Point(1, 1),
}
# Of the field: local, remote, merged (... : the Conflict again, with these paths), decided
MERGES: dict[str, tuple[str, Any, Any, Any, Any]] = {
    "keys of a model": (
        "address", address("Metz", "Rue A", Geo(lat=1, lon=2)),
        address("Lyon", "Rue B", Geo(lat=1, lon=2)), address("Metz", "Rue B", Geo(lat=1, lon=2)),
        {("address", "city"): "local", ("address", "street_name"): "remote"},
    ),
    "a model in a model": (
        "address", address("Lyon", "Rue A", Geo(lat=5, lon=2)),
        address("Lyon", "Rue A", Geo(lat=1, lon=6)), address("Lyon", "Rue A", Geo(lat=5, lon=6)),
        {("address", "geo", "lat"): "local", ("address", "geo", "lon"): "remote"},
    ),
    "one key of a model": (
        "address", address("Metz", "Rue A"), address("Brest", "Rue A", Geo(lat=1, lon=2)), ...,
        {("address", "city")},
    ),
    "a model that is gone and changed": (
        "address", address("Lyon", "Rue A"), address("Lyon", "Rue A", Geo(lat=1, lon=9)), ...,
        {("address", "geo")},
    ),
    "two new models": ("second", address("Metz"), address("Metz", "B"), ...,
                       {("second", "street_name")}),
    "keys of a dictionary": (
        "meta", {"a": 2, "b": {"c": [1], "d": 2}, "e": 0}, {"a": 1, "b": {"c": [1], "f": 3}},
        {"a": 2, "b": {"c": [1], "f": 3}, "e": 0},
        {("meta", "a"): "local", ("meta", "b"): "remote", ("meta", "e"): "local"},
    ),
    "a removed and changed key": (
        "meta", {"b": {"c": [1], "d": 2}}, {"a": 3, "b": {"c": [1], "d": 2}}, ..., {("meta", "a")},
    ),
    "a list in a dictionary": (
        "meta", {"a": 1, "b": {"c": [1, 2], "d": 2}}, {"a": 1, "b": {"c": [3], "d": 2}}, ...,
        {("meta", "b", "c")},
    ),
    "keys that are no texts": ("counts", {1: 5, 2: 2}, {2: 6}, ..., {("counts", "1")}),
    "keys that are numbers": ("counts", {1: 5, 2: 2}, {1: 1, 2: 6}, {1: 5, 2: 6},
                              {("counts", "1"): "local", ("counts", "2"): "remote"}),
    "sets": ("tags", {"x", "l"}, {"x", "y", "r"}, {"x", "l", "r"}, {("tags",): "both"}),
    "frozen sets": ("marks", frozenset({1, 3}), frozenset({2, 3}), frozenset({3}),
                    {("marks",): "both"}),
    "sets in dictionaries": (
        "teams", {"red": {"ann", "bob", "cyd"}}, {"red": {"bob"}, "blue": set()},
        {"red": {"bob", "cyd"}, "blue": set()},
        {("teams", "red"): "both", ("teams", "blue"): "remote"},
    ),
    "root models": ("labels", Labels({"l", "m"}), Labels({"n"}), Labels({"m", "n"}),
                    {("labels",): "both"}),
    "lists": ("steps", ["one", "two", "l"], ["one", "two", "r"], ..., {("steps",)}),
    "keys of one kind": ("pet", Cat(name="Tim"), Cat(name="Tom", lives=8), Cat(name="Tim", lives=8),
                         {("pet", "name"): "local", ("pet", "lives"): "remote"}),
    "another kind": ("pet", Dog(name="Tom"), Cat(name="Tim"), ..., {("pet",)}),
    "another class": ("animal", Dog(name="Tom"), Cat(name="Tim"), ..., {("animal",)}),
    "another kind on both sides": ("animal", Dog(lives=2), Dog(lives=3), ..., {("animal",)}),
    "another kind of dictionary": (
        "shape", {"form": "square", "size": 1, "colour": "red"},
        {"form": "circle", "size": 1, "colour": "blue"}, ..., {("shape",)},
    ),
    "one kind of dictionary": (
        "shape", {"form": "circle", "size": 2, "colour": "red"},
        {"form": "circle", "size": 1, "colour": "blue"},
        {"form": "circle", "size": 2, "colour": "blue"},
        {("shape", "size"): "local", ("shape", "colour"): "remote"},
    ),
    "undeclared objects": (
        "extra", {"p": 2, "q": {"r": 1}}, {"p": 1, "q": {"r": 1, "s": 2}},
        {"p": 2, "q": {"r": 1, "s": 2}}, {("extra", "p"): "local", ("extra", "q"): "remote"},
    ),
    "two new undeclared objects": (
        "other", {"p": 2}, {"q": 1}, {"p": 2, "q": 1},
        {("other", "p"): "local", ("other", "q"): "remote"},
    ),
    "an undeclared object that is gone": (
        "extra", ..., {"p": 7, "q": {"r": 1}}, ..., {("extra",)},
    ),
    "dataclasses": ("point", Point(2, 1), Point(1, 3), Point(2, 3),
                    {("point", "x"): "local", ("point", "y"): "remote"}),
}  # fmt: skip


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("name", MERGES)
async def test_two_writers_of_one_field(name: str) -> None:
    """Different keys and items go together; what both changed is named, by its whole path."""
    field, local, remote, merged, told = MERGES[name]
    conflict = await conflict_between({field: local}, {field: remote}, BASE)
    if merged is ...:
        assert conflict.contested == told
        assert conflict.fields == {field}
        assert all(".".join(path) in str(conflict) for path in told)
        with pytest.raises(Conflict) as again:
            conflict.merge()
        assert again.value is conflict
        assert conflict.decided == {}
        conflict.merge(prefer="local")
    else:
        assert conflict.fields == conflict.contested == frozenset()
        conflict.merge()
        assert conflict.decided == told
    await do(conflict.local.save)
    stored = await do(Page.get, conflict.local.id)
    assert stored == conflict.local
    if merged is not ...:
        assert stored[field] == merged


# Any changes


names = st.sampled_from("ab")
texts = st.sampled_from(["", "1", "2"])
numbers = st.integers(0, 2)
json_values = st.recursive(
    st.none() | numbers | texts | st.lists(numbers, max_size=2),
    lambda inner: st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)
addresses = st.builds(address, texts, texts, st.none() | st.builds(Geo, lat=numbers, lon=numbers))
some_tags = st.sets(st.sampled_from("abcd"), max_size=3)
pets = st.none() | st.builds(Cat, name=texts, lives=numbers) | st.builds(Dog, name=texts)
FIELDS: dict[str, Any] = {
    "title": texts,
    "address": addresses,
    "second": st.none() | addresses,
    "meta": st.dictionaries(names, json_values, max_size=2),
    "tags": some_tags,
    "teams": st.dictionaries(names, some_tags, max_size=2),
    "steps": st.lists(texts, max_size=2),
    "pet": pets,
    "extra": json_values,
}
states = st.fixed_dictionaries(FIELDS)
changes = st.fixed_dictionaries({}, optional=FIELDS)

GONE = object()


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Each leaf with the way to it; that there is an object or a set is one, too."""
    if isinstance(value, BaseModel):
        value = {**value.__dict__, **(value.__pydantic_extra__ or {})}
        value.pop("last_modified", None)
    if isinstance(value, dict):
        yield path, dict
        for name, each in value.items():
            yield from leaves(each, (*path, name))
    elif isinstance(value, set):
        yield path, set
        yield from (((*path, each), True) for each in value)
    else:
        yield path, value


class Sides:
    """What base, local and remote have, leaf by leaf."""

    def __init__(self, base: Page, local: Page, remote: Page) -> None:
        self.all = [dict(leaves(each)) for each in (base, local, remote)]

    def at(self, path: tuple[Any, ...]) -> tuple[Any, Any, Any]:
        base, local, remote = (each.get(path, GONE) for each in self.all)
        return base, local, remote

    def check(self, conflict: Conflict, merged: Page, prefer: str | None) -> None:
        """Nothing is lost but where both changed something, and that is told."""
        found = dict(leaves(merged))
        for path in {path for each in self.all for path in each} | found.keys():
            base, local, remote = self.at(path)
            inside = next((p for p in conflict.contested if path[: len(p)] == p), None)
            if inside is not None:
                expected = local if prefer == "local" else remote
                assert conflict.decided[inside] == prefer
            else:
                assert local == remote or base in (local, remote), path
                expected = local if base == remote else remote
            assert found.get(path, GONE) == expected, (path, conflict.contested)
        for clash in conflict.contested:
            sides = [{p: v for p, v in e.items() if p[: len(clash)] == clash} for e in self.all]
            assert sides[0] != sides[1] != sides[2] != sides[0]
        assert conflict.fields == {path[0] for path in conflict.contested}


@pytest.fixture(scope="module")
def memory() -> Iterator[Session]:
    """A session whose collection goes on from one example to the next."""
    with Session("memory://") as session:
        Collection(id="todos").save(session=session)
        yield session


def met(memory: Session, base: Any, local: Any, remote: Any) -> tuple[Conflict | None, Any, Sides]:
    """Two writers after one another; the Conflict of the second one, if there is one."""
    with memory:
        mine = Page(**base).save()
        theirs, before = Page.get(mine.id), Page.get(mine.id)
        change(theirs, remote)
        theirs.save()
        change(mine, local)
        sides = Sides(before, mine, theirs)
        try:
            mine.save()
        except Conflict as conflict:
            return conflict, mine, sides
        return None, mine, sides


@given(base=states, local=changes, remote=changes, prefer=st.sampled_from(["local", "remote"]))
def test_nothing_is_lost_by_a_merge(
    memory: Session, base: Any, local: Any, remote: Any, prefer: Any
) -> None:
    """What one side changed comes out as that side has it, and what was saved is read back."""
    conflict, mine, sides = met(memory, base, local, remote)
    if conflict is None:
        assert sides.all[0] in sides.all[1:]
        return
    with memory:
        if conflict.contested:
            held = mine.model_copy(deep=True)
            with pytest.raises(Conflict):
                conflict.merge()
            assert mine == held
        conflict.merge(prefer if conflict.contested else None)
        sides.check(conflict, mine, prefer)
        mine.save()
        stored = Page.get(mine.id)
        assert stored == mine
        assert not stored.diff()
        sides.check(conflict, stored, prefer)


@given(base=states, local=changes, remote=changes)
def test_a_merge_is_the_same_from_both_sides(
    memory: Session, base: Any, local: Any, remote: Any
) -> None:
    """It does not matter who was first, as long as the two do not contradict."""
    one, _, _ = met(memory, base, local, remote)
    other, _, _ = met(memory, base, remote, local)
    if one is None or other is None:
        return
    assert one.contested == other.contested
    if not one.contested:
        left = one.merge().model_dump(exclude={"id", "last_modified"})
        right = other.merge().model_dump(exclude={"id", "last_modified"})
        assert left == right
        swapped = {"local": "remote", "remote": "local", "both": "both"}
        assert one.decided == {path: swapped[whose] for path, whose in other.decided.items()}


@given(base=states, local=changes, remote=changes)
def test_refreshing_with_changes_merges_in_the_same_way(
    memory: Session, base: Any, local: Any, remote: Any
) -> None:
    """What is not saved yet is kept leaf by leaf; a save after it undoes nothing of the others."""
    conflict, mine, _ = met(memory, base, local, remote)
    if conflict is None:
        return
    with memory:
        twin = mine.model_copy(deep=True)
        twin.refresh(keep_changes=True)
        merged = conflict.merge("local")
        assert twin == merged
        assert twin.diff() == merged.diff()
        twin.save()
        assert Page.get(mine.id) == twin


# What is sent, and what fits


@pytest.mark.usefixtures("session")
async def test_what_is_sent_is_based_on_what_the_other_wrote(wire: Wire) -> None:
    """The whole field with both changes, and what the model does not show, under their version."""
    mine = await do(Page(address=address("Lyon", "Rue A")).save)
    theirs = await do(Collection(id="todos").records.get, mine.id)
    theirs["address"] = {**theirs["address"], "streetName": "Rue B", "floor": 3}
    await do(theirs.save)
    mine.address.city = "Metz"
    with pytest.raises(Conflict) as raised:
        await do(mine.save)
    raised.value.merge()
    await do(mine.save)
    sent = {"city": "Metz", "streetName": "Rue B", "floor": 3, "geo": None}
    assert wire.body == {"data": {"address": sent}}
    assert wire.last.headers["If-Match"] == f'"{theirs.last_modified}"'


@pytest.mark.usefixtures("session")
async def test_members_of_a_group_are_a_set() -> None:
    """Two administrators who add and remove others do not undo each other."""
    mine = await do(Group(id="g", members=["account:a", "account:b"]).save)
    theirs = await do(Group.get, "g")
    theirs.members = ["account:b", "account:c"]
    await do(theirs.save)
    mine.members.append("account:d")
    with pytest.raises(Conflict) as raised:
        await do(mine.save)
    assert raised.value.fields == frozenset()
    await do(raised.value.merge().save)
    assert sorted((await do(Group.get, "g")).members) == ["account:b", "account:c", "account:d"]
    assert raised.value.decided == {("members",): "both"}


@pytest.mark.usefixtures("session")
async def test_a_merge_has_to_fit_the_model_as_a_whole() -> None:
    """Two right changes that are wrong together: the Conflict again, and nothing is changed."""
    conflict = await conflict_between({"tags": {"a", "b"}}, {"tags": {"a", "c"}}, {"tags": {"a"}},
                                      model=Page2)  # fmt: skip
    with pytest.raises(Conflict, match=r"do not fit the model together.*too many tags") as again:
        conflict.merge()
    assert again.value is conflict
    mine = conflict.local
    assert mine.tags == {"a", "b"}
    mine.tags = {"b"}
    await do(conflict.merge().save)
    assert (await do(Page2.get, mine.id)).tags == {"b", "c"}


@pytest.mark.usefixtures("session")
async def test_what_was_changed_since_is_looked_at() -> None:
    """A field that is changed after the Conflict was met is contested like any other."""
    conflict = await conflict_between({"title": "L"}, {"steps": ["r"]})
    assert conflict.fields == frozenset()
    conflict.local.steps = ["l"]
    with pytest.raises(Conflict):
        conflict.merge()
    assert conflict.fields == {"steps"}
    conflict.local.steps = ["r"]
    assert conflict.merge().steps == ["r"]
    assert conflict.fields == frozenset()


@pytest.mark.usefixtures("session")
async def test_two_creations_are_put_together() -> None:
    """With nothing that both began with, what only one side has is added."""
    given = {"id": "p", "title": "t"}
    await do(Page(**given, tags={"r"}, meta={"a": 1, "b": {"c": 1}}).save)
    mine = Page(**given, tags={"l"}, meta={"a": 1, "b": {"d": 2}})
    with pytest.raises(Conflict) as raised:
        await do(mine.save)
    assert raised.value.fields == frozenset()
    await do(raised.value.merge().save)
    stored = await do(Page.get, "p")
    assert (stored.tags, stored.meta) == ({"l", "r"}, {"a": 1, "b": {"c": 1, "d": 2}})


class Author(Record, collection="todos"):
    name: str = ""


class Sealed(BaseModel):
    key: str = ""
    hidden: str = Field("", exclude=True)


class Odd(Record, collection="todos"):
    """Fields that are read or written in ways of their own."""

    nested: frozenset[frozenset[str]] = frozenset()
    pairs: set[tuple[int, int]] = set()
    deep: set[tuple[frozenset[str], int]] = set()
    listed: set[str] = set()
    joined: set[str] = set()
    sealed: Sealed = Sealed()
    links: set[Link[Author]] = set()
    ordered: list[Link[Author]] = []
    renamed: dict[str, int] = Field(
        default={},
        validation_alias=AliasChoices("renamed", "old"),
        serialization_alias="renamed",
    )

    @field_serializer("listed")
    def sort(self, value: set[str]) -> list[str]:
        return sorted(value)

    @field_serializer("joined", when_used="json")
    def join(self, value: set[str]) -> str:
        return ",".join(sorted(value))

    @model_validator(mode="before")
    @classmethod
    def split(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("joined"), str):
            return {**data, "joined": set(filter(None, data["joined"].split(",")))}
        return data


def sets(*texts: str) -> frozenset[frozenset[str]]:
    return frozenset(map(frozenset, texts))


ODD: list[tuple[str, Any, Any, Any, Any]] = [
    # field, base, local, remote, merged (...: contested)
    ("nested", sets("ab", "cd"), sets("ab", "cd", "ef"), sets("ab", "gh"), sets("ab", "ef", "gh")),
    ("pairs", {(1, 2)}, {(1, 2), (2, 1)}, {(3, 4)}, {(2, 1), (3, 4)}),
    ("deep", set(), {(frozenset("ab"), 1)}, {(frozenset("cd"), 1)}, ...),
    ("listed", {"b", "a"}, {"b", "a", "0"}, {"b"}, {"b", "0"}),
    ("joined", {"a"}, {"a", "b"}, {"a", "c"}, ...),
    ("links", {"x"}, {"x", "y"}, {"x", "z"}, {"x", "y", "z"}),
    ("ordered", ["x"], ["x", "y"], ["x", "z"], ...),
    ("renamed", {"a": 1}, {"a": 1, "b": 1}, {"a": 2}, {"a": 2, "b": 1}),
]


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize(("field", "base", "local", "remote", "merged"), ODD)
async def test_fields_of_their_own_ways(
    field: str, base: Any, local: Any, remote: Any, merged: Any
) -> None:
    """Sets of sets and of tuples, serializers, links; what cannot be told apart is one leaf."""
    conflict = await conflict_between({field: local}, {field: remote}, {field: base}, Odd)
    if merged is ...:
        assert conflict.contested == {(field,)}
        return
    await do(conflict.merge().save)
    assert (await do(Odd.get, conflict.local.id))[field] == Odd(**{field: merged})[field]


@pytest.mark.usefixtures("session")
async def test_what_is_not_written_is_not_lost_in_a_merge() -> None:
    """An object with a part that is never stored is not looked into, and not taken apart."""
    mine = await do(Odd(sealed=Sealed(key="b")).save)
    theirs = await do(Odd.get, mine.id)
    theirs.sealed = Sealed(key="r")
    await do(theirs.save)
    mine.sealed = Sealed(key="l", hidden="l")
    with pytest.raises(InvalidData, match=r"sealed.hidden would be read back"):
        await do(mine.refresh, keep_changes=True)
    assert (mine.sealed.key, mine.sealed.hidden) == ("l", "l")


@pytest.mark.usefixtures("session")
async def test_a_conflict_is_met_with_what_could_not_be_saved() -> None:
    """A deletion that comes too late is a Conflict, whatever was done to the object here."""

    class Open(Odd, collection="todos", extra="allow"):
        pass

    mine = await do(Open(listed={"a"}).save)
    theirs = await do(Open.get, mine.id)
    theirs.listed = {"b"}
    await do(theirs.save)
    mine.listed, mine["extra"] = {"c"}, {1: "no text"}
    with pytest.raises(Conflict) as raised:
        await do(mine.delete)
    assert raised.value.remote.listed == {"b"}


@pytest.mark.usefixtures("session")
async def test_a_name_of_earlier_is_a_change_too() -> None:
    """A record that still has a field under its old name was changed there by the other side."""
    records = Collection(id="todos").records
    raw = await do(records.new(old={"a": 1}).save)
    mine = await do(Odd.get, raw.id)
    raw["old"] = {"a": 2}
    await do(raw.save)
    mine.renamed["a"] = 3
    with pytest.raises(Conflict) as raised:
        await do(mine.save)
    assert raised.value.contested == {("renamed", "a")}
