"""What becomes of many objects that are written chunk by chunk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol, TypeAlias

from pydantic import BaseModel, ValidationError

from kinto_orm._shown import MOST_ROWS, Described, Shown, Table, line, table
from kinto_orm.bulk.bars import bar
from kinto_orm.bulk.jobs import (
    Act,
    Chunk,
    Existing,
    Job,
    Outage,
    Outcome,
    check_existing,
    storable,
    subject_of,
)
from kinto_orm.bulk.together import most_in_a_batch, together
from kinto_orm.errors import KintoError, again, wrong_option
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.scope import Scope

_COUNTS = ("created", "updated", "unchanged", "skipped", "deleted")

OnError = Literal["collect", "raise"] | Callable[[Any, Exception], object]
Progress = Callable[["Summary"], object] | bool
"""Who is told of the summary after each chunk; True: a bar on standard error."""
JobOf: TypeAlias = Callable[[Any], Job]

# Of so many objects one request tells whether they are there.
_AT_ONCE = 100
# So many failures are printed, and so much of each.
_REASONS = 5
_LETTERS = 300


@dataclass(frozen=True, slots=True, repr=False)
class Failure(Described):
    """One object that could not be written.

    Attributes:
        target: The object.
        error: Why.
    """

    target: Any
    error: Exception

    def __str__(self) -> str:
        return f"! {_called(self.target)}: {self.reason}"

    @property
    def reason(self) -> str:
        """Why it could not be written, in one line."""
        return f"{type(self.error).__name__}: {_said(self.error)}"

    @property
    def row(self) -> tuple[str, str, str]:
        """As a row of a table of what was done."""
        return "failed", _called(self.target), self.reason


def _called(target: Any) -> str:
    """The id of what could not be written; of what has none, its type."""
    if isinstance(target, str):
        return target
    id = target.get("id") if isinstance(target, Mapping) else getattr(target, "id", None)
    return id if isinstance(id, str) else type(target).__name__


def _said(error: Exception) -> str:
    """What an error says, in one line, without the values that Pydantic repeats."""
    said = str(error)
    if isinstance(error, ValidationError):
        found = error.errors(include_url=False, include_input=False, include_context=False)
        said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found)
    said = " ".join(said.split())
    return said if len(said) <= _LETTERS else f"{said[:_LETTERS]}..."


class Row(Protocol):
    """What can be shown of one object."""

    @property
    def row(self) -> tuple[str, str, str]:
        """What became of it, what it is, and more of that."""


@dataclass(slots=True, repr=False)
class Summary(Shown):
    """What became of many objects.

    Attributes:
        created: How many are new on the server.
        updated: How many had changes, which were sent.
        unchanged: How many had nothing to send.
        skipped: How many were there already, and left alone: `existing="skip"`.
        deleted: How many were deleted.
        failed: Those that could not be written, with their errors.
        stopped: Why it ended there, when the server was gone: nobody answered whatever was sent,
            or all answers were that it is busy. What came after the first `total` objects was
            not sent, and not read from the iterable. None when it went on to the end.
    """

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    deleted: int = 0
    failed: list[Failure] = field(default_factory=list)
    stopped: Exception | None = None

    @property
    def total(self) -> int:
        """How many objects have an outcome."""
        counts: Iterable[int] = (getattr(self, name) for name in _COUNTS)
        return sum(counts) + len(self.failed)

    def __str__(self) -> str:
        return "\n  ".join([self.counted, *self._reasons])

    @property
    def counted(self) -> str:
        """The counts, in one line; and why it ended early, if it did."""
        if self.stopped is None:
            return self.counts
        return f"{self.counts}; stopped there, what came after was not sent: {self.stopped}"

    @property
    def counts(self) -> str:
        """The counts alone."""
        counts = {name: getattr(self, name) for name in _COUNTS} | {"failed": len(self.failed)}
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing"

    def __repr__(self) -> str:
        return line(f"<{type(self).__name__} {self._titled}>")

    def __kinto_table__(self) -> Table:
        # Of a million changes a few are looked at.
        rows = [each.row for each in (*self.failed[:MOST_ROWS], *self._done[:MOST_ROWS])]
        size = len(self.failed) + len(self._done)
        columns, left = ("what", "object", "how"), self.left_alone
        return table(self._titled, columns, rows, size=size, marked=("failed",), notes=left)

    @property
    def left_alone(self) -> list[str]:
        """Lines that say what was left as it is, where it was to be another."""
        return []

    @property
    def _titled(self) -> str:
        """What became of what, in one line."""
        return self.counted

    @property
    def _done(self) -> Sequence[Row]:
        """What of single objects is shown in a table, beside the failures."""
        return ()

    @property
    def _reasons(self) -> list[str]:
        """The first failures, each in one line."""
        more = len(self.failed) - _REASONS
        left = [f"and {more} more failed"] if more > 0 else []
        return [*map(str, self.failed[:_REASONS]), *left]

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
        jobs: Makes the jobs that write objects.
        workers: How many chunks are written at the same time.
        on_error: "collect", "raise", or a function that is told of each failure.
        progress: Is told after each chunk; True: there is a bar.
        summary: Where it is counted, if that was begun before.

    Attributes:
        workers: As given.
        summary: What became of them until now.

    Raises:
        InvalidData: One of the options is wrong.
        Unsupported: The server knows no batches.
    """

    def __init__(
        self,
        scope: Scope,
        jobs: Jobs,
        workers: int,
        on_error: OnError,
        progress: Progress | None,
        summary: Summary | None = None,
    ) -> None:
        if not isinstance(workers, int) or workers < 1:
            raise wrong_option(f"workers must be 1 or more, not {workers!r}")
        if on_error not in ("collect", "raise") and not callable(on_error):
            raise wrong_option(
                f'on_error must be "collect", "raise" or a function, not {on_error!r}'
            )
        if not (progress is None or isinstance(progress, bool) or callable(progress)):
            raise wrong_option(f"progress must be True or a function, not {progress!r}")
        scope.require_kinto("send batches")
        self.workers = workers
        self.summary = Summary() if summary is None else summary
        self._scope = scope
        self._jobs = jobs
        self._on_error = on_error
        self._tell = None if isinstance(progress, bool) else progress
        self._has_bar = progress is True
        self._lock = threading.Lock()
        self._outage = Outage()

    @property
    def is_in_vain(self) -> bool:
        """Whether the server is gone."""
        return self._outage.error is not None

    def opening(self) -> Flow[int]:
        """Find out how many objects make a chunk."""
        return max((yield from most_in_a_batch(self._scope)), self._jobs.at_once)

    def chunk(self, given: list[Any]) -> Chunk:
        """Read what is to be written of what was given."""
        return Chunk(self._jobs.reading(given))

    def writing(self, chunk: Chunk) -> Flow[list[Failure]]:
        """Write a chunk; what of it failed."""
        jobs = yield from self._jobs.making(chunk.objects)
        try:
            yield from together(self._scope, jobs)
        except BaseException:
            # An exit or an interrupt: what was answered before is done.
            with self._lock:
                self.summary.count(job.outcome for job in jobs if job.outcome.status != "queued")
            raise
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
        if self._tell is not None:
            yield self._tell(self.summary)

    @contextmanager
    def shown(self, objects: object) -> Iterator[None]:
        """Show a bar while the block runs, if there is to be one."""
        if not self._has_bar:
            yield
            return
        with bar(objects, self.summary) as self._tell:
            try:
                yield
            finally:
                self._tell(self.summary)  # an error comes before its chunk is told


