"""What a dump consists of: an object's path, its data, and who may do what with it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pydantic import JsonValue

from kinto_orm import KintoError
from kinto_orm.cli.failing import Misuse
from kinto_orm.cli.targets import Target

Data = dict[str, JsonValue]
Access = dict[str, list[str]]

PARTS = ("attributes", "groups", "records", "permissions")

_PART_OF = {"buckets": "attributes", "collections": "attributes", "groups": "groups"}


class Unreadable(KintoError):
    """A file is no dump, or was cut; the message says in which line."""


class Unwritable(KintoError):
    """A format cannot have this object; the message says which one can."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An object of a dump.

    Attributes:
        target: Where it is.
        data: Its fields.
        permissions: Principals by permission; None where the dump says nothing of them.
        place: Where it stands in the file, such as "line 7".
        whole: Whether `data` and `permissions` are all that there is. Where they are not, what
            else the server has stays.
        says_data: Whether the dump says anything of the data; one of permissions alone does not.
        implied: Whether the file does not have it, and only records that live in it. All of them,
            if it is whole.
    """

    target: Target
    data: Data
    permissions: Access | None = None
    place: str = ""
    whole: bool = True
    says_data: bool = True
    implied: bool = False

    @property
    def id(self) -> str:
        """The object's id."""
        return self.target.id or ""

    def __str__(self) -> str:
        return f"{self.place}: {self.target}"


@dataclass(frozen=True, slots=True)
class Parts:
    """Which parts of a dump are wanted: `--only`.

    Attributes:
        names: Some of PARTS; none of them means all.
    """

    names: frozenset[str] = frozenset()

    @classmethod
    def named(cls, given: Iterable[str]) -> Parts:
        """The parts that a user named, with commas or one by one.

        Raises:
            Misuse: There is no such part.
        """
        names = {name.strip() for each in given for name in each.split(",") if name.strip()}
        unknown = sorted(names.difference(PARTS))
        if unknown:
            raise Misuse(f"--only takes {', '.join(PARTS)}, not {unknown[0]!r}")
        return cls(frozenset(names))

    @property
    def permissions(self) -> bool:
        """Whether permissions are wanted."""
        return not self.names or "permissions" in self.names

    def data_of(self, kind: str) -> bool:
        """Whether the data of a kind is wanted, such as that of "records"."""
        return not self.names or _PART_OF.get(kind, kind) in self.names

    def have(self, kind: str) -> bool:
        """Whether anything of a kind is wanted: permissions alone are those of every kind."""
        return self.data_of(kind) or self.names == {"permissions"}


def in_bucket(entry: Entry, old: str, new: str) -> Entry:
    """The same object in a bucket of another id; principals of its groups move along."""
    if old == new:
        return entry
    steps = (("buckets", new), *entry.target.steps[1:])
    moved = Target(steps)
    data = entry.data
    if entry.target.kind == "buckets" and "id" in data:
        data = data | {"id": new}
    groups, instead = f"/buckets/{old}/groups/", f"/buckets/{new}/groups/"
    permissions = entry.permissions and {
        name: [
            f"{instead}{each[len(groups) :]}" if each.startswith(groups) else each for each in who
        ]
        for name, who in entry.permissions.items()
    }
    return replace(entry, target=moved, data=data, permissions=permissions)


def alike(one: object, other: object) -> bool:
    """Whether two JSON values are the same, but for the last digits of floats.

    Kinto's parser changes them now and then, and PostgreSQL gives 1e30 back as an integer.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other or _near(one, other)
    return type(one) is type(other) and one == other


def _near(one: float, other: float) -> bool:
    if isinstance(one, int):
        return False  # a float that is near has lost its last digits
    try:
        return math.isclose(one, other, rel_tol=1e-14, abs_tol=1e-300)
    except OverflowError:  # an integer beyond all floats
        return False


def differing(wanted: Mapping[str, JsonValue], there: Mapping[str, JsonValue]) -> set[str]:
    """The names of the fields whose values differ, or that only one of the two has."""
    return {
        name
        for name in wanted.keys() | there.keys()
        if name not in wanted or name not in there or not alike(wanted[name], there[name])
    }
