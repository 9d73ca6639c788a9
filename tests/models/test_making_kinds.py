"""Objects of several kinds are of their class, however they are made and written."""

from __future__ import annotations

import copy
import pickle
from enum import StrEnum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from both import AnySession, do, either, entered
from feeding import NOW, fails, feed, is_there, nowhere, object_of, requests_of, shows
from kinto_orm import Conflict, InvalidData, Link, Record, Session, col
from kinto_orm.models.patching import patching
from kinto_orm.wire.flows import Sending
from kinto_orm.wire.messages import Request

session = either


class Size(StrEnum):
    BIG = "big"
    HUGE = "huge"


class Animal(Record, collection="todos", discriminator="kind"):
    kind: str
    name: str = ""


class Cat(Animal):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Lion(Cat):
    kind: Literal["lion"] = "lion"  # type: ignore[assignment]
    mane: str = "long"


class Pet(Animal):
    """It has no kind of its own."""


class Dog(Pet):
    kind: Literal["dog", "wolf"] = "dog"
    trick: str


class Horse(Pet):
    kind: Literal[Size.BIG] = Size.BIG
    speed: int = 1


class Huge(Horse):
    kind: Literal[Size.HUGE] = Size.HUGE  # type: ignore[assignment]


class Closed(Record, collection="todos", discriminator="kind"):
    """It does not declare the field."""


class Open(Closed):
    kind: Literal["open"] = "open"
    more: int = 1


class Usual(Record, collection="todos", discriminator="kind"):
    kind: str = "one"


class One(Usual):
    kind: Literal["one"] = "one"


class Zoo(BaseModel):
    animals: list[Animal]


WAYS = {
    "constructor": lambda model, given: model(**given),
    "model_validate": lambda model, given: model.model_validate(given),
    "model_validate_json": lambda model, given: model.model_validate_json(
        TypeAdapter(dict[str, Any]).dump_json(given)
    ),
    "adapter": lambda model, given: TypeAdapter(model).validate_python(given),
    "model_construct": lambda model, given: model.model_construct(**given),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("model", "given", "made"),
    [
        (Animal, {"kind": "cat", "lives": 3}, Cat),
        (Animal, {"kind": "lion", "lives": 3, "mane": "x"}, Lion),
        (Cat, {"kind": "lion", "mane": "x"}, Lion),
        (Cat, {"lives": 3}, Cat),
        (Pet, {"kind": "wolf", "trick": "sit"}, Dog),
        (Animal, {"kind": Size.BIG, "speed": 2}, Horse),
        (Animal, {"kind": "big", "speed": 2}, Horse),
        (Animal, {"kind": "fish"}, Animal),
        (Closed, {"kind": "open", "more": 2}, Open),
        (Usual, {}, One),
    ],
)
def test_an_object_is_of_the_class_that_has_its_kind(
    way: str, model: type[Record], given: dict[str, Any], made: type[Record]
) -> None:
    """Whichever class is named, and however."""
    found = WAYS[way](model, dict(given))
    assert type(found) is made
    assert {name: found[name] for name in given} == given
    for again in (copy.deepcopy(found), pickle.loads(pickle.dumps(found)), found.model_copy()):
        assert type(again) is made
        assert again.model_dump() == found.model_dump()


def test_inside_of_another_model() -> None:
    """Errors say where they are."""
    zoo = Zoo.model_validate({"animals": [{"kind": "cat"}, {"kind": "fish"}]})
    assert [type(each) for each in zoo.animals] == [Cat, Animal]
    with pytest.raises(ValidationError, match=r"animals\.1\.trick"):
        Zoo.model_validate({"animals": [{"kind": "cat"}, {"kind": "dog"}]})


