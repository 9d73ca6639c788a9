"""Kinds: several classes of records in one collection, told apart by the value of a field."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from enum import Enum
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import JsonValue

from kinto_orm.errors import InvalidData, ModelError, sentence
from kinto_orm.models.declaring import accepted_names, alternatives, stored_name
from kinto_orm.models.signatures import MADE
from kinto_orm.models.stored import Stored
from kinto_orm.queries.conditions import Column, Condition

S = TypeVar("S", bound=Stored)

# 1, 1.0 and True are one key of a dictionary, and three values in JSON.
_Key = tuple[type, JsonValue]

UNKNOWN = ("base", "refuse")
_SCALARS = (str, int, float, bool, NoneType)


class OtherKind(InvalidData):
    """An object is of another class than that by which it was asked for."""


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

    def class_to_make(self, model: type[S], given: Mapping[str, Any]) -> type[S]:
        """The class of a new object; a class itself where none below it has the kind.

        Args:
            model: The class that was called.
            given: Its fields, by any name that it takes.
        """
        found = self._class_with(self._given(model, given))
        if found is None or not issubclass(found, model) or found is model:
            return model
        return found

    def _given(self, model: type[Stored], given: Mapping[str, Any]) -> Any:
        """The kind that a constructor is given, or has as its default."""
        info = model.model_fields.get(self.field)
        names = {self.field, self.stored} | (accepted_names(self.field, info) if info else set())
        for name in names & given.keys():
            if given[name] is not MADE:
                return given[name]
        return info.default if info else None

    def _class_with(self, value: Any) -> type[Stored] | None:
        """The class whose objects have a value; None when there is none."""
        value = value.value if isinstance(value, Enum) else value
        return self._classes.get((type(value), value)) if isinstance(value, _SCALARS) else None

    def refuse_change(self, model: type[Stored], id: object, value: Any, was: Any) -> None:
        """Refuse to make an object one of another class.

        Args:
            model: Its class.
            id: Its id.
            value: The kind that it is to have.
            was: What it has, or what the server has; None where there is none.

        Raises:
            InvalidData: Another class has the one or the other.
        """
        value, was = (each.value if isinstance(each, Enum) else each for each in (value, was))
        if type(value) is type(was) and value == was:
            return
        for each in (value, was):
            if each is not None and not self._fits(model, each):
                name = f"{model.__name__} {id!r}"
                change = f"{name} cannot be changed from {was!r:.80} to {value!r:.80}"
                raise InvalidData(f"the {self.field} of {change}: {self._whose(each, id)}")

    def _fits(self, model: type[Stored], value: Any) -> bool:
        """Whether objects of a class may have a value."""
        found, classes = self._class_with(value), self._classes.values()
        for each in model.__mro__:
            if found is not None and _is_same(each, found):
                return True
            if each in classes:
                return False
        return found is None

    def _whose(self, value: Any, id: object) -> str:
        found = self._class_with(value)
        model = found.__name__ if found else self.base.__name__
        return (
            f"{value!r:.80} is that of {f'a {model}' if found else 'no such class'}, and an object "
            "keeps its class. Make one of the class that it is to be of, as in "
            f"{model}(id={id!r}, ...).save(existing='replace')"
        )

    def is_told(self, model: type[Stored], data: Mapping[str, Any]) -> bool:
        """Whether what is stored has to be looked at before some of an object is written.

        Args:
            model: The class by which it is written.
            data: What is written.
        """
        return model is not self.base or self.stored in data

    def refuse_part(
        self, model: type[Stored], raw: Mapping[str, Any], data: Mapping[str, Any]
    ) -> None:
        """Refuse to write a part of an object of another class, or what makes it one.

        Args:
            model: The class by which it is written.
            raw: What is stored.
            data: What is written.

        Raises:
            InvalidData: It is of another class, or would be.
        """
        was = raw.get(self.stored)
        found = self.class_of(raw, model)
        self.refuse_change(found, raw.get("id"), data.get(self.stored, was), was)

    def has(self, model: type[Stored], raw: Mapping[str, Any]) -> bool:
        """Whether a stored object is one of a class."""
        return self.base is model or raw.get(self.stored) in self.values_of(model)

    def annotation_of(self, model: type[Stored], name: str, declared: Any) -> Any:
        """The type of a field of a class: it lists the kinds of the classes below it, too."""
        if name != self.field or not _members(declared):
            return declared
        below = [each for each in self.classes() if issubclass(each, model)]
        fields = [each.model_fields[name].annotation for each in below]
        return Literal[tuple(value for each in (declared, *fields) for value in _members(each))]

    def conditions(self, model: type[Stored]) -> tuple[Condition, ...]:
        """What the server is asked for, so that it finds objects of a class only."""
        if model is self.base:
            return ()
        column = Column[Any]((self.stored,), owner=model.__name__, scalar=True)
        return (column.in_(self.values_of(model)),)

    def class_of(self, raw: Mapping[str, Any], model: type[S], *, in_hand: bool = False) -> type[S]:
        """The class of a stored object.

        Args:
            raw: Its JSON data.
            model: The class by which it was asked for.
            in_hand: It is for an object of that class, which cannot become one of another: what
                its class does not declare is kept beside its fields.

        Raises:
            OtherKind: It is of another class.
            InvalidData: It is of an unknown kind that is refused.
        """
        value = raw.get(self.stored)
        found: Any = self._class_with(value)
        if found is None and model is self.base:
            self._say_unknown(value, raw)
            return model
        if found is not None and issubclass(found, model):
            return model if in_hand else found
        if found is not None and self._fits(model, value):
            return model
        what = f"a {found.__name__}" if found else f"of the kind {value!r:.80}"
        raise OtherKind(
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
    for value in _members(annotation):
        yield value.value if isinstance(value, Enum) else value


def _members(annotation: Any) -> list[Any]:
    """The values that a type lists, members of enums as they are."""
    listed = [each for each in alternatives(annotation) if get_origin(each) is Literal]
    return [value for each in listed for value in get_args(each)]


def _is_same(one: type, other: type) -> bool:
    """Whether one class is the other defined anew, as in a notebook."""
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def kinds_of(model: type[Stored]) -> Kinds | None:
    """The kinds to which a class belongs."""
    found: Kinds | None = model.__kinto_kinds__
    return found


def kind_of(stored: Stored) -> Any:
    """The kind that an object has now; None of one that has none."""
    kinds = kinds_of(type(stored))
    if kinds is None:
        return None
    held = stored.__dict__, stored.__pydantic_extra__ or {}
    found = (each[name] for each in held for name in (kinds.field, kinds.stored) if name in each)
    return next(found, None)


def refuse_change(stored: Stored, was: Any) -> None:
    """Refuse an object whose kind was just changed to that of another class.

    Args:
        stored: The object.
        was: The kind that it had.

    Raises:
        InvalidData: It was.
    """
    kinds = kinds_of(type(stored))
    if kinds is not None:
        kinds.refuse_change(type(stored), stored.id, kind_of(stored), was)


def refuse_other_kind(stored: Stored, data: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Refuse to write an object that would be one of another class.

    Args:
        stored: The object.
        data: What it is to be, or the part of it that changes.
        before: What the server has of it.

    Raises:
        InvalidData: It would be one.
    """
    kinds = kinds_of(type(stored))
    if kinds is not None and kinds.stored in data:
        value, was = data[kinds.stored], before.get(kinds.stored)
        try:
            kinds.refuse_change(type(stored), stored.id, value, was)
        except InvalidData as error:
            error.args = (f"{sentence(error)} Nothing was sent.",)
            raise


def all_kinds_of(model: type[S]) -> type[S]:
    """The class whose objects are all kinds that are stored where a class's are."""
    kinds = kinds_of(model)
    return model if kinds is None else kinds.base  # type: ignore[return-value]


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
