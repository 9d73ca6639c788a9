"""HTTP servers that misbehave on purpose: canned answers, and a proxy that loses real ones."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

from kinto_orm import Reply, Timeout, TransportError
from kinto_orm.testing import faults as public
from kinto_orm.wire.flows import Pause
from kinto_orm.wire.messages import Request


@dataclass(frozen=True)
class Received:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Exchange(BaseHTTPRequestHandler):
    """One connection; each request is answered by the next of the server's answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FaultyServer

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        headers = {name.title(): value for name, value in self.headers.items()}
        self.received = Received(self.command, self.path, headers, self.rfile.read(length))
        self.server.received.append(self.received)
        self.server.next_answer()(self)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815

    def write(
        self, status: int, body: bytes, headers: dict[str, str], length: int | None = None
    ) -> None:
        """Send an answer with one write; `length` is what Content-Length claims."""
        lines = [
            f"HTTP/1.1 {status} X",
            f"Content-Length: {len(body) if length is None else length}",
        ]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        content = b"" if self.command == "HEAD" else body
        self.wfile.write("\r\n".join([*lines, "", ""]).encode() + content)

    def hang_up(self) -> None:
        """Close the connection."""
        self.close_connection = True

    def forward(self) -> tuple[int, bytes, dict[str, str]]:
        """Let the real server do the work."""
        connection = HTTPConnection(self.server.upstream, timeout=10)
        sent = self.received
        try:
            connection.request(sent.method, sent.target, sent.body or None, sent.headers)
            response = connection.getresponse()
            kept = {n: v for n, v in response.getheaders() if n.lower() not in _OWN}
            return response.status, response.read(), kept
        finally:
            connection.close()

    def reply(self) -> Reply:
        """The same as a Reply."""
        status, body, headers = self.forward()
        return Reply(status, headers, body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


_OWN = {"content-length", "connection", "transfer-encoding", "server", "date"}
Answer = Callable[[Exchange], None]


class FaultyServer(ThreadingHTTPServer):
    """Answers on 127.0.0.1 by a list of answers; the last one goes on being used.

    Attributes:
        received: The requests so far.
        answers: What comes next.
        url: As a session takes it.
    """

    daemon_threads = True

    def __init__(self, *answers: Answer, upstream: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.answers = deque(answers)
        self.received: list[Received] = []
        self.upstream = urlsplit(upstream).netloc
        self.closing = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def next_answer(self) -> Answer:
        if self.upstream:
            return self.answers.popleft() if self.answers else passed_on
        return self.answers.popleft() if len(self.answers) > 1 else self.answers[0]

    @property
    def methods(self) -> list[str]:
        return [each.method for each in self.received]

    def __exit__(self, *exc: object) -> None:
        self.closing.set()
        self.shutdown()
        self._thread.join()
        super().__exit__(*exc)

    def __enter__(self) -> Self:
        return self

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that go away are part of the tests."""


def says(status: int, body: object = None, **headers: str) -> Answer:
    """An answer: a JSON value, or bytes as they are. Header names have `_` for `-`."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"Content-Type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return lambda exchange: exchange.write(status, content, named)


def replied(reply: Reply) -> Answer:
    """An answer as a Reply is one."""
    return lambda exchange: exchange.write(reply.status, reply.body, dict(reply.headers))


def played(fault: public.Fault) -> Answer:
    """The public fault, over a socket."""

    def answered(exchange: Exchange) -> None:
        sent = exchange.received
        path, _, query = sent.target.removeprefix("/v1").partition("?")
        flow = fault.play(Request(sent.method, path, query, sent.body, sent.headers))
        answer = None
        try:
            while True:
                step = flow.send(answer)
                answer = (
                    exchange.server.closing.wait(step.seconds)
                    if isinstance(step, Pause)
                    else exchange.reply()
                )
        except StopIteration as end:
            replied(end.value)(exchange)
        except Timeout:
            silent(exchange)
        except TransportError:
            exchange.hang_up()

    return answered


HTML = played(public.gateway(200))
hangs_up = played(public.cut())
answer_lost = played(public.cut(done=True))


def cut_off(exchange: Exchange) -> None:
    """Announce more than is sent, then close."""
    exchange.write(200, b'{"data": {"id": "x", "ti', {}, length=500)
    exchange.hang_up()


def silent(exchange: Exchange) -> None:
    """Never answer."""
    exchange.server.closing.wait(10)
    exchange.hang_up()


def stalls(exchange: Exchange) -> None:
    """Send the beginning of an answer, and nothing more."""
    exchange.write(200, b'{"data": {', {}, length=500)
    silent(exchange)


def passed_on(exchange: Exchange) -> None:
    """Answer what the real server answers."""
    exchange.write(*exchange.forward())


def answer_halved(exchange: Exchange) -> None:
    """Let the real server do the work, and lose half of its answer."""
    status, body, headers = exchange.forward()
    exchange.write(status, body[: len(body) // 2], headers, length=len(body))
    exchange.hang_up()


def kinto_says(status: int, errno: int = 0, **headers: str) -> Answer:
    """A refusal in Kinto's own words; nothing was done."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return replied(public.refusal(status, errno, headers=named))


def gateway(status: int) -> Answer:
    """What a gateway answers in HTML when it got no answer itself."""
    return played(public.gateway(status))


def meanwhile(answer: Answer, act: Callable[[], object]) -> Answer:
    """Answer so, after something else happened."""

    def answered(exchange: Exchange) -> None:
        act()
        answer(exchange)

    return answered


def done_then(answer: Answer) -> Answer:
    """Let the real server do the work, and answer something else."""

    def answered(exchange: Exchange) -> None:
        exchange.forward()
        answer(exchange)

    return answered


def at_write(answer: Answer) -> Answer:
    """Let reads pass, and answer the next write so."""

    def answered(exchange: Exchange) -> None:
        if exchange.command in ("GET", "HEAD"):
            exchange.server.answers.appendleft(answered)
            passed_on(exchange)
        else:
            answer(exchange)

    return answered
