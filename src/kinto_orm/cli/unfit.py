"""What is stored and cannot be loaded: it is shown as it is stored, and hides no other object.

A record that is nested too deeply is such a one, its entries in the history, or a group without
members: other clients write them. A model that a program declares may refuse what is stored; here
nobody has declared one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from kinto_orm import Group, HistoryEntry, InvalidData, Query, Session, Template
from kinto_orm.cli.targets import Stored, Target, stored

Q = TypeVar("Q", bound=Query[Any])

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


@dataclass(frozen=True, slots=True)
class Told:
    """An entry of the history.

    Attributes:
        entry: Who did what, to which object, and when.
        target: The object after it: its data and its permissions.
    """

    entry: HistoryEntry
    target: Data


class Unfit:
    """Keeps what a query finds and cannot load, so that it is shown all the same."""

    def __init__(self) -> None:
        self._data: dict[str, Data] = {}

    def kept(self, query: Q) -> Q:
        """The same query; an object without data takes the place of what cannot be loaded."""

        def note(raw: Data, error: InvalidData) -> Stored | HistoryEntry:
            self._data[str(raw["id"])] = raw
            return _stand_in(query.model, raw)

        return query.on_invalid(note)

    def data_of(self, found: Stored | HistoryEntry) -> Data:
        """The data of an object that the query gave, as it is stored; once."""
        return self._data.pop(found.id, None) or stored(found)

    def told(self, history: Query[HistoryEntry]) -> Iterator[Told]:
        """Entries of the history, each with what it shows."""
        for entry in self.kept(history):
            raw = self._data.pop(entry.id, None)
            yield Told(entry, entry.target if raw is None else raw["target"])


def data_of(query: Query[Any]) -> Iterator[Data]:
    """The data of what a query finds, as it is stored, as it comes."""
    unfit = Unfit()
    return map(unfit.data_of, unfit.kept(query))


def _stand_in(model: type[Stored | HistoryEntry], raw: Data) -> Stored | HistoryEntry:
    id = str(raw["id"])
    if issubclass(model, HistoryEntry):
        said = {name: raw[name] for name in raw.keys() - {"target", "last_modified"}}
        return model(**said)
    if issubclass(model, Template):
        return model(name=str(raw.get("name", id)), source="")
    return Group(id=id, members=[]) if issubclass(model, Group) else model(id=id)
