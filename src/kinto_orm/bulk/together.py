"""Driving many flows together: the next request of each goes into one `POST /batch`.

Each gets its own answer, and goes on until it has ended. What a batch must not carry (a change of
structure, a list as body) is sent by itself, in its turn.
"""

from __future__ import annotations

import json
import random
from collections.abc import Hashable, Sequence
from functools import lru_cache

from kinto_orm.bulk.jobs import Job, Outage, is_busy, is_outage
from kinto_orm.errors import BadReply, TransportError, again
from kinto_orm.wire.flows import ANEW, Await, Flow, Pause, Step
from kinto_orm.wire.messages import Reply, Request
from kinto_orm.wire.places import info_of
from kinto_orm.wire.scope import Scope
from kinto_orm.wire.veils import union

# Kinto's default, for servers that do not say.
_DEFAULT_MOST = 25
# A common limit of proxies is 1 MiB.
_LARGEST_BODY = 900_000
_ROUNDS = 4


def most_in_a_batch(scope: Scope) -> Flow[int]:
    """Find out how many requests the server takes in a batch."""
    most = (yield from info_of(scope)).settings.get("batch_max_requests")
    return most if isinstance(most, int) and most > 0 else _DEFAULT_MOST


def together(scope: Scope, jobs: Sequence[Job]) -> Flow[None]:
    """Run jobs in as few requests as the server allows; each gets its outcome.

    Args:
        scope: To know how many requests the server takes.
        jobs: In their order; two for one object are never in one request.

    Raises:
        Unsupported: The server knows no batches.
    """
    scope.require_kinto("send a batch")
    if not jobs:
        return
    most = yield from most_in_a_batch(scope)
    try:
        yield from _in_chunks(jobs, most)
    except BaseException as error:
        # An interrupt or a cancel: nobody waits for the answers any more.
        for job in jobs:
            job.abandon(error)
        raise


def _in_chunks(jobs: Sequence[Job], most: int) -> Flow[None]:
    chunk, outage, begun = _Chunk(most), Outage(), 0
    for index, job in enumerate(jobs):
        if not chunk.takes(job):
            yield from chunk.running()
            error = outage.after(jobs[begun:index])
            if error is not None:
                for each in jobs[index:]:
                    each.leave(error)
                return
            chunk, begun = _Chunk(most), index
        yield from chunk.adding(job)
    yield from chunk.running()


