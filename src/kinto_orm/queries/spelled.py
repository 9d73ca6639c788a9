"""Values that are stored as text: which have several spellings, and which keep their order.

Two equal values may be written differently: 10 and 10.0, or noon in two time zones. What is
compared with such a value is read back as a value: the server is asked for all that may be meant,
and what is not meant is left out here. Texts sort by their letters, so that 10 comes before 9: an
order of values is asked of the server only where the letters have the same one.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from functools import cache
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface
from pathlib import Path, PurePath
from typing import Any, Final
from uuid import UUID

from pydantic import (
    BaseModel,
    JsonValue,
    PydanticUserError,
    Secret,
    SecretBytes,
    SecretStr,
    TypeAdapter,
)

from kinto_orm.errors import InvalidData
from kinto_orm.wire.jsonvalues import ABSENT, MaybeJson, contains, same, to_json

Bounds = tuple[tuple[str, str], ...]
"""Operators and texts: bounds on a text that let through every spelling of some values."""

Encode = Callable[[Any], JsonValue]

_ALL_DIGITS: Final = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
_DAY: Final = timedelta(days=1)
_NOON: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Operand:
    """What a field is compared with.

    Args:
        value: As it was given.
        json: As the field writes it.
        kind: What reads other spellings of it; None when it has but one.
        unordered: Whether it is a set of several, whose array may have any order.
    """

    value: Any
    json: JsonValue
    kind: Kind | None = None
    unordered: bool = False

    def equals(self, stored: MaybeJson) -> bool:
        """Whether a stored value is this one."""
        if self.unordered and isinstance(self.json, list):
            return same_items(stored, self.json)
        if self.kind is None:
            return same(stored, self.json)
        return bool(self.kind.read(stored) == self.value)


@dataclass(frozen=True, slots=True)
class Kind:
    """Values of one type, of which equal ones may be written differently.

    Args:
        read: The value that a stored one stands for; ABSENT when it is none of this kind.
        around: Bounds that let through every spelling of the values between two.
        ordered: Whether the texts between two bounds are those of the values between them.
    """

    read: Callable[[MaybeJson], Any]
    around: Callable[[Any, Any], Bounds]
    ordered: bool = True

    def bounds(self, values: Sequence[Any]) -> Bounds:
        """Bounds that let through every spelling of these values."""
        if self.ordered:
            return self.around(min(values), max(values))
        return self.around(values[0], values[0]) if len(values) == 1 else ()

    def ordering(self, name: str, value: Any) -> Bounds:
        """Those of the values on one side of this one; `name` is Kinto's operator."""
        lower, upper = ("min", "gt"), ("max", "lt")
        wanted = lower if name in lower else upper
        return tuple(each for each in self.around(value, value) if each[0] in wanted)


def _reader(kind: type, belongs: Callable[[Any], bool]) -> Callable[[MaybeJson], Any]:
    """What reads a text as a value of a type, as a model's field does."""

    def read(stored: MaybeJson) -> Any:
        if not isinstance(stored, str):
            return ABSENT
        try:
            value = _adapter(kind).validate_python(stored)
        except ValueError:
            return ABSENT
        return value if belongs(value) else ABSENT

    return read


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _days(lower: datetime, upper: datetime, margin: timedelta) -> Bounds:
    """Every spelling begins with the date, and a time zone moves that by less than a day."""
    found: list[tuple[str, str]] = []
    first, last = lower.replace(tzinfo=None), upper.replace(tzinfo=None)
    if first - datetime.min > margin:
        found.append(("min", f"{(first - margin).date()}"))
    if datetime.max - last > margin + _DAY:
        found.append(("lt", f"{(last + margin + _DAY).date()}"))
    return tuple(found)


def _minutes(lower: time, upper: time) -> Bounds:
    # The sign after a colon, so that seconds and their fractions are within.
    return (("min", f"{lower:%H:%M}"), ("lt", f"{upper:%H:%M};"))


