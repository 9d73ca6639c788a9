"""Whether an object of a dump is there already, and what has to be written where it is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal

from pydantic import JsonValue

from kinto_orm import Collection, Group, KintoError
from kinto_orm.cli.dumps.entries import Access, Data, Entry, Parts, differing
from kinto_orm.cli.dumps.fetching import access_of
from kinto_orm.cli.printing import moment
from kinto_orm.cli.targets import MODELS, NOT_DATA, Stored, stored

# Beyond these the server makes floats of integers.
_INTEGERS = range(-(2**63), 2**64)


class Newer(KintoError):
    """Somebody changed an object after the version that the dump has."""


@dataclass(frozen=True, slots=True)
class Comparing:
    """Makes what is there equal to what a dump says.

    Attributes:
        parts: Which parts of the dump are wanted.
        force: Whether what is newer than the dump is overwritten.
        me: The principal of the user, whom the server adds to whoever may write.
    """

    parts: Parts
    force: bool
    me: str

    def new(self, entry: Entry, made: frozenset[str]) -> Stored:
        """The object that is to be created.

        Args:
            entry: What it should be.
            made: The fields that the server makes besides its own.

        Raises:
            KintoError: Only its permissions are wanted, or it cannot be.
        """
        if not self._has_data(entry):
            raise KintoError("it is not there, and of its data nothing is said or wanted")
        new = MODELS[entry.target.kind](id=entry.id)
        data = _data(entry, made)
        for name in data:
            _set(new, name, data)
        if self.parts.permissions and entry.permissions:
            new.permissions = entry.permissions
        return new

    def change(self, entry: Entry, there: Stored, made: frozenset[str]) -> set[str]:
        """Make what is there what it should be; nothing is sent.

        Args:
            entry: What it should be.
            there: The object, with its permissions where they are wanted.
            made: The fields that the server makes besides its own.

        Returns:
            The names of what changes.

        Raises:
            Newer: It was changed after the version of the dump, and that is not to be lost.
        """
        newer = not self.force and _is_newer(there, entry.data)
        names = self._changed_data(entry, there, made)
        if names and newer:
            raise Newer(
                f"it was changed at {moment(there.last_modified)}, after the version in the dump, "
                f"and differs in {', '.join(sorted(names))}; look at both, and give --force to "
                "overwrite what is there"
            )
        if self.parts.permissions and entry.permissions and there.permissions.is_loaded:
            names |= self._permit(entry, there, only_grant=newer)
        return names

    def _has_data(self, entry: Entry) -> bool:
        return entry.says_data and self.parts.data_of(entry.target.kind)

    def _changed_data(self, entry: Entry, there: Stored, made: frozenset[str]) -> set[str]:
        if not self._has_data(entry):
            return set()
        wanted, now = _data(entry, made), without(stored(there), NOT_DATA | made)
        if isinstance(there, Group):
            wanted.setdefault("members", now["members"] if not entry.whole else [])
        names = differing(wanted, now)
        if not entry.whole:
            names &= wanted.keys()
        for name in names:
            _set(there, name, wanted)
        return names

    def _permit(self, entry: Entry, there: Stored, *, only_grant: bool) -> set[str]:
        """Change the permissions; what is newer than the dump loses nothing."""
        now, wanted = access_of(there) or {}, entry.permissions or {}
        missing = {name: set(who) - set(now.get(name, ())) for name, who in wanted.items()}
        for name, who in missing.items():
            if who:
                there.permissions.grant(name, *sorted(who))
        if not only_grant:
            for name, who in self._too_many(now, wanted, whole=entry.whole).items():
                missing.setdefault(name, set()).update(who)
                there.permissions.revoke(name, *sorted(who))
        return {f"permissions.{name}" for name, who in missing.items() if who}

    def _too_many(self, now: Access, wanted: Access, *, whole: bool) -> dict[str, set[str]]:
        names: Iterable[str] = now if whole else now.keys() & wanted.keys()
        left = {name: set(now[name]) - set(wanted.get(name, ())) for name in names}
        left.get("write", set()).discard(self.me)
        return {name: who for name, who in left.items() if who}


def without(data: Data, names: frozenset[str]) -> Data:
    """The same without these fields."""
    return {name: value for name, value in data.items() if name not in names}


def _data(entry: Entry, made: frozenset[str]) -> Data:
    kept = without(entry.data, NOT_DATA | made)
    return {name: _sent(value) for name, value in kept.items()}


def _is_newer(there: Stored, data: Mapping[str, JsonValue]) -> bool:
    version = data.get("last_modified")
    return isinstance(version, int) and (there.last_modified or 0) > version


def _set(there: Stored, name: str, wanted: Data) -> None:
    """Set a field, or take it away where it is not wanted."""
    if name in wanted:
        there[name] = wanted[name]
    elif isinstance(there, Collection) and name == "schema":
        there.json_schema = None
    else:
        del there[name]


def _sent(value: JsonValue) -> JsonValue:
    """A value as the server takes it; PostgreSQL gives large floats back as integers.

    Raises:
        ValueError: It is an integer of which the server would keep the first digits only.
    """
    if isinstance(value, dict):
        return {name: _sent(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_sent(each) for each in value]
    if isinstance(value, int) and value not in _INTEGERS:
        return _float(value)
    return value


def _float(value: int) -> float:
    """The float that an integer was, or is equal to."""
    with suppress(OverflowError):
        made = float(value)
        if value in (int(made), int(Decimal(repr(made)))):
            return made
    raise ValueError(
        f"{value} is too large for the server, which keeps integers from -2^63 to 2^64-1 exactly: "
        "write it as a text"
    )
