"""What a forked child must not share with its parent: sockets, and locks that a thread held."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol
from weakref import WeakSet


class Shared(Protocol):
    """Something that is of use to one process only."""

    def after_fork(self) -> None:
        """Make it anew, in the child; no lock may be waited for, its holder is not here."""


_shared: WeakSet[Shared] = WeakSet()


def renew_in_children(thing: Shared) -> None:
    """Have `thing.after_fork()` called in each forked child, as long as it lives."""
    _shared.add(thing)


def call_in_children(function: Callable[[], None]) -> None:
    """Have a function called in each forked child."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


def _renew() -> None:
    for thing in list(_shared):
        thing.after_fork()


call_in_children(_renew)