def _digits(value: Decimal, _: Decimal) -> Bounds:
    """Every spelling of a number has its first digits in front, but for that of zero."""
    if not value.is_finite() or not value:
        return ()
    plain = value.normalize(_ALL_DIGITS)
    exponent = plain.as_tuple().exponent
    if isinstance(exponent, int) and exponent <= 0 and plain.adjusted() >= -6:
        return (("like", f"{plain:f}*"),)
    return (("like", f"{'-' * (plain < 0)}{plain.as_tuple().digits[0]}*"),)


def _is_aware(value: datetime | time) -> bool:
    return value.utcoffset() is not None


AWARE: Final = Kind(_reader(datetime, _is_aware), lambda a, b: _days(a, b, _DAY))
NAIVE: Final = Kind(
    _reader(datetime, lambda value: not _is_aware(value)), lambda a, b: _days(a, b, timedelta())
)
TIME: Final = Kind(_reader(time, lambda value: not _is_aware(value)), _minutes)
ZONED_TIME: Final = Kind(_reader(time, _is_aware), lambda a, b: (), ordered=False)
DECIMAL: Final = Kind(_reader(Decimal, Decimal.is_finite), _digits, ordered=False)


def operand(value: Any, encode: Encode, name: str) -> Operand:
    """What a field is compared with.

    Args:
        value: As it was given.
        encode: How the field writes it.
        name: The field, for messages.

    Raises:
        InvalidData: There is no JSON for it, or none that says which value it is.
    """
    json = encode(value)
    if isinstance(value, Decimal) and value.is_nan():
        raise InvalidData(f"{name} cannot be compared with {value!r}: no value equals it")
    secret = any(isinstance(e, Secret | SecretStr | SecretBytes) for e in (value, *_inside(value)))
    if secret and "*" * 10 in (json, *_inside(json)):
        raise InvalidData(
            f"{name} cannot be compared: a secret is written as asterisks, unless the field has a "
            "serializer of its own"
        )
    if isinstance(json, list | dict):
        _refuse_inside(value, name)
    if isinstance(value, Decimal) and encode is to_json:
        raise InvalidData(
            f"the values of {name} have no declared type: write the JSON that it has, a "
            f"number such as {float(value)!r} or a text such as {str(value)!r}"
        )
    # A form of the field's own is taken to be the only one of each value.
    kind = _kind(value) if isinstance(json, str) and to_json(value) == json else None
    value = _in_utc(value, name) if kind is AWARE else value
    return Operand(value, json, kind, _is_unordered_set(value))


def is_other(value: Any, json: JsonValue, adapter: Callable[[], TypeAdapter[Any]]) -> bool:
    """Whether what is read back is of another type, and not equal.

    Pydantic writes the text of an address or a path as it writes these themselves.
    """
    try:
        return _differs(value, adapter().validate_python(json))
    # No type by itself, or no such value; a validator meets what it does not expect.
    except (PydanticUserError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError):
        return False


def _differs(given: Any, loaded: Any) -> bool:
    if isinstance(given, Mapping) and isinstance(loaded, Mapping):
        return _differs([*given, *given.values()], [*loaded, *loaded.values()])
    if isinstance(given, list | tuple) and isinstance(loaded, list | tuple):
        return any(map(_differs, given, loaded))
    if isinstance(given, set | frozenset) and isinstance(loaded, set | frozenset):
        return bool(given - loaded) and set(map(type, given)) != set(map(type, loaded))
    if given is None or isinstance(given, BaseModel | int | float | Decimal):
        return False
    return type(loaded) is not type(given) and bool(loaded != given)


def _kind(value: Any) -> Kind | None:
    if isinstance(value, datetime):
        return AWARE if _is_aware(value) else NAIVE
    if isinstance(value, time):
        return ZONED_TIME if _is_aware(value) else TIME
    return DECIMAL if isinstance(value, Decimal) else None


def _in_utc(value: datetime, name: str) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise InvalidData(
            f"{name} cannot be compared with {value!r}: UTC has no such time"
        ) from None


def _refuse_inside(value: Any, name: str) -> None:
    """Refuse arrays and objects that hold values of which equal ones may be written differently."""
    for each in _inside(value):
        if isinstance(each, datetime | time | Decimal) or _is_unordered_set(each):
            raise InvalidData(
                f"{name} cannot be compared as a whole: it holds a {type(each).__name__}, which "
                "may be written in several ways; compare the fields inside of it, as in "
                'col(Todo.address)["since"]'
            )


