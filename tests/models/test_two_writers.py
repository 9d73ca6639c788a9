"""Read-modify-write by many threads loses nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import pytest

from kinto_orm import BatchError, Conflict, NotFound, Record, Session, retry_on_conflict

THREADS, TIMES = 8, 40


class Counter(Record, collection="todos"):
    value: int = 0


def test_eight_threads_of_forty_increments_end_at_320(session: Session) -> None:
    """Each increment reads, adds and saves; those that meet another writer run again."""
    Counter(id="visits").save()

    @retry_on_conflict(times=100)
    def increment() -> None:
        counter = Counter.get("visits", session=session)
        counter.value += 1
        counter.save()

    def work(_: int) -> None:
        for _ in range(TIMES):
            increment()

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    assert Counter.get("visits").value == THREADS * TIMES


def test_only_one_of_many_creations_wins(session: Session) -> None:
    """The same id at the same time: one is created, the others are conflicts, nothing is mixed."""

    def create(number: int) -> bool:
        try:
            Counter(id="one", value=number).save(session=session)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(THREADS) as pool:
        won = list(pool.map(create, range(1, THREADS + 1)))
    assert won.count(True) == 1
    assert Counter.get("one").value == won.index(True) + 1


def failing(times: int) -> Iterator[None]:
    """Raises a Conflict so often."""
    for _ in range(times):
        yield


@pytest.mark.parametrize(("conflicts", "times", "runs"), [(0, 5, 1), (3, 5, 4), (5, 5, 6)])
def test_runs_again_until_there_is_no_conflict(conflicts: int, times: int, runs: int) -> None:
    """`times` counts the repetitions; arguments and result go through."""
    left = failing(conflicts)
    calls: list[tuple[int, int]] = []

    @retry_on_conflict(times=times)
    def act(one: int, *, two: int) -> int:
        """The docstring."""
        calls.append((one, two))
        for _ in left:
            raise Conflict("again")
        return one + two

    assert act(1, two=2) == 3
    assert calls == [(1, 2)] * runs
    assert act.__doc__ == "The docstring."
    assert act.__name__ == "act"


def test_the_last_conflict_is_raised() -> None:
    """When it still conflicts after so many times."""
    raised: list[Conflict] = []

    @retry_on_conflict(times=2)
    def act() -> None:
        raised.append(Conflict("again"))
        raise raised[-1]

    with pytest.raises(Conflict) as error:
        act()
    assert error.value is raised[2]
    assert len(raised) == 3


def test_other_errors_are_not_repeated() -> None:
    """Only a Conflict means that somebody else was first."""
    calls: list[int] = []

    @retry_on_conflict()
    def act() -> None:
        calls.append(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        act()
    assert calls == [1]


@pytest.mark.parametrize("times", [-1, 1.5, "5", None, len])
def test_times_is_a_number(times: object) -> None:
    """Also when the parentheses were forgotten: @retry_on_conflict."""
    with pytest.raises(ValueError, match="times"):
        retry_on_conflict(times)  # type: ignore[arg-type]


def test_functions_that_only_start_are_refused() -> None:
    """A generator raises its Conflict after the decorator has returned."""

    def generator() -> Iterator[int]:
        yield 1

    async def awaited() -> AsyncIterator[int]:
        yield 1

    functions: list[Callable[[], object]] = [generator, awaited]
    for function in functions:
        with pytest.raises(TypeError, match="generator"):
            retry_on_conflict()(function)


def test_a_batch_that_conflicts_runs_again(session: Session) -> None:
    """Another writer is first for one of two in a batch: the next run reads both, and saves."""
    Counter(id="a").save()
    Counter(id="b").save()
    runs = 0

    @retry_on_conflict(times=3)
    def count_both() -> None:
        nonlocal runs
        runs += 1
        both = Counter.get("a"), Counter.get("b")
        if runs < 3:
            Counter(id="b", value=10 * runs).save(force=True)
        with session.batch() as batch:
            for each in both:
                each.value += 1
            batch.save(*both)

    count_both()
    assert runs == 3
    # What was saved beside the conflict stays, and is read by the next run.
    assert (Counter.get("a").value, Counter.get("b").value) == (3, 21)


def test_a_batch_that_still_conflicts_is_raised(session: Session) -> None:
    """The last BatchError gets out, after all repetitions."""
    runs = 0

    @retry_on_conflict(times=2)
    def create() -> None:
        nonlocal runs
        runs += 1
        with session.batch() as batch:
            batch.save(Counter(id="taken"))

    Counter(id="taken").save()
    with pytest.raises(BatchError) as caught:
        create()
    assert [type(each) for each in caught.value.exceptions] == [Conflict]
    assert runs == 3


@pytest.mark.parametrize(
    ("unconfirmed", "others", "runs"),
    [
        ("raise", [Conflict("unconfirmed")], 1),
        ("again", [Conflict("unconfirmed")], 3),
        ("again", [Conflict("unconfirmed"), NotFound("gone")], 1),
        ("raise", [NotFound("gone")], 1),
        ("raise", [Conflict("first"), Conflict("second")], 3),
    ],
)
def test_a_batch_with_anything_else_is_raised(
    unconfirmed: Literal["raise", "again"], others: list[Exception], runs: int
) -> None:
    """Only conflicts run it again, unconfirmed ones only where the program says so."""
    for each in others:
        if isinstance(each, Conflict):
            each.unconfirmed = str(each) == "unconfirmed"
    ran: list[int] = []

    @retry_on_conflict(times=2, unconfirmed=unconfirmed)
    def fail() -> None:
        ran.append(1)
        raise BatchError("failed", [Conflict("another"), *others])

    with pytest.raises(BatchError):
        fail()
    assert len(ran) == runs
