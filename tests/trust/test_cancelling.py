"""A task may be cancelled wherever it waits: beliefs stay true, and the session goes on."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import product
from typing import Any

import pytest

from kinto_orm import AsyncSession, Conflict, Record, Retry, Template
from kinto_orm.server import open_memory, serve
from trust.answers import hang
from trust.cells import Cell, Laboratory
from trust.faults import Fault
from trust.operations import OPERATIONS, Operation
from trust.proxy import Exchange, Proxy, Received
from trust.share import share_of
from trust.stops import Stop
from trust.verdict import Outcome

# Of the points where operations wait, one in so many; with --rounds 200 all of them.
SHARE = 32
MANY_ROUNDS = 100
# No request meets it: the task is cancelled by what is around it.
STOPPED = Fault("stopped", "cancelled", hang, cancels=True)
AUTH = ("alice", "of-no-importance")
# On `memory://`, and through the proxy.
SIDES = ("memory", "proxy")


class Todo(Record, collection="todos"):
    title: str = ""
    done: bool = False


@pytest.fixture(scope="module", autouse=True)
def frozen() -> Iterator[None]:
    """Let each collection walk through what a test has made, and not through all that is loaded."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


# Every operation, at every point


@pytest.fixture(scope="module")
def laboratory(request: pytest.FixtureRequest) -> Iterator[Laboratory]:
    laboratory = Laboratory("AsyncSession", embedded=request.param == "memory")
    yield laboratory
    laboratory.close()


@pytest.fixture(scope="module")
def share(request: pytest.FixtureRequest) -> int:
    return SHARE if _is_a_part(request.config) else 1


def _is_a_part(config: pytest.Config) -> bool:
    return bool(config.getoption("--rounds") <= MANY_ROUNDS)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try each operation on both sides; of a part only on one, which its name says."""
    if "laboratory" not in metafunc.fixturenames:
        return
    one_in = len(SIDES) if _is_a_part(metafunc.config) else 1
    tried = [(o, side) for o in OPERATIONS for side in share_of(SIDES, one_in, o.name)]
    names = [f"{operation.name}-{side}" for operation, side in tried]
    metafunc.parametrize(("operation", "laboratory"), tried, indirect=["laboratory"], ids=names)


def test_any_wait_may_be_cancelled(
    operation: Operation, laboratory: Laboratory, share: int
) -> None:
    """It ends cancelled; what is stored is whole, and doing it again does it once."""
    wrong = {}
    points = product(range(1, laboratory.plain(operation).waits + 1), (False, True))
    for number, late in share_of(points, share, operation.name):
        outcome = stopped(laboratory, operation, number, late=late)
        if outcome is not None and outcome.wrong:
            wrong[number, late] = outcome.wrong
    gc.collect()
    assert not wrong, wrong
    assert not laboratory.face.left


def stopped(
    laboratory: Laboratory, operation: Operation, number: int, *, late: bool
) -> Outcome | None:
    """What becomes of an operation that is cancelled at a point; None when it has no such one."""
    stops: list[Stop] = []

    def around(work: Awaitable[Any]) -> Stop:
        stops.append(Stop(work, number, late=late))
        return stops[0]

    outcome = laboratory.run(Cell(operation, STOPPED, 0), around)
    return outcome if stops[0].waits >= number else None


# The ways in which programs cancel


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    """A Kinto with 40 records and two templates, and a proxy that may hold its answers."""
    with open_memory() as kinto, serve(kinto) as served, Proxy(served.url) as proxy:
        yield proxy


@pytest.fixture
async def session(proxy: Proxy) -> AsyncIterator[AsyncSession]:
    """A session over the proxy, in whose task nothing may be left behind."""
    complaints: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: complaints.append(str(context)))
    others = asyncio.all_tasks()
    session = AsyncSession(proxy.url, auth=AUTH, collection="todos", retry=Retry(deadline=20))
    async with session:
        await session.save_all([Todo(id=f"t{n}", title=f"t{n}") for n in range(40)], force=True)
        yield session
        proxy.disarm()
        await asyncio.sleep(0)
        left = asyncio.all_tasks() - others - {asyncio.current_task()}
        assert not left, left
        await everybody_gets_his_own(session)
        await session.delete_all(session.find(Todo), force=True)
    gc.collect()
    assert not complaints, complaints


async def everybody_gets_his_own(session: AsyncSession) -> None:
    asked = [f"t{number}" for number in range(40)]
    found = await asyncio.gather(*(Todo.aget_or_none(each) for each in asked))
    assert {each.id for each in found if each} <= set(asked)
    assert all(each is None or each.id == id for each, id in zip(found, asked, strict=True))


class Held:
    """The proxy holds the answers to some requests.

    Args:
        proxy: It.
        which: Says of a request whether its answer is held.
        done: Whether the server has done by then what was asked for.
    """

    def __init__(
        self, proxy: Proxy, which: Callable[[Received], bool], *, done: bool = False
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._done = done
        self._arrived = asyncio.Semaphore(0)
        proxy.arm(lambda number, request: self._play if which(request) else None)

    def _play(self, exchange: Exchange) -> None:
        if self._done:
            exchange.forward()
        self._loop.call_soon_threadsafe(self._arrived.release)
        exchange.hold()
        exchange.close()

    async def arrived(self, count: int = 1) -> None:
        """Wait until so many requests are held."""
        async with asyncio.timeout(20):
            for _ in range(count):
                await self._arrived.acquire()


def writes(request: Received) -> bool:
    return request.method not in ("GET", "HEAD")


def is_later_page(request: Received) -> bool:
    return "gt_id" in request.target


async def cancelled(task: asyncio.Task[Any]) -> asyncio.CancelledError:
    """Cancel a task, and wait for its end."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    return caught.value


