"""A TCP proxy in front of a real Kinto; the N-th request of an operation meets a fault."""

from __future__ import annotations

import json
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPException
from typing import Any, Self
from urllib.parse import urlsplit

HOST = "127.0.0.1"
_HOP_BY_HOP = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive"})
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset instead of an orderly end
_LONGEST_HOLD = 8.0
_GLANCE = 0.01


@dataclass(frozen=True)
class Received:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    head: bytes
    is_known: bool = False  # whether the same was asked before

    @property
    def path(self) -> str:
        """The path below `/v1`, without the query."""
        return urlsplit(self.target).path.removeprefix("/v1")

    @property
    def json(self) -> Any:
        """The body parsed; None when there is none."""
        return json.loads(self.body) if self.body else None

    @property
    def is_batch(self) -> bool:
        return self.path == "/batch"

    @property
    def is_root(self) -> bool:
        return self.path in ("", "/")

    @property
    def is_list(self) -> bool:
        """Whether it asks for a list: an odd number of parts."""
        return (
            self.method == "GET"
            and len(self.path.strip("/").split("/")) % 2 == 1
            and (not self.is_root)
        )

    @property
    def is_single(self) -> bool:
        """Whether it is about one object."""
        return len(self.path.strip("/").split("/")) % 2 == 0

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


@dataclass(frozen=True)
class Answer:
    """What the real server said."""

    status: int
    headers: dict[str, str]
    body: bytes


Fault = Callable[["Exchange"], None]
Choice = Callable[[int, Received], Fault | None]


class Exchange:
    """One request at the proxy, and the ways to treat it."""

    def __init__(self, proxy: Proxy, connection: Connection, request: Received) -> None:
        self.proxy = proxy
        self.request = request
        self.after: Callable[[], None] = lambda: None
        self._connection = connection

    def forward(self) -> Answer:
        """Let the real server do the work; then comes what is to come `after` it."""
        with self.proxy.working():
            answer = self._connection.forward(self.request)
            self.after()
        return answer

    def let(self, another: Callable[[], None]) -> None:
        """Let another do something, for which whoever looks afterwards waits: it may be slow."""
        with self.proxy.working():
            another()

    def pass_on(self) -> None:
        """Do nothing special."""
        answer = self.forward()
        self.proxy.answers.setdefault(str(self.request), answer)
        self.answer(answer.status, answer.body, answer.headers)

    def answer(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        length: int | None = None,
    ) -> None:
        """Send an answer; `length` is what Content-Length claims."""
        self.write(self.head(status, len(body) if length is None else length, headers))
        if self.request.method != "HEAD":
            self.write(body)

    def head(self, status: int, length: int, headers: dict[str, str] | None = None) -> bytes:
        """The head of an answer."""
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def write(self, data: bytes) -> None:
        """Send bytes; a client that went away is no failure of the proxy."""
        with suppress(OSError):
            self._connection.client.sendall(data)

    def close(self) -> None:
        """End the connection in an orderly way."""
        self._connection.open = False

    def reset(self) -> None:
        """Break the connection."""
        client = self._connection.client
        with suppress(OSError):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close()

    def old_answer(self) -> Answer:
        """What was answered the first time that the same was asked."""
        return self.proxy.answers[str(self.request)]

    def interrupt(self) -> None:
        """Stop the operation that waits for the answer."""
        self.proxy.interrupt()

    def hold(self, seconds: float = _LONGEST_HOLD) -> bool:
        """Wait; ends sooner, with True, when the fault is over or the client has gone away."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.proxy.calm.wait(min(left, _GLANCE)) or _has_more(self._connection.client):
                return True
        return False


class Connection:
    """One client's connection and the one behind it."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self.client = client
        self.open = True
        self._proxy = proxy
        self._reader = client.makefile("rb")
        self._upstream = HTTPConnection(proxy.upstream, timeout=60)

    def serve(self) -> None:
        """Answer until one side ends."""
        try:
            while self.open:
                request = self._read()
                if request is None:
                    break
                self._proxy.treat(self, request)
        except OSError:
            pass  # the client went away, which is what these tests are about
        finally:
            self.close()

    def close(self) -> None:
        for each in (self._reader, self.client, self._upstream):
            with suppress(OSError):
                each.close()

    def abort(self) -> None:
        """Make a blocked read return."""
        with suppress(OSError):
            self.client.shutdown(socket.SHUT_RDWR)

    def forward(self, request: Received) -> Answer:
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in _HOP_BY_HOP
        }
        with self._proxy.working():
            self._upstream.request(request.method, request.target, request.body or None, headers)
            response = self._upstream.getresponse()
            kept = {n: v for n, v in response.getheaders() if n.lower() not in _HOP_BY_HOP}
            return Answer(response.status, kept, response.read())

    def _read(self) -> Received | None:
        lines = []
        while (line := self._reader.readline(65537)) not in (b"\r\n", b"\n", b""):
            lines.append(line)
        if not lines:
            return None
        method, target, _ = lines[0].decode("latin-1").split(" ", 2)
        headers = {}
        for each in lines[1:]:
            name, _, value = each.decode("latin-1").partition(":")
            headers[name.strip().title()] = value.strip()
        body = self._reader.read(int(headers.get("Content-Length", "0")))
        return Received(method, target, headers, body, b"".join(lines))


