"""Who may do what at one moment: what the server has, and what was asked for since. Plain values.

Nothing here is shared: whoever wants another state makes another value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from kinto_orm.errors import InvalidData

JsonPatch = list[dict[str, Any]]
Edit = tuple[str, str, frozenset[str]]
"""An act of `EDITS`, a permission by the server's name, principals."""


def _set(principals: set[str], wanted: Iterable[str]) -> None:
    principals.clear()
    principals.update(wanted)


EDITS: Mapping[str, Callable[[set[str], Iterable[str]], None]] = {
    "grant": set.update,
    "revoke": set.difference_update,
    "set": _set,
}

_ALWAYS_THERE = frozenset({"read", "write"})


class Access(NamedTuple):
    """The permissions of an object at one moment.

    Args:
        sets: Principals by permission, by the server's names; none when that is not known.
        stored: What the server has; None when that is not known. It is never changed in place.
        as_of: The object's timestamp at which that was so.
        edits: What was asked for while that is not known, in order.
        lost: How these were when a write was made whose answer was lost: the server may have it.
    """

    sets: dict[str, set[str]]
    stored: Mapping[str, set[str]] | None
    as_of: int | None
    edits: list[Edit]
    lost: Access | None = None

    def copied(self) -> Access:
        """The same, which stays as it is."""
        return self._replace(sets=_copied(self.sets), edits=list(self.edits))

    @property
    def is_changed(self) -> bool:
        """Whether there is something to save."""
        if self.lost is not None:
            return True
        return bool(self.edits if self.stored is None else self.difference())

    @property
    def is_blind(self) -> bool:
        """Whether it must be known what the server has before a patch can be made.

        Also for what is only granted: who has it already needs no write, which would give the
        object a new timestamp and others a conflict.
        """
        return self.lost is not None or (self.stored is None and bool(self.edits))

    def difference(self) -> dict[str, tuple[set[str], set[str]]]:
        """Who is to be added and who to be removed, by permission."""
        if self.stored is None:
            return {name: (who, set()) for name, who in self._granted().items()}
        return _between(self.stored, self.sets)

    def patch(self) -> JsonPatch:
        """The difference to what the server has, as JSON-Patch operations."""
        operations: JsonPatch = []
        for name, (added, removed) in sorted(self.difference().items()):
            if self._opens(name):
                operations.append({"op": "add", "path": f"/permissions/{name}", "value": {}})
            operations += [_operation("add", name, who) for who in sorted(added)]
            operations += [_operation("remove", name, who) for who in sorted(removed)]
        return operations

    @property
    def opened_since(self) -> int | None:
        """The timestamp that a patch must be guarded by, if it makes a list that is not there.

        Kinto's JSON-Patch knows `read` and `write` only, other lists when they have members; and
        making one would empty a list that somebody else has just made.
        """
        return self.as_of if any(map(self._opens, self.difference())) else None

    def _opens(self, name: str) -> bool:
        return self.stored is not None and name not in _ALWAYS_THERE and not self.stored.get(name)

    def wanted(self) -> dict[str, list[str]]:
        """The sets that are not empty, by the server's names, for a creation."""
        if self.stored is None:
            return {name: sorted(who) for name, who in sorted(self._granted().items())}
        return {name: sorted(who) for name, who in self.sets.items() if who}

    def _granted(self) -> dict[str, set[str]]:
        """What the edits come to when nothing was there before."""
        sets: dict[str, set[str]] = {}
        for act, name, who in self.edits:
            EDITS[act](sets.setdefault(name, set()), who)
        return sets

    def pending(self) -> list[Edit]:
        """What is not saved, as edits."""
        return list(self.edits) if self.stored is None else _as_edits(self.difference())

    def since(self, then: Access) -> list[Edit]:
        """What was asked for since an earlier moment, as edits.

        What was asked for then and taken back since is among them. When the server's sets have
        come anew in between, it is all that is pending.
        """
        new = self.stored == then.stored == {}
        if self.stored is not then.stored and not new:
            return self.pending()
        if self.stored is not None:
            return _as_edits(_between(then.sets, self.sets))
        known = len(then.edits)
        return self.edits[known:] if self.edits[:known] == then.edits else self.pending()

    def edited(self, edits: Iterable[Edit]) -> Access:
        """The same with edits that were made to it."""
        made = self.copied()
        for act, name, who in edits:
            if made.stored is None:
                made.edits.append((act, name, who))
            else:
                EDITS[act](made.sets[name], who)
        return made


def _copied(sets: Mapping[str, set[str]]) -> dict[str, set[str]]:
    return {name: set(who) for name, who in sets.items()}


def _between(
    old: Mapping[str, set[str]], new: Mapping[str, set[str]]
) -> dict[str, tuple[set[str], set[str]]]:
    """Who came and who went, by permission."""
    pairs = {name: (now, old.get(name, set())) for name, now in new.items()}
    return {name: (now - was, was - now) for name, (now, was) in pairs.items() if now != was}


def _as_edits(difference: Mapping[str, tuple[set[str], set[str]]]) -> list[Edit]:
    edits: list[Edit] = []
    for name, (added, removed) in difference.items():
        edits += [("grant", name, frozenset(added)), ("revoke", name, frozenset(removed))]
    return edits


def _operation(op: str, name: str, principal: str) -> dict[str, Any]:
    escaped = principal.replace("~", "~0").replace("/", "~1")
    operation: dict[str, Any] = {"op": op, "path": f"/permissions/{name}/{escaped}"}
    return {**operation, "value": {}} if op == "add" else operation


def principals_in(principals: Iterable[str]) -> frozenset[str]:
    """The principals that a call is given one by one.

    Raises:
        InvalidData: One is no text, such as a list of them.
    """
    given = tuple(principals)
    for each in given:
        if isinstance(each, list | tuple | set | frozenset | Mapping):
            raise InvalidData(
                f"principals are given one by one, not as a {type(each).__name__}: write "
                "*principals, as in grant('read', *principals)"
            )
        if not isinstance(each, str) or not each:
            raise InvalidData(
                f"a principal is a text such as 'account:alice' (.principal of a group or an "
                f"account), not {each!r:.80}"
            )
    return frozenset(given)