def _inside(value: Any) -> Iterator[Any]:
    held: Iterable[Any] = ()
    if isinstance(value, BaseModel):
        held = value.__dict__.values()
    elif isinstance(value, Mapping):
        held = value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        held = value
    for each in held:
        yield each
        yield from _inside(each)


def _is_unordered_set(value: Any) -> bool:
    return isinstance(value, set | frozenset) and len(value) > 1


def same_items(stored: MaybeJson, items: list[JsonValue]) -> bool:
    """Whether an array has these items, in whatever order."""
    return (
        isinstance(stored, list)
        and all(contains(stored, item) for item in items)
        and all(contains(items, item) for item in stored)
    )


# The order of texts

# Values in their order, of which the texts have another one where the letters are misleading.
_SAMPLES: Final[tuple[tuple[type, tuple[Any, ...]], ...]] = (
    (
        datetime,
        (
            datetime(1, 1, 2, tzinfo=UTC),
            datetime(2026, 1, 9, 10, tzinfo=UTC),
            datetime(2026, 1, 9, 10, 0, 0, 1000, tzinfo=UTC),
            datetime(2026, 1, 9, 23, tzinfo=timezone(timedelta(hours=12))),
            datetime(2026, 1, 10, tzinfo=timezone(timedelta(hours=12, minutes=30))),
            datetime(2026, 1, 10, tzinfo=timezone(timedelta(hours=-12))),
            datetime(2026, 2, 1, tzinfo=UTC),
        ),
    ),
    (
        date,
        (date(1, 1, 1), date(999, 12, 31), date(2026, 1, 9), date(2026, 1, 10), date(2026, 2, 1)),
    ),
    (time, (time(1), time(1, 0, 0, 1), time(1, 0, 1), time(1, 1), time(9), time(10), time(23))),
    (timedelta, tuple(timedelta(seconds=n) for n in (-10, -9, 0, 0.5, 1, 9, 10, 60, 3600, 86400))),
    (Decimal, tuple(map(Decimal, ("-10", "-9", "0", "1E-7", "0.5", "9", "9.5", "1E+1", "100")))),
    (UUID, tuple(map(UUID, (f"{n:032x}" for n in (0, 9, 10, 2**64, 2**127, 2**128 - 1))))),
    (bytes, (b"", b"\n", b"0", b"9z", b"A", b"Z~", b"a", b"ab", b"z", b"~")),
    (IPv4Interface, tuple(map(IPv4Interface, ("10.0.0.9/8", "10.0.0.10/8")))),
    (IPv4Network, tuple(map(IPv4Network, ("9.0.0.0/8", "10.0.0.0/8")))),
    (IPv4Address, tuple(map(IPv4Address, ("10.0.0.9", "10.0.0.10")))),
    (IPv6Interface, tuple(map(IPv6Interface, ("::9/128", "::a/128", "::10/128")))),
    (IPv6Address, tuple(map(IPv6Address, ("::9", "::a", "::10")))),
    (PurePath, tuple(map(Path, ("a/b", "a-b")))),
)


def keeps_order(kind: type, encode: Encode) -> bool | None:
    """Whether a field writes values of a type so that their JSON has their order.

    Args:
        kind: The type.
        encode: How the field writes them.

    Returns:
        None if nothing is known of the type.
    """
    samples = next((samples for each, samples in _SAMPLES if issubclass(kind, each)), None)
    if samples is None:
        return None
    try:
        written = [encode(each) for each in samples]
    except (InvalidData, TypeError, ValueError, AttributeError):
        return None
    return all(_is_less(a, b) for a, b in itertools.pairwise(written))


def sorts_wrongly(kind: type, encode: Encode) -> bool:
    """Whether a field's values of a type are known to sort wrongly on a server.

    Those of datetimes may in mixed zones; that is documented, for what they are sorted by mostly.
    """
    if issubclass(kind, datetime) and encode(_NOON) == to_json(_NOON):
        return False
    return keeps_order(kind, encode) is False


def _is_less(a: Any, b: Any) -> bool:
    return isinstance(a, str) == isinstance(b, str) and bool(operator.le(a, b))
