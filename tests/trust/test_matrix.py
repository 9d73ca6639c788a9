"""A part of the fault matrix; `make trust` runs all of it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from functools import cache

import pytest

from trust.cells import Cell, Laboratory
from trust.faces import FACES
from trust.operations import OPERATIONS, Operation
from trust.share import share_of

# Half of the operations, and of each one cell in so many; which ones depends on their names only.
_HALF = share_of((each.name for each in OPERATIONS), 2)
SHARE = 256
# These wait: a few of them are enough here.
SLOW = ("timeout", "drip", "lasting", "backoff")
SLOW_SHARE = SHARE * 8


@pytest.fixture(scope="module")
def laboratories() -> Iterator[Callable[[str], Laboratory]]:
    """One for each session, made when it is first asked for."""
    with ExitStack() as stack:
        yield cache(lambda name: stack.enter_context(closing(Laboratory(name))))


def _session_of(operation: Operation) -> str:
    """The session on which an operation is tried here; `make trust` tries both."""
    return share_of(FACES, len(FACES), operation.name)[0]


def _is_slow(cell: Cell) -> bool:
    return any(word in cell.fault.name for word in SLOW)


def _chosen(cells: Iterable[Cell], session: str) -> list[Cell]:
    """Some of the quick ones of each operation, and a few of the slow ones of all."""
    cells = list(cells)
    slow = [each for each in cells if _is_slow(each)]
    rare = [each for each in slow if not zlib.crc32(f"{each} {session}".encode()) % SLOW_SHARE]
    return share_of((each for each in cells if not _is_slow(each)), SHARE, session) + rare


@pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS if each.name in _HALF], ids=lambda each: each.name
)
def test_nothing_is_lost_or_wrongly_believed(
    operation: Operation, laboratories: Callable[[str], Laboratory]
) -> None:
    """What is acknowledged is stored, what is not is a documented error, and one can go on."""
    laboratory = laboratories(_session_of(operation))
    wrong = {
        str(cell): found
        for cell in _chosen(laboratory.cells(operation), laboratory.face.name)
        if (found := laboratory.run(cell).wrong)
    }
    assert not wrong, wrong
