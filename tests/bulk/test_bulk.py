"""Any number of objects: constant memory, several connections, an account of every outcome."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pydantic import Field, ValidationError, field_serializer

from both import AnySession, do, each_of, either, either_wire, some, streamed
from conftest import Backend, Wire
from kinto_orm import (
    ConfigurationError,
    Conflict,
    InvalidData,
    NotFound,
    NotLoaded,
    Record,
    Session,
    Summary,
    Unsupported,
    col,
)

# On both sessions.
session = either
wire = either_wire


class Todo(Record, collection="todos"):
    title: str
    n: int = 0
    nick: str | None = Field(
        default=None, validation_alias="nickName", serialization_alias="nickName"
    )


def todos(count: int, prefix: str = "t") -> Iterator[Todo]:
    return (Todo(id=f"{prefix}{n:04}", title=f"Todo {n}", n=n) for n in range(count))


# save_all


@pytest.mark.parametrize("workers", [1, 4])
async def test_every_outcome_is_counted(session: AnySession, workers: int) -> None:
    """save_all tells the created from the updated, the unchanged and the failed."""
    old = list(todos(60, "old"))
    assert str(await do(session.save_all, old, workers=workers)) == "60 created"
    for each in old[:20]:
        each.n = -1
    async for each in each_of(Todo.find(col(Todo.id).in_([each.id for each in old[:3]]))):
        each.title = "theirs"
        await do(each.save)
    summary = await do(session.save_all, [*old, *todos(30, "new")], workers=workers)
    assert (summary.created, summary.updated, summary.unchanged) == (30, 17, 40)
    assert {each.target.id for each in summary.failed} == {"old0000", "old0001", "old0002"}
    assert all(isinstance(each.error, Conflict) for each in summary.failed)
    assert summary.total == 90
    assert summary.counted == "30 created, 17 updated, 40 unchanged, 3 failed"
    assert await do(Todo.find().count) == 90


@pytest.mark.parametrize(
    "objects",
    [
        list,
        tuple,
        iter,
        lambda objects: {each.id: each for each in objects}.values(),
        lambda objects: map(Todo.model_validate, ({"title": each.title} for each in objects)),
    ],
    ids=["list", "tuple", "generator", "dict values", "map"],
)
async def test_any_iterable(session: AnySession, objects: Any) -> None:
    """Whatever can be iterated once can be saved."""
    assert (await do(session.save_all, objects(todos(30)))).created == 30
    assert await do(Todo.find().count) == 30


async def test_a_query_is_an_iterable(session: AnySession) -> None:
    """What a query finds can be changed on the way and saved, in a streaming pass."""
    await do(session.save_all, todos(80))

    async def shouted() -> AsyncIterator[Todo]:
        async for todo in each_of(Todo.find().page_size(30)):
            todo.title = todo.title.upper()
            yield todo

    assert (await do(session.save_all, streamed(shouted()), workers=2)).updated == 80
    assert await do(Todo.find(Todo.title == "TODO 77").count) == 1


@pytest.mark.parametrize("workers", [1, 3])
async def test_the_iterable_is_read_as_objects_are_sent(session: AnySession, workers: int) -> None:
    """Not more is read ahead than one batch for each worker, and one more."""
    read = 0
    ahead: list[int] = []

    def counted() -> Iterator[Todo]:
        nonlocal read
        for todo in todos(200):
            read += 1
            yield todo

    await do(
        session.save_all,
        counted(),
        workers=workers,
        progress=lambda summary: ahead.append(read - summary.total),
    )
    assert max(ahead) <= (workers + 1) * 25
    assert ahead[-1] == 0


def test_workers_are_several_connections(blocking: Session) -> None:
    """The workers send at the same time."""
    together = threading.Barrier(3, timeout=20)

    class Meets(Todo, collection="todos"):
        def __kinto_save__(self, *args: Any, **kwargs: Any) -> Any:
            if self.n % 25 == 0:
                together.wait()
            return super().__kinto_save__(*args, **kwargs)

    objects = (Meets(id=f"m{n}", title="x", n=n) for n in range(75))
    assert blocking.save_all(objects, workers=3).created == 75


async def test_progress_is_told_after_each_batch(session: AnySession) -> None:
    """The callback sees the summary grow, in the thread of the caller."""
    totals: list[int] = []
    threads = set()

    def progress(summary: Summary) -> None:
        totals.append(summary.total)
        threads.add(threading.current_thread())

    await do(session.save_all, todos(110), progress=progress)
    assert len(totals) == 5
    assert totals == sorted(totals)
    assert totals[-1] == 110
    assert threads == {threading.current_thread()}


async def existing(session: AnySession, *numbers: int) -> None:
    """Make objects that are in the way of new ones with the same ids."""
    for number in numbers:
        await do(Todo(id=f"t{number:04}", title="in the way").save, session=session)


async def test_failures_are_collected(session: AnySession) -> None:
    """By default a failure is put into the summary and the rest goes on."""
    await existing(session, 3, 40)
    summary = await do(session.save_all, todos(60), workers=2)
    assert sorted(each.target.n for each in summary.failed) == [3, 40]
    assert summary.created == 58


async def test_the_first_failure_can_end_it(session: AnySession) -> None:
    """on_error="raise" raises the first failure; a note says what was done until then."""
    await existing(session, 30)
    read: list[Todo] = []
    objects = (read.append(each) or each for each in todos(1000))  # type: ignore[func-returns-value]
    with pytest.raises(Conflict, match="t0030") as caught:
        await do(session.save_all, objects, on_error="raise")
    (note,) = caught.value.__notes__
    done = sum(not each.is_new for each in read)
    assert note == f"until then: {done} created, 1 failed"
    assert done == await do(Todo.find().count) - 1
    assert len(read) < 200


async def test_a_function_can_be_told_of_failures(session: AnySession) -> None:
    """on_error=function is called with the object and its error; the rest goes on."""
    await existing(session, 3, 40)
    seen: list[tuple[int, type[Exception]]] = []
    summary = await do(
        session.save_all, todos(60), on_error=lambda todo, error: seen.append((todo.n, type(error)))
    )
    assert seen == [(3, Conflict), (40, Conflict)]
    assert (summary.created, len(summary.failed)) == (58, 2)


async def test_a_function_can_end_it_by_raising(session: AnySession) -> None:
    """What on_error or progress raises ends the work like a failure."""

    def stop(summary: Summary) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        await do(session.save_all, todos(1000), progress=stop)
    assert caught.value.__notes__ == [f"until then: {await do(Todo.find().count)} created"]


@pytest.mark.parametrize("workers", [1, 4])
async def test_an_iterable_that_raises(session: AnySession, workers: int) -> None:
    """The error comes through; the full batches before it are saved, and counted in a note."""

    def broken() -> Iterator[Todo]:
        yield from todos(60)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        await do(session.save_all, broken(), workers=workers)
    assert caught.value.__notes__ == ["until then: 50 created"]
    assert [each.n for each in await do(Todo.find())] == list(range(50))


async def test_overwriting(session: AnySession) -> None:
    """force=True overwrites what is there."""
    await existing(session, *range(5))
    summary = await do(session.save_all, todos(10), force=True)
    assert (summary.created, summary.updated) == (5, 5)
    assert await do(Todo.find(Todo.title == "in the way").count) == 0


async def test_one_object_given_twice(session: AnySession) -> None:
    """The same new object in several batches is saved once, whoever comes first."""
    many = list(todos(40))
    summary = await do(session.save_all, [*many, *many], workers=1)
    assert (summary.created, summary.unchanged, summary.failed) == (40, 40, [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers must be 1 or more"),
        ({"workers": "2"}, "workers must be 1 or more"),
        ({"on_error": "ignore"}, 'on_error must be "collect", "raise" or a function'),
    ],
)
async def test_wrong_arguments(session: AnySession, options: Any, message: str) -> None:
    """Wrong arguments are refused before anything is read or sent."""
    objects = todos(3)
    with pytest.raises(ValueError, match=message):
        await do(session.save_all, objects, **options)
    assert len(list(objects)) == 3


def test_a_key_value_server_has_no_bulk() -> None:
    """On a kvp.io server it is Unsupported, and nothing is sent."""
    with Session("kvp+http://127.0.0.1:9") as session, pytest.raises(Unsupported):
        session.save_all(todos(3))


INTERRUPTED = """
import signal, sys
from kinto_orm import Interrupted, Record, Session

