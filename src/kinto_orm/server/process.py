"""An embedded Kinto on a port of this machine, from processes of its own."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from kinto_orm.errors import ConfigurationError
from kinto_orm.server.embedded import EmbeddedServer
from kinto_orm.server.loopback import LoopbackServer, listen, url_of
from kinto_orm.wire.forking import renew_in_children

_CHILD = "from kinto_orm.server.process import main; main()"
_CLOSE_SECONDS = 30.0


class ProcessServer:
    """One or more processes that answer on one port. Close it, or use a `with` statement.

    Attributes:
        url: The server's URL, as a session takes it.
        auth: User and password of the embedded Kinto's own user.
        pids: The process ids, one for each process.
    """

    def __init__(
        self, url: str, *, processes: int, port: int, threads: int, settings: dict[str, str]
    ) -> None:
        """Use `serve_process` instead; the arguments are the same."""
        self._process = os.getpid()
        task = {"url": url, "threads": threads, "settings": settings}
        self._children: list[subprocess.Popen[str]] = []
        try:
            # Listening before any process runs: none of them finds the port closed.
            with listen(port) as listening:
                self.url = url_of(listening)
                for _ in range(processes):
                    self._children.append(_start(listening, task))
            answers = [_first_line(child) for child in self._children]
        except BaseException:
            # Not killed: a PostgreSQL that they are starting has to be stopped by them.
            self.close()
            raise
        self.auth: tuple[str, str] = tuple(answers[0]["auth"])
        self.pids = [child.pid for child in self._children]
        renew_in_children(self)

    def after_fork(self) -> None:
        """Close the pipes, in a forked child: while one is open the server goes on."""
        for child in self._children:
            _close_pipes(child)

    def kill(self) -> None:
        """Kill the processes (SIGKILL), as a crash would; a forked child kills nothing."""
        if os.getpid() != self._process:
            return
        for child in self._children:
            child.kill()
            _reap(child)

    def close(self) -> None:
        """Let the processes close what they have open, and wait for them. Idempotent.

        In a forked child nothing happens: the server is its parent's.
        """
        if os.getpid() != self._process:
            return
        for child in self._children:
            _input(child).close()
        for child in self._children:
            try:
                child.wait(_CLOSE_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
            _reap(child)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until one of the processes ends, which it does by itself only when it fails.

        Args:
            seconds: How long to wait at most; None for as long as all of them go on.

        Returns:
            Whether one has ended. The others go on: close the server.
        """
        # A process has nothing more to say after its start: its pipe can be read when it ends.
        outputs = [child.stdout for child in self._children if child.stdout is not None]
        return bool(select.select(outputs, [], [], seconds)[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"


def serve_process(
    url: str,
    *,
    processes: int = 1,
    port: int = 0,
    threads: int = 4,
    settings: Mapping[str, str] | None = None,
) -> ProcessServer:
    """Serve an embedded Kinto on 127.0.0.1 from processes of its own, and wait until it answers.

    The processes end when this one ends, however that happens.

    Args:
        url: `memory://`, `sqlite:///file.db` or `local:///directory`.
        processes: How many share the port; one with `memory://`.
        port: The port; 0 takes a free one.
        threads: How many requests each answers at a time.
        settings: Kinto's settings, as `open_memory` and the others take them.

    Raises:
        ConfigurationError: The URL is another one, `memory://` is to have several processes,
            or a process could not open its server; the message says why.
        OSError: The port is taken.
    """
    scheme = urlsplit(url).scheme
    if scheme not in ("memory", "sqlite", "local"):
        raise ConfigurationError(
            f"{url!r} cannot be served: give memory://, sqlite:///file.db or local:///directory"
        )
    if scheme == "memory" and processes != 1:
        raise ConfigurationError(
            "memory:// is one process's memory: use sqlite:///file.db or local:///directory"
        )
    return ProcessServer(
        url, processes=processes, port=port, threads=threads, settings=dict(settings or {})
    )


def main() -> None:
    """Be one of the processes: take the task from the input, serve until the input ends."""
    task = json.loads(sys.stdin.readline())
    try:
        server = _open(task["url"], task["settings"])
    except ConfigurationError as error:
        _say({"error": str(error)})
        return
    listening = socket.socket(fileno=task["socket"])
    with server, LoopbackServer(server, listening, threads=task["threads"]):
        _say({"auth": server.auth})
        sys.stdin.read()


def _open(url: str, settings: dict[str, str]) -> EmbeddedServer:
    """Open the embedded Kinto that a URL names."""
    from kinto_orm.server import open_local, open_memory, open_sqlite
    from kinto_orm.server.sqlite.files import path_of

    parts = urlsplit(url)
    if parts.scheme == "memory":
        return open_memory(settings=settings)
    if parts.scheme == "sqlite":
        return open_sqlite(path_of(url), settings=settings)
    return open_local(unquote(parts.path), settings=settings)


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def _start(port: socket.socket, task: dict[str, Any]) -> subprocess.Popen[str]:
    """Start a process and give it its task; not as arguments, which everyone can read."""
    child = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", _CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[port.fileno()],
        start_new_session=True,  # an interrupt from the keyboard is for the parent
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    _input(child).write(json.dumps({**task, "socket": port.fileno()}) + "\n")
    _input(child).flush()
    return child


def _first_line(child: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for what a process says of its start."""
    line = child.stdout.readline() if child.stdout else ""
    answer: dict[str, Any] = json.loads(line or '{"error": "the server process ended"}')
    if "error" in answer:
        raise ConfigurationError(answer["error"])
    return answer


def _input(child: subprocess.Popen[str]) -> Any:
    return child.stdin


def _reap(child: subprocess.Popen[str]) -> None:
    """Wait for the end of a process and close its pipes."""
    child.wait()
    _close_pipes(child)


def _close_pipes(child: subprocess.Popen[str]) -> None:
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()
