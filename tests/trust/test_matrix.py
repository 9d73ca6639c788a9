"""A part of the fault matrix; `make trust` runs all of it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import pytest

from trust.cells import Cell, Laboratory
from trust.faces import FACES
from trust.operations import OPERATIONS, Operation

# One cell in so many on each session; which ones depends on their names only.
SHARE = 256
# These wait: a few of them are enough here.
SLOW = ("timeout", "drip", "lasting", "backoff")


@pytest.fixture(scope="module", params=FACES)
def laboratory(request: pytest.FixtureRequest) -> Iterator[Laboratory]:
    laboratory = Laboratory(request.param)
    yield laboratory
    laboratory.close()


def _is_chosen(cell: Cell, session: str) -> bool:
    slow = any(word in cell.fault.name for word in SLOW)
    return zlib.crc32(f"{cell} {session}".encode()) % (SHARE * 8 if slow else SHARE) == 0


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_nothing_is_lost_or_wrongly_believed(operation: Operation, laboratory: Laboratory) -> None:
    """What is acknowledged is stored, what is not is a documented error, and one can go on."""
    wrong = {
        str(cell): found
        for cell in laboratory.cells(operation)
        if _is_chosen(cell, laboratory.face.name) and (found := laboratory.run(cell).wrong)
    }
    assert not wrong, wrong
