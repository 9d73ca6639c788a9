"""Several calls in one request, each with an outcome of its own. It is not a transaction."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar

from kinto_orm.errors import (
    BadReply,
    BatchError,
    KintoError,
    ServerError,
    TransportError,
    again,
)
from kinto_orm.protocol import Call, Reply, Request, error_for
from kinto_orm.session import resources

if TYPE_CHECKING:
    from kinto_orm.resource import Resource
    from kinto_orm.session import Session

    M = TypeVar("M", bound=Resource)

T = TypeVar("T")
Act = Literal["save", "delete", "get", "refresh"]

# Kinto's default, for servers that do not say.
_DEFAULT_MOST = 25
# A common limit of proxies is 1 MiB.
_LARGEST_BODY = 900_000
_ROUNDS = 4
_BUSY = frozenset({409, 429, 502, 503, 504})
_MEANINGS = {"delete": "deleted", "get": "fetched", "refresh": "fetched"}


@dataclass(slots=True, eq=False)
class Outcome(Generic[T]):
    """What became of one operation of a batch.

    Attributes:
        act: "save", "delete", "get" or "refresh".
        target: The object; for a get, the id.
        result: What the operation gives: the object, or a Tombstone; None before it ran and
            after a failure.
        error: Why it failed; None when it did not.
        status: "created", "updated", "unchanged", "deleted", "fetched", "failed" or "queued".
    """

    act: Act
    target: Any
    result: T | None = None
    error: Exception | None = None
    status: str = "queued"


@dataclass(slots=True, eq=False)
class _Job:
    """An operation in the queue: planned when its turn comes."""

    outcome: Outcome[Any]
    plan: Callable[[], Call[Any] | None]
    call: Call[Any] | None = None
    meaning: str = ""

    def prepare(self) -> Call[Any] | None:
        """Make the call, now that the jobs before this one are done."""
        self.call = self.plan()
        act = self.outcome.act
        creates = self.call is not None and "If-None-Match" in self.call.request.headers
        self.meaning = _MEANINGS.get(act) or ("created" if creates else "updated")
        if self.call is not None and _is_forced_save(self.call.request):
            self.call.receive = self._noting(self.call.receive)
        return self.call

    def _noting(self, receive: Callable[[Reply], Any]) -> Callable[[Reply], Any]:
        def noting(reply: Reply) -> Any:
            self.meaning = "created" if reply.status == 201 else "updated"
            return receive(reply)

        return noting


def _is_forced_save(request: Request) -> bool:
    """Only the answer to such a request says whether the object is new."""
    return request.method == "PUT" and not request.headers


class Batch:
    """A queue of operations, sent in requests of `batch_max_requests` when the block ends.

    Objects are updated in place. What succeeded stays succeeded when something else fails.
    Operations on one object are sent in the order in which they were queued. An exception
    inside the block sends nothing.

    Args:
        session: Runs the requests.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._queue: list[_Job] = []
        self.outcomes: list[Outcome[Any]] = []

    def save(self, *objects: Resource, force: bool = False) -> None:
        """Queue `save()` of each object; an unchanged one sends nothing.

        Args:
            *objects: Of any classes.
            force: Overwrite without preconditions.
        """
        for each in resources(*objects):
            self._add("save", each, partial(_saving, each, self._session, force))

    def delete(self, *objects: Resource, missing_ok: bool = False, force: bool = False) -> None:
        """Queue `delete()` of each object.

        Args:
            *objects: Of any classes.
            missing_ok: Be content with those that are gone already.
            force: Delete without preconditions.
        """
        for each in resources(*objects):
            self._add("delete", each, partial(_deleting, each, self._session, missing_ok, force))

    def refresh(self, *objects: Resource, keep_changes: bool = False) -> None:
        """Queue `refresh()` of each object; see there for `keep_changes`."""
        for each in resources(*objects):
            self._add("refresh", each, partial(_refreshing, each, self._session, keep_changes))

    def get(self, model: type[M], id: str) -> Outcome[M]:
        """Queue `Model.get(id)`; the object is in the outcome's `result` after the block."""
        return self._add("get", id, partial(model._get_call, self._session, id))

    def run(self) -> list[Outcome[Any]]:
        """Send what is queued; called at the end of the `with` block.

        Returns:
            The outcomes of all that was queued, in order.

        Raises:
            BatchError: Something failed; it has one exception for each failure.
        """
        queue, self._queue = self._queue, []
        try:
            run_jobs(self._session, queue)
        finally:
            # What was not sent is sent by the next run.
            self._queue = [job for job in queue if job.outcome.status == "queued"]
        errors = [job.outcome.error for job in queue if job.outcome.error is not None]
        if errors:
            raise BatchError(
                f"{len(errors)} of {len(queue)} operations failed, the others were done "
                "(a batch is no transaction)",
                errors,
            )
        return [job.outcome for job in queue]

    def _add(self, act: Act, target: object, plan: Callable[[], Call[Any] | None]) -> Outcome[Any]:
        outcome: Outcome[Any] = Outcome(act, target)
        self._queue.append(_Job(outcome, plan))
        self.outcomes.append(outcome)
        return outcome

    def __len__(self) -> int:
        return len(self._queue)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.run()


