"""kinto_orm.testing.faults: a program meets what it asked for, on both sessions and each server."""

from __future__ import annotations

import math
import time
from asyncio import Event, TaskGroup, gather
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from both import AnySession, Place, do, either, entered
from faults import FaultyServer, passed_on, played
from kinto_orm import (
    AsyncSession,
    BadReply,
    BatchError,
    ConfigurationError,
    Conflict,
    ConnectFailed,
    Forbidden,
    InvalidData,
    KintoError,
    NotFound,
    Record,
    Retry,
    ServerError,
    Session,
    Timeout,
    Unauthorized,
    Unsupported,
)
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

session = either


class Todo(Record, collection="todos"):
    """A record of a program under test."""

    title: str
    done: bool = False


NOT_DONE = [cut(), time_out(), gateway(), gateway(504), refuse(503, retry_after=0), refuse(429)]
DONE = [cut(done=True), time_out(done=True), gateway(done=True), gateway(504, done=True)]


@pytest.mark.parametrize("server_name", ["memory", "http", "sqlite"])
@pytest.mark.parametrize("fault", [*NOT_DONE, *DONE], ids=repr)
async def test_what_passes_is_met_once(session: AnySession, fault: Fault) -> None:
    """The next write meets it and is tried again: done once, and nobody else's."""
    with Faults(session) as faults:
        faults.next(fault, to="write")
        todo = await do(Todo(title="x").save)
        assert len(faults.sent) in (2, 3)  # when the answer was lost, it looks whose write it was
    assert await do(Todo.get, todo.id) == todo


LASTING: list[tuple[Fault, type[KintoError], bool]] = [
    (cut(), ConnectFailed, False),
    (cut(done=True), ConnectFailed, True),
    (time_out(), Timeout, False),
    (time_out(done=True), Timeout, True),
    (gateway(), ServerError, False),
    (gateway(200), BadReply, False),
    (gateway(200, done=True), BadReply, True),
    (refuse(503, retry_after=0), ServerError, False),
    (refuse(429), ServerError, False),
    (refuse(400), InvalidData, False),
    (refuse(401), Unauthorized, False),
    (refuse(403), Forbidden, False),
    (refuse(404), NotFound, False),
    (refuse(405), Unsupported, False),
    (refuse(500), ServerError, False),
]


@pytest.mark.parametrize(("fault", "error", "done"), LASTING, ids=repr)
async def test_what_lasts_is_an_error(
    place: Place, fault: Fault, error: type[KintoError], done: bool
) -> None:
    """It is the same error, with the same word on what was done, as over a socket."""
    found = []
    async with entered(place.session(bucket="default", retry=None)) as session:
        stored = await do(Todo(title="x").save)
        for title in ("there", "there, over a socket"):
            stored.title = title
            with pytest.raises(error) as caught:
                await _patched(session, place, stored, fault, over_socket="," in title)
            seen = await do(Todo.get, stored.id)
            assert seen.title == (title if done else "x")
            found.append((type(caught.value), caught.value.lost))
            stored.title = "x"
            await do(stored.save, force=True)
    assert found[0] == found[1]


async def _patched(
    session: AnySession, place: Place, todo: Todo, fault: Fault, *, over_socket: bool
) -> None:
    """Change its title, where a fault is met."""
    if not over_socket or place.name != "http":
        with Faults(session) as faults:
            faults.every(fault, to="PATCH")
            await do(Todo.patch, todo.id, title=todo.title)
        return
    with FaultyServer(passed_on, played(fault), upstream=place.url) as server:
        async with entered(
            place.session(server.url, timeout=(3, 0.3), retry=None, bucket="default")
        ) as other:
            await do(other.server_info)
            await do(Todo.patch, todo.id, title=todo.title)


