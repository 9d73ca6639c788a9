"""What is stored and cannot be loaded: it is shown as it is stored, and hides no other object.

A record that is nested too deeply is such a one, or a group without members: other clients write
them. A model that a program declares may refuse what is stored; here nobody has declared one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kinto_orm import Group, InvalidData, Query, Session
from kinto_orm.cli.targets import Stored, Target, stored

Data = dict[str, Any]
Sets = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Whole:
    """An object's data and its permissions, as the server writes them.

    Attributes:
        id: Its id.
        data: Its fields.
        permissions: Principals by permission; empty where the server does not show them.
    """

    id: str
    data: Data
    permissions: Sets


def is_unfit(error: Exception | None) -> bool:
    """Whether this says that a stored object cannot be loaded."""
    return isinstance(error, InvalidData) and error.status is None


def read(target: Target, session: Session) -> Whole:
    """An object as it is stored (`GET`), whatever it is."""
    found: dict[str, Any] = session.request("GET", str(target)).json
    return Whole(target.id or "", found["data"], found.get("permissions") or {})


class Unfit:
    """Keeps what a query finds and cannot load, so that it is shown all the same."""

    def __init__(self) -> None:
        self._data: dict[str, Data] = {}

    def kept(self, query: Query[Any]) -> Query[Any]:
        """The same query; an object without data takes the place of what cannot be loaded."""

        def note(raw: Data, error: InvalidData) -> Stored:
            self._data[str(raw["id"])] = raw
            return _stand_in(query.model, str(raw["id"]))

        return query.on_invalid(note)

    def data_of(self, found: Stored) -> Data:
        """The data of an object that the query gave, as it is stored; once."""
        return self._data.pop(found.id, None) or stored(found)


def data_of(query: Query[Any]) -> Iterator[Data]:
    """The data of what a query finds, as it is stored, as it comes."""
    unfit = Unfit()
    return map(unfit.data_of, unfit.kept(query))


def _stand_in(model: type[Stored], id: str) -> Stored:
    return Group(id=id, members=[]) if issubclass(model, Group) else model(id=id)
