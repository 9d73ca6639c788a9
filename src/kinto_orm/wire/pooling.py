"""Connections kept open to one server, on which every wait ends with the call."""

from __future__ import annotations

import http.client
import io
import math
import re
import socket
from collections.abc import Mapping
from http.client import HTTPResponse
from types import FunctionType
from typing import Any, BinaryIO

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.timeout import Timeout as Urllib3Timeout

from kinto_orm.wire.clock import seconds_left

# Kept open; more threads than this open more, and close them.
_CONNECTIONS = 32
# Of headers; http.client refuses more.
_LONGEST_LINE = 65537
_MOST_LINES = 100
# A socket takes 0 for "do not wait at all".
_SHORTEST = 0.001


class _Reads(io.RawIOBase):
    """What comes in on a socket. Its own timeout counts for each piece, the clock for all."""

    def __init__(self, source: socket.socket) -> None:
        self._socket = source
        self._pieces = source.makefile("rb", buffering=0)

    def makefile(self, mode: str) -> io.BufferedReader:
        """What an HTTPResponse wants of a socket."""
        return io.BufferedReader(self)

    def readinto(self, buffer: Any, /) -> int | None:
        left = seconds_left()
        if left <= 0:
            raise TimeoutError("the deadline of the call is over")
        usual = self._socket.gettimeout()
        if usual is None or left < usual:
            self._socket.settimeout(left)
        return self._pieces.readinto(buffer)

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._pieces.fileno()

    def close(self) -> None:
        self._pieces.close()
        super().close()


# A line that means the same to whoever reads it.
_PLAIN = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x21-\x7e][\x20-\x7e]*)?\r?\n")


def read_headers(source: BinaryIO) -> http.client.HTTPMessage:
    """Read the headers of an answer, as http.client does.

    That takes a parser of e-mails to each, which costs as much as all else that a small request
    does in Python. It still reads whatever is odd.
    """
    lines: list[bytes] = []
    message = http.client.HTTPMessage()
    while True:
        line = source.readline(_LONGEST_LINE)
        lines.append(line)
        found = _PLAIN.fullmatch(line)
        if found is not None and len(lines) < _MOST_LINES:
            message[found[1].decode()] = (found[2] or b"").decode()
        elif line in (b"\r\n", b"\n") and len(lines) > 1:
            return message
        else:
            rest: Any = _Rest(b"".join(lines), source)
            whole: http.client.HTTPMessage = http.client.parse_headers(rest)
            return whole


class _Rest:
    """What was read of a source already, and then the rest of it."""

    def __init__(self, read: bytes, source: BinaryIO) -> None:
        self._read = io.BytesIO(read)
        self._source = source

    def readline(self, limit: int) -> bytes:
        return self._read.readline(limit) or self._source.readline(limit)