class Jobs(Protocol):
    """Makes the jobs of a chunk.

    Attributes:
        at_once: For how many objects it asks with one request; a chunk has as many.
    """

    at_once: int

    def reading(self, given: list[Any]) -> list[Any]:
        """What is to be written of what was given; called in the order in which it was given."""

    def making(self, objects: list[Any]) -> Flow[list[Job]]:
        """Make the job of each object."""


class _Plain:
    """A job for each object, without asking for more.

    Args:
        job_of: Makes the job of one.
    """

    at_once = 1

    def __init__(self, job_of: JobOf) -> None:
        self._job_of = job_of

    def reading(self, given: list[Any]) -> list[Any]:
        """The objects."""
        return given

    def making(self, objects: list[Any]) -> Flow[list[Job]]:
        """Make the job of each object."""
        yield from ()
        return [self._job_of(each) for each in objects]


class Upserts:
    """Jobs that save objects over what is there: a hundred are looked at with one request.

    Args:
        scope: Where.
        existing: What becomes of objects that are there.
        equal: Make what is there what is given, whatever the objects believe of it; permissions,
            too, instead of adding to them.
    """

    at_once = _AT_ONCE

    def __init__(self, scope: Scope, existing: Existing, *, equal: bool = False) -> None:
        self._scope = scope
        self._existing = existing
        self._equal = equal

    def reading(self, given: list[Any]) -> list[Any]:
        """The objects."""
        return given

    def making(self, objects: list[Any]) -> Flow[list[Job]]:
        """Look what is there, and make the job of each object."""
        there: dict[int, Any] = {}
        for model in dict.fromkeys(type(each) for each in objects):
            same = [each for each in objects if type(each) is model]
            if hasattr(model, "__kinto_there__"):
                there |= yield from self._looking(model, same)
        seen, jobs = set[Hashable](), list[Job]()
        for each in objects:
            job = self._job(each, there.get(id(each)))
            if job.subject in seen and not job.sent:
                job = self._job(each, None)  # it may be of another class than the first
            seen.add(job.subject)
            jobs.append(job)
        return jobs

    def _looking(self, model: Any, objects: list[Any]) -> Flow[Mapping[int, Any]]:
        """What is there of each, as far as it was asked for; or why that is not known."""
        try:
            found: Mapping[int, Any] = yield from model.__kinto_there__(
                objects, self._scope, self._existing, equal=self._equal
            )
        except KintoError as error:
            return {id(each): error for each in objects}
        return found

    def _job(self, target: Any, there: Any) -> Job:
        # Two objects of one id are never under way at once: the second finds what the first wrote.
        subject = subject_of(target, self._scope)
        job = Job(Outcome("save", target), partial(self.flow, target, there), subject)
        job.sent = isinstance(there, KintoError)
        return job

    def flow(self, target: Any, there: Any) -> Flow[Any]:
        """Make the flow that saves an object; `there` is what is known of what is there."""
        storable(target)  # its own outcome, when it is something else
        if isinstance(there, KintoError):
            raise again(there, f"cannot save {target.__kinto_name__}: {there}")
        flow: Flow[Any] = target.__kinto_upsert__(
            self._scope, self._existing, there=there, equal=self._equal
        )
        return flow


