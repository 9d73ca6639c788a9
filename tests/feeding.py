"""Flows fed by hand: no server, no thread, no wait. And what a Kinto server answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from kinto_orm import ConnectFailed, Session, Timeout
from kinto_orm.testing import faults
from kinto_orm.wire.flows import Anew, Flow, Pause, Sending, Step, Together
from kinto_orm.wire.messages import Reply, Request

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)

NOW = 1_700_000_000_000
"""A timestamp of the server, in milliseconds."""


class Unfinished(AssertionError):
    """A flow wants more than it was fed."""


def feed(flow: Flow[Any], *answers: Any) -> tuple[Any, list[Step]]:
    """Give a flow its answers, one for each step; exceptions are raised at the step.

    Returns:
        Its result, and the steps that it made.

    Raises:
        Unfinished: It makes more steps.
        AssertionError: It ended before all answers were given.
    """
    steps: list[Step] = []
    return _feed(flow, list(answers), steps), steps


def fails(flow: Flow[Any], expected: type[E], *answers: Any) -> tuple[E, list[Step]]:
    """Give a flow its answers, after which it must fail.

    Returns:
        Its error, and the steps that it made.

    Raises:
        Unfinished: It makes more steps.
        AssertionError: It does not fail, or failed before all answers were given.
    """
    steps: list[Step] = []
    left = list(answers)
    try:
        result = _feed(flow, left, steps)
    except expected as error:
        if left:
            raise AssertionError(f"{left} are answers to nothing, after {error!r}") from error
        return error, steps
    raise AssertionError(f"it gave {result!r}, where {expected.__name__} should be raised")


def _feed(flow: Flow[Any], left: list[Any], steps: list[Step]) -> Any:
    try:
        step = next(flow)
        while True:
            steps.append(step)
            if not left:
                flow.close()
                raise Unfinished(f"what is the answer to {step!r}?")
            answer = left.pop(0)
            step = flow.throw(answer) if isinstance(answer, BaseException) else flow.send(answer)
    except StopIteration as end:
        assert not left, f"{left} are answers to nothing"
        return end.value


def requests_of(flow: Flow[T]) -> Flow[T]:
    """The same flow, of which only the requests are seen: it need not wait.

    Those of flows that are to be run side by side come one flow after the other.
    """
    try:
        step = next(flow)
        while True:
            try:
                answer: Any = None
                if isinstance(step, Together):
                    answer = []
                    for each in step.flows:
                        answer.append((yield from requests_of(each)))
                elif not isinstance(step, Pause | Anew):
                    answer = yield step
            except BaseException as error:
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def asked(steps: Iterable[Step]) -> list[str]:
    """Methods and targets of the requests among steps, as "GET /buckets/b"."""
    requests = [each.request if isinstance(each, Sending) else each for each in steps]
    return [f"{each.method} {each.target}" for each in requests if isinstance(each, Request)]


def body(step: Step) -> Any:
    """The JSON that a request carries."""
    assert isinstance(step, Request)
    return json.loads(step.body or b"null")


def nowhere(bucket: str = "b", collection: str | None = None, **options: Any) -> Session:
    """A scope for flows that are fed by hand; nobody answers there."""
    return Session("http://127.0.0.1:9/v1", bucket=bucket, collection=collection, **options)


# What a server says


def says(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
    """An answer with a JSON body."""
    return Reply(status, headers or {}, b"" if body is None else json.dumps(body).encode())


def object_of(id: str, last_modified: int = NOW, /, **fields: Any) -> dict[str, Any]:
    """The data of a stored object."""
    return {"id": id, "last_modified": last_modified, **fields}


def shows(
    data: Mapping[str, Any],
    permissions: Mapping[str, list[str]] | None = None,
    *,
    status: int = 200,
) -> Reply:
    """An answer about one object; of the permissions nothing when they are None."""
    whole = {"data": data} | ({} if permissions is None else {"permissions": permissions})
    return says(status, whole)


def root(most: int = 25, *capabilities: str, user: Mapping[str, Any] | None = None) -> Reply:
    """What a server says of itself."""
    return says(
        200,
        {
            "project_name": "kinto",
            "project_version": "26.5",
            "http_api_version": "1.24",
            "url": "http://127.0.0.1:9/v1/",
            "settings": {"batch_max_requests": most},
            "capabilities": {name: {} for name in capabilities},
            **({} if user is None else {"user": user}),
        },
    )


def refuses(status: int, errno: int, message: str = "no", **details: Any) -> Reply:
    """A refusal of Kinto's own."""
    return says(
        status, {"code": status, "errno": errno, "message": message, "details": details or None}
    )


def is_there(data: Mapping[str, Any]) -> Reply:
    """412: the precondition does not hold, and this is what is stored."""
    return refuses(412, 114, "Resource was modified meanwhile", existing=data)


def is_missing(resource: str = "record") -> Reply:
    """404: there is no such thing; a missing collection has another number than its records."""
    errno = 110 if resource == "record" else 111
    return refuses(404, errno, resource_name=resource, id="x")


def forbids() -> Reply:
    """403: a bucket that is not there, or no permission."""
    return refuses(403, 121, "This user cannot access this resource.")


def busy(status: int = 503) -> Reply:
    """Kinto itself says "not now"; nothing was done."""
    return refuses(status, {409: 122, 429: 117}.get(status, 201))


def gateway(status: int = 502) -> Reply:
    """A gateway lost the server's answer."""
    return faults.page(status)


def batched(*replies: Reply) -> Reply:
    """The answer to a batch, with one to each of its items."""
    items = [
        {
            "status": each.status,
            "path": "/v1/x",
            "headers": dict(each.headers),
            "body": json.loads(each.body or b"null"),
        }
        for each in replies
    ]
    return says(200, {"responses": items})


def after_loss(reply: Reply) -> Reply:
    """The same answer, after the one to an earlier sending was lost."""
    reply.lost = True
    return reply


def no_answer() -> Timeout:
    """It was sent, and no answer came."""
    return Timeout("the server did not answer in time")


def no_connection() -> ConnectFailed:
    """It was never sent."""
    error = ConnectFailed("is the server running?")
    error.lost = False
    return error
