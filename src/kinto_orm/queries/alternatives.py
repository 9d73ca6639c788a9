"""OR: Kinto has none, so that a question with alternatives is asked as several, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from kinto_orm._shown import line
from kinto_orm.errors import InvalidData
from kinto_orm.queries.filters import Condition
from kinto_orm.wire.veils import union

MOST_BRANCHES: Final = 10
"""How many questions one query may be."""

Branch: TypeAlias = tuple[Condition, ...]
"""Conditions that have to hold together."""


@dataclass(frozen=True, eq=False, repr=False)
class AnyOf(Condition):
    """Several branches, of which one has to hold; made by `any_of`.

    Args:
        branches: None of them has such a condition inside.
    """

    branches: tuple[Branch, ...] = ()

    def __repr__(self) -> str:
        return line(f"any_of({', '.join(map(repr, self.branches))})")

    @property
    def names(self) -> frozenset[str]:
        """The fields that it asks for, as the server stores them."""
        return frozenset[str]().union(*(each.names for branch in self.branches for each in branch))


def any_of(*branches: Condition | bool | Sequence[Condition | bool]) -> Condition:
    """A condition that holds where one of several holds: an OR, for `find` and `where`.

    Kinto has no OR. A query with one is asked once for each branch, side by side, and the answers
    are merged in the query's order, each object once. Beside other conditions each branch is asked
    together with these; several `any_of` multiply their branches.

    Args:
        *branches: Conditions; a tuple or a list of conditions is a branch in which all of them
            have to hold. Of none given nothing is found.

    Raises:
        TypeError: One is no condition.
        InvalidData: They are more than ten.
    """
    found = _few(each for given in branches for each in distributed(_conditions(given)))
    if len(found) == len(found[:1] and found[0]) == 1:
        return found[0][0]

    def holds(record: object) -> bool:
        return any(all(each.matches(record) for each in branch) for branch in found)  # type: ignore[arg-type]

    # An empty path leads to the whole record.
    veil = union(each.veil for branch in found for each in branch)
    return AnyOf((), holds, impossible=not found, branches=tuple(found), veil=veil)


def distributed(conditions: Iterable[Condition]) -> list[Branch]:
    """The branches of which one has to hold, where all of these conditions have to hold.

    Without any `any_of` that is one branch; there is none when nothing can be found.

    Raises:
        InvalidData: They are too many.
    """
    given = tuple(conditions)
    if not any(isinstance(each, AnyOf) for each in given):
        return [given]
    found: list[Branch] = [()]
    for each in given:
        options = each.branches if isinstance(each, AnyOf) else ((each,),)
        found = _few((*branch, *option) for branch in found for option in options)
    return found


def compared_in(conditions: Iterable[Condition]) -> list[tuple[object, bool]]:
    """What fields of links are compared with, in all branches, and whether they are secret."""
    found: list[tuple[object, bool]] = []
    for each in conditions:
        for branch in each.branches if isinstance(each, AnyOf) else ():
            found += compared_in(branch)
        is_secret = each.veil is not None and each.veil.hides(each.path)
        found += ((value, is_secret) for value in each.compared)
    return found


def _conditions(given: object) -> Branch:
    branch = tuple(given) if isinstance(given, list | tuple) else (given,)
    for each in branch:
        if not isinstance(each, Condition):
            raise TypeError(
                f"any_of() takes conditions, such as Todo.title == 'x', and lists of them that "
                f"have to hold together, not {each!r:.80}"
            )
    return branch


def _few(branches: Iterable[Branch]) -> list[Branch]:
    """The branches without those that find nothing, or nothing that another one does not find.

    Raises:
        InvalidData: They are too many.
    """
    asked: dict[frozenset[object], Branch] = {}
    for branch in branches:
        if not any(each.impossible for each in branch):
            asked.setdefault(frozenset(map(_meaning, branch)), branch)
    found = [branch for key, branch in asked.items() if not any(other < key for other in asked)]
    if len(found) > MOST_BRANCHES:
        raise InvalidData(
            f"any_of() makes {len(found)} branches here, and at most {MOST_BRANCHES} are asked: "
            "each is a request of its own, and several any_of() multiply. For several values of "
            "one field write col(field).in_([...]), which is one request; or ask several times. "
            "Nothing was sent."
        )
    return found


def _meaning(condition: Condition) -> object:
    return condition.requires, condition.meaning or condition.params
