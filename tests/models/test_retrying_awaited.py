"""retry_on_conflict on coroutine functions: the same as on functions, awaited."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from both import AnySession, either, either_wire
from conftest import Wire
from kinto_orm import BatchError, Conflict, NotFound, Record, retry_on_conflict

session = either
wire = either_wire

pytestmark = pytest.mark.parametrize("place", [True], indirect=True, ids=["awaited"])


class Counter(Record, collection="todos"):
    visits: int = 0


async def visited_by_others(id: str) -> None:
    """Somebody else writes in between."""
    theirs = await Counter.aget(id)
    theirs.visits += 10
    await theirs.asave()


async def test_it_runs_again_until_nobody_was_faster(session: AnySession) -> None:
    """The function reads inside, so that nothing is lost; its result is given."""
    await Counter(id="home").asave()
    runs: list[int] = []

    @retry_on_conflict(times=3)
    async def count_visit(id: str, *, by: int = 1) -> Counter:
        """Count a visit."""
        page = await Counter.aget(id)
        if len(runs) < 2:
            await visited_by_others(id)
        runs.append(page.visits)
        page.visits += by
        return await page.asave()

    page = await count_visit("home", by=2)
    assert runs == [0, 10, 20]
    assert page.visits == (await Counter.aget("home")).visits == 22
    assert inspect.iscoroutinefunction(count_visit)
    assert (count_visit.__name__, count_visit.__doc__) == ("count_visit", "Count a visit.")


async def test_tasks_that_count_lose_nothing(session: AnySession) -> None:
    """Whoever was second reads again."""
    await Counter(id="home").asave()

    @retry_on_conflict(times=100)
    async def count_visit() -> None:
        page = await Counter.aget("home")
        page.visits += 1
        await page.asave()

    async with asyncio.TaskGroup() as group:
        for _ in range(6):
            group.create_task(count_visit())
    assert (await Counter.aget("home")).visits == 6


@pytest.mark.parametrize("times", [0, 2])
async def test_the_last_conflict_comes_through(session: AnySession, times: int) -> None:
    """When it still conflicts after so many times."""
    await Counter(id="home").asave()
    runs = 0

    @retry_on_conflict(times=times)
    async def count_visit() -> None:
        nonlocal runs
        runs += 1
        page = await Counter.aget("home")
        await visited_by_others("home")
        page.visits += 1
        await page.asave()

    with pytest.raises(Conflict) as caught:
        await count_visit()
    assert runs == times + 1
    assert caught.value.remote.visits == 10 * runs


async def test_other_errors_come_through_at_once(session: AnySession) -> None:
    """Only a Conflict is a reason to run again."""
    runs: list[str] = []

    @retry_on_conflict()
    async def read(id: str) -> Counter:
        runs.append(id)
        return await Counter.aget(id)

    with pytest.raises(NotFound):
        await read("nobody")
    assert runs == ["nobody"]


@pytest.mark.parametrize(("unconfirmed", "runs"), [("raise", 1), ("again", 3)])
async def test_an_unconfirmed_conflict(session: AnySession, unconfirmed: Any, runs: int) -> None:
    """It is let through, unless the function says that it may be done twice."""
    conflict = await conflict_on_creation()
    conflict.unconfirmed = True
    seen: list[int] = []

    @retry_on_conflict(times=2, unconfirmed=unconfirmed)
    async def write() -> None:
        seen.append(1)
        raise conflict

    with pytest.raises(Conflict):
        await write()
    assert len(seen) == runs


async def conflict_on_creation() -> Conflict:
    await Counter(id="taken").asave()
    with pytest.raises(Conflict) as caught:
        await Counter(id="taken").asave()
    return caught.value


async def test_a_batch_of_conflicts_runs_again(session: AnySession) -> None:
    """A BatchError of nothing but conflicts; one that holds anything else comes through."""
    await Counter(id="a").asave()
    runs: list[int] = []

    @retry_on_conflict(times=3)
    async def count_all(*ids: str) -> None:
        runs.append(1)
        pages = [await Counter.aget("a")]
        if len(runs) == 1:
            await visited_by_others("a")
        pages[0].visits += 1
        async with session.batch() as batch:
            batch.save(*pages)
            for id in ids:
                batch.get(Counter, id)

    await count_all()
    assert len(runs) == 2
    assert (await Counter.aget("a")).visits == 11
    runs.clear()
    with pytest.raises(BatchError):
        await count_all("nobody")
    assert len(runs) == 1


async def test_the_loop_goes_on_while_it_waits(session: AnySession) -> None:
    """The wait before the next run blocks nobody, and can be cancelled."""
    conflict = await conflict_on_creation()

    @retry_on_conflict(times=1000)
    async def never() -> None:
        raise conflict

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(never(), 0.3)
    assert time.monotonic() - began < 5


async def test_an_async_generator_is_refused(wire: Wire) -> None:
    """No Conflict reaches the decorator from there."""
    with pytest.raises(TypeError, match="only makes a generator"):

        @retry_on_conflict()
        async def pages() -> AsyncIterator[int]:
            yield 1