def _saving(resource: Resource, session: Session, force: bool) -> Call[Any] | None:
    resources(resource)
    planned = resource._save_call(session, force=force)
    return None if planned is None else planned[1]


def _deleting(resource: Resource, session: Session, missing_ok: bool, force: bool) -> Call[Any]:
    resources(resource)
    return resource._delete_call(session, missing_ok=missing_ok, force=force)[1]


def _refreshing(resource: Resource, session: Session, keep_changes: bool) -> Call[Any]:
    call = resource._refresh_call(session, keep_changes=keep_changes)[1]
    # One 304 turns a whole batch into a 500.
    call.request.headers.pop("If-None-Match", None)
    return call


def save_jobs(session: Session, objects: Sequence[Resource], force: bool = False) -> list[_Job]:
    """Jobs that save these objects, for `run_jobs`."""
    return [_Job(Outcome("save", each), partial(_saving, each, session, force)) for each in objects]


def delete_jobs(session: Session, objects: Sequence[Resource], **options: bool) -> list[_Job]:
    """Jobs that delete these objects, for `run_jobs`."""
    return [
        _Job(Outcome("delete", each), partial(_deleting, each, session, **options))
        for each in objects
    ]


def run_jobs(session: Session, jobs: Sequence[_Job]) -> None:
    """Run jobs in as few requests as the server allows; each gets its outcome."""
    session.require_kinto("send a batch")
    chunk, outage, begun = _Chunk(session), Outage(), 0
    for index, job in enumerate(jobs):
        if not chunk.takes(job):
            chunk.run()
            error = outage.after(jobs[begun:index])
            if error is not None:
                _leave(jobs[index:], error)
                return
            chunk, begun = _Chunk(session), index
        chunk.add(job)
    chunk.run()