@pytest.mark.parametrize("done", [False, True])
async def test_a_save_that_takes_too_long_is_settled_by_the_next(
    session: AsyncSession, proxy: Proxy, done: bool
) -> None:
    """When it was done, nobody can tell by whom: a conflict says so, and merges."""
    todo = await Todo.aget("t1")
    todo.done = True
    held = Held(proxy, writes, done=done)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await todo.asave()
    await held.arrived()
    proxy.disarm()
    if done:
        with pytest.raises(Conflict) as caught:
            await todo.asave()
        assert caught.value.unconfirmed
        assert not caught.value.fields
        todo = await caught.value.merge().asave()
    else:
        await todo.asave()
    assert (await Todo.aget("t1")).done
    assert not todo.diff()


async def test_a_creation_under_an_own_id_is_settled_without_a_conflict(
    session: AsyncSession, proxy: Proxy
) -> None:
    """Nobody else can have written under a random id."""
    todo = Todo(title="new")
    held = Held(proxy, writes, done=True)
    task = asyncio.create_task(todo.asave())
    await held.arrived()
    await cancelled(task)
    proxy.disarm()
    assert (await todo.asave()).last_modified
    assert await session.find(Todo, Todo.title == "new").acount() == 1


async def test_a_group_ends_with_its_first_failure(session: AsyncSession, proxy: Proxy) -> None:
    """The others are cancelled; their objects are saved later."""
    todos = [await Todo.aget(f"t{number}") for number in range(3)]
    held = Held(proxy, writes)

    async def fail() -> None:
        await held.arrived(3)
        raise LookupError

    async def save_and_fail() -> None:
        async with asyncio.TaskGroup() as group:
            for each in todos:
                each.done = True
                group.create_task(each.asave())
            group.create_task(fail())

    with pytest.raises(ExceptionGroup):
        await save_and_fail()
    proxy.disarm()
    await session.save(*todos)
    assert await session.find(Todo, Todo.done == True).acount() == 3


@pytest.mark.parametrize("done", [False, True])
async def test_save_all_ends_all_its_workers(
    session: AsyncSession, proxy: Proxy, done: bool
) -> None:
    """It says how far it came, and what was under way is unknown until the next time."""
    todos = [Todo(title=f"new {number}") for number in range(75)]
    held = Held(proxy, writes, done=done)
    task = asyncio.create_task(session.save_all(todos, workers=3))
    await held.arrived(3)
    error = await cancelled(task)
    assert error.__notes__ == ["until then: 75 failed"]
    proxy.disarm()
    summary = await session.save_all(todos, workers=3)
    assert summary.created == 75, summary
    assert await session.find(Todo).acount() == 75 + 40


class Opened:
    """An iterable, as a query is one: each iteration opens something."""

    def __init__(self) -> None:
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[Todo]:
        try:
            for number in range(100):
                yield Todo(title=f"new {number}")
        finally:
            self.is_closed = True


async def test_save_all_closes_what_it_iterates(session: AsyncSession, proxy: Proxy) -> None:
    """What it opened itself ends with it, when it is cancelled, too: a page ahead for one."""
    objects = Opened()
    held = Held(proxy, writes)
    task = asyncio.create_task(session.save_all(objects))
    await held.arrived()
    await cancelled(task)
    assert objects.is_closed
    proxy.disarm()


async def test_save_all_leaves_open_what_it_is_given(session: AsyncSession) -> None:
    """Whoever made an iterator may go on with it after an error."""
    objects = aiter(Opened())

    async def fail(summary: object) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await session.save_all(objects, progress=fail)
    assert (await anext(objects)).title
    await objects.aclose()  # type: ignore[attr-defined]


