"""A server that says the same to every request, so that it never is what a client waits for."""

from __future__ import annotations

import asyncio
import http.client
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit


def recorded(url: str, headers: dict[str, str]) -> bytes:
    """What a Kinto answers to a GET, as it came, with an end that keeps the connection open."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    connection.request("GET", parts.path, headers=headers)
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    left_out = ("connection", "transfer-encoding")
    lines = [
        f"{name}: {value}" for name, value in reply.getheaders() if name.lower() not in left_out
    ]
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode() + body


@contextmanager
def serving(answer: bytes) -> Iterator[str]:
    """A process that serves it; gives its address."""
    command = [sys.executable, __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(answer)
        process.stdin.close()
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.terminate()


class _Canned(asyncio.Protocol):
    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        # Requests without a body end in an empty line.
        self._transport.write(self._answer * data.count(b"\r\n\r\n"))  # type: ignore[attr-defined]


async def _serve(answer: bytes) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Canned(answer), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.stdin.buffer.read()))
