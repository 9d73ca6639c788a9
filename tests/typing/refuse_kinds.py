"""Mistakes with kinds."""

from typing import Literal

from kinto_orm import Record


class Animal(Record, collection="zoo", discriminator="kind"):
    name: str


class Cat(Animal):
    kind: Literal["cat"] = "cat"


Cat(name="Tom", kind="dog")  # refused: mypy pyright
Cat.find(Cat.kind == "dog")  # refused: mypy pyright
Animal.find(Animal.kind == "cat")  # refused: mypy pyright
print(Animal.get("x").kind)  # refused: mypy pyright