async def test_a_true_conflict(session: AnySession) -> None:
    """Somebody writes just before the request arrives: it is lost, and nothing is overwritten."""
    todo = await do(Todo(title="x").save)
    todo.done = True
    with Faults(session) as faults:
        faults.next(meanwhile(lambda: do(Todo.patch, todo.id, title="theirs")), to="PATCH")
        if isinstance(session, AsyncSession):
            with pytest.raises(Conflict) as caught:
                await todo.asave()
            assert caught.value.remote.title == "theirs"
            return
        with pytest.raises(ConfigurationError, match="meanwhile"):
            todo.save()


@pytest.mark.parametrize("lasting", [False, True])
async def test_what_the_function_sends_meets_nothing(session: AnySession, lasting: bool) -> None:
    """Neither what it came from, nor what is for the next request of the program."""
    todo = await do(Todo(title="x").save)
    patched: list[str] = []

    def act() -> Any:
        patched.append("theirs")
        if isinstance(session, AsyncSession):
            return gather(*[Todo.apatch(todo.id, title=each) for each in ("theirs", "theirs")])
        return Todo.patch(todo.id, title="theirs")

    with Faults(session) as faults:
        if lasting:
            faults.every(meanwhile(act, refuse(403)), to="PATCH")
        else:
            faults.next(meanwhile(act), refuse(403), to="PATCH")
            await do(Todo.patch, todo.id, title="mine")
        with pytest.raises(Forbidden):
            await do(Todo.patch, todo.id, title="mine, too")
        assert patched == ["theirs"]
        assert (await do(Todo.get, todo.id)).title == ("theirs" if lasting else "mine")
        theirs = 2 if isinstance(session, AsyncSession) else 1
        assert len(faults.sent) == theirs + (2 if lasting else 3)


async def test_others_meet_it_while_the_function_is_awaited() -> None:
    """Only what it sends itself is left out, not what other tasks send at that time."""
    begun, over = Event(), Event()

    async def act() -> None:
        begun.set()
        await over.wait()

    async with AsyncSession("memory://", retry=None) as session:
        await session.server_info()
        with Faults(session) as faults:
            faults.next(meanwhile(act), refuse(400), to="write")
            async with TaskGroup() as tasks:
                first = tasks.create_task(Todo(title="x").asave())
                await begun.wait()
                with pytest.raises(InvalidData):
                    await Todo(title="y").asave()
                over.set()
            assert (await first).title == "x"


def test_a_function_that_fails_leaves_nothing_behind() -> None:
    """Its error is told, and the next request meets what is for it."""
    with Session("memory://", retry=None) as session, Faults(session) as faults:
        faults.next(meanwhile(lambda: 1 / 0), refuse(403))
        with pytest.raises(ZeroDivisionError):
            session.server_info()
        with pytest.raises(Forbidden):
            session.server_info()


def test_a_function_may_have_faults_of_its_own() -> None:
    """They are begun in it, so that what it sends is to meet them."""

    def act() -> None:
        with Faults(session) as own:
            own.next(refuse(401))
            with pytest.raises(Unauthorized):
                session.server_info()

    with Session("memory://", retry=None) as session, Faults(session) as faults:
        faults.every(meanwhile(act, refuse(403)))
        with pytest.raises(Forbidden):
            session.server_info()


async def test_another_writer_and_a_lost_answer(session: AnySession) -> None:
    """A function that blocks serves on both; what becomes of the request then may be a fault."""
    todo = await do(Todo(title="x").save)
    told: list[str] = []
    with Faults(session) as faults:
        faults.next(meanwhile(lambda: told.append("first"), cut()), to="write")
        todo.done = True
        await do(todo.save)
    assert told == ["first"]
    assert (await do(Todo.get, todo.id)).done


async def test_a_refused_precondition(session: AnySession) -> None:
    """412, with nothing on the other side that has changed."""
    todo = await do(Todo(title="x").save)
    todo.done = True
    with Faults(session) as faults:
        faults.next(refuse(412), to="write")
        with pytest.raises(Conflict):
            await do(todo.save)
    await do(todo.save)


