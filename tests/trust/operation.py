"""One operation: how it is prepared, what is done, and what it is about."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any

from trust.world import World

Prepare = Callable[[World], Any]
Act = Callable[[World, Any], Awaitable[Any]]

ONE = "collections/todos/records/one"
NEW = "collections/todos/records/<new>"
KEY = "collections/kv/records/a"
TEMPLATE = "collections/templates/records/page"


@dataclass(frozen=True)
class Operation:
    """One row of the table.

    Attributes:
        name: Unique.
        prepare: Makes what is there before; gives what `act` works with. A function, or a
            coroutine function.
        act: Does it; gives what a user sees of it. Its verbs are those of `world.do(...)`.
        target: The path of the object that other writers write to; empty for none.
        overwrites: Whether it sets no precondition, so that another's write may be lost.
        claims: Whether its result claims that this program did it (not merely that it is so).
        appends: Whether doing it twice stores twice, so that after an error it is not done again
            when it was done.
        takes: Whether it removes what is there by then, and gives it.
        makes: Whether it makes its object when there is none, also one that another deleted.
        undoes: Whether doing it again takes what others did since for what is to be undone.
        keeps: Whether the object keeps changes that are not saved.
        steps: Whether it writes one object in several steps, so that an error may come between.
        dry: Whether it runs dry, so that nothing that writes may be sent.
        longer: Seconds by which the server's own work may take longer than that of others.
        skips: How many of its first requests meet no fault: other operations have the same.
        personal: Whether it works in the user's personal bucket.
        excused: Faults, or what other writers may do, that are left out, and why.
    """

    name: str
    prepare: Prepare
    act: Act
    target: str = ""
    overwrites: bool = False
    claims: Callable[[Any], bool] = lambda result: True
    appends: bool = False
    takes: bool = False
    makes: bool = False
    undoes: bool = False
    keeps: bool = False
    steps: bool = False
    dry: bool = False
    longer: float = 0.0
    skips: int = 0
    personal: bool = False
    excused: Mapping[str, str] = field(default_factory=dict)

    async def prepared(self, world: World) -> Any:
        """Make what is there before."""
        found = self.prepare(world)
        return await found if isawaitable(found) else found


OPERATIONS: list[Operation] = []


def operation(
    target: str = "",
    *,
    prepare: Prepare = lambda world: None,
    **options: Any,
) -> Callable[[Act], Act]:
    def add(act: Act) -> Act:
        name = act.__name__.strip("_")
        OPERATIONS.append(Operation(name, prepare, act, target, **options))
        return act

    return add


def nothing(result: Any) -> bool:
    """The result claims only that it is so, not that this program did it."""
    return False
