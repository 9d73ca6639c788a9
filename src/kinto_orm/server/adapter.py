"""The requests adapter that calls a WSGI application in this process, without sockets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urlsplit

from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers
from urllib3 import HTTPHeaderDict, HTTPResponse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

_CONSTANT = {
    "SCRIPT_NAME": "",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "127.0.0.1",
    "wsgi.version": (1, 0),
    "wsgi.multithread": True,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
}
_NO_PREFIX = {"CONTENT_TYPE", "CONTENT_LENGTH"}
# Says how the body travels over a socket; here it comes whole.
_DROPPED = {"HTTP_TRANSFER_ENCODING"}


class EmbeddedAdapter(BaseAdapter):
    """Answers the requests of a `requests.Session` from a WSGI application.

    Closing it, or the session that it is mounted on, leaves the application as it is.

    Args:
        answer: Runs one request: `answer(environ, start_response)`, as a WSGI application. It
            may raise a `requests.exceptions.RequestException`, which the caller gets.
    """

    def __init__(self, answer: Callable[[dict[str, Any], StartResponse], Iterable[bytes]]) -> None:
        super().__init__()
        self._answer = answer

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float, float] | tuple[float, None] | None = None,
        verify: bool | str = True,
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> Response:
        """Answer one request; its content is there when this returns.

        Args:
            request: The request; only its path and query matter, any host is answered.
            stream: Ignored, like all that follow: nothing travels.
            timeout: Ignored.
            verify: Ignored.
            cert: Ignored.
            proxies: Ignored.

        Raises:
            requests.exceptions.ConnectionError: The server is closed.
        """
        start: list[Any] = []

        def start_response(*args: Any) -> Callable[[bytes], object]:
            start[:] = args
            return written.append

        written: list[bytes] = []
        answer = self._answer(_environ(request), start_response)
        written.extend(answer)
        return _response(request, start[0], start[1], b"".join(written))

    def close(self) -> None:
        """Do nothing: others may use the same server."""


def _environ(request: PreparedRequest) -> dict[str, Any]:
    """Make the WSGI environment of a request (PEP 3333)."""
    url = urlsplit(request.url or "")
    body = _body(request)
    environ = {
        **_CONSTANT,
        "REQUEST_METHOD": request.method,
        # PEP 3333: bytes as latin-1 text, whatever their encoding.
        "PATH_INFO": unquote_to_bytes(url.path).decode("latin-1"),
        "QUERY_STRING": url.query,
        "SERVER_NAME": url.hostname or "",
        "SERVER_PORT": str(url.port or 80),
        "HTTP_HOST": url.netloc,
        "wsgi.url_scheme": url.scheme,
        "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr,
    }
    for name, value in request.headers.items():
        environ[_variable(name)] = _text(value)
    environ["CONTENT_LENGTH"] = str(len(body))
    for name in _DROPPED:
        environ.pop(name, None)
    return environ


@lru_cache(maxsize=256)
def _variable(header: str | bytes) -> str:
    """Name the variable in which WSGI has this header."""
    name = _text(header).upper().replace("-", "_")
    return name if name in _NO_PREFIX else f"HTTP_{name}"


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


def _body(request: PreparedRequest) -> bytes:
    """Read the body, in any of the forms in which requests takes one."""
    body: Any = request.body
    if not body:
        return b""
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode()
    if hasattr(body, "read"):
        return _bytes(body.read())
    return b"".join(map(_bytes, body))


def _bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data


def _response(
    request: PreparedRequest, status: str, headers: list[tuple[str, str]], content: bytes
) -> Response:
    """Make the response that requests would have made from a socket."""
    code, _, reason = status.partition(" ")
    response = Response()
    response.status_code = int(code)
    response.reason = reason
    response.url = request.url or ""
    response.request = request
    response.raw = HTTPResponse(
        BytesIO(content),
        headers=HTTPHeaderDict(headers),
        status=response.status_code,
        reason=reason,
        preload_content=False,
        request_method=request.method,
    )
    response.headers = CaseInsensitiveDict(response.raw.headers)
    response.encoding = get_encoding_from_headers(response.headers)
    response._content = content
    response._content_consumed = True  # type: ignore[attr-defined]
    return response
