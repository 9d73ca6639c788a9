"""What values a field may have: as a JSON schema says, or as far as records were looked at."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import JsonValue

from kinto_orm.cli.modelling.formats import formats_of

# Of an object with more names than this, none of which is always there, the names are data.
_MOST_NAMES = 30
# Floats have every integer up to here.
_EXACT = 2**53


@dataclass
class Member:
    """A field of an object.

    Attributes:
        shape: What values it may have.
        required: Whether it is always there.
        default: What a schema says it is where it is missing; None for nothing.
    """

    shape: Shape
    required: bool
    default: JsonValue = None


@dataclass
class Shape:
    """What values a field may have.

    Attributes:
        title: How its class may be called.
        declared: Whether a schema says so; then fields that it does not name are left alone.
        anything: Whether it may be any JSON value.
        null: Whether it may be null.
        kinds: Which of "bool", "int", "float" and "text" it may be.
        large: Whether there are integers that a float has not exactly.
        formats: What all its texts are, such as "date"; None before there was a text.
        literals: The only values besides null, lists and objects; None where any are allowed.
        items: What is in its lists; None where it is none.
        members: The fields of its objects; None where it is none, or their names are data.
        values: What is in its objects whose names are data; None where it is none.
    """

    title: str = ""
    declared: bool = False
    anything: bool = False
    null: bool = False
    kinds: set[str] = field(default_factory=set)
    large: bool = False
    formats: set[str] | None = None
    literals: list[JsonValue] | None = None
    items: Shape | None = None
    members: dict[str, Member] | None = None
    values: Shape | None = None

    def widen(self, value: JsonValue) -> None:
        """Take a value in."""
        if self.anything:
            return
        if value is None:
            self.null = True
        elif isinstance(value, list):
            self.items = self.items or Shape()
            for each in value:
                self.items.widen(each)
        elif isinstance(value, dict):
            self._widen_object(value)
        elif not self._is_literal(value):
            self._widen_scalar(value)

    def _is_literal(self, value: JsonValue) -> bool:
        if self.literals is None:
            return False
        if any(type(value) is type(each) and value == each for each in self.literals):
            return True
        literals, self.literals = self.literals, None
        for each in literals:
            self._widen_scalar(each)
        return False

    def _widen_scalar(self, value: JsonValue) -> None:
        if isinstance(value, bool):
            self.kinds.add("bool")
        elif isinstance(value, int):
            self.kinds.add("int")
            self.large |= abs(value) > _EXACT
        elif isinstance(value, float):
            self.kinds.add("float")
        elif isinstance(value, str):
            self.kinds.add("text")
            # To look is dear: what has no format by now gets none.
            if self.formats is None or self.formats:
                found = formats_of(value, self.formats)
                self.formats = found if self.formats is None else self.formats & found

    def _widen_object(self, value: dict[str, JsonValue]) -> None:
        if self.values is not None:
            for each in value.values():
                self.values.widen(each)
            return
        is_first = self.members is None
        members = self.members = {} if self.members is None else self.members
        for name, each in value.items():
            if name not in members and not (self.declared and not is_first):
                members[name] = Member(Shape(), required=is_first)
            if name in members:
                members[name].shape.widen(each)
        for name in members.keys() - value.keys():
            members[name].required = False
        if not self.declared:
            self._become_map(members)

    def _become_map(self, members: dict[str, Member]) -> None:
        """Take the names of an object for data where there are too many of them."""
        if len(members) > _MOST_NAMES and not any(each.required for each in members.values()):
            self.members, self.values = None, Shape()
            for each in members.values():
                self.values.absorb(each.shape)

    def absorb(self, other: Shape, seen: Seen | None = None) -> None:
        """Take in all values of another shape.

        Args:
            other: The other one.
            seen: What pairs of shapes became; a shape may be part of itself.
        """
        seen = {} if seen is None else seen
        had_literals, had_scalars = self.literals, bool(self.kinds)
        self.title = self.title or other.title
        self.declared |= other.declared
        self.anything |= other.anything
        self.null |= other.null
        self.large |= other.large
        self._absorb_texts(other)
        self.kinds |= other.kinds
        self.literals = _literals(had_literals, other.literals)
        if (self.literals is not None and (other.kinds or had_scalars)) or (
            had_literals is None and had_scalars and other.literals
        ):
            self._forget_literals([*(had_literals or ()), *(other.literals or ())])
        self.items = _both(self.items, other.items, seen)
        self.values = _both(self.values, other.values, seen)
        self._absorb_members(other, seen)

    def _forget_literals(self, literals: list[JsonValue]) -> None:
        self.literals = None
        for each in literals:
            self._widen_scalar(each)

    def _absorb_texts(self, other: Shape) -> None:
        if self.formats is None or other.formats is None:
            self.formats = other.formats if self.formats is None else self.formats
        else:
            self.formats &= other.formats

    def _absorb_members(self, other: Shape, seen: Seen) -> None:
        if other.members is None or self.members is None:
            given = other.members if self.members is None else self.members
            self.members = None if given is None else dict(given)
            return
        for name in self.members.keys() | other.members.keys():
            mine, theirs = self.members.get(name), other.members.get(name)
            if mine is not None and theirs is not None:
                merged = _merged(mine.shape, theirs.shape, seen)
                self.members[name] = Member(merged, mine.required and theirs.required)
            elif (found := mine or theirs) is not None:
                self.members[name] = Member(found.shape, False, found.default)


Seen = dict[tuple[int, int], Shape]
"""By the identities of two shapes, what became of both."""


def _both(one: Shape | None, other: Shape | None, seen: Seen) -> Shape | None:
    if one is None or other is None:
        return one or other
    return _merged(one, other, seen)


def _merged(one: Shape, other: Shape, seen: Seen) -> Shape:
    key = id(one), id(other)
    if one is other or key in seen:
        return seen.get(key, one)
    merged = seen[key] = Shape()
    merged.absorb(one, seen)
    merged.absorb(other, seen)
    return merged


def _literals(one: list[JsonValue] | None, other: list[JsonValue] | None) -> list[JsonValue] | None:
    if one is None or other is None:
        return one if other is None else other
    return [*one, *(each for each in other if each not in one)]
