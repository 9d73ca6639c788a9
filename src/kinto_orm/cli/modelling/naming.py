"""Names of classes and fields, for whatever stands in a collection."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Iterable
from itertools import chain, count

from pydantic import BaseModel

from kinto_orm import Record

_IMPORTED = frozenset({
    "AnyUrl", "BaseModel", "ConfigDict", "Field", "IPv4Address", "IPv6Address", "JsonValue",
    "Literal", "Record", "UUID", "Union", "dt", "is_none",
})  # fmt: skip
# Inside of a class such a field would hide the type of the others.
_TYPES = frozenset({"bool", "dict", "float", "int", "list", "object", "str"})
# Pydantic warns of fields that begin like its own methods.
_PROTECTED = ("model_validate", "model_dump")
_NO_LETTERS = re.compile(r"\W+", re.ASCII)


class Names:
    """Names that are used only once.

    Args:
        taken: Those that are taken.
        mark: What is put behind a name that is taken, before it gets numbers.
    """

    def __init__(self, taken: Iterable[str], mark: str = "") -> None:
        self._taken = set(taken)
        self._mark = mark

    def unique(self, name: str) -> str:
        """The same name, or with something behind it where it is taken."""
        marked = f"{name.removesuffix('_')}{self._mark}"
        numbered = (f"{marked}{number}" for number in count(2))
        found = next(each for each in chain((name, marked), numbered) if each not in self._taken)
        self._taken.add(found)
        return found


def class_names() -> Names:
    """Names of classes of a module."""
    return Names(_IMPORTED | _TYPES | {"None", "True", "False"})


def class_name(*texts: str) -> str:
    """A class's name, made of an id or of the names of fields."""
    words = [word for text in texts for word in _NO_LETTERS.sub("_", _plain(text)).split("_")]
    name = "".join(word[:1].upper() + word[1:] for word in words if word)
    return name if name[:1].isalpha() else f"Model{name}"


def field_names(stored: Iterable[str], *, of_record: bool) -> dict[str, str]:
    """The names of the fields of a class, by the names under which they are stored.

    A field that gets another name does not get that under which another one is stored: of that
    it would be read.

    Args:
        stored: The stored names.
        of_record: Whether it is a class of records. The names of its methods are taken.
    """
    taken = _taken(of_record)
    given = sorted(stored)
    kept = {name: name for name in given if is_field_name(name) and name not in taken}
    names = Names({*taken, *given}, "_")
    return kept | {name: names.unique(field_name(name)) for name in given if name not in kept}


def _taken(of_record: bool) -> set[str]:
    model = Record if of_record else BaseModel
    methods = {name for base in model.__mro__ for name in base.__dict__}
    own = {"id", "last_modified", "permissions", "modified_at"} if of_record else set[str]()
    return methods | own | _IMPORTED | _TYPES


def is_field_name(name: str) -> bool:
    """Whether a stored name may be that of a field."""
    return (
        name.isidentifier()
        and not keyword.iskeyword(name)
        and not name.startswith(("_", *_PROTECTED))
        and unicodedata.normalize("NFKC", name) == name
    )


def field_name(stored: str) -> str:
    """A field's name, made of the one under which it is stored."""
    if is_field_name(stored):
        return stored
    name = re.sub(r"\W+", "_", unicodedata.normalize("NFKC", stored)).strip("_") or "field"
    if not name.isidentifier() or name.startswith(_PROTECTED):
        name = f"field_{name}"
    # Its letters may be such as no name has.
    name = name if name.isidentifier() else "field"
    return f"{name}_" if keyword.iskeyword(name) else name


def _plain(text: str) -> str:
    """The letters of a text without their accents."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
