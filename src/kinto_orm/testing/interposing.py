"""A transport around that of a session: it lets something become of a request on its way.

What becomes of it is a flow, so that it is written once for both sessions: it yields the Request to
let the server do the work, a Pause to let time pass, and returns what is taken for the answer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NoReturn

from kinto_orm.errors import ConfigurationError, Timeout
from kinto_orm.wire.connection import Transport
from kinto_orm.wire.flows import Await, Flow, Pause, Step
from kinto_orm.wire.messages import Reply, Request

Treat = Callable[[Request], Flow[Reply] | None]
"""What becomes of a request; None for nothing special."""


class Interposed:
    """Sends over a transport that blocks, but for what is treated otherwise.

    Args:
        transport: What sends.
        treat: Is asked about each request.
    """

    def __init__(self, transport: Transport, treat: Treat) -> None:
        self._transport = transport
        self._treat = treat
        self.close = transport.close
        self.timeout = transport.timeout

    @property
    def is_anonymous(self) -> bool:
        """Whether nothing on its requests says who asks."""
        return self._transport.is_anonymous

    def send(self, request: Request, until: float) -> Any:
        """Send a request once, or let something else become of it.

        Raises:
            TransportError: No usable answer came.
        """
        flow = self._treat(request)
        if flow is None:
            return self._transport.send(request, until)
        try:
            step = next(flow)
            while True:
                try:
                    answer = self._do(step, until)
                except BaseException as error:  # noqa: BLE001  (the flow knows what it means)
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            return answered(request, end.value)

    def _do(self, step: Step, until: float) -> Any:
        if isinstance(step, Request):
            return self._transport.send(step, until)
        if isinstance(step, Pause):
            return self._wait(step.seconds, until)
        return _refuse(step)

    def _wait(self, seconds: float, until: float) -> None:
        most = longest(self.timeout, until)
        time.sleep(min(seconds, most))
        check_patience(seconds, most)


class AwaitedInterposed(Interposed):
    """The same over a transport that is awaited."""

    async def send(self, request: Request, until: float) -> Reply:
        """Send a request once, or let something else become of it.

        Raises:
            TransportError: No usable answer came.
        """
        flow = self._treat(request)
        if flow is None:
            reply: Reply = await self._transport.send(request, until)
            return reply
        try:
            step = next(flow)
            while True:
                try:
                    answer = await self._do(step, until)
                except BaseException as error:  # noqa: BLE001  (the flow knows what it means)
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            return answered(request, end.value)

    async def _do(self, step: Step, until: float) -> Any:
        if isinstance(step, Request):
            return await self._transport.send(step, until)
        if isinstance(step, Pause):
            return await self._let_pass(step.seconds, until)
        return await step.awaitable if isinstance(step, Await) else _refuse(step)

    async def _let_pass(self, seconds: float, until: float) -> None:
        from asyncio import sleep

        most = longest(self.timeout, until)
        await sleep(min(seconds, most))
        check_patience(seconds, most)


def answered(request: Request, reply: Reply) -> Reply:
    """What comes of an answer to this request: that to a HEAD has no body."""
    if request.method == "HEAD":
        reply.body = b""
    return reply


def longest(timeout: tuple[float | None, float | None], until: float) -> float:
    """How many seconds a session waits for an answer.

    Args:
        timeout: Its own, (to connect, to wait for the next bytes).
        until: When the call is over, by `time.monotonic()`.
    """
    patience = timeout[1]
    left = max(until - time.monotonic(), 0.0)
    return left if patience is None else min(patience, left)


def check_patience(seconds: float, most: float) -> None:
    """Make sure that somebody still waits.

    Raises:
        Timeout: Nobody does.
    """
    if seconds > most:
        waited = "" if most == math.inf else f" within {most:.3g} s"
        raise Timeout(f"the server did not answer in time{waited} (a fault of the test)")


def _refuse(step: Step) -> NoReturn:
    what = step.what if isinstance(step, Await) else repr(step)
    raise ConfigurationError(f"{what} is to be awaited, and the session blocks: write it with def")