class Outage:
    """Notices that a server is gone: two calls or more were sent, and none was answered.

    Attributes:
        error: What the last of them ended in; None while the server is there.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None
        self._silent = 0

    def after(self, jobs: Sequence[_Job]) -> Exception | None:
        """Look at jobs that were run; give the error when the server is gone by now."""
        errors = [job.outcome.error for job in jobs if job.call is not None]
        self._silent = self._silent + len(errors) if all(map(_is_outage, errors)) else 0
        if errors and self._silent > 1:
            self.error = errors[-1]
        return self.error


def _leave(jobs: Sequence[_Job], error: Exception) -> None:
    """Fail what is not even tried, because the server is gone."""
    for job in jobs:
        target = job.outcome.target
        name = getattr(target, "_name", None) or repr(target)
        failure = _like(error, f"cannot {job.outcome.act} {name}, which was not sent: {error}")
        if isinstance(failure, KintoError):
            failure.lost = False
        _fail(job, failure)


class _Chunk:
    """The jobs of one request."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._most = batch_max_requests(session)
        self._jobs: list[_Job] = []
        self._targets: set[int] = set()
        self._size = 0

    def takes(self, job: _Job) -> bool:
        """Whether another job fits; one object is not twice in a chunk."""
        return len(self._jobs) < self._most and id(job.outcome.target) not in self._targets

    def add(self, job: _Job) -> None:
        """Plan a job and put it into the request; those that must go alone are run at once."""
        try:
            call = job.prepare()
        except Exception as error:  # noqa: BLE001  (its own outcome, whatever it is)
            _fail(job, error)
            return
        if call is None:
            job.outcome.result = job.outcome.target
            job.outcome.status = "unchanged"
        elif call.request.alone:
            self.run()
            _run_alone(self._session, job)
        else:
            self._put(job, len(call.request.body or b""))

    def _put(self, job: _Job, size: int) -> None:
        if self._size + size > _LARGEST_BODY:
            self.run()
        self._jobs.append(job)
        self._targets.add(id(job.outcome.target))
        self._size += size

    def run(self) -> None:
        jobs, self._jobs, self._targets, self._size = self._jobs, [], set(), 0
        with self._session.one_call():
            if len(jobs) == 1:
                _run_alone(self._session, jobs[0])
            elif jobs:
                _run_together(self._session, jobs)


def batch_max_requests(session: Session) -> int:
    """How many requests the server takes in a batch."""
    most = session.server_info().settings.get("batch_max_requests")
    return most if isinstance(most, int) and most > 0 else _DEFAULT_MOST


def _run_together(session: Session, jobs: Sequence[_Job]) -> None:
    """Send jobs as one batch until PostgreSQL took all of them.

    A 409 inside a batch rolls back every item before the last 409, although those items report
    success; so all of them are sent again. The later items stay. (By experiment with Kinto 26.5.)
    """
    left, lost = list(jobs), False
    for round_ in range(1, _ROUNDS + 1):
        replies = _send(session, left, lost)
        if replies is None:
            return
        lost = any(reply.lost for reply in replies)
        undone = max((i for i, reply in enumerate(replies) if reply.status == 409), default=-1) + 1
        for job, reply in zip(left[undone:], replies[undone:], strict=True):
            _finish(session, job, reply)
        left = left[:undone]
        if not left:
            return
        time.sleep(random.uniform(0, 0.05 * 2**round_))  # noqa: S311
    _run_each(session, left, lost=lost)


def _send(session: Session, jobs: Sequence[_Job], lost: bool) -> list[Reply] | None:
    """The replies to a batch's items; None when all outcomes are settled already."""
    try:
        reply = session.send(_batch_request(_calls(jobs)), f"send a batch of {len(jobs)}")
        reply.lost |= lost
        if reply.status == 200:
            return _sub_replies(reply, jobs)
    except TransportError as error:
        error.lost |= lost
        for job in jobs:
            _fail(job, _after(error, _calls([job])[0]))
        return None
    if reply.status in (401, 403):
        for job, call in zip(jobs, _calls(jobs), strict=True):
            _fail(job, error_for(reply, call.request, call.doing))
        return None
    # One item that the server cannot handle spoils the whole batch: find out which.
    _run_each(session, jobs, lost=reply.lost or reply.is_lost)
    return None


def _calls(jobs: Sequence[_Job]) -> list[Call[Any]]:
    return [job.call for job in jobs if job.call is not None]


def _batch_request(calls: Sequence[Call[Any]]) -> Request:
    items = b",".join(_item(call.request) for call in calls)
    return Request(
        "POST",
        "/batch",
        body=b'{"requests":[' + items + b"]}",
        repeatable=all(call.request.repeatable for call in calls),
    )


