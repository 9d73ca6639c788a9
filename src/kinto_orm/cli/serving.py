"""`serve`: a Kinto for development."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from pydantic import JsonValue
from typer import Context, Option

from kinto_orm import KintoError
from kinto_orm.cli.browsing import ended_by_signals, port_refused, run_page
from kinto_orm.cli.failing import Misuse
from kinto_orm.cli.printing import Output
from kinto_orm.cli.settings import settings_of
from kinto_orm.server import ProcessServer, serve_process

_DEFAULT_KEY = "dev"


def serve(
    ctx: Context,
    data: Annotated[
        str | None, Option(help="A file (todo.db) or a directory that keeps the data; else memory")
    ] = None,
    port: Annotated[int, Option(min=0, max=65535, help="0 takes a free one")] = 8888,
    workers: Annotated[int, Option(min=1, help="How many processes answer; needs --data")] = 1,
    kvp: Annotated[bool, Option("--kvp", help="Speak kvp.io's protocol, too")] = False,
    kvp_key: Annotated[
        list[str] | None,
        Option(help=f"An API key of kvp.io's clients, may be repeated  [default: {_DEFAULT_KEY}]"),
    ] = None,
    browse: Annotated[bool, Option("--browse", help="Also a web page over it")] = False,
    browse_port: Annotated[int, Option(min=0, max=65535, help="The page's port")] = 8889,
    demo: Annotated[bool, Option("--demo", help="Put sample data into it")] = False,
) -> None:
    """Run a Kinto for development on this machine; any user and password will do.

    Ctrl-C ends it. Whoever can log in to this machine can reach it and delete everything in it.

    Examples:
        kinto-orm serve --demo                      sample data, to try things on
        kinto-orm serve --data todo.db              kept in a file
        kinto-orm serve --data ./data --workers 2   kept by a PostgreSQL in a directory
        kinto-orm serve --kvp --kvp-key 123abc      for kvp.io's clients, too
    """
    settings = settings_of(ctx)
    if settings.server or settings.profile:
        raise Misuse("serve starts a server of its own: leave --server and --profile out")
    output = settings.output
    keys = (kvp_key or [_DEFAULT_KEY]) if kvp or kvp_key else []
    if data is None and workers > 1:
        raise Misuse("--workers needs --data: what is in memory, one process has")
    with ended_by_signals(), _open(_url(data), port, workers, keys) as server:
        if demo:
            from kinto_orm.cli.sample import fill

            fill(server.url, key=keys[0] if keys else None)
        tell_how = partial(_announce, output, server, data, keys, demo=demo)
        if browse:
            _browse(server, browse_port, demo=demo, ready=tell_how)
        else:
            tell_how(None)
            server.wait()
            raise _Crashed


class _Crashed(KintoError):
    """A process of the server ended by itself."""

    def __init__(self) -> None:
        super().__init__("a process of the server has ended: the others are closed, too")


def _browse(
    server: ProcessServer, port: int, *, demo: bool, ready: Callable[[str | None], None]
) -> None:
    """Show the page until it is interrupted, or a process of the server ends."""
    who = {"auth": "demo:demo", "bucket": "demo"} if demo else {}
    crashed = threading.Event()

    def watch() -> None:
        if server.wait() and not closing.is_set():
            crashed.set()
            os.kill(os.getpid(), signal.SIGINT)

    closing = threading.Event()
    threading.Thread(target=watch, daemon=True).start()
    try:
        run_page(server.url, port=port, option="--browse-port", ready=ready, **who)
    except KeyboardInterrupt:
        if not crashed.is_set():
            raise
    finally:
        closing.set()
    if crashed.is_set():
        raise _Crashed


def _open(url: str, port: int, workers: int, keys: list[str]) -> ProcessServer:
    settings = {"kinto.includes": "kinto_orm.server.kvp", "kinto.kvp_api_keys": " ".join(keys)}
    try:
        return serve_process(url, processes=workers, port=port, settings=settings if keys else {})
    except OSError as error:
        raise port_refused(error, port, "--port") from None


def _url(data: str | None) -> str:
    """The URL of the embedded Kinto that keeps its data there."""
    if data is None:
        return "memory://"
    path = Path(data).expanduser().absolute()
    is_directory = path.is_dir() or data.endswith(os.sep) or not (path.suffix or path.exists())
    # A path begins with a slash, and SQLAlchemy's URLs have one more before it.
    return f"{'local://' if is_directory else 'sqlite:///'}{quote(str(path))}"


def _announce(
    output: Output,
    server: ProcessServer,
    data: str | None,
    keys: list[str],
    page: str | None,
    *,
    demo: bool,
) -> None:
    """Say where it is, how to connect, and where the data is kept."""
    auth = "demo:demo" if demo else "me:secret"
    told: dict[str, JsonValue] = {"url": server.url, "auth": auth, "data": data, "page": page}
    if output.as_json:
        output.value(told | {"pids": [*server.pids], "kvp_keys": [*keys]})
        output.flush()
        return
    kept = f"kept in {Path(data).expanduser().absolute()}" if data else "in memory, gone at the end"
    output.line(f"Kinto for development: {server.url}")
    output.line(f"Data: {kept}")
    output.line("Any user and password will do. To connect, copy one of these:")
    output.line(f"  export KINTO_ORM_SERVER={server.url} KINTO_ORM_AUTH={auth}")
    output.line(f'  Session("{server.url}", auth="{auth}")')
    if keys:
        kvp = f"kvp+{server.url.removesuffix('/v1')}"
        output.line("Key values and templates by kvp.io's protocol, each API key its own:")
        output.line(f"  export KINTO_ORM_SERVER={kvp} KINTO_ORM_AUTH={keys[0]}:")
    if demo:
        output.line(f"Sample data: kinto-orm ls /buckets/demo, or open {_sample(server, page)}")
    elif page is not None:
        output.line(f"Open {page}")
    output.line("Ctrl-C ends it.")
    output.flush()


def _sample(server: ProcessServer, page: str | None) -> str:
    return page or f"{server.url}/buckets/demo/collections/todos/records"