class _Response(HTTPResponse):
    """Reads from a clocked socket, and plain headers quickly."""

    def __init__(self, source: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(_Reads(source), *args, **options)  # type: ignore[arg-type]

    # http.client's own function, which finds another one under the name `parse_headers`.
    begin = FunctionType(
        HTTPResponse.begin.__code__, {**vars(http.client), "parse_headers": read_headers}
    )


class _Clocked:
    """A connection whose timeout is never longer than what is left of the call."""

    response_class: Any = _Response
    _timeout: float | None = None

    @property
    def timeout(self) -> float | None:
        left = seconds_left()
        if left == math.inf:
            return self._timeout
        return max(min(left, self._timeout or left), _SHORTEST)

    @timeout.setter
    def timeout(self, value: float | None) -> None:
        self._timeout = value


class _Connection(_Clocked, HTTPConnection):
    pass


class _TLSConnection(_Clocked, HTTPSConnection):
    pass


# vcrpy and its like put connections of their own in the place of urllib3's; theirs are taken.


class _Pool(HTTPConnectionPool):
    @property
    def ConnectionCls(self) -> Any:  # type: ignore[override]  # noqa: N802
        usual = HTTPConnectionPool.ConnectionCls
        return _Connection if usual is HTTPConnection else usual


class _TLSPool(HTTPSConnectionPool):
    @property
    def ConnectionCls(self) -> Any:  # type: ignore[override]  # noqa: N802
        usual = HTTPSConnectionPool.ConnectionCls
        return _TLSConnection if usual is HTTPSConnection else usual


_POOLS = {"http": _Pool, "https": _TLSPool}


class _Answer(requests.Response):
    """What a transport reads of a response; the rest is not set up, which takes longer."""

    def __init__(self, status: int, headers: Any, content: bytes) -> None:
        self.status_code = status
        self.headers = headers
        self._content = content
        self._content_consumed = True


class PooledAdapter(HTTPAdapter):
    """Sends over urllib3's pool without the detours of requests' adapter.

    A session has one server, so that the pool is looked up once; cookies are not kept. It takes
    a third of the CPU time off each request. With a proxy, or an authentication that wants to
    see the answers, requests' own way is gone.
    """

    _pool: Any = None

    def __init__(self) -> None:
        super().__init__(pool_connections=1, pool_maxsize=_CONNECTIONS)

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        """The pool for a request; requests' own way."""
        pool = super().get_connection_with_tls_context(*args, **options)
        self._pools.add(pool)
        return pool

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the manager of the pools; called by requests."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS
        self._pools: set[Any] = set()

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """The manager of the pools through a proxy; requests' own way."""
        manager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager

    def close(self) -> None:
        """Close all connections; requests only drops them, for the garbage collector to close."""
        super().close()
        pools, self._pools, self._pool = self._pools, set(), None
        for pool in pools:
            pool.close()

    def after_fork(self) -> None:
        """Leave the parent's connections to the parent, in a forked child, and open others."""
        for pool in self._pools:
            idle = pool.pool
            if idle is not None:
                connections = list(idle.queue)
                # Another thread may have held its lock; and urllib3 empties it at the end.
                idle.__init__(idle.maxsize)
                for connection in filter(None, connections):
                    connection.close()
        self._pool = None
        self.proxy_manager = {}
        self.init_poolmanager(1, _CONNECTIONS)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Send one prepared request; its content is there when this returns.

        Raises:
            urllib3.exceptions.HTTPError: No answer came, or it was cut off.
        """
        if proxies or cert or request.hooks["response"]:
            return super().send(request, stream, timeout, verify, cert, proxies)
        headers: Any = request.headers
        method, target = str(request.method), request.path_url
        return self.exchange(method, target, request.body, headers, timeout, verify, request.url)

    def exchange(
        self,
        method: str,
        target: str,
        body: Any,
        headers: Mapping[str, str],
        timeout: tuple[float | None, float | None],
        verify: bool | str,
        url: str | None,
    ) -> requests.Response:
        """Send one request, without a proxy; its content is there when this returns.

        Args:
            method: In capitals.
            target: Path and query.
            body: Bytes, or nothing.
            headers: All of them.
            timeout: Seconds, (to connect, to wait for the next bytes).
            verify: As requests takes it.
            url: Of the server; looked at by the first request only.

        Raises:
            urllib3.exceptions.HTTPError: No answer came, or it was cut off.
        """
        pool = self._pool
        if pool is None:
            first = requests.Request(method, url).prepare()
            pool = self._pool = self.get_connection_with_tls_context(first, verify)
            self.cert_verify(pool, url, verify, None)  # type: ignore[no-untyped-call]
        raw = pool.urlopen(
            method,
            target,
            body=body,
            headers=headers,
            retries=False,
            redirect=False,
            assert_same_host=False,
            timeout=Urllib3Timeout(connect=timeout[0], read=timeout[1]),
        )
        # urllib3's headers ignore case, too.
        return _Answer(raw.status, raw.headers, raw.data)