class _Chunk:
    """The jobs of one request.

    Args:
        most: How many the server takes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._jobs: list[Job] = []
        self._subjects: set[Hashable] = set()
        self._size = 0

    def takes(self, job: Job) -> bool:
        """Whether another job fits; one object is not twice in a chunk."""
        return len(self._jobs) < self._most and job.subject not in self._subjects

    def adding(self, job: Job) -> Flow[None]:
        """Start a job, and put its first request into the batch; others are run at once."""
        job.start()
        while (asked := _question(job)) is not None:
            yield from _alone(job, asked)
        if job.step is None:
            return
        if not _may_be_carried(job):
            yield from self.running()
            yield from _run_on(job)
            return
        size = len(job.request.body or b"") if job.request else 0
        if self._size + size > _LARGEST_BODY:
            yield from self.running()
        self._jobs.append(job)
        self._subjects.add(job.subject)
        self._size += size

    def running(self) -> Flow[None]:
        """Send what is in it, until all of it has ended."""
        jobs, self._jobs, self._subjects, self._size = self._jobs, [], set(), 0
        if jobs:
            yield ANEW
        while jobs:
            if len(jobs) == 1:
                yield from _run_on(jobs[0])
            else:
                yield from _send(jobs)
                for job in jobs:
                    while job.step is not None and not _may_be_carried(job):
                        yield from _alone(job, job.step)
            jobs = [job for job in jobs if job.step is not None]


def _question(job: Job) -> Step | None:
    """What a job asks before its own request, such as where its bucket is, or of a hook."""
    if isinstance(job.step, Await):
        return job.step
    request = job.request
    return request if request is not None and request.alone and request.method == "GET" else None


def _may_be_carried(job: Job) -> bool:
    return job.request is not None and not job.request.alone


def _run_on(job: Job) -> Flow[None]:
    """Take all steps of a job that are left, each by itself."""
    while job.step is not None:
        yield from _alone(job, job.step)


def _alone(job: Job, step: object, *, lost: bool = False) -> Flow[None]:
    """Take one step of a job by itself.

    Args:
        job: The job.
        step: Its step.
        lost: Whether the server may have done it in a batch before, without a clear answer.
    """
    job.sent |= not isinstance(step, Await)
    try:
        answer = yield step  # type: ignore[misc]
    except TransportError as error:
        error.lost |= lost
        job.refuse(error)
    except Exception as error:  # noqa: BLE001  (the flow knows what it means)
        job.refuse(error)
    else:
        if isinstance(answer, Reply):
            answer.lost |= lost
        job.answer(answer)


def _send(jobs: Sequence[Job]) -> Flow[None]:
    """Send the requests of jobs as one batch until PostgreSQL took all of them.

    A 409 inside a batch rolls back every item before the last 409, although those items report
    success; so all of them are sent again. The later items stay. (By experiment with Kinto 26.5.)
    """
    left, lost = list(jobs), False
    for round_ in range(1, _ROUNDS + 1):
        replies = yield from _replies(left, lost)
        if replies is None:
            return
        lost = any(reply.lost for reply in replies)
        undone = max((i for i, reply in enumerate(replies) if reply.status == 409), default=-1) + 1
        again_alone = []
        for job, reply in zip(left[undone:], replies[undone:], strict=True):
            if is_busy(reply) and job.request is not None:
                again_alone.append((job, job.request, reply.lost or reply.is_lost))
            else:
                job.answer(reply)
        # Last: what is answered has its outcome, whatever becomes of these.
        for job, request, is_lost in again_alone:
            yield from _alone(job, request, lost=is_lost)
        left = left[:undone]
        if not left:
            return
        yield Pause(random.uniform(0, 0.05 * 2**round_))  # noqa: S311
    yield from _send_each(left, lost=lost)


def _replies(jobs: Sequence[Job], lost: bool) -> Flow[list[Reply] | None]:
    """The answers to a batch's items; None when all of them went on already."""
    for job in jobs:
        job.sent = True
    try:
        request = _batch_request(jobs)
        reply: Reply = yield request
        reply.mask = request.masked(reply.mask)
        reply.lost |= lost
        reply.doing = f"send a batch of {len(jobs)}"
        if reply.status == 200:
            return _sub_replies(reply, jobs)
    except TransportError as error:
        error.lost |= lost
        for job in jobs:
            job.refuse(again(error, f"cannot send a batch of {len(jobs)}: {error}"))
        return None
    if reply.status in (401, 403):
        for job in jobs:
            job.answer(Reply(reply.status, reply.headers, reply.body, reply.lost, reply.mask))
        return None
    # One item that the server cannot handle spoils the whole batch: find out which.
    yield from _send_each(jobs, lost=reply.lost or reply.is_lost)
    return None


def _send_each(jobs: Sequence[Job], *, lost: bool) -> Flow[None]:
    """Send the requests one by one; when two in a row get no answer, the server is down for all."""
    silent = 0
    for index, job in enumerate(jobs):
        if job.step is None:
            continue
        yield from _alone(job, job.step, lost=lost)
        error = job.outcome.error
        silent = silent + 1 if is_outage(error) else 0
        if silent == 2 and is_outage(error):
            unsent = again(error, str(error))
            unsent.lost = lost
            for other in jobs[index + 1 :]:
                other.refuse(unsent)
            return


def _batch_request(jobs: Sequence[Job]) -> Request:
    requests = [job.request for job in jobs if job.request is not None]
    items = b",".join(map(_item, requests))
    return Request(
        "POST",
        "/batch",
        body=b'{"requests":[' + items + b"]}",
        repeatable=all(request.repeatable for request in requests),
        doing=f"send a batch of {len(requests)}",
        carried=tuple(requests),
        veil=union(each.veil for each in requests),
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


def _sub_replies(reply: Reply, jobs: Sequence[Job]) -> list[Reply]:
    answers = reply.json.get("responses")
    if not isinstance(answers, list) or len(answers) != len(jobs):
        raise BadReply(
            f"the answer to the batch has not one response for each of {len(jobs)} items"
        )
    return [
        # Only what loads an object reads the bytes.
        _sub_reply(each, reply, as_bytes=job.request is not None and job.request.method == "GET")
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
