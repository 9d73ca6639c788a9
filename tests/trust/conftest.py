"""What the tests of races are given."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kinto_orm import Session
from trust.races import racecourse


@pytest.fixture(scope="module")
def races() -> Iterator[Session]:
    """A session with a server of its own, in two processes, for the races of a file."""
    with racecourse() as session:
        yield session


@pytest.fixture(scope="session")
def rounds(request: pytest.FixtureRequest) -> range:
    """How often each race is run."""
    return range(request.config.getoption("--rounds"))
