"""Types that list their values: enums and literals, and what a condition may compare them with.

A condition means what the comparison in Python means. So a value stands for the member that it
equals there: `Size.L == "l"` is true of a `StrEnum`, and of a plain `Enum` it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import JsonValue

from kinto_orm.errors import InvalidData
from kinto_orm.models.declaring import alternatives
from kinto_orm.wire.jsonvalues import shown

# As many members as a message names.
_NAMED = 10
_CONTAINERS = (list, set, frozenset)


class Choices:
    """The values that a type lists.

    Args:
        annotation: The type of a field, or of what is inside of one.
        name: The field, for messages.
        by_value: Whether the objects have the values of members instead of these
            (`use_enum_values`).

    Attributes:
        inside: Those of the items, if it is a list or a set of values that are listed.
    """

    def __init__(self, annotation: Any, name: str, *, by_value: bool = False) -> None:
        self._name, self._by_value = name, by_value
        kinds = [each for each in alternatives(annotation) if each is not NoneType]
        self._enums: list[type[Enum]] = [each for each in kinds if _is_enum(each)]
        self._literals = [
            v for each in kinds if get_origin(each) is Literal for v in get_args(each)
        ]
        self._others = [e for e in kinds if not (_is_enum(e) or get_origin(e) is Literal)]
        items = [get_args(each)[0] for each in self._others if _is_container(each)]
        inside = Choices(items[0], f"an item of {name}", by_value=by_value) if items else None
        self.inside: Choices | None = inside if inside and inside.lists_any else None

    @property
    def lists_any(self) -> bool:
        """Whether values are listed at all, here or inside."""
        return bool(self._enums or self._literals or self.inside)

    def meant(self, value: Any) -> Any:
        """The member that a value equals in Python; of another type the value itself.

        Raises:
            InvalidData: There is none; the message names what there is.
        """
        if value is None or not self.lists_any:
            return value
        if self.inside is not None and type(value) in _CONTAINERS:
            return type(value)(map(self.inside.meant, value))
        for each in self._like(value):
            if _equals(each, value) or (self._by_value and _has(each, value)):
                return each
        if not self._others:
            self._refuse(value)
        return value

    def bound(self, value: Any, encode: Callable[[Any], JsonValue]) -> JsonValue:
        """What a field is ordered against, which need be no member: `Todo.level > 5`.

        Args:
            value: As it was given.
            encode: How the field writes its values.

        Raises:
            InvalidData: The members are not stored in the order that they have in Python.
        """
        same = [each for each in self._all() if _are_comparable(each, value)]
        if not same:
            return encode(value)
        if any(_value_of(each) != encode(each) for each in same):
            raise InvalidData(
                f"{self._name} cannot be ordered against {shown(value)}: its values are stored in "
                "a way of their own, and the order of that may be another one. Use in_ with those "
                "that are meant"
            )
        plain: JsonValue = _value_of(value)
        return plain

    def _all(self) -> Iterator[Any]:
        yield from self._literals
        for each in self._enums:
            yield from each

    def _like(self, value: Any) -> Iterator[Any]:
        """Those that a value may stand for; a flag has more of them than it lists."""
        yield from self._all()
        for each in self._enums:
            try:
                yield each(value)
            # A way of the enum's own (`_missing_`) may raise anything.
            except Exception:  # noqa: BLE001, S112
                continue

    def _refuse(self, value: Any) -> None:
        for each in self._like(value):
            if _has(each, value):
                raise InvalidData(
                    f"{shown(value)} cannot be compared with {self._name}: in Python "
                    f"{_shown(each)} does not equal its value. Write {_shown(each)}; of a StrEnum "
                    "or an IntEnum the value would do, too"
                )
        values = [_told(each) for each in self._all()]
        more = [f"{len(values) - _NAMED} more"] if len(values) > _NAMED else []
        raise InvalidData(
            f"{shown(value)} cannot be compared with {self._name}, which never has it: there are "
            + ", ".join(values[:_NAMED] + more)
        )


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def _is_container(kind: Any) -> bool:
    return get_origin(kind) in _CONTAINERS and bool(get_args(kind))


def _value_of(choice: Any) -> Any:
    return choice.value if isinstance(choice, Enum) else choice


def _has(choice: Any, value: Any) -> bool:
    """Whether this is the value of a member."""
    return isinstance(choice, Enum) and _equals(choice.value, value)


def _equals(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001  (arrays have no truth value)
        return False


def _are_comparable(choice: Any, value: Any) -> bool:
    """Whether both are texts, or both numbers, in Python."""
    return any(isinstance(choice, kind) and isinstance(value, kind) for kind in (str, int | float))


def _shown(choice: Any) -> str:
    return f"{type(choice).__name__}.{choice.name}" if isinstance(choice, Enum) else repr(choice)


def _told(choice: Any) -> str:
    return f"{_shown(choice)} ({choice.value!r})" if isinstance(choice, Enum) else repr(choice)
