"""Kinds: several classes of records in one collection, told apart by the value of a field."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import JsonValue

from kinto_orm.errors import InvalidData, ModelError
from kinto_orm.models.declaring import alternatives, stored_name
from kinto_orm.models.stored import Stored
from kinto_orm.queries.conditions import Column, Condition

S = TypeVar("S", bound=Stored)

# 1, 1.0 and True are one key of a dictionary, and three values in JSON.
_Key = tuple[type, JsonValue]

UNKNOWN = ("base", "refuse")


class Kinds:
    """The classes below one, each with the values of a field that its objects have.

    Args:
        base: The class that says by which field they are told apart.
        field: The field's Python name.
        unknown: What becomes of an object of a kind that no class has: "base" or "refuse".

    Attributes:
        base: As it was given.
        stored: The name under which the field is stored.
    """

    def __init__(self, base: type[Stored], field: str, unknown: str) -> None:
        if not isinstance(field, str) or not field.isidentifier() or field == "id":
            raise ModelError(
                f"discriminator= of {base.__name__} is the name of a field of its subclasses, "
                f'such as "kind", not {field!r:.80}'
            )
        if unknown not in UNKNOWN:
            raise ModelError(
                f'unknown_kinds= of {base.__name__} is "base" or "refuse", not {unknown!r:.80}'
            )
        self.base = base
        self.field = field
        self.stored = field
        self._refuses = unknown == "refuse"
        self._classes: dict[_Key, type[Stored]] = {}
        self._said: set[str] = set()

    def add(self, model: type[Stored]) -> None:
        """Take a class that declares the field.

        Raises:
            ModelError: Its type does not say which values there are, or another class has one.
        """
        info = model.model_fields.get(self.field)
        if info is None or self._inherits(model, info.annotation):
            return
        values = list(_literals(info.annotation))
        if not values:
            if model is self.base:
                return
            raise ModelError(
                f"{model.__name__}.{self.field} tells {self.base.__name__} objects apart: declare "
                f'its values, as in {self.field}: Literal["{model.__name__.lower()}"] = '
                f'"{model.__name__.lower()}"'
            )
        self._check_stored(model, stored_name(self.field, info))
        for value in values:
            other = self._classes.setdefault((type(value), value), model)
            if other is not model and not _is_same(other, model):
                raise ModelError(
                    f"{model.__name__}.{self.field} cannot be {value!r}: {other.__name__} objects "
                    "have it"
                )
            self._classes[type(value), value] = model

    def _inherits(self, model: type[Stored], annotation: Any) -> bool:
        """Whether a class has the field from another one below the base."""
        above = [each for each in model.__mro__[1:] if issubclass(each, self.base)]
        fields = (each.model_fields.get(self.field) for each in above)
        return any(info is not None and info.annotation == annotation for info in fields)

    def _check_stored(self, model: type[Stored], stored: str) -> None:
        if self._classes and stored != self.stored:
            raise ModelError(
                f"{model.__name__}.{self.field} is stored as {stored!r}, but that of other kinds "
                f"of {self.base.__name__} as {self.stored!r}: give it the same alias"
            )
        self.stored = stored

    def classes(self) -> list[type[Stored]]:
        """The classes that have values, each once."""
        return list(dict.fromkeys(self._classes.values()))

    def values_of(self, model: type[Stored]) -> list[JsonValue]:
        """The values that objects of a class may have, those of its subclasses included."""
        below = [value for (_, value), each in self._classes.items() if issubclass(each, model)]
        return below or [
            value for (_, value), each in self._classes.items() if issubclass(model, each)
        ]

    def values(self) -> list[JsonValue]:
        """All values."""
        return [value for _, value in self._classes]

    def conditions(self, model: type[Stored]) -> tuple[Condition, ...]:
        """What the server is asked for, so that it finds objects of a class only."""
        if model is self.base:
            return ()
        column = Column[Any]((self.stored,), owner=model.__name__, scalar=True)
        return (column.in_(self.values_of(model)),)

    def class_of(self, raw: Mapping[str, Any], model: type[S]) -> type[S]:
        """The class of a stored object.

        Args:
            raw: Its JSON data.
            model: The class by which it was asked for.

        Raises:
            InvalidData: It is of another class, or of an unknown kind that is refused.
        """
        value = raw.get(self.stored)
        scalar = not isinstance(value, dict | list)
        found: Any = self._classes.get((type(value), value)) if scalar else None
        if found is None and model is self.base:
            self._say_unknown(value, raw)
            return model
        if found is not None and issubclass(found, model):
            return found  # type: ignore[no-any-return]
        if found is not None and issubclass(model, found):
            return model
        what = f"a {found.__name__}" if found else f"of the kind {value!r:.80}"
        raise InvalidData(
            f"the stored {self.base.__name__} {raw.get('id')!r} is {what}, not a "
            f"{model.__name__}: {self.base.__name__}.get() takes all kinds",
            status=None,
        )

    def _say_unknown(self, value: JsonValue, raw: Mapping[str, Any]) -> None:
        """Say that there is a kind that no class has; once for each."""
        shown = f"{value!r:.80}"
        if value is None or (shown in self._said and not self._refuses):
            return
        said = (
            f"the stored {self.base.__name__} {raw.get('id')!r} has the {self.stored} {shown}, "
            f"and no subclass has that"
        )
        if self._refuses:
            raise InvalidData(f"{said}: define or import one", status=None)
        self._said.add(shown)
        message = f"{said}: such objects are loaded as {self.base.__name__}"
        warnings.warn(message, UserWarning, stacklevel=2)


def _literals(annotation: Any) -> Iterator[JsonValue]:
    """The values that a type allows; none when it does not say them."""
    for each in alternatives(annotation):
        if get_origin(each) is Literal:
            for value in get_args(each):
                yield value.value if isinstance(value, Enum) else value


def _is_same(one: type, other: type) -> bool:
    """Whether one class is the other defined anew, as in a notebook."""
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def kinds_of(model: type[Stored]) -> Kinds | None:
    """The kinds to which a class belongs."""
    found: Kinds | None = model.__kinto_kinds__
    return found


def configure_kinds(model: type[Stored], discriminator: str | None, unknown: str | None) -> None:
    """Take the class keywords `discriminator` and `unknown_kinds`, and what a subclass declares.

    Raises:
        ModelError: They do not go together.
    """
    kinds = kinds_of(model)
    if discriminator is not None:
        if kinds is not None:
            raise ModelError(
                f"{model.__name__} cannot have a discriminator: {kinds.base.__name__} has one"
            )
        kinds = Kinds(model, discriminator, "base" if unknown is None else unknown)
        model.__kinto_kinds__ = kinds
    elif unknown is not None:
        raise ModelError(f"unknown_kinds= of {model.__name__} goes with discriminator=")
    if kinds is not None:
        kinds.add(model)
