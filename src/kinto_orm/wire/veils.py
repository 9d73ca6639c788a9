"""What is not shown of requests and of answers: the values of secret fields.

Which fields of a class are secret, `models/veiling.py` says. Names are shown, values are not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote_plus

from kinto_orm._shown import HIDDEN
from kinto_orm.wire.masking import Mask, Veiled

Path = tuple[str, ...]
Param = tuple[str, str]

# Kinto's operators, as they stand before the name of a field.
_OPERATORS: Final = (
    "contains_any_", "contains_", "exclude_", "like_", "not_", "max_", "min_", "eq_", "gt_", "lt_",
    "has_", "in_",
)  # fmt: skip
_LISTS: Final = ("exclude_", "in_")


class Veil:
    """Knows the secret fields of a class, and hides their values.

    Args:
        paths: Their names as they are stored, each with those of the fields that it is in.
    """

    __slots__ = ("paths",)

    def __init__(self, paths: Iterable[Path]) -> None:
        self.paths = frozenset(paths)

    def hides(self, path: Sequence[str]) -> bool:
        """Whether a field is secret, is inside of one, or has one inside of it."""
        return any(all(a == b for a, b in zip(each, path, strict=False)) for each in self.paths)

    def cut(self, path: Sequence[str]) -> Path:
        """The path of a field, no deeper than a secret one: keys of its dictionaries are values."""
        around = (each for each in self.paths if tuple(path[: len(each)]) == each)
        return min(around, key=len, default=tuple(path))

    def params(self, params: Iterable[Param]) -> list[Param]:
        """The parameters of a query, as they may be shown."""
        given = list(params)
        sorted_by = dict(given).get("_sort", "")
        return [(self._named(name), self._told(name, value, sorted_by)) for name, value in given]

    def query(self, query: str) -> str:
        """A quoted query string, as it may be shown."""
        pairs = [each.partition("=")[::2] for each in query.split("&")]
        plain = [(unquote_plus(name), unquote_plus(value)) for name, value in pairs]
        # What is shown as it is is not quoted anew.
        return "&".join(
            quoted if shown == given else f"{quote(shown[0])}={quote(shown[1], safe=',')}"
            for quoted, given, shown in zip(
                query.split("&"), plain, self.params(plain), strict=True
            )
        )

    def sort(self, sort: str) -> str:
        """An order, as it may be shown."""
        signs = ((each[:1] if each.startswith("-") else "", each) for each in sort.split(","))
        return ",".join(sign + ".".join(self.cut(_path_of(each))) for sign, each in signs)

    def orders(self, sort: str) -> bool:
        """Whether objects are sorted by a secret field; the tokens of their pages have values."""
        return any(self.hides(_path_of(each)) for each in sort.split(",") if each)

    def values(self, data: object) -> Iterator[object]:
        """The values of secret fields in the data of an object."""
        for path in self.paths:
            yield from _below(data, path)

    def _named(self, name: str) -> str:
        """The name of a parameter, as it may be shown."""
        for field in _fields_in(name):
            path = tuple(field.split("."))
            if (cut := self.cut(path)) != path:
                return name.removesuffix(field) + ".".join(cut)
        return name

    def _told(self, name: str, value: str, sort: str) -> str:
        """The value of a parameter, as it may be shown."""
        if name == "_sort":
            return self.sort(value)
        if name.startswith("has_") and value in ("true", "false"):
            return value  # whether it is there at all
        return HIDDEN if self._hides(name, sort) else value

    def _hides(self, name: str, sort: str) -> bool:
        """Whether a parameter has a value of a secret field."""
        if name == "_token":
            return self.orders(sort)
        return any(self.hides(each.split(".")) for each in _fields_in(name.strip()))

    def _in_query(self, query: str) -> Iterator[object]:
        for name, value in parse_qsl(query):
            fields = value.split(",") if name == "_sort" else _fields_in(name.strip())
            for path in map(_path_of, fields):
                yield list(path[len(self.cut(path)) :])
            if self._hides(name, ""):
                listed = value.split(",") if name.startswith(_LISTS) else []
                yield from (_parsed(each) for each in (value, *listed))

    def _in_body(self, body: bytes) -> Iterator[object]:
        try:
            sent = json.loads(body)
        except (ValueError, RecursionError):
            return
        if isinstance(sent, dict):
            yield from self.values(sent.get("data"))
        for each in sent if isinstance(sent, list) else ():
            _, place, *path = str(each.get("path")).split("/")
            names = [name.replace("~1", "/").replace("~0", "~") for name in path]
            if place == "data" and self.hides(names):
                yield each.get("value")

    def sent(self, query: str, body: bytes | None) -> Iterator[object]:
        """The values of secret fields that a request has."""
        yield from self._in_query(query)
        yield from self._in_body(body or b"")


def union(veils: Iterable[Veil | None]) -> Veil | None:
    """What hides all that any of these hides; None where none of them hides anything."""
    found = dict.fromkeys(each for each in veils if each is not None)
    if len(found) > 1:
        return Veil(path for each in found for path in each.paths)
    return next(iter(found), None)


def masked(mask: Mask, values: Callable[[], Iterable[object]]) -> Mask:
    """What hides these values in a text, too, and shows nothing of a body.

    Args:
        mask: What else is hidden.
        values: Gives them; called when there is a text.
    """
    return Veiled(mask, lambda: _texts(values()))


def without_values(text: str, values: Iterable[object]) -> str:
    """What somebody else says, such as a validator of the program, without these values."""
    return masked(Mask({}), lambda: values)(text)


def _fields_in(name: str) -> Iterator[str]:
    """The fields that a parameter may be about: a bare name may look like one with an operator."""
    yield name
    for each in _OPERATORS:
        if name.startswith(each):
            yield name.removeprefix(each)


def _path_of(field: str) -> Path:
    return tuple(field.lstrip("-").split("."))


def _below(value: Any, path: Path) -> Iterator[object]:
    if not path:
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _below(each, path)
    elif isinstance(value, dict) and path[0] in value:
        yield from _below(value[path[0]], path[1:])


def _parsed(value: str) -> object:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _texts(values: Iterable[object]) -> Iterator[str]:
    """The texts of which values are made."""
    for each in values:
        if isinstance(each, str):
            yield each
        elif isinstance(each, int | float) and not isinstance(each, bool):
            yield json.dumps(each)
        elif isinstance(each, dict):
            yield from _texts((*each, *each.values()))
        elif isinstance(each, list):
            yield from _texts(each)
