"""Writing any number of objects, in constant memory, over several connections."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ThreadPoolExecutor,
    as_completed,
    wait,
)
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, TypeVar

from kinto_orm.bulk.jobs import Chunk, Existing
from kinto_orm.bulk.summary import (
    Bulk,
    Failure,
    OnError,
    Progress,
    Summary,
    deleting_jobs,
    refuse_single,
    saving_jobs,
)
from kinto_orm.wire.driving import run
from kinto_orm.wire.scope import Scope

T = TypeVar("T")


class Interrupted(KeyboardInterrupt):
    """Ctrl-C stopped a bulk operation; `.summary` says how far it came.

    Requests that were under way were waited for, so that the summary is exact: it is of the
    first `summary.total` objects of the iterable. A second Ctrl-C does not wait; then it misses
    what was under way.
    """

    def __init__(self, summary: Summary) -> None:
        super().__init__(f"interrupted after {summary.total} objects: {summary.counted}")
        self.summary = summary


def save_all(
    scope: Scope,
    objects: Iterable[Any],
    *,
    workers: int = 1,
    force: bool = False,
    existing: Existing = "fail",
    on_error: OnError = "collect",
    progress: Progress | None = None,
) -> Summary:
    """Save any number of objects; see Session.save_all."""
    jobs = saving_jobs(scope, force=force, existing=existing)
    return in_chunks(scope, objects, Bulk(scope, jobs, workers, on_error, progress))


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
    jobs = deleting_jobs(scope, force=force, missing_ok=missing_ok)
    return in_chunks(scope, objects, Bulk(scope, jobs, workers, on_error, progress))


def in_chunks(scope: Scope, objects: Iterable[Any], bulk: Bulk) -> Summary:
    """Write objects, chunk by chunk, as the iterable gives them."""
    refuse_single(objects)
    try:
        with (
            bulk.shown(objects),
            _Here() if bulk.workers == 1 else _threads(bulk.workers) as pool,
        ):
            pending: dict[Future[list[Failure]], Chunk] = {}
            queue = chunked(iter(objects), run(scope, bulk.opening()))
            # No more than can begin at once: so the summary is of the first objects given. And
            # nothing is read of an iterable, which may have no end, when it cannot be sent.
            while not bulk.is_in_vain and (given := next(queue, None)):
                chunk = bulk.chunk(given)
                while not bulk.is_in_vain and (first := chunk.before(pending)):
                    _tell(bulk, _done_of(pending, first))
                if bulk.is_in_vain:
                    break
                # What is current here is current to the hooks of models, too.
                flow = bulk.writing(chunk)
                pending[pool.submit(copy_context().run, run, scope, flow)] = chunk
                if len(pending) == bulk.workers:
                    _tell(bulk, _done_of(pending, pending))
            _tell(bulk, as_completed(pending))
    except KeyboardInterrupt:
        raise Interrupted(bulk.summary) from None
    except BaseException as error:
        error.add_note(f"until then: {bulk.summary.counted}")
        raise
    return bulk.summary


def _done_of(
    pending: dict[Future[list[Failure]], Chunk], some: Iterable[Future[list[Failure]]]
) -> set[Future[list[Failure]]]:
    """Wait for one of some chunks; those that are done, which are no longer pending."""
    done, _ = wait(some, return_when=FIRST_COMPLETED)
    for each in done:
        del pending[each]
    return done


def _threads(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, "kinto-orm-bulk")


def _tell(bulk: Bulk, done: Iterable[Future[list[Failure]]]) -> None:
    """Tell the caller of chunks that are done, in the caller's thread."""
    for each in done:
        for _ in bulk.telling(each.result()):
            pass


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


def chunked(objects: Iterator[T], size: int) -> Iterator[list[T]]:
    """Lists of up to `size` items, taken when they are needed."""
    while chunk := list(itertools.islice(objects, size)):
        yield chunk
