"""Sending a request once to an embedded server, in a thread, so that it can be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from functools import partial

from requests.adapters import BaseAdapter

from kinto_orm.wire.clock import Timeouts
from kinto_orm.wire.forking import renew_in_children
from kinto_orm.wire.masking import Mask
from kinto_orm.wire.messages import Reply, Request
from kinto_orm.wire.renewing import AsyncAuth, HeaderSource
from kinto_orm.wire.route import Route
from kinto_orm.wire.transport import RequestsTransport


class ThreadTransport:
    """Sends requests one after the other, each of them whole, in a thread of its own.

    Args:
        base_url: The server's.
        adapter: The way into it.
        auth: As an AsyncSession takes it; None for anonymous.
        timeout: Seconds, (to connect, to wait for the next bytes), or one for both.
        headers: Sent with every request.
        route: What it is given; nothing travels.

    Attributes:
        is_anonymous: Whether nothing on its requests says who asks.
        timeout: Seconds, (to connect, to wait for the next bytes); None for any time.
    """

    def __init__(
        self,
        base_url: str,
        *,
        adapter: BaseAdapter,
        auth: AsyncAuth | None = None,
        timeout: Timeouts = (3.05, 30.0),
        headers: Mapping[str, str] | None = None,
        route: Route = Route(),  # noqa: B008  (immutable)
    ) -> None:
        source = None if auth is None else HeaderSource(auth)
        constant = source.constant if source is not None else None
        self._auth = source if constant is None else None
        self._base_url = base_url
        self._blocking = RequestsTransport(
            base_url,
            timeout=timeout,
            headers={**(headers or {}), **(constant or {})},
            adapter=adapter,
            route=route,
        )
        self.is_anonymous = source is None and self._blocking.is_anonymous
        self.timeout = self._blocking.timeout
        self._begin()
        renew_in_children(self)

    def _begin(self) -> None:
        self._worker = ThreadPoolExecutor(1, "kinto-orm-embedded")

    def after_fork(self) -> None:
        """Have a thread of its own, in a forked child."""
        self._begin()

    async def close(self) -> None:
        """End the thread, after what it is working on."""
        await asyncio.get_running_loop().run_in_executor(self._worker, self._blocking.close)
        self._worker.shutdown()

    async def send(self, request: Request, until: float) -> Reply:
        """Send a request once; see RequestsTransport.send.

        When nobody waits any more, what was begun is done to its end all the same.
        """
        mask = None
        if self._auth is not None:
            headers = self._blocking.headers_of(request)
            headers = await self._auth.fetch(self._base_url, request, headers)
            request, mask = replace(request, headers=headers), Mask(headers)
        work = partial(copy_context().run, self._blocking.send, request, until)
        reply = await asyncio.get_running_loop().run_in_executor(self._worker, work)
        reply.mask = reply.mask if mask is None else mask
        return reply
