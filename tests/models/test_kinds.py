"""Several kinds of records in one collection, from end to end, on both sessions."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from both import AnySession, do, either, entered
from feeding import NOW, asked, fails, feed, nowhere, object_of, requests_of, says, shows
from kinto_orm import (
    Conflict,
    InvalidData,
    Link,
    ModelError,
    NotFound,
    Record,
    Session,
    any_of,
    col,
    field,
)
from kinto_orm.models.getting import getting
from kinto_orm.models.schema import json_schema
from kinto_orm.queries.pager import reading_all

session = either


class Animal(Record, collection="todos", discriminator="kind"):
    name: str = "x"


class Cat(Animal):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Pet(Animal):
    """It has no kind of its own."""


class Dog(Pet):
    kind: Literal["dog", "wolf"] = "dog"
    tricks: list[str] = []


class Size(StrEnum):
    BIG = "big"


class Horse(Pet):
    kind: Literal[Size.BIG, 1] = Size.BIG


class Pup(Dog):
    """It is stored as a dog."""

    age: int = 0


class Owner(Record, collection="owners"):
    animal: Link[Animal]


class Beast(Record, collection="todos", discriminator="sort", unknown_kinds="refuse"):
    name: str = "x"


class Tiger(Beast):
    kind: Literal["tiger"] = Field(default="tiger")
    sort: Literal["t"] = Field(default="t", alias="class")


class OtherCat(Record, collection="todos"):
    kind: Literal["cat"] = "cat"


async def saved() -> dict[str, Any]:
    """One of each kind, by id."""
    made = [Animal(id="a"), Cat(id="c"), Dog(id="d"), Dog(id="w", kind="wolf"), Horse(id="h")]
    return {each.id: await do(each.save) for each in made}


async def test_each_is_of_its_class(session: AnySession) -> None:
    """Whatever reads them: find, get, pages, get_many, changes, a batch and only()."""
    made = await saved()
    types = {id: type(each) for id, each in made.items()}

    def of(found: Any) -> dict[str, type]:
        return {each.id: type(each) for each in found}

    assert of(await do(Animal.find().all)) == types
    assert [each.id for each in await do(Animal.find().page_size(2))] == sorted(types)
    assert of((await do(session.get_many, Animal, list(types))).values()) == types
    assert of([(await do(Animal.get, id)) for id in types]) == types
    assert of([each.object for each in await do(Animal.find().changes)]) == types
    partial = await do(Animal.find().only(Animal.name).all)
    assert of(partial) == types
    assert all("kind" not in each.model_fields_set for each in partial)
    async with entered(session.batch()) as batch:
        got = batch.get(Animal, "d")
    assert isinstance(got.result, Dog)
    assert await do(Animal.get, "d") == made["d"]


async def test_a_class_finds_its_own(session: AnySession) -> None:
    """The server is asked for these only; in each way of asking."""
    await saved()
    assert [each.id for each in await do(Cat.find().all)] == ["c"]
    assert [each.id for each in await do(Dog.find().all)] == ["d", "w"]
    assert [each.id for each in await do(Pet.find().all)] == ["d", "h", "w"]
    assert [type(each) for each in await do(Pup.find().all)] == [Pup, Pup]
    assert await do(Dog.find(Dog.kind == "wolf").count) == 1
    assert await do(Cat.find(col(Cat.lives) > 10).exists) is False
    assert list(await do(session.get_many, Cat, ["c", "d"])) == ["c"]
    assert (await do(Dog.find().update, name="y")).updated == 2
    assert await do(Dog.find().delete) == 2
    assert await do(Animal.find().count) == 3
    with pytest.raises(InvalidData, match="whole collection"):
        await do(Cat.find().changes)


async def test_writing(session: AnySession) -> None:
    """What is loaded by the base is saved as what it is."""
    await saved()
    dog = await do(Animal.get, "d")
    assert not dog.diff()
    dog.tricks.append("sit")
    other = await do(Dog.get, "d")
    await do(dog.save)
    other.name = "y"
    with pytest.raises(Conflict) as caught:
        await do(other.save)
    assert caught.value.remote.tricks == ["sit"]
    merged = await do(caught.value.merge().save)
    assert (merged.name, merged.tricks) == ("y", ["sit"])
    assert (await do(dog.refresh)).name == "y"


async def test_a_conflict_with_another_class(session: AnySession) -> None:
    """It shows the object of its own class, which tells it from what is gone, and a way out."""
    await saved()
    for verb in ("save", "delete"):
        mine = await do(Cat.get, "c")
        mine.name = "mine"
        await do(Dog(id="c", name="theirs").save, existing="replace")
        with pytest.raises(Conflict, match=r"is a Dog, not a Cat.*all kinds\. .*force") as caught:
            await do(getattr(mine, verb))
        conflict = caught.value
        assert (type(conflict.remote), conflict.remote.name) == (Dog, "theirs")
        assert isinstance(conflict.unfit, InvalidData)
        assert conflict.fields == frozenset()
        for prefer in (None, "local", "remote"):
            with pytest.raises(Conflict) as again:
                conflict.merge(prefer=prefer)
            assert again.value is conflict
        assert mine.name == "mine"
        await do(mine.save, force=True)
        assert (await do(Animal.get, "c")).name == "mine"


async def test_a_conflict_with_an_unknown_kind_that_is_refused(session: AnySession) -> None:
    """It is a plain record then."""
    mine = await do(Tiger(id="t").save)
    plain = Record(id="t", name="theirs", **{"class": "u"})
    await do(plain.save, session=session.scoped(collection="todos"), force=True)
    mine.name = "mine"
    with pytest.raises(Conflict, match=r"not a Tiger: .* all kinds[.] ") as caught:
        await do(mine.save)
    assert (type(caught.value.remote), caught.value.remote["class"]) == (Record, "u")


async def test_a_patch_of_what_became_of_another_class(session: AnySession) -> None:
    """The conflict of a patch shows it, too."""
    made = await saved()
    known = made["c"].last_modified
    await do(Dog(id="c", name="theirs").save, existing="replace")
    with pytest.raises(Conflict) as caught:
        await do(Animal.patch, "c", name="mine", if_match=known)
    assert (type(caught.value.remote), caught.value.unfit) == (Dog, None)


async def test_another_class_is_asked_for(session: AnySession) -> None:
    """The error says what it is, and how all are got."""
    await saved()
    with pytest.raises(InvalidData, match=r"'d' is a Dog, not a Cat: Animal.get\(\)"):
        await do(Cat.get, "d")
    with pytest.raises(InvalidData, match="'a' is of the kind None, not a Cat"):
        await do(Cat.get, "a")
    with pytest.raises(NotFound):
        await do(Cat.get, "nobody")


async def test_links(session: AnySession) -> None:
    """A link to the base leads to each kind."""
    await saved()
    owner = Owner(animal="d")
    await do(session.sync_schema, Owner)
    await do(owner.save)
    assert isinstance(await do(owner.animal.fetch), Dog)
    found = await do(Owner.find().prefetch(Owner.animal).one)
    assert isinstance(found.animal.loaded, Dog)


async def test_sync_schema(session: AnySession) -> None:
    """The collection has one schema, of any kind; whichever class is named."""
    await do(session.sync_schema, Animal)
    assert not await do(session.sync_schema, Cat, Animal)
    await saved()
    untyped = session.scoped(collection="todos")
    with pytest.raises(InvalidData):
        await do(Record(kind="cat", name="x", lives="many").save, session=untyped)
    await do(Record(kind="unicorn", name="x").save, session=untyped)


def test_the_schema_of_a_base() -> None:
    """It is its own, and that of any kind."""
    schema = json_schema(Animal)
    assert [each.get("title") for each in schema["anyOf"]] == ["Cat", "Dog", "Horse", None]
    assert schema["anyOf"][-1]["not"]["properties"] == {
        "kind": {"enum": ["cat", "dog", "wolf", "big", 1]}
    }
    assert "anyOf" not in json_schema(Cat)


# By hand

SCOPE = nowhere()
PATH = "/buckets/b/collections/todos/records"


def test_what_is_asked() -> None:
    """The base asks for all, a class for its values."""
    nothing = says(200, {"data": []})
    _, steps = feed(requests_of(reading_all(Dog.find(session=SCOPE))), nothing)
    assert asked(steps) == [f"GET {PATH}?in_kind=%22dog%22%2C%22wolf%22&_sort=id&_limit=1000"]
    _, steps = feed(requests_of(reading_all(Animal.find(session=SCOPE))), nothing)
    assert asked(steps) == [f"GET {PATH}?_sort=id&_limit=1000"]
    _, steps = feed(requests_of(reading_all(Tiger.find(session=SCOPE))), nothing)
    assert "eq_class=%22t%22" in asked(steps)[0]


@pytest.mark.parametrize("kind", ["unicorn", 2, True, 1.0, ["cat"], {"a": 1}])
def test_an_unknown_kind_is_of_the_base(kind: Any) -> None:
    """It says so once, and keeps the kind; 1 is neither 1.0 nor true."""
    answer = shows(object_of("u", NOW, name="x", kind=kind))
    Animal.__kinto_kinds__._said.clear()
    with pytest.warns(UserWarning, match="loaded as Animal"):
        found, _ = feed(getting(Animal, SCOPE, "u"), answer)
    assert type(found) is Animal
    assert found["kind"] == kind
    feed(getting(Animal, SCOPE, "u"), answer)
    fails(getting(Dog, SCOPE, "u"), InvalidData, answer)


def test_an_unknown_kind_is_refused() -> None:
    """By the class keyword, and then always."""
    answer = shows(object_of("u", NOW, **{"name": "x", "class": "unicorn"}))
    for _ in range(2):
        error, _ = fails(getting(Beast, SCOPE, "u"), InvalidData, answer)
        assert "define or import one" in str(error)


def test_without_a_discriminator() -> None:
    """The error names the query that finds the others not."""
    page = says(200, {"data": [object_of("d", NOW, kind="dog")]})
    query = OtherCat.find(session=SCOPE)
    error, _ = fails(requests_of(reading_all(query)), InvalidData, page)
    assert "OtherCat.find(OtherCat.kind == 'cat')" in str(error)


# Classes that cannot be


async def test_the_base_is_asked_by_what_its_kinds_have(session: AnySession) -> None:
    """By the kind itself, and by a field of one kind, also in orders; a class by its own only."""
    await saved()
    await do(Cat(id="c7", lives=7).save)

    async def ids(*conditions: Any, order: Any = Animal.id) -> list[str]:
        return [each.id for each in await do(Animal.find(*conditions).order_by(order).all)]

    assert await ids(Cat.kind == "cat") == ["c", "c7"]
    assert await ids(field("kind").in_(["wolf", "dog"])) == ["d", "w"]
    assert await ids(Cat.lives == 7) == ["c7"]
    assert await ids(any_of(Cat.lives == 7, Dog.kind == "wolf")) == ["c7", "w"]
    assert (await ids(Cat.kind == "cat", order=Cat.lives)) == ["c7", "c"]
    with pytest.raises(InvalidData, match="Cat has no field stored as 'tricks'"):
        Cat.find(col(Dog.tricks).has("sit"))
    with pytest.raises(InvalidData, match="Animal has no field stored as 'livs'; did you mean"):
        Animal.find(field("livs") == 7)


def test_refused_classes() -> None:
    """When they are defined."""

    class Base(Record, collection="x", discriminator="kind"):
        pass

    class One(Base):
        kind: Literal["one"] = "one"

    with pytest.raises(ModelError, match="One objects have it"):

        class Two(Base):
            kind: Literal["one"] = "one"

    with pytest.raises(ModelError, match="declare its values"):

        class Three(Base):
            kind: str = "three"

    with pytest.raises(ModelError, match="give it the same alias"):

        class Four(Base):
            kind: Literal["four"] = Field(default="four", alias="Kind")

    with pytest.raises(ModelError, match="Base has one"):

        class Five(Base, discriminator="other"):
            pass

    for wrong in ("", "id", 3):
        with pytest.raises(ModelError, match="name of a field"):

            class Six(Record, discriminator=wrong):  # type: ignore[arg-type]
                pass

    with pytest.raises(ModelError, match='is "base" or "refuse"'):

        class Seven(Record, discriminator="kind", unknown_kinds="drop"):
            pass

    with pytest.raises(ModelError, match="goes with discriminator"):

        class Eight(Record, unknown_kinds="refuse"):
            pass


def test_a_class_that_is_defined_again() -> None:
    """As in a notebook: the new one takes its place."""

    class Base(Record, collection="x", discriminator="kind"):
        kind: str = ""

    def define() -> type[Base]:
        class One(Base):
            kind: Literal["one"] = "one"  # type: ignore[assignment]

        return One

    define()
    again = define()
    assert Base.__kinto_kinds__.classes() == [again]


def test_a_mixin_may_say_the_kind() -> None:
    """A class that is no record is where it is declared."""

    class Base(Record, collection="x", discriminator="kind"):
        pass

    class IsOne(BaseModel):
        kind: Literal["one"] = "one"

    class One(IsOne, Base):
        pass

    assert Base.__kinto_kinds__.classes() == [One]
    assert One.find(session=Session("memory://")).asked().filter.params
