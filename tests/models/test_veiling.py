"""Which fields are secret: decided by their declaration, wherever the secret is in a type."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as attribute
from typing import Annotated, Any, Literal, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AliasChoices, AliasPath, BaseModel, Field, Secret, SecretBytes, SecretStr
from typing_extensions import TypeAliasType

from kinto_orm import Account, Link, Record
from kinto_orm.models.veiling import veil_of


class Inside(BaseModel):
    open: str = ""
    hidden: str = Field(default="", repr=False)


class Tree(BaseModel):
    pin: SecretStr | None = None
    below: Tree | None = None


class Open(BaseModel):
    name: str = ""
    below: Open | None = None


@dataclass
class Data:
    name: str = ""
    hidden: str = attribute(default="", repr=False)


class Keyed(TypedDict):
    token: SecretStr


class Linked(Record, collection="linked"):
    token: SecretStr | None = None


Alias = TypeAliasType("Alias", list[SecretStr])
HOLDING: list[Any] = [SecretStr, SecretBytes, Secret[int], Data, Keyed, Alias, Inside, Tree,
                      Annotated[str, Field(repr=False)]]  # fmt: skip
PLAIN: list[Any] = [str, int, list[str], Open, dict[str, int], Link[Linked], list[Link[Linked]]]


def around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Types that hold values of others."""
    makers: list[Any] = [
        lambda each: list[each],
        lambda each: dict[str, each],
        lambda each: tuple[each, ...],
        lambda each: each | None,
        lambda each: Annotated[each, "said"],
        lambda each: int | list[each],
    ]
    return st.builds(lambda make, each: make(each), st.sampled_from(makers), inner)


def types(of: list[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(st.sampled_from(of), around, max_leaves=4)


def model_with(annotation: Any) -> Any:
    """A model with one field of a type."""
    namespace = {"__annotations__": {"it": annotation}, "__module__": __name__}
    return type(Record)("Made", (Record,), namespace, collection="made")


@given(types(HOLDING))
def test_what_holds_a_secret_is_secret(annotation: Any) -> None:
    """However deep; what holds a model may be told apart from what is secret in it."""
    veil = veil_of(model_with(annotation))
    assert veil is not None
    assert veil.hides(["it"])
    assert not veil.hides(["name"])


@given(types(PLAIN))
def test_what_holds_none_is_not(annotation: Any) -> None:
    """Links neither: their ids are in paths, and what they lead to is not there."""
    assert veil_of(model_with(annotation)) is None


@pytest.mark.parametrize("annotation", [Inside, Inside | None, Annotated[Inside | None, "said"]])
def test_a_model_inside_is_looked_into(annotation: Any) -> None:
    """Its other fields are shown."""
    veil = veil_of(model_with(annotation))
    assert veil is not None
    assert veil.hides(["it", "hidden"])
    assert not veil.hides(["it", "open"])


def test_a_model_in_itself() -> None:
    """It ends, and what is deeper is secret as a whole."""
    veil = veil_of(model_with(Tree))
    assert veil is not None
    assert veil.hides(["it", "pin"])
    assert veil.hides(["it", "below", "pin"])
    assert veil.hides(["it", "below", "below", "below"])


def test_all_names_of_a_field_are_secret() -> None:
    """Older ones, too, by which it is read: records with these may be there."""

    class Renamed(Record, collection="renamed"):
        now: str = Field(
            default="",
            validation_alias=AliasChoices("new", "old", AliasPath("older", "name")),
            serialization_alias="new",
            repr=False,
        )
        alias: str = Field(default="", alias="api-key", repr=False)

    veil = veil_of(Renamed)
    assert veil is not None
    assert all(veil.hides([name]) for name in ("new", "old", "older", "now", "api-key"))


def test_ids_and_timestamps_are_shown() -> None:
    """The server has them in paths and headers."""

    class Quiet(Record, collection="quiet"):
        id: str = Field(default="x", alias="id", repr=False)

    assert veil_of(Quiet) is None


def test_classes_below_and_above() -> None:
    """A class has the secrets of those above; of several kinds, all have those of each."""

    class Login(Record, collection="logins"):
        token: str = Field(default="", repr=False)

    class Better(Login):
        other: str = ""

    class Animal(Record, collection="animals", discriminator="kind"):
        name: str = ""

    assert veil_of(Animal) is None
    better = veil_of(Better)
    assert better is not None
    assert better.hides(["token"])

    class Cat(Animal):
        kind: Literal["cat"] = "cat"
        chip: str = Field(default="", repr=False)

    class Dog(Animal):
        kind: Literal["dog"] = "dog"

    for each in (Animal, Cat, Dog):
        veil = veil_of(each)
        assert veil is not None
        assert veil.hides(["chip"])


def test_a_name_that_is_defined_later() -> None:
    """It is looked at again once it is there."""
    scope: dict[str, Any] = {}
    exec(
        "from kinto_orm import Record\n"
        "class Login(Record, collection='logins'):\n"
        "    token: 'Later | None' = None\n",
        scope,
    )
    login = scope["Login"]
    assert veil_of(login) is None
    login.model_rebuild(_types_namespace={"Later": SecretStr})
    veil = veil_of(login)
    assert veil is not None
    assert veil.hides(["token"])


def test_a_password() -> None:
    """What is sent and never read again is secret as well."""
    veil = veil_of(Account)
    assert veil is not None
    assert veil.hides(["password"])
