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
        base: The data of that state, as the object reads it.
        in_doubt: Whether what was to be written may be there.
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
    base: dict[str, Any] = field(default_factory=dict)
    in_doubt: bool = False
    edits: dict[str, Any] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    granted: set[str] = field(default_factory=set)
    revoked: set[str] = field(default_factory=set)
    gone: bool = False
    conflict: Conflict | None = None

    @property
    def id(self) -> str:
        return self.record.id

    def permit(self, principal: str, *, grant: bool) -> None:
        """Grant or revoke `read`; what is so already, as far as the object knows, is no change."""
        permissions = self.record.permissions
        known = permissions.is_loaded
        is_so = known and (principal in permissions.read) == grant
        (permissions.grant if grant else permissions.revoke)("read", principal)
        if is_so:
            return
        wanted, unwanted = (self.granted, self.revoked)[:: 1 if grant else -1]
        unwanted.discard(principal)
        wanted.add(principal)
        if known and not permissions.is_changed:
            self.granted, self.revoked = set(), set()

    def needs_a_write(self, there: dict[str, Any] | None) -> bool:
        """Whether a save must write: what is so already needs no write."""
        if self.changed or self.removed or self.version is None:
            return True
        if there is None:
            return bool(self.granted or self.revoked)
        return bool(self.applied(there)["read"] != there["read"])

    def settled(self, version: int | None, data: dict[str, Any] | None) -> None:
        """Nothing is left to save; the server has this data."""
        self.seen(version, data)
        self.edits, self.removed = {}, set()
        self.granted, self.revoked = set(), set()
        self.conflict = None

    def seen(self, version: int | None, data: dict[str, Any] | None) -> None:
        """The object goes by this state from now on."""
        self.version, self.in_doubt = version, False
        self.base = self._read(data or {})

    def reads(self, data: dict[str, Any]) -> bool:
        """Whether this data is what the object goes by."""
        read = self._read(data)
        return all(name in read and read[name] == value for name, value in self.base.items())

    def _read(self, data: dict[str, Any]) -> dict[str, Any]:
        """What is not stored reads as its default."""
        defaults = {} if type(self.record) is Record else {"a": 0, "b": 0, "tags": []}
        return {**defaults, **data}

    def lost(self) -> None:
        """What was to be written may be there."""
        self.in_doubt = True
        written = self.changed.keys() | self.removed
        self.base = {name: value for name, value in self.base.items() if name not in written}

    def goes_by(self, there: dict[str, Any] | None) -> bool:
        """Whether the object may overwrite this state: nothing is in it that it has not seen."""
        if there is None or self.version is None:
            own = there is not None and self.in_doubt and there["data"] == self.edits
            return self.version is None and (there is None or own)
        # A look at the permissions may show it a later timestamp of the data that it has.
        return there["version"] == self.version or self.reads(there["data"])

    @property
    def changed(self) -> dict[str, Any]:
        """The edits that are changes: a field may have been given the value that it had."""
        base = self.base if self.version is not None else {}
        return {n: v for n, v in self.edits.items() if n not in base or base[n] != v}

    def applied(self, stored: dict[str, Any]) -> dict[str, Any]:
        """What the server should have after a save."""
        data = {**stored["data"], **self.changed}
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