def _item(request: Request) -> bytes:
    # The server refuses paths that contain "/batch", a bucket "batches" for one.
    path = request.target.replace("/batch", "/%62atch")
    # Methods and quoted paths need no escaping in JSON.
    headers = _headers(tuple(request.headers.items()))
    head = f'{{"method":"{request.method}","path":"{path}","headers":{headers}'
    return head.encode() + (b',"body":' + request.body if request.body else b"") + b"}"


@lru_cache(maxsize=100)
def _headers(headers: tuple[tuple[str, str], ...]) -> str:
    """As JSON; most requests of a bulk operation have the same."""
    return json.dumps(dict(headers))


def _sub_replies(reply: Reply, jobs: Sequence[_Job]) -> list[Reply]:
    answers = reply.json.get("responses")
    if not isinstance(answers, list) or len(answers) != len(jobs):
        raise BadReply(
            f"the answer to the batch has not one response for each of {len(jobs)} items"
        )
    return [
        # Only what loads an object reads the bytes.
        _sub_reply(each, reply, as_bytes=job.outcome.act in ("get", "refresh"))
        for each, job in zip(answers, jobs, strict=True)
    ]


def _sub_reply(answer: object, whole: Reply, *, as_bytes: bool) -> Reply:
    """The reply to one item; of an answer that is none, one that nobody can read."""
    unreadable = Reply(200, {}, b"", whole.lost, whole.mask)
    if not isinstance(answer, dict):
        return unreadable
    status, headers = answer.get("status"), answer.get("headers")
    if type(status) is not int or not 200 <= status < 600:
        return unreadable
    named = headers if isinstance(headers, dict) else {}
    return Reply.parsed(
        status, named, answer.get("body"), whole.lost, mask=whole.mask, as_bytes=as_bytes
    )


def _finish(session: Session, job: _Job, reply: Reply) -> None:
    call = _calls([job])[0]
    try:
        if reply.status in _BUSY:
            _run_alone(session, job, lost=reply.lost or reply.is_lost)
            return
        if reply.status in (401, 403, 404) and session.make_parents(call, reply):
            _run_alone(session, job, lost=reply.lost)
            return
        job.outcome.result = call.complete(reply)
        job.outcome.status = job.meaning
    except Exception as error:  # noqa: BLE001  (its own outcome, whatever it is)
        _fail(job, error)


def _run_each(session: Session, jobs: Sequence[_Job], *, lost: bool = False) -> None:
    """Run jobs one by one; when two in a row get no answer, the server is down for all."""
    silent = 0
    for index, job in enumerate(jobs):
        _run_alone(session, job, lost=lost)
        error = job.outcome.error
        silent = silent + 1 if _is_outage(error) else 0
        if silent == 2 and error is not None:
            for other in jobs[index + 1 :]:
                _fail(other, _after(error, _calls([other])[0]))
            return


def _after(error: Exception, call: Call[Any]) -> Exception:
    """The failure of a call that was not answered because of an error."""
    return _like(error, f"cannot {call.doing}: {error}", call.request)


def _like(error: Exception, message: str, request: Request | None = None) -> Exception:
    """Another error of the same meaning."""
    if isinstance(error, ServerError):
        status, errno = error.status, error.errno
        made = ServerError(message, status=status, errno=errno, request=request)
        made.lost = error.lost
        return made
    return again(error, message) if isinstance(error, KintoError) else type(error)(message)


def _is_outage(error: Exception | None) -> bool:
    busy = isinstance(error, ServerError) and error.status in _BUSY
    return busy or isinstance(error, TransportError)


def _run_alone(session: Session, job: _Job, *, lost: bool = False) -> None:
    try:
        job.outcome.result = session.run(_calls([job])[0], lost=lost)
        job.outcome.status = job.meaning
    except Exception as error:  # noqa: BLE001  (its own outcome, whatever it is)
        _fail(job, error)


def _fail(job: _Job, error: Exception) -> None:
    job.outcome.error = error
    job.outcome.status = "failed"
    if job.call is not None and job.outcome.act in ("save", "delete"):
        job.outcome.target._remember_doubt(error)
