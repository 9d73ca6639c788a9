"""Embedded Kintos with a name, shared by the sessions of this process."""

from __future__ import annotations

import threading

from kinto_orm.server.embedded import EmbeddedServer, open_memory
from kinto_orm.wire.forking import call_in_children

_open: dict[str, _Named] = {}
_opening = threading.Lock()


@call_in_children
def _begin_anew() -> None:
    """Open others of these names in a forked child: what is here are copies of the parent's."""
    global _opening  # noqa: PLW0603
    _opening = threading.Lock()
    _open.clear()


def open_named(name: str) -> EmbeddedServer:
    """Open the memory Kinto of this name; it ends when the last one who opened it closes it.

    Args:
        name: Any text; the empty one stands for a private Kinto.
    """
    if not name:
        return open_memory()
    with _opening:
        named = _open.get(name)
        if named is None:
            named = _open[name] = _Named(name)
        named.users += 1
    return named.entrance()


class _Named:
    """What the sessions of one name share."""

    def __init__(self, name: str) -> None:
        self.users = 0
        self._name = name
        self._server = open_memory()

    def entrance(self) -> EmbeddedServer:
        return self._server.shared(on_close=self._leave)

    def _leave(self) -> None:
        with _opening:
            self.users -= 1
            if self.users == 0:
                del _open[self._name]
                self._server.close()