# Whoever started this may ignore interrupts, as a shell does for what runs in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)

class Todo(Record, collection="todos"):
    n: int

def many():
    for n in range(5000):
        if n == 200:
            print("go on", flush=True)
        yield Todo(id=f"t{n:06}", n=n)

with Session("memory://") as session:
    try:
        session.save_all(many(), workers=int(sys.argv[1]))
    except Interrupted as stopped:
        assert isinstance(stopped, KeyboardInterrupt)
        total = stopped.summary.total
        assert str(stopped) == f"interrupted after {total} objects: {total} created", stopped
        stored = [each.n for each in Todo.find()]
        assert stored == list(range(total)), (total, stored)
        print("stopped after", total)
"""


@pytest.mark.parametrize("workers", ["1", "3"])
def test_an_interrupt_stops_cleanly(workers: str) -> None:
    """Ctrl-C waits for what is under way and says exactly how far it came."""
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, workers], stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "go on\n"
        child.send_signal(signal.SIGINT)
        last = child.stdout.readline().split()
    assert child.returncode == 0
    assert int(last[-1]) >= 150


UNANSWERED = """
import signal, time
from requests.auth import HTTPBasicAuth
from kinto_orm import Record, Session

signal.signal(signal.SIGINT, signal.default_int_handler)