async def test_a_batch_is_unknown_and_can_be_sent_again(
    session: AsyncSession, proxy: Proxy
) -> None:
    """Its objects know that they may be saved."""
    todos = [await Todo.aget(f"t{number}") for number in range(3)]
    held = Held(proxy, writes, done=True)

    async def send() -> None:
        async with session.batch() as batch:
            for each in todos:
                each.done = True
                batch.save(each)

    task = asyncio.create_task(send())
    await held.arrived()
    await cancelled(task)
    proxy.disarm()
    summary = await session.save_all(todos)
    errors = [each.error for each in summary.failed]
    assert len(errors) == 3
    assert all(isinstance(each, Conflict) and each.unconfirmed for each in errors)


async def test_leaving_early_cancels_the_page_ahead(session: AsyncSession, proxy: Proxy) -> None:
    """Nobody waits for it, and its connection answers nobody else."""
    held = Held(proxy, is_later_page)
    async for each in session.find(Todo).page_size(10):
        assert each.title == each.id
        await held.arrived()
        break
    await asyncio.sleep(0.05)
    proxy.disarm()


@pytest.mark.parametrize("ahead", [False, True])
async def test_an_iteration_may_be_cancelled(
    session: AsyncSession, proxy: Proxy, ahead: bool
) -> None:
    """While it waits for a page, and while the program works on one."""
    held = Held(proxy, is_later_page)
    working = asyncio.Event()

    async def iterate() -> None:
        async for _ in session.find(Todo).page_size(10):
            if ahead:
                working.set()
                await asyncio.Event().wait()

    task = asyncio.create_task(iterate())
    await held.arrived()
    if ahead:
        await working.wait()
    await cancelled(task)
    await asyncio.sleep(0.05)
    proxy.disarm()


@pytest.mark.parametrize("asking", [False, True])
async def test_following_ends_by_a_cancel(
    session: AsyncSession, proxy: Proxy, asking: bool
) -> None:
    """While it asks, and while it waits until it asks again."""
    seen: list[str] = []
    held = Held(proxy, lambda request: asking and bool(seen) and not writes(request))

    async def follow() -> None:
        async for change in session.find(Todo).afollow(interval=0.01 if asking else 60):
            seen.append(change.id)

    task = asyncio.create_task(follow())
    if asking:
        await held.arrived()
    while len(seen) < 40:
        await asyncio.sleep(0.01)
    await cancelled(task)
    proxy.disarm()


@pytest.mark.parametrize("isolation", ["none", "process"])
async def test_a_render_ends_what_its_thread_asks_for(
    session: AsyncSession, proxy: Proxy, isolation: Any
) -> None:
    """A thread cannot be stopped: what it waits for is, and it gets nothing more."""
    await Template(name="base", source="<{% block x %}{% endblock %}>").asave(force=True)
    page = Template(name="page", source='{% extends "base" %}{% block x %}{{ a }}{% endblock %}')
    await page.asave(force=True)
    await session.kv.set("a", 1)
    held = Held(proxy, lambda request: "templates" in request.target)
    task = asyncio.create_task(page.arender(isolation=isolation))
    await held.arrived()
    await cancelled(task)
    proxy.disarm()
    assert await page.arender(isolation=isolation) == "<1>"


async def test_cancels_among_many_gets_reach_nobody_else(
    session: AsyncSession, proxy: Proxy
) -> None:
    """Of 400 gets at the same time each third is cancelled, sooner or later."""
    tasks = [asyncio.create_task(Todo.aget(f"t{number % 40}")) for number in range(400)]
    for index, task in enumerate(tasks[::3]):
        await asyncio.sleep(0.001 if index % 4 == 0 else 0)
        task.cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    for number, each in enumerate(found):
        if isinstance(each, asyncio.CancelledError):
            assert number % 3 == 0
        else:
            assert isinstance(each, Todo), each
            assert each.id == each.title == f"t{number % 40}"


async def test_a_cancel_leaves_the_embedded_server_in_order() -> None:
    """What was begun there is done to its end; what was not is never begun."""
    async with AsyncSession("memory://", collection="todos") as session:
        await session.save_all([Todo(id=f"t{number}", title=f"t{number}") for number in range(40)])
        threads = threading.active_count()
        tasks = [asyncio.create_task(Todo.aget(f"t{number % 40}")) for number in range(200)]
        await asyncio.sleep(0.005)
        for task in tasks[::2]:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(
            isinstance(each, asyncio.CancelledError) or each.id == f"t{number % 40}"
            for number, each in enumerate(found)
        )
        await everybody_gets_his_own(session)
        assert threading.active_count() == threads
