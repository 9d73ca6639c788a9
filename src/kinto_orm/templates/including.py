"""The stored templates that a render takes: fetched together, compiled once.

Which templates include which is known before anything is rendered, so that those of one level
are fetched with one request. What was compiled is kept for the next render.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from kinto_orm.errors import PathError, RenderLimit
from kinto_orm.kv import keypath
from kinto_orm.wire.connection import Connection
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.forking import call_in_children

if TYPE_CHECKING:
    from kinto_orm.rendering import Document, Renderer

Fetch = Callable[[Mapping[str, str]], "Flow[Iterable[Document]]"]
"""Fetches the templates that exist of those asked for: names by record id."""

Drive = Callable[[Flow[Any]], Any]
"""Runs a flow from inside of a render."""

# Collections of one connection whose compiled templates are kept.
_COLLECTIONS = 16

_renderers: WeakKeyDictionary[Connection, OrderedDict[str, Renderer]] = WeakKeyDictionary()
_lock = threading.Lock()


@call_in_children
def _begin_anew() -> None:
    """Keep nothing in a forked child: another thread of the parent may have held a lock."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _renderers.clear()


class Included:
    """A template and those that it includes, extends and imports.

    Args:
        connection: What is compiled is kept for it.
        path: What tells the collections of a server apart.
        document: The template itself, as it is here.
        fetch: Fetches others, as many as possible at once.
        drive: Runs what fetches.
    """

    def __init__(
        self, connection: Connection, path: str, document: Document, fetch: Fetch, drive: Drive
    ) -> None:
        self._connection = connection
        self._path = path
        self._fetch = fetch
        self._drive = drive
        self._name = document.name
        self._found: dict[str, Document | None] = {document.name: document}

    @contextmanager
    def renderer(self, *, look: bool) -> Iterator[Renderer]:
        """The renderer of these templates, for this thread and this block.

        Args:
            look: Look into the templates to fetch those of one level together. Without it they
                are fetched one by one when they are needed, and nothing of them is parsed here.
        """
        token = _current.set(self)
        try:
            renderer = _renderer_of(self._connection, self._path)
            if look:
                self._gather(renderer)
            yield renderer
        finally:
            _current.reset(token)

    def load(self, name: str) -> Document | None:
        """A template by its name; fetched now when no template named it before."""
        if name not in self._found:
            self._take([name])
        return self._found[name]

    def _gather(self, renderer: Renderer) -> None:
        while named := self._named(renderer):
            self._take(named)

    def _named(self, renderer: Renderer) -> list[str]:
        """Names that are not fetched yet.

        Raises:
            RenderLimit: They are more than a render may load. Nothing more is fetched then.
        """
        from kinto_orm.rendering import Limits

        most = Limits().templates
        found = [stored for stored in self._found.values() if stored is not None]
        references = {name for stored in found for name in renderer.references(stored)}
        named = references - self._found.keys()
        if len(named) + len(self._found) > most:
            raise RenderLimit(
                f"template {self._name!r} includes more than {most} templates", name=self._name
            )
        return sorted(named)

    def _take(self, names: Sequence[str]) -> None:
        self._found.update(dict.fromkeys(names))
        ids = dict(identified(names))
        if ids:
            self._found.update((stored.name, stored) for stored in self._drive(self._fetch(ids)))


_current: ContextVar[Included] = ContextVar("kinto_orm_included")


def _load(name: str) -> Document | None:
    return _current.get().load(name)


def _renderer_of(connection: Connection, path: str) -> Renderer:
    """The renderer that keeps what was compiled of a collection."""
    from kinto_orm.rendering import Renderer

    with _lock:
        kept = _renderers.setdefault(connection, OrderedDict())
        renderer = kept.pop(path, None) or Renderer(_load)
        kept[path] = renderer
        if len(kept) > _COLLECTIONS:
            kept.popitem(last=False)
    return renderer


def identified(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Names with their record ids before them; those that nothing can have are left out."""
    for name in names:
        try:
            yield keypath.record_id(name), name
        except PathError:
            continue
