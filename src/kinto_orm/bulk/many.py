"""Writing and reading any number of objects, in constant memory, over several connections."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ThreadPoolExecutor,
    as_completed,
    wait,
)
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from kinto_orm.bulk.jobs import Act, Job, Outage, Outcome, storable
from kinto_orm.bulk.together import most_in_a_batch, together
from kinto_orm.wire.driving import run
from kinto_orm.wire.scope import Scope

T = TypeVar("T")
OnError = Literal["collect", "raise"] | Callable[[Any, Exception], object]
Progress = Callable[["Summary"], object]


@dataclass(frozen=True, slots=True)
class Failure:
    """One object that could not be written.

    Attributes:
        target: The object.
        error: Why.
    """

    target: Any
    error: Exception


@dataclass(slots=True)
class Summary:
    """What became of many objects.

    Attributes:
        created: How many are new on the server.
        updated: How many had changes, which were sent.
        unchanged: How many had nothing to send.
        deleted: How many were deleted.
        failed: Those that could not be written, with their errors.
        stopped: Why it ended there, when the server was gone: nobody answered whatever was sent,
            or all answers were that it is busy. What came after the first `total` objects was
            not sent, and not read from the iterable. None when it went on to the end.
    """

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    failed: list[Failure] = field(default_factory=list)
    stopped: Exception | None = None

    @property
    def total(self) -> int:
        """How many objects have an outcome."""
        return self.created + self.updated + self.unchanged + self.deleted + len(self.failed)

    def __str__(self) -> str:
        counts = {
            name: getattr(self, name) for name in ("created", "updated", "unchanged", "deleted")
        } | {"failed": len(self.failed)}
        said = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing"
        if self.stopped is None:
            return said
        return f"{said}; stopped there, what came after was not sent: {self.stopped}"

    def count(self, outcomes: Iterable[Outcome[Any]]) -> list[Failure]:
        """Count outcomes; the failures among them."""
        failures = []
        for each in outcomes:
            if each.error is None:
                setattr(self, each.status, getattr(self, each.status) + 1)
            else:
                failures.append(Failure(each.target, each.error))
        self.failed += failures
        return failures


class Interrupted(KeyboardInterrupt):
    """Ctrl-C stopped a bulk operation; `.summary` says how far it came.

    Requests that were under way were waited for, so that the summary is exact: it is of the
    first `summary.total` objects of the iterable. A second Ctrl-C does not wait; then it misses
    what was under way.
    """

    def __init__(self, summary: Summary) -> None:
        super().__init__(f"interrupted after {summary.total} objects: {summary}")
        self.summary = summary


def save_all(
    scope: Scope,
    objects: Iterable[Any],
    *,
    workers: int = 1,
    force: bool = False,
    on_error: OnError = "collect",
    progress: Progress | None = None,
) -> Summary:
    """Save any number of objects; see Session.save_all."""

    def job(each: Any) -> Job:
        return _job("save", each, "__kinto_save__", scope, force=force)

    return _in_chunks(scope, objects, job, workers, on_error, progress)


def delete_all(
    scope: Scope,
    objects: Iterable[Any],
    *,
    workers: int = 1,
    force: bool = False,
    missing_ok: bool = False,
    on_error: OnError = "collect",
    progress: Progress | None = None,
) -> Summary:
    """Delete any number of objects; see Session.delete_all."""

    def job(each: Any) -> Job:
        options = {"force": force, "missing_ok": missing_ok}
        return _job("delete", each, "__kinto_delete__", scope, **options)

    return _in_chunks(scope, objects, job, workers, on_error, progress)


def _job(act: Act, target: Any, verb: str, scope: Scope, **options: Any) -> Job:
    def make() -> Any:
        storable(target)  # its own outcome, when it is something else
        return getattr(target, verb)(scope, **options)

    return Job(Outcome(act, target), make)


def _in_chunks(
    scope: Scope,
    objects: Iterable[Any],
    job_of: Callable[[Any], Job],
    workers: int,
    on_error: OnError,
    progress: Progress | None,
) -> Summary:
    if not isinstance(workers, int) or workers < 1:
        raise ValueError(f"workers must be 1 or more, not {workers!r}")
    if on_error not in ("collect", "raise") and not callable(on_error):
        raise ValueError(f'on_error must be "collect", "raise" or a function, not {on_error!r}')
    if isinstance(objects, BaseModel | str | Mapping):
        raise TypeError(f"an iterable of objects is needed, such as [x], not {objects!r:.80}")
    scope.require_kinto("send batches")
    summary = Summary()
    chunks = _Chunks(scope, job_of, summary)
    told = _Told(summary, on_error, progress)
    try:
        with _Here() if workers == 1 else ThreadPoolExecutor(workers, "kinto-orm-bulk") as pool:
            pending: set[Future[list[Failure]]] = set()
            queue = chunked(iter(objects), run(scope, most_in_a_batch(scope)))
            # No more than can begin at once: so the summary is of the first objects given. And
            # nothing is read of an iterable, which may have no end, when it cannot be sent.
            while not chunks.is_in_vain and (chunk := next(queue, None)):
                pending.add(pool.submit(chunks.run, chunk))
                if len(pending) == workers:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    told.of(done)
            told.of(as_completed(pending))
    except KeyboardInterrupt:
        raise Interrupted(summary) from None
    except BaseException as error:
        error.add_note(f"until then: {summary}")
        raise
    return summary


class _Here(Executor):
    """Runs what is submitted at once, in the thread that submits it."""

    def submit(self, work: Callable[..., T], /, *args: Any, **options: Any) -> Future[T]:
        """Give a future that is done; Ctrl-C has to wait until then, as it does for threads."""
        done: Future[T] = Future()
        with _interrupts_held():
            done.set_result(work(*args, **options))
        return done


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let Ctrl-C take effect at the end of the block; a second one does not wait."""
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or usual is None:
        # Other threads get no signals, and a handler that is not Python's stays where it is.
        yield
        return
    held = False

    def hold(number: int, frame: object) -> None:
        nonlocal held
        held = not held
        if not held:
            signal.signal(number, usual)
            signal.raise_signal(number)

    signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
        if held:
            signal.raise_signal(signal.SIGINT)


