"""An embedded Kinto on a port of this machine, from threads of this process."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from kinto_orm.server.quiet import extra
from kinto_orm.wire.forking import renew_in_children

if TYPE_CHECKING:
    from kinto_orm.server.embedded import EmbeddedServer

HOST = "127.0.0.1"


class LoopbackServer:
    """Serves an embedded Kinto on 127.0.0.1. Close it, or use it in a `with` statement.

    Attributes:
        url: The server's URL, as a session takes it.
    """

    def __init__(self, server: EmbeddedServer, listening: socket.socket, *, threads: int) -> None:
        """Use `serve` instead.

        Args:
            server: What to serve.
            listening: The port, open already.
            threads: How many requests are answered at a time.
        """
        with extra():
            from waitress.server import create_server
            from waitress.wasyncore import close_all

            from kinto_orm.server.channel import Channel
        self._connections: dict[int, Any] = {}
        self._http = create_server(
            server.wsgi, self._connections, sockets=[listening], threads=threads
        )
        self._http.channel_class = Channel
        self._stop = partial(close_all, self._connections)
        self.url = url_of(listening)
        self._thread = threading.Thread(
            target=self._http.run, name=f"kinto {self.url}", daemon=True
        )
        self._thread.start()
        renew_in_children(self)

    def after_fork(self) -> None:
        """Close the parent's port and connections, in a forked child, where nothing answers."""
        for each in self._connections.values():
            if isinstance(each.socket, socket.socket):
                each.socket.close()

    def close(self) -> None:
        """Stop answering and close the port; the embedded Kinto stays open. Idempotent."""
        if self._thread.is_alive():
            # The connections belong to the thread's loop, which ends when none is left.
            # It may end between taking the order and reading the wake-up call.
            with suppress(OSError):
                self._http.trigger.pull_trigger(self._stop)
            self._thread.join()
            self._http.task_dispatcher.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"


def serve(server: EmbeddedServer, *, port: int = 0, threads: int = 4) -> LoopbackServer:
    """Serve an embedded Kinto on 127.0.0.1, over HTTP.

    Whoever can log in to this machine can reach it, and its plugin `flush` deletes everything
    for anyone who asks (`POST /v1/__flush__`): it is for tests, demonstrations and the command
    line.

    Args:
        server: What `open_memory` or one of the others returned; close it after this one.
        port: The port; 0 takes a free one.
        threads: How many requests are answered at a time; one with `memory://`.

    Raises:
        ConfigurationError: The extra `server` is not installed.
        OSError: The port is taken.
    """
    listening = listen(port)
    try:
        return LoopbackServer(server, listening, threads=threads)
    except BaseException:
        listening.close()
        raise


def listen(port: int) -> socket.socket:
    """Open a port on 127.0.0.1; 0 takes a free one.

    Raises:
        OSError: The port is taken.
    """
    return socket.create_server((HOST, port), backlog=1024)


def url_of(listening: socket.socket) -> str:
    """Write the URL of the Kinto that answers on this port."""
    return f"http://{HOST}:{listening.getsockname()[1]}/v1"