class Slow(HTTPBasicAuth):
    def __call__(self, request):
        if request.url.endswith("/batch"):
            print("sending", flush=True)
            time.sleep(60)
        return super().__call__(request)

with Session("memory://", auth=Slow("alice", "s3cret"), collection="todos") as session:
    try:
        session.save_all((Record(n=n) for n in range(100)), workers=1)
    except KeyboardInterrupt as stopped:
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        print(stopped, flush=True)
"""


def test_a_second_interrupt_does_not_wait() -> None:
    """Whoever presses Ctrl-C twice means now, whatever is under way."""
    child = subprocess.Popen([sys.executable, "-c", UNANSWERED], stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "sending\n"
        child.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=1)
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "interrupted after 25 objects: 25 failed\n"


async def test_one_worker_is_the_callers_thread(session: AnySession) -> None:
    """So validators and serializers find the caller's context, and what belongs to its thread."""
    threads = set()

    class Watched(Todo):
        @field_serializer("n")
        def watch(self, n: int) -> int:
            threads.add(threading.get_ident())
            return n

    await do(session.save_all, (Watched(title="x") for _ in range(60)), workers=1)
    assert threads == {threading.get_ident()}


# delete_all


@pytest.mark.parametrize("workers", [1, 3])
async def test_delete_all(session: AnySession, workers: int) -> None:
    """Any number of objects is deleted, each with its precondition."""
    await do(session.save_all, todos(80))
    many = await do(Todo.find().all)
    existing_one = await do(Todo.get, "t0007")
    existing_one.n = 99
    await do(existing_one.save)
    await do((await do(Todo.get, "t0008")).delete)
    summary = await do(session.delete_all, many, workers=workers)
    assert (summary.deleted, len(summary.failed)) == (78, 2)
    assert all(isinstance(each.error, Conflict) for each in summary.failed)
    assert [each.id for each in await do(Todo.find())] == ["t0007"]
    assert (await do(session.delete_all, many[7:9], force=True, missing_ok=True)).deleted == 2


async def test_delete_what_a_query_finds(session: AnySession) -> None:
    """A query serves as the iterable; objects that were never saved are failures."""
    await do(session.save_all, todos(60))
    assert (await do(session.delete_all, Todo.find(Todo.n < 50).limit(40), workers=2)).deleted == 40
    summary = await do(session.delete_all, [Todo(title="new")])
    assert isinstance(summary.failed[0].error, ConfigurationError)
    assert await do(Todo.find().count) == 20


# get_many


async def test_get_many(wire: Wire) -> None:
    """Objects come by id; missing ones are missing; a request asks for a hundred."""
    ids = [*(f"t{n:04}" for n in range(205)), "123", "1e5", "true", "null", "007"]
    await do(wire.session.save_all, (Todo(id=id, title=id) for id in ids))
    wire.clear()
    found = await do(wire.session.get_many, Todo, [*ids, "missing", "t0000"])
    assert set(found) == set(ids)
    assert all(each.title == id for id, each in found.items())
    assert wire.methods == ["GET"] * 3
    assert (await do(wire.session.get_many, Todo, iter(["123"])))["123"].title == "123"
    assert await do(wire.session.get_many, Todo, []) == {}


async def test_get_many_of_untyped_records(session: AnySession) -> None:
    """Plain records work as well, from the session's collection."""
    await do(session.save_all, todos(3))
    plain = await do(session.scoped(collection="todos").get_many, Record, ["t0001", "t0002"])
    assert [plain[id]["n"] for id in sorted(plain)] == [1, 2]


@pytest.mark.parametrize(("ids", "error"), [("t0001", TypeError), ([3], InvalidData)])
async def test_get_many_wants_ids(session: AnySession, ids: Any, error: type[Exception]) -> None:
    """One text is no list of ids, and a number is no id."""
    with pytest.raises(error):
        await do(session.get_many, Todo, ids)


# Query.update


@pytest.mark.parametrize("workers", [1, 3])
async def test_update_all(session: AnySession, workers: int) -> None:
    """update() sets values on all that is found, through all pages."""
    await do(session.save_all, todos(90))
    query = Todo.find(Todo.n >= 10).page_size(20)
    summary = await do(query.update, workers=workers, n=5, nick="x")
    assert (summary.updated, summary.failed) == (80, [])
    assert await do(Todo.find(Todo.n == 5).count) == 81
    assert await do(Todo.find(col(Todo.nick).eq("x")).count) == 80
    assert (await do(Todo.find(col(Todo.nick).eq("x")).update, n=5)).unchanged == 80
    assert (await do(Todo.find(Todo.n == 1000).update, n=5)).total == 0


