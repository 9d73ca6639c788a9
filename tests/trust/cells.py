"""One cell of the matrix: an operation, a fault, and the number of the request that meets it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from kinto_orm import KintoError
from kinto_orm.server import EmbeddedServer, LoopbackServer, serve
from kinto_orm.server.named import open_named
from trust.direct import Direct
from trust.faces import FACES
from trust.faults import FAULTS, Fault
from trust.operations import OPERATIONS, Operation
from trust.proxy import Exchange, Proxy, Received
from trust.stops import Stop
from trust.verdict import Judge, Outcome, Plain, mark
from trust.world import PASSWORD, World

MOST_REQUESTS = 5
Around = Callable[[Awaitable[Any]], Awaitable[Any]]
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        operation: The row.
        fault: The column.
        number: Which request meets the fault, 1-based.
    """

    operation: Operation
    fault: Fault
    number: int

    def __str__(self) -> str:
        return f"{self.operation.name}:{self.fault.name}:{self.number}"


class Laboratory:
    """A Kinto, a proxy in front of it, and what the operations do when nothing goes wrong.

    Args:
        session: The name of the class of session that is tested.
        embedded: Whether the session is one on `memory://`, past the proxy.
    """

    def __init__(self, session: str = "Session", *, embedded: bool = False) -> None:
        self.face = FACES[session]()
        name = f"trust{next(_numbers)}"
        self._kinto: EmbeddedServer = open_named(name)
        self._http: LoopbackServer = serve(self._kinto)
        self._proxy = Proxy(self._http.url)
        self._proxy.interrupt = self.face.interrupt
        self._url = f"memory://{name}" if embedded else self._proxy.url
        self._direct = Direct(self._http.url, ("alice", PASSWORD))
        self._plain: dict[str, Plain] = {}
        self._log = _Log()
        logging.getLogger().addHandler(self._log)

    def close(self) -> None:
        logging.getLogger().removeHandler(self._log)
        self._direct.close()
        self.face.close()
        self._proxy.close()
        self._http.close()
        self._kinto.close()

    def cells(self, operation: Operation) -> Iterator[Cell]:
        """All cells of an operation."""
        first = operation.skips
        received = self.plain(operation).received[first : first + MOST_REQUESTS]
        for fault in FAULTS:
            if fault.cancels and self.face.name == "Session":
                continue
            if fault.other and not self._can_meet(operation, fault.other):
                continue
            if operation.excused.keys() & {fault.name, fault.other}:
                continue
            for number, request in enumerate(received, first + 1):
                if fault.only(request):
                    yield Cell(operation, fault, number)

    def _can_meet(self, operation: Operation, other: str) -> bool:
        """Whether others can know the object that is written, and can write to it like that."""
        plain, target = self.plain(operation), operation.target
        if "<" in target or target not in plain.changed:
            return False
        before, after = plain.before.get(target), plain.after.get(target)
        if other != "data" or not after:
            return other != "data"
        return (
            after["permissions"] != (before or {"permissions": {"write": ["<me>"]}})["permissions"]
        )

    def plain(self, operation: Operation) -> Plain:
        """What an operation does when nothing goes wrong."""
        if operation.name not in self._plain:
            self._plain[operation.name] = self._without_fault(operation)
        return self._plain[operation.name]

    def _without_fault(self, operation: Operation) -> Plain:
        world = self._world(operation, patient=True)
        try:
            subject = world.run(operation.prepared(world))
            before = world.look(operation.target)
            self._proxy.arm(None)
            stop = Stop(operation.act(world, subject))
            result = world.run(stop)
            received = self._proxy.disarm()
            after = world.look(operation.target)
            named, read = world.named(result), world.named(world.read)
            return Plain(before, after, named, read, received, stop.waits)
        finally:
            world.close()

    def _world(self, operation: Operation, *, patient: bool) -> World:
        # Kinto in memory walks through all that the cells before left.
        self._kinto.flush()
        direct = self._direct
        if operation.personal:
            # A personal bucket is the user's only one.
            direct = Direct(self._http.url, (f"alice{next(_numbers)}", PASSWORD))
        self._proxy.forget()
        return World(self._url, self.face, direct, personal=operation.personal, patient=patient)

    def _ready(self, operation: Operation, *, patient: bool) -> tuple[World, Any]:
        """A world, and what the operation acts on.

        No fault is armed: when no answer comes, the machine is slow, and all is begun anew.
        """
        for last in (False, False, False, False, True):
            world = self._world(operation, patient=patient)
            try:
                return world, world.run(operation.prepared(world))
            except BaseException as error:
                world.close()
                if last or not isinstance(error, KintoError):
                    raise
        raise AssertionError

    def run(self, cell: Cell, around: Around = lambda work: work) -> Outcome:
        """Try one cell and judge it.

        Args:
            cell: Which.
            around: Is given what the operation awaits, and awaits it.
        """
        plain = self.plain(cell.operation)
        # When a machine is busy, a cancel must not come after the end of what it is to end.
        world, subject = self._ready(cell.operation, patient=cell.fault.cancels)
        try:
            outcome = self._act(cell, world, subject, plain, around)
            judge = Judge(cell.operation, cell.fault, plain, world)
            judge.all(subject, outcome)
            return outcome
        finally:
            world.close()

    def told(self, cell: Cell) -> list[str]:
        """Try one cell, and say only what is wrong with what the user is told."""
        plain = self.plain(cell.operation)
        world, subject = self._ready(cell.operation, patient=False)
        try:
            outcome = self._act(cell, world, subject, plain)
            return list(Judge(cell.operation, cell.fault, plain, world).errors(outcome))
        finally:
            world.close()

    def _act(
        self,
        cell: Cell,
        world: World,
        subject: Any,
        plain: Plain,
        around: Around = lambda work: work,
    ) -> Outcome:
        outcome = Outcome()
        self._log.records = outcome.records
        self.face.left.clear()
        other = partial(_write_as_another, cell, world, plain) if cell.fault.other else None
        first = cell.number if cell.fault.refuses else None
        self._proxy.arm(partial(_choice, cell, other), refuse_from=first)
        start = time.monotonic()
        try:
            with _warnings(outcome.left):
                work = around(cell.operation.act(world, subject))
                outcome.result = world.named(world.run(work))
        except (Exception, asyncio.CancelledError) as error:
            outcome.error = error
        outcome.seconds = time.monotonic() - start
        if cell.fault.cancels:
            self._proxy.settle()
            outcome.left += world.run(world.crosswise())
        outcome.received = self._proxy.disarm()
        self._log.records = []
        outcome.left += self.face.left
        outcome.stored = world.look(cell.operation.target, plain.lists)
        return outcome