async def test_a_late_answer(place: Place) -> None:
    """It comes; or the session has stopped waiting, and the work is done all the same."""
    async with entered(place.session(timeout=(3, 0.05), retry=None)) as session:
        todo = await do(Todo(title="x").save)
        with Faults(session) as faults:
            faults.next(delay(0.01))
            start = time.monotonic()
            await do(todo.refresh)
            assert time.monotonic() - start >= 0.01
            faults.next(delay(60), to="PATCH")
            todo.done = True
            with pytest.raises(Timeout) as caught:
                await do(todo.save)
        assert caught.value.lost
        assert (await do(Todo.get, todo.id)).done


async def test_a_late_answer_ends_with_the_deadline(session: AnySession) -> None:
    """All attempts of a call share one clock."""
    kind, url = type(session), session.server_url
    async with entered(kind(url, retry=Retry(3, deadline=0.05))) as other:
        with Faults(other) as faults:
            faults.every(delay(60))
            with pytest.raises(Timeout):
                await do(other.server_info)


async def test_only_some_requests(session: AnySession) -> None:
    """Those of a kind, a method or a path; all others pass, and those after `clear`."""
    todo = await do(Todo(title="x").save)
    with Faults(session) as faults:
        faults.every(refuse(403), to="read")
        faults.every(refuse(400), to="DELETE", path="*/todos/records/*")
        await do(todo.save, force=True)
        with pytest.raises(Forbidden):
            await do(todo.refresh)
        with pytest.raises(InvalidData):
            await do(todo.delete)
        faults.clear()
        await do(todo.refresh)
        assert [each.partition(" ")[0] for each in faults.sent] == ["PUT", "GET", "DELETE", "GET"]
    await do(todo.delete)


async def test_a_batch_is_one_request(session: AnySession) -> None:
    """What a batch carries fails together, when it cannot be sent one by one either."""
    with Faults(session) as faults:
        faults.every(cut(), to="write")
        with pytest.raises(BatchError):
            async with entered(session.batch()) as batch:
                batch.save(Todo(title="a"), Todo(title="b"))
    assert await do(Todo.find().count) == 0


async def test_what_is_scoped_meets_it_too(session: AnySession) -> None:
    """It has the same connection."""
    with Faults(session) as faults:
        faults.next(refuse(403))
        with pytest.raises(Forbidden):
            await do(session.scoped(collection="others").find(Record).all)


def test_threads_meet_each_fault_once() -> None:
    """As many as there are faults, whichever thread comes first."""
    with Session("memory://", retry=None) as session, Faults(session) as faults:
        session.server_info()
        faults.next(*[refuse(400)] * 10, to="write")

        def save(number: int) -> bool:
            try:
                Todo(title=str(number)).save(session=session)
            except InvalidData:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(save, range(30))).count(False) == 10


# Misuse


def test_what_was_not_met_is_an_error() -> None:
    """A test of a fault that never happened shows nothing; but an error of its own goes first."""

    def unmet(path: str) -> None:
        with Faults(session) as faults:
            faults.next(cut(), to="write", path="*/x")
            session.request("GET", path)

    with Session("memory://") as session:
        with pytest.raises(AssertionError, match=r"cut\(\) to 'write' at '\*/x'; .* GET"):
            unmet("/")
        with pytest.raises(NotFound):
            unmet("/nowhere")
        session.server_info()


def test_misuse_is_told() -> None:
    """With what to write instead."""
    with pytest.raises(ConfigurationError, match="with Faults"):
        Faults()
    with pytest.raises(ConfigurationError, match="is no Session"):
        Faults("memory://")  # type: ignore[arg-type]
    with Session("memory://") as session:
        faults = Faults(session)
        for tell in (faults.next, faults.every):
            with pytest.raises(ConfigurationError, match="with Faults"):
                tell(cut())


