"""Writing and reading any number of objects, in constant memory, over several connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from kinto_orm.batch import _Job, batch_max_requests, chunked, delete_jobs, run_jobs, save_jobs
from kinto_orm.conditions import col

if TYPE_CHECKING:
    from kinto_orm.resource import Resource
    from kinto_orm.session import Session

    M = TypeVar("M", bound=Resource)

T = TypeVar("T")
OnError = Literal["collect", "raise"] | Callable[[Any, Exception], object]
Progress = Callable[["Summary"], object]

_IDS_IN_A_REQUEST = 100


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
    """

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    failed: list[Failure] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many objects have an outcome."""
        return self.created + self.updated + self.unchanged + self.deleted + len(self.failed)

    def __str__(self) -> str:
        counts = {
            name: getattr(self, name) for name in ("created", "updated", "unchanged", "deleted")
        } | {"failed": len(self.failed)}
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing"

    def _count(self, jobs: Iterable[_Job], on_error: OnError) -> None:
        for job in jobs:
            outcome = job.outcome
            if outcome.error is None:
                setattr(self, outcome.status, getattr(self, outcome.status) + 1)
            elif on_error == "raise":
                raise outcome.error
            elif callable(on_error):
                self.failed.append(Failure(outcome.target, outcome.error))
                on_error(outcome.target, outcome.error)
            else:
                self.failed.append(Failure(outcome.target, outcome.error))


class Interrupted(KeyboardInterrupt):
    """Ctrl-C stopped a bulk operation; `.summary` says how far it came.

    Requests that were under way were waited for, so that the summary is exact.
    """

    def __init__(self, summary: Summary) -> None:
        super().__init__(f"interrupted after {summary.total} objects: {summary}")
        self.summary = summary


def save_all(
    session: Session,
    objects: Iterable[Resource],
    *,
    workers: int = 1,
    force: bool = False,
    on_error: OnError = "collect",
    progress: Progress | None = None,
) -> Summary:
    """Save any number of objects; see Session.save_all."""
    return _in_chunks(
        session, objects, lambda chunk: save_jobs(session, chunk, force), workers, on_error, progress
    )


def delete_all(
    session: Session,
    objects: Iterable[Resource],
    *,
    workers: int = 1,
    force: bool = False,
    missing_ok: bool = False,
    on_error: OnError = "collect",
    progress: Progress | None = None,
) -> Summary:
    """Delete any number of objects; see Session.delete_all."""

    def jobs(chunk: list[Resource]) -> list[_Job]:
        return delete_jobs(session, chunk, force=force, missing_ok=missing_ok)

    return _in_chunks(session, objects, jobs, workers, on_error, progress)


def get_many(session: Session, model: type[M], ids: Iterable[str]) -> dict[str, M]:
    """Fetch objects by their ids; see Session.get_many."""
    found: dict[str, M] = {}
    for chunk in chunked(iter(ids), _IDS_IN_A_REQUEST):
        query = model.find(col(model.id).in_(chunk), session=session)
        found.update({each.id: each for each in query})
    return found


def _in_chunks(
    session: Session,
    objects: Iterable[Resource],
    jobs_of: Callable[[list[Resource]], list[_Job]],
    workers: int,
    on_error: OnError,
    progress: Progress | None,
) -> Summary:
    if not isinstance(workers, int) or workers < 1:
        raise ValueError(f"workers must be 1 or more, not {workers!r}")
    summary = Summary()

    def work(chunk: list[Resource]) -> list[_Job]:
        jobs = jobs_of(chunk)
        run_jobs(session, jobs)
        return jobs

    def count(done: Iterable[Future[list[_Job]]], errors: OnError) -> None:
        for each in done:
            summary._count(each.result(), errors)
            if progress is not None:
                progress(summary)

    # Always in threads, one too: an interrupt reaches the main thread only, so that requests
    # under way end and are counted.
    with ThreadPoolExecutor(workers, "kinto-orm-bulk") as pool:
        pending: set[Future[list[_Job]]] = set()
        try:
            for chunk in chunked(iter(objects), batch_max_requests(session)):
                pending.add(pool.submit(work, chunk))
                if len(pending) >= 2 * workers:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    count(done, on_error)
            count(as_completed(pending), on_error)
        except BaseException as error:
            count(_rest(pending), "collect")
            if isinstance(error, KeyboardInterrupt):
                raise Interrupted(summary) from None
            error.add_note(f"until then: {summary}")
            raise
    return summary


def _rest(pending: set[Future[list[_Job]]]) -> Iterator[Future[list[_Job]]]:
    """What is under way, once it has ended; what has not begun never does."""
    under_way = [each for each in pending if not each.cancel()]
    wait(under_way)
    return iter(under_way)
