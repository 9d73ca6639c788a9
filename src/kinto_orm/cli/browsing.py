"""`browse`: a page in the browser over a server."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any
from urllib.parse import urlsplit

from typer import Context, Option

from kinto_orm.cli.failing import Misuse
from kinto_orm.cli.printing import tell
from kinto_orm.cli.settings import refuse_missing, settings_of

Handler = Callable[[int, FrameType | None], Any]


def browse(
    ctx: Context,
    port: Annotated[int, Option(min=0, max=65535, help="0 takes a free one")] = 8889,
    read_only: Annotated[bool, Option("--read-only", help="Refuse all that writes")] = False,
) -> None:
    """Show a page in the browser, on this machine only, over the server.

    With --auth, or a profile's login, whoever opens the page acts as that user; else each logs in.
    Ctrl-C ends it.

    Examples:
        kinto-orm browse --server https://kinto.example/v1
        kinto-orm browse --profile work --read-only
        kinto-orm browse --server sqlite:///todo.db --port 9000
    """
    settings = settings_of(ctx)
    told = settings.resolved()
    refuse_missing(told.server or "")

    def ready(address: str) -> None:
        if settings.as_json:
            settings.output.value({"page": address})
        else:
            settings.output.line(f"Open {address}")
            settings.output.line("Ctrl-C ends it.")
        settings.output.flush()
        if told.auth or _has_credentials(told.server):
            tell("whoever can log in to this machine can open it, and acts as you there")

    options = {"auth": told.auth, "bucket": told.bucket, "read_only": read_only}
    with ended_by_signals():
        run_page(told.server, port=port, option="--port", ready=ready, **options)


def _has_credentials(server: str | None) -> bool:
    """Whether a URL says as whom: everybody is that user then, too."""
    parts = urlsplit(server or "")
    return parts.scheme in ("http", "https") and "@" in parts.netloc


def run_page(server: str | None, *, port: int, option: str, **options: Any) -> None:
    """Serve the page until it is interrupted.

    Args:
        server: The URL of the server that it shows.
        port: Its port.
        option: By which option the port was given.
        **options: What `kinto_orm.web.run` takes besides.

    Raises:
        ConfigurationError: The extra `web` is missing.
        Misuse: The port is taken.
    """
    from kinto_orm import web

    try:
        web.run(server, port=port, **options)
    except OSError as error:
        raise port_refused(error, port, option) from None


def port_refused(error: OSError, port: int, option: str) -> Misuse:
    """What to say of a port that cannot be opened."""
    if error.errno == errno.EADDRINUSE:
        other = port + 1 if port < 65535 else 8888
        return Misuse(
            f"the port {port} is in use: end what answers there, or give another one, "
            f"such as {option} {other}, or {option} 0 for a free one"
        )
    why = os.strerror(error.errno) if error.errno else str(error)
    return Misuse(f"the port {port} cannot be opened: {why}")


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM, and SIGHUP of a terminal that closes, end it as Ctrl-C does: in order."""
    handlers: dict[str, Handler] = {"SIGTERM": signal.default_int_handler, "SIGHUP": _terminate}
    wanted = {
        getattr(signal, name): each for name, each in handlers.items() if hasattr(signal, name)
    }
    found = {number: signal.getsignal(number) for number in wanted}
    for number, handler in wanted.items():
        if found[number] is not signal.SIG_IGN:  # as `nohup` wants it
            signal.signal(number, handler)
    try:
        yield
    except KeyboardInterrupt:
        tell("stopped")
    finally:
        for number, before in found.items():
            signal.signal(number, before)


def _terminate(number: int, frame: FrameType | None) -> None:
    """Do what SIGTERM does now: while the page is served, that is the page's to say."""
    signal.raise_signal(signal.SIGTERM)
