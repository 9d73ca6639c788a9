"""What becomes of many objects that are written chunk by chunk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel

from kinto_orm.bulk.jobs import Act, Job, Outage, Outcome, storable
from kinto_orm.bulk.together import most_in_a_batch, together
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.scope import Scope

OnError = Literal["collect", "raise"] | Callable[[Any, Exception], object]
Progress = Callable[["Summary"], object]
JobOf: TypeAlias = Callable[[Any], Job]


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


class Bulk:
    """Writes chunks of objects, and counts what became of them.

    Args:
        scope: Where.
        job_of: Makes the job that writes an object.
        workers: How many chunks are written at the same time.
        on_error: "collect", "raise", or a function that is told of each failure.
        progress: Is told after each chunk.

    Attributes:
        workers: As given.
        summary: What became of them until now.

    Raises:
        ValueError: One of the options is wrong.
        Unsupported: The server knows no batches.
    """

    def __init__(
        self,
        scope: Scope,
        job_of: JobOf,
        workers: int,
        on_error: OnError,
        progress: Progress | None,
    ) -> None:
        if not isinstance(workers, int) or workers < 1:
            raise ValueError(f"workers must be 1 or more, not {workers!r}")
        if on_error not in ("collect", "raise") and not callable(on_error):
            raise ValueError(f'on_error must be "collect", "raise" or a function, not {on_error!r}')
        scope.require_kinto("send batches")
        self.workers = workers
        self.summary = Summary()
        self._scope = scope
        self._job_of = job_of
        self._on_error = on_error
        self._progress = progress
        self._lock = threading.Lock()
        self._outage = Outage()

    @property
    def is_in_vain(self) -> bool:
        """Whether the server is gone."""
        return self._outage.error is not None

    def opening(self) -> Flow[int]:
        """Find out how many objects make a chunk."""
        return most_in_a_batch(self._scope)

    def writing(self, objects: list[Any]) -> Flow[list[Failure]]:
        """Write a chunk; what of it failed."""
        jobs = [self._job_of(each) for each in objects]
        yield from together(self._scope, jobs)
        with self._lock:
            self.summary.stopped = self._outage.after(jobs)
            return self.summary.count(job.outcome for job in jobs)

    def telling(self, failures: Iterable[Failure]) -> Iterator[object]:
        """Tell the caller of a chunk that is done; what the caller's functions give.

        Raises:
            Exception: The first failure, where that is wanted.
        """
        for failure in failures:
            if self._on_error == "raise":
                raise failure.error
            if callable(self._on_error):
                yield self._on_error(failure.target, failure.error)
        if self._progress is not None:
            yield self._progress(self.summary)


def saving_jobs(scope: Scope, *, force: bool) -> JobOf:
    """What makes the job that saves an object."""
    return partial(_job, "save", "__kinto_save__", scope, {"force": force})


def deleting_jobs(scope: Scope, *, force: bool, missing_ok: bool) -> JobOf:
    """What makes the job that deletes an object."""
    options = {"force": force, "missing_ok": missing_ok}
    return partial(_job, "delete", "__kinto_delete__", scope, options)


def _job(act: Act, verb: str, scope: Scope, options: dict[str, Any], target: Any) -> Job:
    def make() -> Any:
        storable(target)  # its own outcome, when it is something else
        return getattr(target, verb)(scope, **options)

    return Job(Outcome(act, target), make)


def refuse_single(objects: object) -> None:
    """Refuse one object where several are needed.

    Raises:
        TypeError: It is one.
    """
    if isinstance(objects, BaseModel | str | Mapping):
        raise TypeError(f"an iterable of objects is needed, such as [x], not {objects!r:.80}")
