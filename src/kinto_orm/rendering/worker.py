"""The helper process that forks a limited child for each isolated render, and that child.

The helper watches the children: it tells how one ended, and kills one whose caller has gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import gc
import importlib
import itertools
import json
import math
import os
import selectors
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from kinto_orm.errors import RenderLimit, TemplateError
from kinto_orm.rendering.limits import Limits
from kinto_orm.rendering.run import Document, Load, Needs, Values
from kinto_orm.rendering.sandbox import UndefinedMode

if TYPE_CHECKING:
    from pydantic import JsonValue

OUT_OF_MEMORY = "out of memory"
STATUS = struct.Struct("!i")
_HEADER = struct.Struct("!I")

# What is imported late, by Jinja2 and others: a child cannot open files any more.
_PRELOADED = (
    "encodings.ascii",
    "encodings.unicode_escape",
    "html",
    "jinja2.constants",
    "jinja2.debug",
    "pprint",
    "resource",
    "textwrap",
    "unicodedata",
)


class Renders(Protocol):
    """What the child needs of a renderer."""

    def render(self, name: str, values: Values, *, undefined: UndefinedMode) -> str:
        """Render the template of that name."""

    def needs(self, name: str) -> Needs:
        """Tell what that template needs."""

    def check(self, name: str) -> None:
        """Refuse the template of that name if it cannot work."""


def send(channel: socket.socket, message: object) -> None:
    """Send a JSON message, its length before it."""
    data = json.dumps(message).encode("ascii")
    channel.sendall(_HEADER.pack(len(data)) + data)


def receive(channel: socket.socket, *, longest: int = 2**32, until: float = math.inf) -> Any:
    """Wait for a message.

    Args:
        channel: A socket whose other end sends.
        longest: The longest message to accept, in bytes.
        until: When to give up, in seconds of `time.monotonic`.

    Raises:
        EOFError: The other end is gone, or sent a longer message.
        TimeoutError: Nothing came until then.
    """
    (length,) = _HEADER.unpack(_exactly(channel, _HEADER.size, until))
    if length > longest:
        raise EOFError
    return json.loads(_exactly(channel, length, until))


def _exactly(channel: socket.socket, count: int, until: float) -> bytes:
    data = bytearray()
    while len(data) < count:
        if until < math.inf:
            channel.settimeout(max(until - time.monotonic(), 0.001))
        chunk = channel.recv(min(count - len(data), 2**20))
        if not chunk:
            raise EOFError
        data += chunk
    return bytes(data)


def serve(fd: int, make: Callable[[Load, Limits], Renders]) -> NoReturn:
    """Be the helper process: fork a child for each request, until the caller is gone.

    Args:
        fd: The socket to the process that started this one.
        make: Makes a renderer from a `Load` and limits.
    """
    for module in _PRELOADED:
        importlib.import_module(module)
    for undefined in ("strict", "lenient"):
        warm = make(lambda name: Document(name, "{{ x ~ 'x' }}", None), Limits())
        warm.render("", {"x": 1}, undefined=undefined)
    gc.freeze()
    _Supervisor(socket.socket(fileno=fd), make, _lifeline()).run()


def _lifeline() -> int:
    """Let the kernel end the children when this process ends, however that comes about.

    Their end of a pipe sends SIGIO to all of the group when nobody holds the other one any more.
    """
    watched, _ = os.pipe()
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGIO})
    fcntl.fcntl(watched, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(watched, fcntl.F_SETFL, os.O_ASYNC)
    return watched


class _Supervisor:
    """Forks the children, tells how they ended, and kills those that nobody waits for."""

    def __init__(
        self, control: socket.socket, make: Callable[[Load, Limits], Renders], lifeline: int
    ) -> None:
        self._make = make
        self._lifeline = lifeline
        self._children: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        woken, wake = socket.socketpair()
        woken.setblocking(False)
        wake.setblocking(False)
        self._wake = wake
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno())
        self._selector.register(woken, selectors.EVENT_READ, self._reap)
        self._selector.register(control, selectors.EVENT_READ, self._accept)
        control.send(b"!")

    def run(self) -> NoReturn:
        while True:
            for key, _ in self._selector.select():
                key.data(key.fileobj)

    def _accept(self, control: socket.socket) -> None:
        data, fds, _, _ = socket.recv_fds(control, 1, 2)
        if not data:
            self._quit()
        channel, status = (socket.socket(fileno=fd) for fd in fds)
        pid = os.fork()
        if pid == 0:
            self._be_child(channel.detach())
        channel.close()
        self._children[pid] = status
        self._selector.register(status, selectors.EVENT_READ, functools.partial(self._abandon, pid))

    def _abandon(self, pid: int, status: socket.socket) -> None:
        if pid in self._children:
            self._selector.unregister(status)
            os.kill(pid, signal.SIGKILL)

    def _reap(self, woken: socket.socket) -> None:
        woken.recv(4096)
        while self._children:
            pid, ending = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            status = self._children.pop(pid)
            with contextlib.suppress(KeyError):  # abandoned
                self._selector.unregister(status)
            with status, contextlib.suppress(OSError):  # the caller is gone
                status.send(STATUS.pack(ending))

    def _quit(self) -> NoReturn:
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        os._exit(0)

    def _be_child(self, fd: int) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            kept = sorted((2, fd, self._lifeline, 2**16))
            for before, after in itertools.pairwise(kept):
                os.closerange(before + 1, after)
            _work(socket.socket(fileno=fd), self._make)
            code = 0
        finally:
            os._exit(code)


def _work(channel: socket.socket, make: Callable[[Load, Limits], Renders]) -> None:
    send(channel, {})
    request = receive(channel)
    limits = Limits(**request["limits"])

    def load(name: str) -> Document | None:
        send(channel, {"load": name})
        found = receive(channel)
        return found and Document(**found)

    confinement = _Confinement(limits)

    def values(needs: Needs) -> Mapping[str, JsonValue]:
        send(channel, {"fetch": _described_needs(needs)})
        with confinement.lifted():
            found: Mapping[str, JsonValue] = receive(channel)
        return found

    request["values"] = values if request.get("values") is None else request["values"]
    gc.disable()
    try:
        send(channel, _outcome(make(load, limits), request, limits))
    except MemoryError:
        name = request["name"]
        error = RenderLimit(f"template {name!r}: {OUT_OF_MEMORY}", name=name)
        send(channel, _described(error, limits))


def _outcome(renderer: Renders, request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    try:
        return _ACTS[request["act"]](renderer, request)
    except TemplateError as error:
        return _described(error, limits)


def _render(renderer: Renders, request: dict[str, Any]) -> dict[str, Any]:
    text = renderer.render(request["name"], request["values"], undefined=request["undefined"])
    return {"text": text}


def _needs(renderer: Renders, request: dict[str, Any]) -> dict[str, Any]:
    return _described_needs(renderer.needs(request["name"]))


def _check(renderer: Renders, request: dict[str, Any]) -> dict[str, Any]:
    renderer.check(request["name"])
    return {}


_ACTS = {"render": _render, "needs": _needs, "check": _check}
"""What a child is asked for."""


def _described_needs(needs: Needs) -> dict[str, Any]:
    return {"names": sorted(needs.names), "everything": needs.everything}


def _described(error: TemplateError, limits: Limits) -> dict[str, Any]:
    message = str(error).replace(OUT_OF_MEMORY, f"memory over {limits.memory >> 20} MB")
    return {
        "error": type(error).__name__,
        "message": message,
        "name": error.name,
        "lineno": error.lineno,
    }


class _Confinement:
    """Gives up what a template must not have.

    Nothing of this can be taken back but the limits on memory and time, and those only until the
    values have come: they do not count, and no template has run before.
    """

    def __init__(self, limits: Limits) -> None:
        import resource  # not on every platform

        self._resource = resource
        self._memory = limits.memory
        self._statm = open("/proc/self/statm")  # noqa: SIM115  # none can be opened later
        for kind, amount in (
            (resource.RLIMIT_CPU, math.ceil(limits.seconds) + 1),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_FSIZE, 0),
            (resource.RLIMIT_NPROC, 0),
            (resource.RLIMIT_NOFILE, 0),
        ):
            self._limit(kind, amount)
        self._limit(resource.RLIMIT_AS, self._used() + self._memory, final=False)
        signal.setitimer(signal.ITIMER_PROF, limits.seconds)

    @contextlib.contextmanager
    def lifted(self) -> Iterator[None]:
        """Receive the values without limits; those that hold afterwards are for good."""
        kind = self._resource.RLIMIT_AS
        left, _ = signal.setitimer(signal.ITIMER_PROF, 0)
        self._limit(kind, math.inf, final=False)
        yield
        self._limit(kind, self._used() + self._memory)
        signal.setitimer(signal.ITIMER_PROF, max(left, 0.001))

    def _limit(self, kind: int, amount: float, *, final: bool = True) -> None:
        """Set a limit as far as it is below what is allowed already."""
        most = self._resource.getrlimit(kind)[1]
        allowed = math.inf if most == self._resource.RLIM_INFINITY else most
        soft = most if amount >= allowed else int(amount)
        self._resource.setrlimit(kind, (soft, soft if final else most))

    def _used(self) -> int:
        self._statm.seek(0)
        return int(self._statm.read().split()[0]) * self._resource.getpagesize()
