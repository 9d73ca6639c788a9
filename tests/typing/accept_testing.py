"""What checkers accept of programs that test with the library."""

from collections.abc import Iterator

import pytest

from kinto_orm import AsyncSession, Session
from kinto_orm.testing import Factory
from kinto_orm.testing.faults import (
    Fault,
    Faults,
    cut,
    delay,
    gateway,
    meanwhile,
    refuse,
    time_out,
)
from models import Todo


def test_with_the_fixture(kinto_session: Session, kinto_faults: Faults) -> None:
    kinto_faults.next(cut(), cut(done=True), time_out(), to="write", path="*/todos/*")
    kinto_faults.every(refuse(503, retry_after=0.5), to="PATCH")
    kinto_faults.clear()
    sent: list[str] = kinto_faults.sent
    assert sent == []


async def another() -> None: ...


@pytest.fixture
def faults(kinto_session: Session, kinto_async_session: AsyncSession) -> Iterator[Faults]:
    fault: Fault = meanwhile(another, gateway(502, done=True))
    with Faults(kinto_session, kinto_async_session) as faults:
        faults.next(fault, delay(0.1))
        yield faults


async def test_with_a_factory(kinto_factory: Factory) -> None:
    one: Todo = kinto_factory(Todo, title="x")
    several: list[Todo] = kinto_factory.many(Todo, 3)
    several += kinto_factory.create(Todo, 2, title="x")
    several += await kinto_factory.acreate(Todo, 2)
    assert one.is_new
    assert Factory("a seed")
