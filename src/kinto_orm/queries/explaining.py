"""What a query will send, and why; and what to write for the habits of other mappers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Protocol
from urllib.parse import unquote

from kinto_orm._shown import HIDDEN, Shown, Table, line, table
from kinto_orm.queries.filters import Condition, Filter
from kinto_orm.queries.habits import OF_QUERIES, advice
from kinto_orm.queries.pager import DEFAULT_PAGE, Asked
from kinto_orm.queries.positions import Start
from kinto_orm.queries.prefetching import Followed
from kinto_orm.wire.forking import cached_property
from kinto_orm.wire.scope import Scope
from kinto_orm.wire.veils import Veil, union

_HOW_TO_ASK = (
    "limit(20).all() asks for its first objects, and shows them; explain() says what it sends"
)


class Explained(Protocol):
    """What is explained: a query."""

    model: Any
    plural: str | None
    links: tuple[Followed, ...]
    position: str | None
    conditions: tuple[Condition, ...]
    _filters: list[Filter]
    _veil: Veil | None

    def meanings(self) -> list[str]: ...  # noqa: D102
    def asked(self) -> Asked: ...  # noqa: D102
    def scope(self) -> Scope: ...  # noqa: D102


class Explanation(str):
    """Some lines of text, which print as they are."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Explainable(Shown):
    """What a query says of itself; for none of it anything is sent."""

    @cached_property
    def _veil(self: Explained) -> Veil | None:
        """What hides the values of secret fields, also of a condition on another class."""
        return union((self.model.__kinto_veil__(), *(each.veil for each in self.conditions)))

    def meanings(self: Explained) -> list[str]:
        """What each branch asks for."""
        told = [each.shown(self._veil) for each in self._filters]
        return [", ".join(f"{name}={value}" for name, value in each) for each in told]

    def __repr__(self: Explained) -> str:
        branches = self.meanings()
        asked = branches[0] if len(branches) == 1 else f"any_of({' | '.join(branches)})"
        return line(f"{self.model.__name__}.find({asked})")

    def __kinto_table__(self: Explained) -> Table:
        asked = self.asked()
        told = {
            "order": asked.shown_sort,
            "limit": asked.most,
            "only": asked.fields and ", ".join(sorted(asked.fields)),
            "page size": asked.size,
            "prefetch": ", ".join(name for name, _ in self.links),
            "resume": HIDDEN if asked.is_secretly_sorted and self.position else self.position,
        }
        rows: list[tuple[str, object]] = [("where", each) for each in self.meanings() if each]
        rows += [(name, value) for name, value in told.items() if value]
        title = f"a query of {self.model.__name__}, which was not asked"
        return table(title, ("what", "how"), rows, notes=[_HOW_TO_ASK])

    def explain(self: Explained) -> Explanation:
        """The requests that the query will send, and why; nothing is sent for it.

        Returns:
            Text, to be printed.
        """
        asked = self.asked()
        path = self.plural or self.model.__kinto_path__(self.scope())
        if not asked.filters:
            return Explanation("Nothing is sent: no object can meet these conditions.")
        lines = [line for branch in asked.branches for line in _branch(branch, path)]
        if len(asked.filters) > 1:
            lines.append(
                f"The {len(asked.filters)} branches of any_of are asked side by side and merged in "
                "this order; an object that meets several comes once."
            )
        return Explanation("\n".join([*lines, *_rest(asked, self.links)]))

    if not TYPE_CHECKING:  # checkers refuse these by themselves

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(f"a query has no {name!r}{advice(OF_QUERIES, name)}")

        def __getitem__(self, key: object) -> NoReturn:
            raise TypeError(
                "a query has no places: write first(), limit(10), or pages() and "
                "resume(page.position)"
            )

        def __len__(self) -> NoReturn:
            raise TypeError("the length of a query is count(), which asks the server")

        def __bool__(self) -> NoReturn:
            raise TypeError("whether a query finds anything is exists(), which asks the server")


def _branch(asked: Asked, path: str) -> list[str]:
    """The first request of a branch, and what its parameters mean."""
    query = asked.query(Start(), asked.most)
    if asked.veil is not None:
        query = asked.veil.query(query)
    return [f"GET {path}?{unquote(query)}", *(f"  {each}" for each in _reasons(asked.filter))]


def _reasons(chosen: Filter) -> list[str]:
    found = []
    if any(name.startswith("has_") for name, _ in chosen.params):
        found.append(
            "has_...: whether a field is there; it is the first, and the only one that every "
            "Kinto heeds"
        )
    if ("not_deleted", "true") in chosen.params:
        found.append("not_deleted: with a condition on last_modified Kinto gives tombstones, too")
    for each in chosen.inexact:
        found.append(
            f"{'.'.join(each.path)}: compared here again, since the server compares its text and "
            "finds more than what is meant"
        )
    return found


def _rest(asked: Asked, links: tuple[Followed, ...]) -> list[str]:
    """What all branches have in common."""
    size = asked.size or DEFAULT_PAGE
    by = "by id, so that no object is skipped or repeated while others write"
    order = by if asked.sort == "id" else f"by {asked.shown_sort}, as the server sorts"
    lines = [f"Sorted {order}."]
    if asked.most is not None and asked.most <= size:
        lines.append(f"At most {asked.most} objects: one page, unless some are left out here.")
    else:
        lines.append(
            f"In pages of {size} objects (all() takes larger ones); each further page is one more "
            "request, fetched while this one is worked on."
        )
    if asked.stored is not None:
        lines.append("Some fields only: these objects cannot be saved.")
    lines += [f"{name}: then one GET for each hundred distinct ids of a page." for name, _ in links]
    return lines