def test_update_reports_each_failure(blocking: Session, backend: Backend) -> None:
    """What somebody else changed or deleted meanwhile is a failure of that object."""
    blocking.save_all(todos(5))

    class Slow(Todo, collection="todos"):
        def __setattr__(self, name: str, value: Any) -> None:
            if name == "n" and self.id == "t0002":
                Todo.get(self.id).save(force=True)
            if name == "n" and self.id == "t0003":
                Todo.get(self.id).delete()
            super().__setattr__(name, value)

    summary = Slow.find().update(n=7)
    assert (summary.updated, len(summary.failed)) == (3, 2)
    assert all(isinstance(each.error, Conflict) for each in summary.failed)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"titel": "x"}, ValidationError, "did you mean 'title'"),
        ({"n": "many"}, ValidationError, "n"),
    ],
)
async def test_wrong_values_change_nothing(
    session: AnySession, values: Any, error: type[Exception], message: str
) -> None:
    """A misspelt field or a wrong value is an error, and nothing is written."""
    await do(session.save_all, todos(3))
    with pytest.raises(error, match=message):
        await do(Todo.find().update, **values)
    assert [each.n for each in await do(Todo.find())] == [0, 1, 2]


async def test_a_misspelt_field_is_an_error_even_when_nothing_is_found(session: AnySession) -> None:
    """The names of update() are checked before the query runs."""
    with pytest.raises(ValidationError, match="titel"):
        await do(Todo.find().update, titel="x")
    with pytest.raises(InvalidData, match=r"only\(\)"):
        await do(Todo.find().only(Todo.title).update, title="x")


async def test_objects_loaded_in_part_are_failures(session: AnySession) -> None:
    """Partial objects are refused by save_all, one by one."""
    await do(session.save_all, todos(2))
    summary = await do(session.save_all, Todo.find().only(Todo.title))
    assert [type(each.error) for each in summary.failed] == [NotLoaded] * 2


async def test_a_missing_collection_is_said_for_each(session: AnySession) -> None:
    """Every object of a collection that does not exist fails with the remedy."""

    class Lost(Record, collection="lost"):
        n: int

    summary = await do(session.save_all, (Lost(n=n) for n in range(30)))
    assert len(summary.failed) == 30
    assert isinstance(summary.failed[29].error, NotFound)
    assert "sync_schema(Lost)" in str(summary.failed[29].error)


async def test_what_is_no_object_is_a_failure(session: AnySession) -> None:
    """The others are written all the same."""
    several: Any = [*todos(30), "x", *todos(1, "last")]
    summary = await do(session.save_all, several)
    assert (summary.created, summary.failed[0].target) == (31, "x")
    assert isinstance(summary.failed[0].error, TypeError)
    summary = await do(session.delete_all, [None, *await do(Todo.find())])  # type: ignore[list-item]
    assert summary.counted == "31 deleted, 1 failed"


@pytest.mark.parametrize("one", [lambda: Todo(title="x"), lambda: "x", lambda: {"title": "x"}])
async def test_a_single_object_is_no_iterable(session: AnySession, one: Any) -> None:
    """Nothing is sent."""
    for act in (session.save_all, session.delete_all):
        with pytest.raises(TypeError, match=r"iterable of objects is needed, such as \[x\]"):
            await do(act, one())


async def test_update_does_not_run_after_what_it_moves(session: AnySession) -> None:
    """With an order and a limit, the objects are those that were first at the beginning."""
    await do(session.save_all, todos(60))
    found = Todo.find().order_by(Todo.n).limit(30).page_size(5)
    assert (await do(found.update, n=40)).total == 30
    assert [todo.id for todo in await do(Todo.find(Todo.n == 40))] == [
        *(f"t{n:04}" for n in range(30)),
        "t0040",
    ]
    assert (
        str(await do(Todo.find().order_by(col(Todo.n).desc()).page_size(5).update, n=0))
        == "60 updated"
    )


async def test_update_goes_on_from_a_position(session: AnySession) -> None:
    """Only what comes after it is changed."""
    await do(session.save_all, todos(10))
    query = Todo.find().order_by(Todo.n)
    [page] = await some(1, query.page_size(4).pages)
    assert str(await do(query.resume(page.position).update, n=100)) == "6 updated"
    assert [todo.n for todo in page] == [0, 1, 2, 3]
    assert await do(Todo.find(Todo.n == 100).count) == 6
