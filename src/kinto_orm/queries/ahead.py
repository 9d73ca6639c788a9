"""The next page, fetched in a thread while the program works on this one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from kinto_orm.queries.pager import Pages
from kinto_orm.wire.driving import run
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.scope import Scope

M = TypeVar("M")
P = TypeVar("P", bound=Sequence[Any])


def pages_of(scope: Scope, pager: Pages[P]) -> Iterator[P]:
    """The pages that have something, the next one being fetched while one is worked on."""
    upcoming: Callable[[], Any] = partial(_fetch, scope, pager)
    while pager.has_more:
        page = pager.take(upcoming())
        if pager.has_more:
            upcoming = Ahead(partial(_fetch, scope, pager)).result
        if page:
            yield page


def items_of(scope: Scope, openings: Iterable[Flow[Pages[Sequence[M]]]]) -> Iterator[M]:
    """What is in the pages that flows open, one after the other."""
    for opening in openings:
        for page in pages_of(scope, run(scope, opening)):
            yield from page


def _fetch(scope: Scope, pager: Pages[Any]) -> Any:
    return run(scope, pager.fetching())


class Ahead:
    """A page that is fetched in a thread of its own, before it is needed.

    Nobody waits for one that is not needed after all, not even the end of the program.
    """

    def __init__(self, fetch: Callable[[], Any]) -> None:
        self._fetch = fetch
        self._reply: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="kinto-orm-page", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._reply = self._fetch()
        except BaseException as error:  # noqa: BLE001  (it is raised where the page is needed)
            self._error = error

    def result(self) -> Any:
        """Wait for it."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        # In a forked child there is no such thread.
        return self._fetch() if self._reply is None else self._reply
