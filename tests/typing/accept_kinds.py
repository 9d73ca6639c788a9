"""Kinds: what the base and its subclasses give."""

from typing import Literal, assert_type

from kinto_orm import Link, Query, Record


class Animal(Record, collection="zoo", discriminator="kind", unknown_kinds="refuse"):
    name: str


class Cat(Animal):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Owner(Record, collection="owners"):
    pet: Link[Animal]


assert_type(Animal.find(), Query[Animal])
assert_type(Cat.find(Cat.kind == "cat", Cat.lives > 3), Query[Cat])
assert_type(Animal.get("x"), Animal)
for animal in Animal.find():
    if isinstance(animal, Cat):
        assert_type(animal.lives, int)
Cat(name="Tom")
Owner(pet=Cat(name="Tom", kind="cat"))


class Beast(Record, collection="zoo", discriminator="kind"):
    kind: str


assert_type(Beast(kind="cat"), Beast)
assert_type(Beast.get_or_none("x"), Beast | None)
assert_type(Beast.get_or_create("x", kind="cat", lives=3), tuple[Beast, bool])
assert_type(Beast.patch("x", kind="cat"), Beast)