def test_errors_are_those_of_the_class() -> None:
    """A field that it needs, and one that it does not have."""
    with pytest.raises(ValidationError, match="trick"):
        Animal(kind="dog")
    with pytest.raises(ValidationError, match="did you mean 'lives'"):
        Animal(kind="cat", live=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Animal("cat")  # type: ignore[misc]


def test_a_kind_stays() -> None:
    """It is not changed to that of another class, in any way; the object is as it was."""
    fish = Animal(kind="fish")
    with pytest.raises(InvalidData, match=r"is that of a Cat.*Cat\(id='.*existing='replace'"):
        fish.kind = "cat"
    with pytest.raises(InvalidData):
        fish["kind"] = "cat"
    with pytest.raises(InvalidData):
        fish.assign(kind="cat", name="x")
    with pytest.raises(InvalidData):
        fish.model_copy(update={"kind": "cat"})
    with pytest.raises(InvalidData):
        Cat().model_copy(update={"kind": "dog"})
    with pytest.raises(InvalidData):
        Lion().model_copy(update={"kind": "cat"})
    assert (fish.kind, fish.name) == ("fish", "")
    fish.kind = "bird"
    dog = Dog(trick="sit")
    dog.kind = "wolf"
    gil = Closed.model_construct()
    gil.__pydantic_extra__["kind"] = "fish"
    with pytest.raises(InvalidData):
        gil["kind"] = "open"
    assert gil["kind"] == "fish"


def test_a_kind_that_was_put_in_secretly() -> None:
    """It is refused when it is saved."""
    with Session("memory://") as session:
        session.sync_schema(Animal)
        fish = Animal(kind="fish")
        fish.__dict__["kind"] = "cat"
        with pytest.raises(InvalidData, match="Nothing was sent"):
            fish.save()
        saved = Animal(kind="fish").save()
        saved.__dict__["kind"] = "cat"
        with pytest.raises(InvalidData, match="Nothing was sent"):
            saved.save()


async def test_ways_of_saving(session: AnySession) -> None:
    """get_or_create, sync, records.new and batches make the class that has the kind, too."""
    await do(session.sync_schema, Animal)
    cat, _ = await do(Animal.get_or_create, "c", kind="cat", lives=3)
    assert type(cat) is Cat
    assert cat.lives == 3
    plan = await do(session.sync, Animal, [{"id": "c", "kind": "cat", "name": "Tom", "lives": 4}])
    assert (plan.updated, plan.failed) == (1, [])
    cat = await do(Animal.get, "c")
    assert (cat.name, cat.lives) == ("Tom", 4)
    async with entered(session.batch()) as batch:
        batch.save(Animal(id="c", kind="cat", name="Tim"), existing="update")
    await do(Animal(id="c", kind="cat").refresh)
    assert type(await do(Animal.get, "c")) is Cat


async def test_an_object_of_the_base_keeps_what_it_does_not_declare(session: AnySession) -> None:
    """Also when somebody made another of it, or the class is defined later."""
    await do(session.sync_schema, Animal)
    untyped = session.scoped(collection="todos")
    fish = await do(Animal(id="f", kind="fish").save)
    await do(Record(id="f", kind="cat", name="x", lives=3).save, session=untyped, force=True)
    await do(fish.refresh)
    assert not fish.diff()
    fish.name = "y"
    await do(fish.save)
    cat = await do(Animal.get, "f")
    assert (type(cat), cat.name, cat.lives) == (Cat, "y", 3)
    hand = Animal(id="f", kind="fish", name="z")
    with pytest.raises(InvalidData, match="from 'cat' to 'fish'"):
        await do(hand.save, existing="update")
    assert (await do(Animal.get, "f")).lives == 3


# Links


class Home(Record, collection="homes"):
    pet: Link[Animal]
    cat: Link[Cat]
    others: list[Link[Lion]] = []


class Elsewhere(Record, collection="elsewhere"):
    pass


async def test_links_by_several_classes_are_equal(session: AnySession) -> None:
    """Where the id and the place are the same: to Python and to conditions."""
    await do(session.sync_schema, Animal, Home)
    tom = await do(Cat(id="c", name="Tom").save)
    home = await do(Home(id="h", pet=tom, cat=tom, others=["c"]).save)
    links = [home.pet, home.cat, home.others[0], Link(Dog, "c"), Link.to(tom)]
    assert all(one == other for one in links for other in (*links, tom, "c"))
    assert all(tom == each for each in links)
    assert len({*links}) == 1
    for each in (*links, tom, "c"):
        for condition in (Home.pet == each, Home.cat == each, col(Home.others).has(each)):
            assert [found.id for found in await do(Home.find(condition).all)] == ["h"]
    assert home.pet != Link(Elsewhere, "c")
    assert home.pet != Elsewhere(id="c")
    assert home.pet != Link(Cat, "d")
    with pytest.raises(InvalidData):
        Home.find(Home.pet == Link(Elsewhere, "c"))


# Writing into what is of another class


async def test_a_patch_of_another_class_writes_nothing(session: AnySession) -> None:
    """Also of one that would make it another, by the base."""
    await do(session.sync_schema, Animal)
    cat = await do(Cat(id="c", name="Tom").save)
    with pytest.raises(InvalidData, match=r"'c' is a Cat, not a Dog.*Nothing was written"):
        await do(Dog.patch, "c", name="Rex", trick="sit")
    with pytest.raises(InvalidData, match="from 'cat' to 'dog'"):
        await do(Animal.patch, "c", kind="dog")
    with pytest.raises(InvalidData, match="'c' is a Cat, not a Dog"):
        await do(Dog.modify, "c", lambda dog: None)
    with pytest.raises(InvalidData, match="'c' is a Cat, not a Dog"):
        await do(Dog(id="c", trick="sit").save, existing="update")
    assert (await do(Animal.get, "c")).last_modified == cat.last_modified
    assert (await do(Animal.patch, "c", name="Tim")).name == "Tim"
    assert (await do(Cat.patch, "c", lives=3)).lives == 3
    updated = await do(Animal.find().update, kind="dog")
    assert (updated.updated, len(updated.failed)) == (0, 1)
    assert (await do(Cat.get, "c")).lives == 3


def test_a_patch_looks_again() -> None:
    """When somebody else wrote after it looked; not when a timestamp was asked for."""
    there = shows(object_of("d", NOW, kind="dog", trick="x"))
    later = shows(object_of("d", NOW + 1, kind="dog", trick="x"))
    done = shows(object_of("d", NOW + 2, kind="dog", trick="sit"))
    refused = is_there(object_of("d", NOW + 1, kind="dog", trick="x"))
    flow = patching(Dog, nowhere(), "d", {"trick": "sit"}, None)
    found, steps = feed(requests_of(flow), there, refused, later, done)
    assert found.trick == "sit"
    requests = [each.request if isinstance(each, Sending) else each for each in steps]
    sent = [each.headers.get("If-Match") for each in requests if isinstance(each, Request)]
    assert sent == [None, f'"{NOW}"', None, f'"{NOW + 1}"']
    flow = patching(Dog, nowhere(), "d", {"trick": "sit"}, NOW)
    fails(requests_of(flow), Conflict, there, refused)


# Asking by a class


async def test_a_class_above_asks_for_kinds_below(session: AnySession) -> None:
    """Also by a member of an enum; a class below says what the object is."""
    await do(session.sync_schema, Animal)
    await do(Cat(id="c").save)
    await do(Lion(id="l").save)
    await do(Huge(id="u").save)
    await do(Horse(id="h").save)
    assert [each.id for each in await do(Cat.find(Cat.kind == "lion").all)] == ["l"]  # type: ignore[comparison-overlap]
    assert [each.id for each in await do(Cat.find(col(Cat.kind).in_(["cat", "lion"])).all)] == [
        "c",
        "l",
    ]
    for kind in (Size.HUGE, "huge"):
        found = await do(Horse.find(Horse.kind == kind).all)  # type: ignore[comparison-overlap]
        assert [type(each) for each in found] == [Huge]
    with pytest.raises(InvalidData, match="never has it"):
        Cat.find(Cat.kind == "dog")  # type: ignore[comparison-overlap]
    with pytest.raises(InvalidData, match="'c' is a Cat, not a Lion"):
        await do(Lion.get, "c")
    with pytest.raises(InvalidData, match="'h' is a Horse, not a Huge"):
        await do(Huge.get, "h")
    assert type(await do(Cat.get, "l")) is Lion


async def test_get_or_none_of_another_class(session: AnySession) -> None:
    """It is None, as find(...).first() gives; nothing is made in its place."""
    await do(session.sync_schema, Animal)
    await do(Cat(id="c").save)
    await do(Animal(id="f", kind="fish").save)
    for id in ("c", "f"):
        assert await do(Lion.get_or_none, id) is None
        assert await do(Lion.find(Lion.id == id).first) is None
        with pytest.raises(InvalidData, match="not a Lion"):
            await do(Lion.get_or_create, id)
    assert type(await do(Animal.get_or_none, "c")) is Cat


async def test_what_was_deleted_of_one_kind(session: AnySession) -> None:
    """A class gives its own; and not what is there again as another."""
    await do(session.sync_schema, Animal)
    for made in (Cat(id="c"), Dog(id="d", trick="sit"), Lion(id="l"), Cat(id="again")):
        await do((await do(made.save)).delete)
    await do(Dog(id="again", trick="x").save)
    assert [each.id for each in await do(Animal.deleted)] == ["l", "d", "c"]
    assert [(each.id, type(each.object)) for each in await do(Cat.deleted)] == [
        ("l", Lion),
        ("c", Cat),
    ]
    assert [each.id for each in await do(Dog.deleted)] == ["d"]
