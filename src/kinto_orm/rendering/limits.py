"""How much a template may use, and how large a result will be, measured before it is made.

All sizes are in characters; a list or a mapping counts as 64 and each of its items as 8 more,
which is about the memory that they take.
"""

from __future__ import annotations

import re
from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    ValuesView,
)
from dataclasses import dataclass, fields
from typing import Any

from kinto_orm.errors import RenderLimit, wrong_option

ITEM = 8
CONTAINER = 64
DIGITS = 4300
"""Decimal digits of the largest number: Python writes no larger ones (sys.int_info)."""

_LEAVES = frozenset({str, float, bool, type(None)})
_SERIES = (list, tuple, set, frozenset, KeysView, ValuesView, ItemsView)
_NUMBER = re.compile(r"\d+")
_CONVERSION = re.compile(r"%[#0\- +]*(\*|\d*)(?:\.(\*|\d*))?")

Check = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a template may use. Each one that is passed ends as a RenderLimit naming it.

    A wait in the queue that is too long ends as a RenderBusy, which is one.

    Args:
        source: Length of one template's source, in characters.
        output: Length of the rendered text, and of any block, macro or include of it, in
            characters.
        value: Size of one value made on the way (a text, a list, a number), in characters;
            a list or a mapping counts as 64, and each of its items as 8 more.
        depth: How deep templates may include, extend and import each other, in levels.
        templates: How many different templates one render may load.
        wall: Seconds by the clock for one render, without the time that the loading of
            templates takes. In the process of the caller they are looked at in loops, calls
            and filters only; a child process is killed.
        seconds: CPU seconds of the child process; only with `isolation="process"`.
        memory: Bytes that the child process may use above what an empty one does; only with
            `isolation="process"`.
        queue: Seconds to wait for one of the few processes that may render at a time, only with
            `isolation="process"`. They count in none of the other limits.

    Raises:
        InvalidData: A limit is zero or negative.
    """

    source: int = 100_000
    output: int = 1_000_000
    value: int = 10_000_000
    depth: int = 40
    templates: int = 100
    wall: float = 5.0
    seconds: float = 0.5
    memory: int = 128 * 1024 * 1024
    queue: float = 60.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) <= 0:
                raise wrong_option(f"the limit {field.name} must be over zero")


def check_output(size: int, limits: Limits) -> None:
    """Refuse a text of so many characters when it is over the limit."""
    if size > limits.output:
        raise RenderLimit(f"output over {limits.output} characters")


class Buffer(list[str]):
    """The text of a macro or a block, which stops to grow at the output limit."""

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._limits = limits
        self._size = 0

    def append(self, text: str) -> None:
        """Add a text."""
        self._size += len(text)
        check_output(self._size, self._limits)
        super().append(text)

    def extend(self, texts: Iterable[str]) -> None:
        """Add texts, one after the other."""
        for text in texts:
            self.append(text)


def fits(size: int, limit: int) -> None:
    """Refuse a value of that size when it is over the limit, both in characters."""
    if size > limit:
        raise RenderLimit(f"a value over {limit} characters")


def digits_fit(digits: int) -> None:
    """Refuse a number with so many decimal digits."""
    if digits > DIGITS:
        raise RenderLimit(f"a number over {DIGITS} digits")


def size(value: object) -> int:
    """Tell the size of a value, not counting what stands inside its items."""
    if isinstance(value, str):
        return len(value)
    if type(value) in _LEAVES:
        return ITEM
    if isinstance(value, int):
        digits = value.bit_length() * 3 // 10
        digits_fit(digits)
        return digits
    if isinstance(value, (*_SERIES, Mapping)):
        return CONTAINER + ITEM * len(value)
    return ITEM


def weigh(value: object, limit: int, look: Callable[[object], None] | None = None) -> int:
    """Tell the size of a value with all that stands inside it.

    A list that holds another one twice counts it twice, since it is written twice: a few
    such steps make a value without end, so the counting stops at the limit.

    Args:
        value: The value.
        limit: In characters.
        look: Is shown everything in it but texts, floats, booleans and None.

    Raises:
        RenderLimit: It is over the limit.
    """
    total, stack = 0, [value]
    while stack:
        item = stack.pop()
        total += size(item)
        if total > limit:
            fits(total, limit)
        if type(item) in _LEAVES:
            continue
        if look is not None:
            look(item)
        if isinstance(item, _SERIES):
            stack.extend(item)
        elif isinstance(item, Mapping):
            stack.extend(item.keys())
            stack.extend(item.values())
    return total


def numbers_in(text: str) -> int:
    """Add up the numbers that stand in a text, such as the widths of a format."""
    return sum(map(int, _NUMBER.findall(text)))


def settled(value: Any) -> Any:
    """Make a list of an iterator, which cannot be measured otherwise."""
    return list(value) if isinstance(value, Iterator) else value


def _plus(limit: int, left: object, right: object) -> None:
    fits(size(left) + size(right), limit)


def _times(limit: int, left: object, right: object) -> None:
    if isinstance(left, int) and isinstance(right, int):
        digits_fit(size(left) + size(right))
    elif isinstance(left, int):
        fits(size(right) * left, limit)
    elif isinstance(right, int):
        fits(size(left) * right, limit)


def _power(_limit: int, left: object, right: object) -> None:
    if isinstance(left, int) and isinstance(right, int):
        digits_fit(left.bit_length() * right * 3 // 10)


def _percent(limit: int, left: object, right: object) -> None:
    if not isinstance(left, str):
        return
    if isinstance(right, Mapping):
        # Names in brackets may nest, so that every number may be a width.
        widths = numbers_in(left)
    else:
        found = [number for match in _CONVERSION.findall(left) for number in match]
        widths = sum(int(number) for number in found if number.isdigit())
        given = right if isinstance(right, tuple) else (right,)
        stars = [abs(item) for item in given if isinstance(item, int)] if "*" in found else []
        widths += sum(stars)
    fits(len(left) + widths + weigh(right, limit), limit)


def _padded(limit: int, _text: object, width: int = 80, *_: object) -> None:
    fits(width, limit)


def _portioned(limit: int, _items: object, count: int, fill_with: object = None) -> None:
    fits(count * 10 * ITEM, limit)


def _joined(limit: int, items: Any, d: object = "", attribute: object = None) -> None:
    parts = [*items]
    fits(weigh(parts, limit) + len(parts) * len(str(d)), limit)


def _replaced(limit: int, text: object, old: object, new: object, count: object = None) -> None:
    text = str(text)
    fits(len(text) + text.count(str(old)) * len(str(new)), limit)


def _indented(limit: int, text: str, width: int | str = 4, *_: object, **__: object) -> None:
    lines = len(str(text).splitlines()) + 1
    fits(len(text) + lines * (len(width) if isinstance(width, str) else width), limit)


def _wrapped(
    limit: int,
    text: str,
    width: int = 79,
    break_long_words: bool = True,
    wrapstring: str | None = None,
    break_on_hyphens: bool = True,
) -> None:
    fits(len(text) * (len(wrapstring or "") + 1), limit)


def _rounded(_limit: int, value: object, precision: int = 0, method: str = "common") -> None:
    digits_fit(abs(precision))


def _linked(limit: int, text: str, *details: object, **more: object) -> None:
    added = sum(len(str(detail)) for detail in (*details, *more.values()))
    fits(len(text) + len(text) // 4 * added, limit)


def _dumped(limit: int, value: object, indent: int | str | None = None) -> None:
    width = len(indent) if isinstance(indent, str) else indent or 0
    fits(weigh(value, limit) * (1 + width), limit)


def _formatted(limit: int, text: object, *args: object, **kwargs: object) -> None:
    _percent(limit, str(text), kwargs or args)


OPERATORS: dict[str, Check] = {"+": _plus, "*": _times, "**": _power, "%": _percent}
"""The operators whose result may be much larger than what they are given."""

FILTERS: dict[str, Check] = {
    "batch": _portioned,
    "center": _padded,
    "format": _formatted,
    "indent": _indented,
    "join": _joined,
    "replace": _replaced,
    "round": _rounded,
    "slice": _portioned,
    "tojson": _dumped,
    "urlize": _linked,
    "wordwrap": _wrapped,
}
"""The filters of which that is true; they are called with the arguments of the filter."""

METHODS: dict[str, Check] = {
    "center": _padded,
    "join": lambda limit, text, items: _joined(limit, items, text),
    "ljust": _padded,
    "replace": _replaced,
    "rjust": _padded,
    "zfill": _padded,
}
"""The methods of strings of which that is true; the string comes first."""