NUMBERS: list[Any] = [-1, math.nan, math.inf, "1", True, [1]]


@pytest.mark.parametrize(
    ("make", "given", "told"),
    [
        *[(delay, each, r"delay\(.*0 or more") for each in [*NUMBERS, None]],
        *[
            (lambda it: refuse(503, retry_after=it), each, r"retry_after=.*0 or")
            for each in NUMBERS
        ],
        *[(gateway, each, r"gateway\(502\)") for each in [*NUMBERS, 0, 99, 199, 600, 502.0, None]],
        *[(refuse, each, "gateway") for each in [*NUMBERS, 0, 502, 503.0, None]],
        *[(meanwhile, each, r"meanwhile\(function\)") for each in [5, None, "x", cut()]],
        *[
            (lambda it: meanwhile(print, it), each, r"meanwhile\(function, cut")
            for each in (5, "x")
        ],
        (lambda it: meanwhile(print, it), time_out, r"write time_out\(\)"),
    ],
)
def test_what_is_no_fault_is_refused_where_it_is_made(
    make: Callable[[Any], Fault], given: Any, told: str
) -> None:
    """With what to write instead."""
    with pytest.raises(ConfigurationError, match=told):
        make(given)


@pytest.mark.parametrize("verb", ["next", "every"])
@pytest.mark.parametrize(
    ("given", "where", "told"),
    [
        ([cut], {}, r"write .*cut\(\)"),
        ([refuse], {}, r"write .*refuse\(503\)"),
        (["x"], {}, r"a str .*cut\(\)"),
        ([None], {}, r"a NoneType .*cut\(\)"),
        ([503], {}, r"an? int .*refuse\(503\)"),
        ([cut()], {"to": "writes"}, "'writes'.*any, read, write, GET, HEAD, PUT, PATCH, POST"),
        ([cut()], {"to": "patch"}, "PATCH"),
        ([cut()], {"to": None}, "PATCH"),
        ([cut()], {"to": ["GET"]}, "PATCH"),
        ([cut()], {"path": 5}, r"path=5.*\*/collections"),
        ([cut()], {"path": None}, r"path=None.*\*/collections"),
        ([cut()], {"path": "collections/todos"}, r"path='coll.*\*/collections"),
        ([cut()], {"path": ""}, r"path=''.*\*/collections"),
    ],
)
def test_what_nothing_can_meet_is_refused(
    verb: str, given: list[Any], where: dict[str, Any], told: str
) -> None:
    """At once, with what to write instead; nothing of it is left for a request to meet."""
    with Session("memory://") as session, Faults(session) as faults:
        with pytest.raises(ConfigurationError, match=told):
            getattr(faults, verb)(*given, **where)
        session.server_info()


def test_next_needs_a_fault() -> None:
    """Without one, nothing would be met."""
    with Session("memory://") as session, Faults(session) as faults:
        with pytest.raises(ConfigurationError, match=r"next\(cut\(\)"):
            faults.next()
        with pytest.raises(ConfigurationError, match="str"):
            faults.next(cut(), "x")  # type: ignore[arg-type]


# The fixture


def test_the_fixture_is_for_the_session_of_the_test(
    kinto_session: Session, kinto_faults: Faults
) -> None:
    """Nothing has to be opened."""
    kinto_faults.next(refuse(503, retry_after=0), to="write")
    assert Todo(title="x").save().last_modified
    assert kinto_faults.sent


async def test_the_fixture_is_for_the_awaited_session(
    kinto_async_session: AsyncSession, kinto_faults: Faults
) -> None:
    """Nothing has to be opened."""
    kinto_faults.next(cut(done=True), to="write")
    assert (await Todo(title="x").asave()).last_modified


def test_the_fixture_alone_brings_a_session(kinto_faults: Faults) -> None:
    """It blocks."""
    kinto_faults.next(refuse(403))
    with pytest.raises(Forbidden):
        Todo.get("x")