def saving_jobs(scope: Scope, *, force: bool, existing: Existing = "fail") -> Jobs:
    """What makes the jobs that save objects.

    Raises:
        InvalidData: `existing` is no answer.
        TypeError: `force` is one, too.
    """
    check_existing(existing, force=force)
    if existing != "fail":
        return Upserts(scope, existing)
    return _Plain(partial(_job, "save", "__kinto_save__", scope, {"force": force}))


def deleting_jobs(scope: Scope, *, force: bool, missing_ok: bool) -> Jobs:
    """What makes the jobs that delete objects."""
    options = {"force": force, "missing_ok": missing_ok}
    return _Plain(partial(_job, "delete", "__kinto_delete__", scope, options))


def _job(act: Act, verb: str, scope: Scope, options: dict[str, Any], target: Any) -> Job:
    def make() -> Any:
        storable(target)  # its own outcome, when it is something else
        return getattr(target, verb)(scope, **options)

    return Job(Outcome(act, target), make, subject_of(target, scope))


def refuse_single(objects: object) -> None:
    """Refuse one object where several are needed.

    Raises:
        TypeError: It is one.
    """
    if isinstance(objects, BaseModel | str | Mapping):
        raise TypeError(f"an iterable of objects is needed, such as [x], not {objects!r:.80}")