class _Chunks:
    """Writes chunks and counts what became of them, in the thread or threads that send."""

    def __init__(self, scope: Scope, job_of: Callable[[Any], Job], summary: Summary) -> None:
        self._scope = scope
        self._job_of = job_of
        self._summary = summary
        self._lock = threading.Lock()
        self._outage = Outage()

    @property
    def is_in_vain(self) -> bool:
        """Whether the server is gone."""
        return self._outage.error is not None

    def run(self, objects: list[Any]) -> list[Failure]:
        """Write a chunk; what of it failed."""
        jobs = [self._job_of(each) for each in objects]
        run(self._scope, together(self._scope, jobs))
        with self._lock:
            self._summary.stopped = self._outage.after(jobs)
            return self._summary.count(job.outcome for job in jobs)


@dataclass(frozen=True, slots=True)
class _Told:
    """Tells the caller of chunks that are done, in the caller's thread."""

    summary: Summary
    on_error: OnError
    progress: Progress | None

    def of(self, done: Iterable[Future[list[Failure]]]) -> None:
        for each in done:
            for failure in each.result():
                if self.on_error == "raise":
                    raise failure.error
                if callable(self.on_error):
                    self.on_error(failure.target, failure.error)
            if self.progress is not None:
                self.progress(self.summary)


def chunked(objects: Iterator[T], size: int) -> Iterator[list[T]]:
    """Lists of up to `size` items, taken when they are needed."""
    while chunk := list(itertools.islice(objects, size)):
        yield chunk