@contextmanager
def _warnings(left: list[str]) -> Iterator[None]:
    """Note warnings of what was left behind, such as a coroutine that nobody awaited."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            kinds = (RuntimeWarning, ResourceWarning)
            left += [str(each.message) for each in found if issubclass(each.category, kinds)]


def _choice(cell: Cell, other: Any, number: int, request: Received) -> Any:
    """The fault of a request, if it is its turn."""
    turn = number >= cell.number if cell.fault.lasting else number == cell.number
    if not turn or cell.fault.refuses or not cell.fault.only(request):
        return None
    if other is None:
        return cell.fault.play
    return partial(_with_another, cell.fault, other)


def _with_another(fault: Fault, other: Any, exchange: Exchange) -> None:
    if fault.done:
        exchange.after = other
    else:
        exchange.let(other)
    fault.play(exchange)


def _write_as_another(cell: Cell, world: World, plain: Plain) -> None:
    """What another writer does to the object of the operation."""
    target = cell.operation.target
    path = world.real(target)
    wanted = plain.after.get(target)
    if cell.fault.other == "different":
        if "/kv" in target:
            world.put("collections/kv", {})
        if "/templates" in target:
            world.put("collections/templates", {})
        now = world.direct.read(world.bucket, target)
        world.direct.ask("PUT", path, {"data": mark(now, target)})
    elif cell.fault.other == "deleted" or wanted is None:
        world.direct.ask("DELETE", path)
    else:
        if "/kv" in target or "/templates" in target:
            world.put(target.rsplit("/", 2)[0], {})
        body = {"data": wanted["data"]} if cell.fault.other == "data" else wanted
        world.direct.ask("PUT", path, world.as_sent(body))


class _Log(logging.Handler):
    """Keeps what is logged meanwhile."""

    records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def chosen(names: list[str], laboratory: Laboratory) -> Iterator[Cell]:
    """The cells that are named: `operation`, `operation:fault` or `operation:fault:number`."""
    for name in names:
        operation, fault, number = (*name.split(":"), "", "")[:3]
        for each in OPERATIONS:
            if operation not in ("", each.name):
                continue
            for cell in laboratory.cells(each):
                if fault in ("", cell.fault.name) and number in ("", str(cell.number)):
                    yield cell
