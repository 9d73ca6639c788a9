"""Spans of OpenTelemetry: one for each operation, and below it one for each sending.

Names and attributes are those of the semantic conventions for HTTP clients (stable since 1.23).
A program that uses OpenTelemetry has imported it; for others nothing is imported here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kinto_orm._version import __version__
from kinto_orm.wire.messages import Reply, Request

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

_TRACE = "opentelemetry.trace"
# Ids, paths and numbers are different in each request; a span's name is not.
_SPECIFIC = re.compile(r" ['\"/<\d]")


def is_traced() -> bool:
    """Whether the program uses OpenTelemetry."""
    return _TRACE in sys.modules


@contextmanager
def operation(request: Request) -> Iterator[None]:
    """A span for an operation's request, with all attempts."""
    name = _SPECIFIC.split(request.doing or request.method)[0]
    attributes = {"kinto_orm.doing": request.doing}
    with _tracer().start_as_current_span(name, attributes=attributes):
        yield


@contextmanager
def sending(request: Request, url: str, attempt: int) -> Iterator[tuple[Request, Span]]:
    """A span for one sending; gives the request with the headers that name it to the server."""
    from opentelemetry import propagate, trace

    with _tracer().start_as_current_span(
        request.method, kind=trace.SpanKind.CLIENT, attributes=_attributes(request, url, attempt)
    ) as span:
        headers: dict[str, str] = {}
        propagate.inject(headers)
        # Without anybody who collects spans there is nothing to tell.
        yield replace(request, headers=headers | request.headers) if headers else request, span


def note(span: Span, reply: Reply) -> None:
    """Say on a span how it was answered."""
    from opentelemetry.trace import StatusCode

    span.set_attribute("http.response.status_code", reply.status)
    if reply.status >= 400:
        span.set_attribute("error.type", str(reply.status))
        span.set_status(StatusCode.ERROR)


def _attributes(request: Request, url: str, attempt: int) -> dict[str, Any]:
    parts = urlsplit(url)
    resent = {"http.request.resend_count": attempt - 1} if attempt > 1 else {}
    port = {"server.port": parts.port} if parts.port else {}
    return {
        "http.request.method": request.method,
        "url.full": url + request.shown.target,
        "server.address": parts.hostname or parts.scheme,
        **port,
        **resent,
    }


def _tracer() -> Tracer:
    from opentelemetry.trace import get_tracer

    return get_tracer("kinto_orm", __version__)
