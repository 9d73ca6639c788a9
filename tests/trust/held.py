"""What the model knows of an object in a client's hand, and of the network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from kinto_orm import Conflict, Record
from trust.faults import FAULTS, Fault

_BY_NAME = {each.name: each for each in FAULTS}
_NETWORK = (
    "closed",
    "reset",
    "lost_closed",
    "lost_half",
    "lost_502",
    "lost_html_200",
    "lost_truncated",
    "busy_503",
    "busy_409",
    "busy_429",
    "busy_502",
    "html_200",
    "failed_500",
)


@dataclass
class Held:
    """An object in a client's hand, and what the model knows of it.

    Attributes:
        client: Whose it is.
        record: The object.
        version: The state of the server up to which it is; None when it is not there.
        edits: What is not saved: fields with their values.
        removed: Fields that are to be removed.
        granted: Principals to be added to `read`.
        revoked: Principals to be taken from it.
        gone: Whether it is known to be deleted.
        conflict: The last one, which may be merged.
    """

    client: int
    record: Record
    version: int | None = None
    edits: dict[str, Any] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    granted: set[str] = field(default_factory=set)
    revoked: set[str] = field(default_factory=set)
    gone: bool = False
    conflict: Conflict | None = None

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def is_changed(self) -> bool:
        return bool(self.edits or self.removed or self.granted or self.revoked)

    def settled(self, version: int | None) -> None:
        """Nothing is left to save."""
        self.version = version
        self.edits, self.removed = {}, set()
        self.granted, self.revoked = set(), set()
        self.conflict = None

    def applied(self, stored: dict[str, Any]) -> dict[str, Any]:
        """What the server should have after a save."""
        data = {**stored["data"], **self.edits}
        kept = {name: value for name, value in data.items() if name not in self.removed}
        read = set(stored["read"]) | self.granted
        return {"data": kept, "read": read - self.revoked}


@dataclass(frozen=True)
class Weather:
    """What the network does to the next operation.

    Attributes:
        name: Of the fault; empty for none.
        number: To which request.
        meanwhile: What another client does before the fault: "equal", "different" or "".
    """

    name: str = ""
    number: int = 1
    meanwhile: str = ""

    @property
    def fault(self) -> Fault | None:
        return _BY_NAME.get(self.name)


def weathers() -> st.SearchStrategy[Weather]:
    foul = st.builds(
        Weather,
        st.sampled_from(_NETWORK),
        st.sampled_from([1, 1, 1, 2]),
        st.sampled_from(["", "equal", "different"]),
    )
    return st.one_of(st.just(Weather()), foul)