class _Working:
    """Counts what the real server has to do, and gives it one thing after the other.

    Who is slower than a client's patience is no later than what the client sends again: another
    writer who came first is done first, too.
    """

    def __init__(self) -> None:
        self._count = 0
        self._change = threading.Condition()
        self._turn = threading.RLock()

    @property
    def count(self) -> int:
        return self._count

    def __enter__(self) -> None:
        with self._change:
            self._count += 1
        self._turn.acquire()

    def __exit__(self, *exc: object) -> None:
        self._turn.release()
        with self._change:
            self._count -= 1
            self._change.notify_all()

    def wait(self) -> None:
        """Wait until the real server has nothing to do."""
        with self._change:
            self._change.wait_for(lambda: self._count == 0, timeout=30)


def _has_more(client: socket.socket) -> bool:
    """Whether something came that was not read yet, or the end."""
    try:
        return bool(select.select([client], [], [], 0)[0])
    except (OSError, ValueError):
        return False  # it is closed


class Proxy:
    """Listens on 127.0.0.1.

    Attributes:
        url: As a session takes it.
        upstream: Host and port of the real server.
        received: The requests since `arm`.
        calm: Set while no fault is armed.
        answers: The first answer to each request of another method or target, since `forget`.
        interrupt: Stops the operation that is tried.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.received: list[Received] = []
        self.calm = threading.Event()
        self.calm.set()
        self.answers: dict[str, Answer] = {}
        self.interrupt: Callable[[], None] = lambda: None
        self._working = _Working()
        self._lock = threading.Lock()
        self._choose: Choice | None = None
        self._refuse_from: int | None = None
        self._connections: dict[Connection, threading.Thread] = {}
        self._listening: socket.socket | None = None
        self._port = 0
        self._listen()
        self.url = f"http://{HOST}:{self._port}/v1"

    # What the tests say

    def arm(self, choose: Choice | None, *, refuse_from: int | None = None) -> None:
        """From now on count requests.

        Args:
            choose: Takes the number of a request (1-based) and the request; gives its fault.
            refuse_from: Accept no connection from this request on.
        """
        with self._lock:
            self.received = []
            self._choose = choose
            self._refuse_from = refuse_from
        self.calm.clear()
        if refuse_from == 1:
            self._shut()

    def disarm(self) -> Sequence[Received]:
        """End all faults; what was received since `arm`."""
        with self._lock:
            received, self.received = self.received, []
            self._choose = self._refuse_from = None
        self.calm.set()
        self._working.wait()
        if self._listening is None:
            self._listen()
        return received

    def forget(self) -> None:
        """Let the answers of another world be no old ones of this."""
        self.answers.clear()

    def settle(self) -> None:
        """Wait until all that clients sent was treated, though they may have gone away."""
        while self._working.count or any(map(_has_more, self._sockets())):
            time.sleep(0.001)

    def _sockets(self) -> list[socket.socket]:
        listening = [] if self._listening is None else [self._listening]
        return [*listening, *(each.client for each in list(self._connections))]

    def close(self) -> None:
        self.calm.set()
        threads = list(self._connections.values())
        self._shut()
        for each in threads:
            each.join()

    def working(self) -> _Working:
        return self._working

    # What the connections ask

    def treat(self, connection: Connection, request: Received) -> None:
        request = replace(request, is_known=str(request) in self.answers)
        with self._lock:
            self.received.append(request)
            number = len(self.received)
            choose = self._choose
            last = self._refuse_from is not None and number + 1 >= self._refuse_from
        fault = choose(number, request) if choose else None
        exchange = Exchange(self, connection, request)
        try:
            fault(exchange) if fault else exchange.pass_on()
        except HTTPException:
            exchange.close()
        if last:
            connection.open = False
            self._shut()

    def _listen(self) -> None:
        self._listening = socket.create_server((HOST, self._port), backlog=100)
        self._port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, client)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._connections[connection] = thread
            thread.start()

    def _serve(self, connection: Connection) -> None:
        connection.serve()
        self._connections.pop(connection, None)

    def _shut(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        for each in list(self._connections):
            each.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
